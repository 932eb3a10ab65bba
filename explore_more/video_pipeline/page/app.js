// Upload a video, show its stages as they finish, then its inventory on a timeline.
"use strict";
const $ = (id) => document.getElementById(id);
const api = (new URLSearchParams(location.search).get("api") || "").replace(/\/$/, "");
const POLL_MS = 1000;
const STAGES = ["upload", "track", "recognise", "describe"];
let turn = 0; // of the video whose inventory may be shown
let shown = ""; // what is on the page, so that only changes touch it

if (api) {
  $("host").textContent = `Videos are sent to ${new URL(api, location.href).host}.`;
  $("sample").hidden = true;
}

// Videos belong to a user. Without accounts, a browser is one.
function user() {
  try {
    if (!localStorage.user) localStorage.user = `page-${crypto.randomUUID()}`;
    return localStorage.user;
  } catch {
    return "page";
  }
}

function say(text, isError = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
}

async function ask(method, url, content) {
  let response;
  try {
    response = await fetch(api + url, { method, body: content && JSON.stringify(content), headers: { "Content-Type": "application/json" } });
  } catch {
    throw new Error("The server cannot be reached; check the connection and try again.");
  }
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  throw new Error(answer.error?.message || `The server answered ${response.status}.`);
}

async function sha256(file) {
  if (!crypto.subtle) throw new Error("This page must be opened by https, or on localhost.");
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", await file.arrayBuffer()));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// fetch() tells nothing of how far an upload is.
function put(file, upload, mine) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(upload.method, upload.url);
    for (const [name, value] of Object.entries(upload.headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => { if (mine === turn) $("progress").value = event.loaded / event.total; };
    // 412: the same video came by another page in the meantime.
    request.onload = () => (request.status < 300 || request.status === 412 ? resolve() : reject(new Error(`The upload failed with status ${request.status}; try again.`)));
    request.onerror = () => reject(new Error("The upload failed; check the connection and try again."));
    request.send(new Blob([file])); // without a type, which the link is not signed for
  });
}

async function take(file) {
  if (!file) return;
  const mine = ++turn;
  clear();
  showStages({ upload: { state: "running" } });
  say("Uploading …");
  try {
    if (!file.size) throw new Error("The file is empty.");
    const job = await ask("POST", "/videos", { userId: user(), size: file.size, sha256: await sha256(file) });
    if (job.upload) {
      $("progress").hidden = false;
      await put(file, job.upload, mine);
    }
    if (mine !== turn) return;
    $("progress").hidden = true;
    await follow(job.id, mine);
  } catch (error) {
    if (mine !== turn) return;
    $("progress").hidden = true;
    say(error.message, true);
  }
}

async function follow(id, mine) {
  for (;;) {
    const answer = await ask("GET", `/videos/${id}`);
    if (mine !== turn) return;
    show(answer);
    if (answer.state !== "running") return;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    if (mine !== turn) return;
  }
}

function clear() {
  shown = "";
  $("result").hidden = true;
  $("video").removeAttribute("src");
  $("video").hidden = true;
  $("progress").value = 0;
  for (const id of ["garments", "warnings"]) $(id).replaceChildren();
  for (const id of ["summary", "author"]) $(id).textContent = "";
}

function showStages(stages) {
  $("stages").hidden = false;
  for (const name of STAGES) {
    const state = stages[name]?.state || "waiting";
    $(`stage-${name}`).className = state;
    $(`stage-${name}`).querySelector("b").textContent = state;
  }
}

function show(answer) {
  showStages(answer.stages);
  const failed = STAGES.map((name) => answer.stages[name]).find((stage) => stage.state === "failed");
  if (failed) say(failed.error.message, true);
  else say(answer.state === "done" ? "Done" : "Looking at the video …");
  if (!answer.garments) return;
  $("result").hidden = false;
  $("summary").textContent = answer.inventory?.summary || "";
  if (answer.annotated && !$("video").getAttribute("src")) {
    $("video").src = answer.annotated;
    $("video").hidden = false;
    const [{ first, last } = { first: 0, last: 0 }] = answer.garments;
    $("video").onloadedmetadata = () => { $("video").currentTime = (first + last) / 2; }; // a garment is the poster
  }
  const now = JSON.stringify(answer.garments.map((garment) => [garment.id, garment.sentence]));
  if (now === shown) return;
  shown = now;
  $("warnings").replaceChildren(...(answer.warnings || []).map((text) => element("p", { textContent: text })));
  $("garments").replaceChildren(...answer.garments.map((garment) => row(garment, answer.video.seconds)));
  $("author").textContent = answer.inventory ? author(answer.inventory.written_by, answer.garments.length) : "";
}

function author({ model, by_model: count, problem }, all) {
  if (!all) return "";
  if (!count) return `A template wrote the sentences. ${problem || ""}`;
  return `${model} wrote ${count === all ? "the" : `${count} of ${all}`} sentences${problem ? `, a template the others. ${problem}` : "."}`;
}

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// A garment: its crop, what it is, and a bar that shows the video from there.
function row(garment, seconds) {
  const name = garment.class + (garment.sure ? "" : "?");
  const when = `${garment.first.toFixed(1)} to ${garment.last.toFixed(1)} s`;
  const bar = element("span");
  bar.style.left = `${100 * garment.first / seconds}%`;
  bar.style.right = `${100 - Math.min(100, 100 * garment.last / seconds)}%`;
  const button = element("button", { type: "button", className: "time", title: "Show it in the video" }, bar);
  button.setAttribute("aria-label", `Show ${name} in the video, ${when}`);
  button.onclick = () => { $("video").currentTime = garment.first; $("video").scrollIntoView({ block: "nearest" }); $("video").play().catch(() => {}); };
  return element("li", {},
    element("img", { src: garment.crop, alt: `Crop of garment ${garment.id}` }),
    element("div", {}, element("b", { textContent: name }), ` ${Math.round(100 * garment.confidence)} %, ${when}`),
    element("p", { textContent: garment.sentence || "" }),
    button);
}

$("file").onchange = () => { take($("file").files[0]); $("file").value = ""; };
$("sample").onclick = async () => {
  const mine = turn;
  const response = await fetch("/sample").catch(() => null);
  if (mine !== turn) return;
  if (response?.ok) take(await response.blob());
  else say("There is no sample; `make run` makes one.", true);
};
document.ondragover = (event) => { event.preventDefault(); document.body.classList.add("over"); };
document.ondragleave = () => document.body.classList.remove("over");
document.ondrop = (event) => { event.preventDefault(); document.body.classList.remove("over"); take(event.dataTransfer.files[0]); };
