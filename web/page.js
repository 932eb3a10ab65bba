"use strict";

// The function's formats and limits, copied from limits.py and image_source.py.
const FORMATS = ["JPEG", "PNG", "WEBP", "GIF", "BMP"];
const MAX_INLINE_BYTES = 4_400_000;
const MAX_PIXELS = 25_000_000;
const MAX_SIDE = 65_535;
// A photo in another format, over these limits or of more than SLOW_BYTES is sent as a JPEG of at most SMALL_SIDE
// pixels a side.
const SLOW_BYTES = 2_000_000;
const SMALL_SIDE = 1600;
const JPEG_QUALITY = 0.92;
// Longer than API Gateway's own limit of 29 seconds.
const PATIENCE_SECONDS = 40;

// The formats that the page knows, with a pattern for a file's first bytes, which are read as Latin-1.
const STARTS = [
  ["JPEG", /^\xff\xd8/],
  ["PNG", /^\x89PNG/],
  ["WEBP", /^RIFF.{4}WEBP/s],
  ["GIF", /^GIF8/],
  ["BMP", /^BM/],
  ["AVIF", /^.{4}ftyp.{0,32}?avi[fs]/s],
  ["HEIC", /^.{4}ftyp.{0,32}?(hei[cmsx]|hev[cmsx]|mif1|msf1)/s],
  ["TIFF", /^(II\*\0|MM\0\*)/],
  ["PDF", /^%PDF-/],
  ["web page", /^(\xef\xbb\xbf)?\s*<(!doctype html|html)\b/i],
  ["SVG", /^(\xef\xbb\xbf)?\s*<([?!].{0,1000}?<)?svg\b/is],
];
// Advice for files in a format that the function does not take and the browser cannot decode, as in image_source.py.
const ADVICE = {
  AVIF: "This is an AVIF photo; export it as JPEG.",
  HEIC: "This is a HEIC photo, as iPhones make; export it as JPEG.",
  TIFF: "This is a TIFF photo; export it as JPEG.",
  PDF: "This is a PDF document; export the photo in it as JPEG.",
  "web page": "This is a web page; send the address of the photo itself.",
  SVG: "This is an SVG drawing; export it as JPEG.",
};
// Hosts on this machine or a local network. A link must not make a visitor send requests to them.
const LOCAL_NUMBER = /^(127|0|10|192\.168|169\.254|172\.(1[6-9]|2\d|3[01]))\.|^\[/;
const LOCAL_NAME = /(^[^.]+|\.localhost|\.local|\.internal)\.?$/;

const $ = (id) => document.getElementById(id);
const parameters = new URLSearchParams(location.search);
const isFramed = window.top !== window;
const endpointText = parameters.get("endpoint") || "predict";
const endpoint = readEndpoint();
const NO_ENDPOINT = `The endpoint in this page's link is not a web address: ${endpointText}`;
const KEY_NAME = `API key of ${endpoint?.href}`; // stored per endpoint, so that a key is never sent to another one

const WORDS = { waiting: "Waiting…", busy: "Asking…", failed: "No answer" };

let photos = []; // from this visit, the oldest first
let shown = null; // the photo whose answer the page shows, one of `photos`
let calibration = null; // {temperature, unsureBelow} from metrics.json

start();

function start() {
  if (isFramed) return refuseFrame();
  $("endpoint").textContent = endpoint ? endpoint.href : endpointText;
  $("host").textContent = $("key-host").textContent = endpoint ? endpoint.host : "no host";
  $("elsewhere").hidden = !endpoint || endpoint.origin === location.origin;
  $("error").textContent = endpoint ? "" : NO_ENDPOINT;
  $("key").value = tabStorage()?.getItem(KEY_NAME) || "";
  $("access").open = Boolean($("key").value);
  $("paste").hidden = !navigator.clipboard?.read;
  listenToControls();
  listenToDrops();
  if (parameters.get("url")) openLink(parameters.get("url"));
}

// A page that frames this one could cover it and trick visitors into clicking. Show a link instead.
function refuseFrame() {
  const link = element("a", { href: location.href, target: "_blank", rel: "noopener" }, "Open this page in its own window.");
  $("answer").parentElement.replaceChildren(link);
}

// Return the storage that lasts until this tab is closed, or null if the browser blocks it.
function tabStorage() {
  try {
    return sessionStorage;
  } catch {
    return null;
  }
}

function listenToControls() {
  $("file").onchange = $("camera").onchange = (event) => {
    askAll([...event.target.files].map(fromFile));
    event.target.value = ""; // so that the same file can be chosen again
  };
  $("address").onsubmit = (event) => {
    event.preventDefault();
    askAddress($("url").value);
  };
  for (const button of $("samples").children) button.onclick = () => askAll([fromSample(button.firstElementChild)]);
  for (const button of document.querySelectorAll("[data-copy]")) button.onclick = () => copy(button.dataset.copy);
  $("shoot").onclick = openCamera;
  $("paste").onclick = paste;
  $("take").onclick = takePhoto;
  $("leave").onclick = () => $("viewfinder").close();
  $("viewfinder").onclose = stopCamera;
  $("action").onclick = () => (isPending(shown) ? cancelAll() : run(shown));
  $("retry").onclick = () => runAll(photos.filter(hasFailed));
  $("raw").onchange = showScores;
  $("key").oninput = () => tabStorage()?.setItem(KEY_NAME, readKey());
  $("clear").onclick = clear;
}

function listenToDrops() {
  document.onpaste = (event) => askTransfer(event, event.clipboardData);
  document.ondragover = (event) => {
    event.preventDefault();
    $("over").hidden = !event.dataTransfer.types.some((type) => type === "Files" || type === "text/uri-list");
  };
  document.ondragleave = (event) => ($("over").hidden = !event.relatedTarget);
  document.ondrop = (event) => {
    $("over").hidden = true;
    askTransfer(event, event.dataTransfer);
  };
}

// Return the endpoint as a URL, or null if it is not a web address.
function readEndpoint() {
  try {
    const url = new URL(endpointText, location.href);
    return /^https?:$/.test(url.protocol) ? url : null;
  } catch {
    return null;
  }
}

// ---- Where photos come from

function fromFile(file) {
  return { name: file.name || "photo", load: async () => file, preview: URL.createObjectURL(file) };
}

function fromSample(image) {
  const load = async (signal) => {
    const response = await fetch(image.src, { signal: AbortSignal.any([signal, inTime()]) }).catch(() => null);
    if (!response?.ok) throw new Error(noConnection("The sample could not be loaded"));
    return response.blob();
  };
  return { name: image.src.split("/").pop(), load, preview: image.src };
}

function fromAddress(url) {
  return { name: url.pathname.split("/").pop() || url.host, url: url.href, preview: url.href };
}

// Return the URL of a typed address, with https:// if it has no scheme; throw an Error.
function readAddress(text) {
  const address = text.trim();
  const noAddress = new Error(address ? `This is not a web address: ${address}` : "Type the address of a photo first.");
  const hasScheme = /^[a-z][a-z0-9+.-]*:(\/\/|[^0-9])/i.test(address);
  let url;
  try {
    url = new URL(hasScheme ? address : `https://${address}`);
  } catch {
    throw noAddress;
  }
  if (url.hostname.includes("%")) throw noAddress; // for example words with spaces
  if (!/^https?:$/.test(url.protocol)) throw new Error("The address must begin with https:// or http://.");
  return url;
}

function askAddress(text) {
  try {
    askAll([fromAddress(readAddress(text))]);
  } catch (error) {
    $("notice").textContent = error.message;
  }
}

// Ask about the photo that this page's own address names, unless the link could do harm.
function openLink(text) {
  $("url").value = text;
  let url;
  try {
    url = readAddress(text);
  } catch (error) {
    $("notice").textContent = error.message;
    return;
  }
  // Over http, a public name could lead to a server on this machine. Over https, that server would need a certificate
  // for the name.
  if (parameters.has("endpoint") || url.protocol !== "https:" || isLocal(url)) {
    $("notice").textContent = "This link cannot start a request by itself. Press Classify if you trust it.";
  } else {
    askAll([fromAddress(url)]);
  }
}

function isLocal({ hostname }) {
  return LOCAL_NUMBER.test(hostname) || LOCAL_NAME.test(hostname);
}

function askTransfer(event, transfer) {
  const text = (transfer.getData("text/uri-list") || transfer.getData("text/plain")).trim();
  if (transfer.files.length) askAll([...transfer.files].map(fromFile));
  else if (event.target.tagName !== "INPUT" && isAddress(text)) askAddress(text);
  else return; // for example text pasted into the field
  event.preventDefault();
}

function isAddress(text) {
  return /^(https?:\/\/\S+|[a-z0-9-]+(\.[a-z0-9-]+)+(:\d+)?\/\S+)$/i.test(text);
}

async function paste() {
  try {
    const files = [];
    for (const item of await navigator.clipboard.read()) {
      const type = item.types.find((type) => type.startsWith("image/")) || item.types.find((type) => type === "text/plain");
      if (type) files.push(await item.getType(type));
    }
    const images = files.filter((file) => file.type.startsWith("image/"));
    if (images.length) askAll(images.map(fromFile));
    else if (files.length) askAddress(await files[0].text());
    else $("notice").textContent = "The clipboard has no photo or address.";
  } catch {
    $("notice").textContent = "Your browser does not let this page read the clipboard; press Ctrl+V (⌘V on a Mac) instead.";
  }
}

// Open a phone's camera app, or show the picture of this computer's camera.
async function openCamera() {
  if (matchMedia("(pointer: coarse)").matches || !navigator.mediaDevices) return $("camera").click();
  try {
    const video = { facingMode: "environment", width: { ideal: SMALL_SIDE } };
    $("video").srcObject = await navigator.mediaDevices.getUserMedia({ video });
  } catch (error) {
    const isForbidden = error.name === "NotAllowedError";
    const missing = "There is no camera, or another program is using it.";
    $("notice").textContent = isForbidden ? "Your browser does not let this page use the camera." : missing;
    return;
  }
  $("viewfinder").showModal();
  await $("video").play();
}

async function takePhoto() {
  const video = $("video");
  if (!video.videoWidth) return; // there is no picture yet
  const photo = await toJpeg(video, video.videoWidth, video.videoHeight);
  $("viewfinder").close();
  askAll([fromFile(new File([photo], "camera.jpg", { type: photo.type }))]);
}

function stopCamera() {
  for (const track of $("video").srcObject?.getTracks() || []) track.stop();
  $("video").srcObject = null;
}

// ---- Preparing photos

// Return the file itself if the function takes it and it is small, otherwise a JPEG made from it; throw an Error.
async function prepare(file) {
  if (!file.size) throw new Error("The file is empty.");
  const format = await readFormat(file);
  const image = await readImage(file, format);
  if (!image) {
    if (ADVICE[format]) throw new Error(ADVICE[format]);
    if (file.size > MAX_INLINE_BYTES) throw new Error("This browser cannot read that file as a photo.");
    return file; // the function will say what is wrong
  }
  const [width, height] = [image.naturalWidth || SMALL_SIDE, image.naturalHeight || SMALL_SIDE];
  const fits = width * height <= MAX_PIXELS && Math.max(width, height) <= MAX_SIDE;
  return FORMATS.includes(format) && fits && file.size <= SLOW_BYTES ? file : toJpeg(image, width, height);
}

async function readFormat(file) {
  let bytes;
  try {
    bytes = new Uint8Array(await file.slice(0, 1100).arrayBuffer());
  } catch {
    throw new Error("This browser cannot read that file.");
  }
  const text = String.fromCharCode(...bytes);
  return STARTS.find(([, start]) => start.test(text))?.[0];
}

// Return the decoded image in a file, or null if this browser cannot decode it.
async function readImage(file, format) {
  const image = new Image();
  const source = URL.createObjectURL(format === "SVG" ? new Blob([file], { type: "image/svg+xml" }) : file);
  try {
    image.src = source;
    await image.decode();
    return image;
  } catch {
    return null;
  } finally {
    URL.revokeObjectURL(source);
  }
}

// Return an upright JPEG of an image or a video's current picture, with at most SMALL_SIDE pixels a side.
async function toJpeg(picture, width, height) {
  const scale = Math.min(1, SMALL_SIDE / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = "white"; // the background of transparent images
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  const jpeg = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", JPEG_QUALITY));
  if (!jpeg) throw new Error("This browser cannot make that photo smaller.");
  return jpeg;
}

function toBase64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.split(",")[1] || "");
    reader.onerror = () => reject(new Error("This browser cannot read that file."));
    reader.readAsDataURL(blob);
  });
}

// ---- Asking

// Add photos to the history, show the first of them, and ask about each.
function askAll(added) {
  if (!added.length) return;
  $("notice").textContent = "";
  for (const photo of added) Object.assign(photo, { image: makeImage(photo.preview), item: makeItem(photo) });
  photos.push(...added);
  $("strip").append(...added.map((photo) => photo.item));
  runAll(added);
  show(added[0]);
}

// Ask about photos one after another, because the function answers one request at a time.
async function runAll(waiting) {
  for (const photo of waiting) update(photo, { state: "waiting", step: "Waiting for its turn" });
  for (const photo of waiting) if (photo.state === "waiting") await run(photo);
}

async function run(photo) {
  const running = new AbortController();
  update(photo, { state: "busy", running, step: "Preparing the photo", share: null, error: "" });
  const mine = () => photo.running === running;
  try {
    if (!endpoint) throw new Error(NO_ENDPOINT);
    const request = await makeRequest(photo, running.signal);
    if (!mine()) return;
    const onProgress = (step, share) => mine() && update(photo, { step, share });
    const answer = readAnswer(await post(request, running.signal, onProgress));
    calibration ??= await readCalibration();
    if (mine()) update(photo, { state: "done", ...answer });
  } catch (error) {
    if (mine()) update(photo, { state: "failed", error: error.message });
  }
}

function inTime() {
  return AbortSignal.timeout(1000 * PATIENCE_SECONDS);
}

function noConnection(what) {
  return `${what}${navigator.onLine ? "" : "; this device is offline"}.`;
}

// Return the request for a photo as JSON. If a JPEG was made from the photo, show that JPEG.
async function makeRequest(photo, signal) {
  if (photo.url) return JSON.stringify({ url: photo.url });
  const file = await photo.load(signal);
  const sent = await prepare(file);
  if (sent !== file && !signal.aborted) replacePreview(photo, sent);
  return JSON.stringify({ image: await toBase64(sent) });
}

// Replace a photo's preview with the JPEG that is sent in its place.
function replacePreview(photo, jpeg) {
  forget(photo);
  photo.isConverted = true;
  photo.preview = URL.createObjectURL(jpeg);
  photo.image.src = photo.item.querySelector("img").src = photo.preview;
}

// POST to the endpoint and return {request, milliseconds} of its answer; throw an Error whose message is a sentence.
function post(body, signal, onProgress) {
  const request = openRequest();
  const started = performance.now();
  return new Promise((resolve, reject) => {
    const fail = (message) => reject(new Error(message));
    let patience;
    const moved = (step, share) => {
      clearTimeout(patience);
      patience = setTimeout(giveUp, 1000 * PATIENCE_SECONDS);
      onProgress(step, share);
    };
    const giveUp = () => {
      fail(`The request was stopped after ${PATIENCE_SECONDS} seconds without progress.`);
      request.abort();
    };
    request.upload.onprogress = ({ loaded, total }) => moved("Sending", loaded / total);
    request.upload.onload = () => moved("Waiting for the answer", null);
    request.onload = () => resolve({ request, milliseconds: performance.now() - started });
    request.onerror = () => fail(unreachable());
    request.onabort = () => fail("You cancelled this.");
    request.onloadend = () => clearTimeout(patience);
    signal.onabort = () => request.abort();
    moved("Sending", 0);
    request.send(body);
  });
}

function openRequest() {
  const request = new XMLHttpRequest(); // fetch does not report upload progress
  request.open("POST", endpoint);
  request.setRequestHeader("Content-Type", "application/json");
  if (readKey()) request.setRequestHeader("X-Api-Key", readKey());
  return request;
}

// Return the API key that was typed, without characters that a header cannot contain.
function readKey() {
  return $("key").value.replace(/[^\x21-\x7e]/g, "");
}

function unreachable() {
  const advice = " It may be down, or its CORS_ORIGIN setting may not allow this site.";
  return noConnection("The function cannot be reached") + (endpoint.origin === location.origin ? "" : advice);
}

// Return {scores, milliseconds, timing} of an answer; throw an Error if the answer has no scores.
function readAnswer({ request, milliseconds }) {
  let answer;
  try {
    answer = JSON.parse(request.responseText);
  } catch {
    throw new Error(`${endpoint.host} answered HTTP ${request.status} without JSON. Check the endpoint's address.`);
  }
  const error = answer?.error || answer;
  const message = error?.message || error?.Message; // function URLs spell it with a capital M
  if (error?.code === "INVALID_API_KEY") {
    $("access").open = true;
    throw new Error("This API needs a valid key. Enter it under “API key”.");
  }
  const isScores = answer && Object.keys(answer).length && Object.values(answer).every(Number.isFinite);
  if (request.status !== 200 || !isScores) {
    throw new Error(message || `The function answered HTTP ${request.status} without scores.`);
  }
  return { scores: answer, milliseconds, timing: request.getResponseHeader("Server-Timing") || "" };
}

// Return {temperature, unsureBelow} from metrics.json, or null if it cannot be read.
async function readCalibration() {
  try {
    const response = await fetch("../metrics.json", { signal: inTime() });
    const metrics = await response.json();
    const [temperature, unsureBelow] = [metrics["temperature"], metrics["not sure below"]];
    return temperature > 0 && unsureBelow >= 0 ? { temperature, unsureBelow } : null;
  } catch {
    return null;
  }
}

function isPending(photo) {
  return photo.state === "waiting" || photo.state === "busy";
}

function hasFailed(photo) {
  return photo.state === "failed";
}

function cancelAll() {
  for (const photo of photos.filter(isPending)) {
    const { running } = photo;
    update(photo, { state: "failed", running: null, error: "You cancelled this." });
    running?.abort();
  }
}

// Forget every photo and answer.
function clear() {
  cancelAll();
  photos.forEach(forget);
  photos = [];
  shown = null;
  $("strip").replaceChildren();
  render();
  $("file").focus();
}

function forget(photo) {
  if (photo.preview.startsWith("blob:")) URL.revokeObjectURL(photo.preview);
}

// ---- What the scores mean

// Return [{name, score, share}], the likeliest class first. Each share is a probability, or null without a calibration.
function rank(scores) {
  const names = Object.keys(scores).sort((a, b) => scores[b] - scores[a]);
  if (!calibration) return names.map((name) => ({ name, score: scores[name], share: null }));
  const powers = names.map((name) => Math.exp((scores[name] - scores[names[0]]) / calibration.temperature));
  const sum = powers.reduce((a, b) => a + b);
  return names.map((name, number) => ({ name, score: scores[name], share: powers[number] / sum }));
}

function isUnsure([first]) {
  return first.share !== null && first.share < calibration.unsureBelow;
}

function percent(share) {
  return share >= 0.995 ? "over 99 %" : `${(100 * share).toFixed(0)} %`;
}

// Return [verdict, detail], the texts that sum up ranked classes.
function judge(ranked) {
  const [first] = ranked;
  if (first.share === null) return [first.name, `score ${first.score.toFixed(2)}`];
  if (!isUnsure(ranked)) return [first.name, `${percent(first.share)} likely`];
  const guesses = ranked.slice(0, 3).map(({ name, share }) => `${name} ${percent(share)}`);
  return ["Not sure", `perhaps ${guesses.join(", ")}`];
}

// ---- Showing

function update(photo, changes) {
  Object.assign(photo, changes);
  showItem(photo);
  showBatch();
  if (photo === shown) render();
}

// Show a photo with its answer.
function show(photo) {
  shown = photo;
  photos.forEach(showItem);
  render();
  const { top } = $("answer").getBoundingClientRect();
  if (top < 0 || top > innerHeight / 3) $("answer").scrollIntoView();
}

// Update everything that depends on which photo is shown, so that nothing on the page belongs to another photo.
function render() {
  const state = shown ? shown.state : "empty";
  const isDone = state === "done";
  const hadFocus = document.activeElement;
  $("empty").hidden = state !== "empty";
  $("wait").hidden = !shown || !isPending(shown);
  $("action").hidden = !shown || isDone;
  $("action").textContent = shown && isPending(shown) ? "Cancel" : "Try again";
  $("history").hidden = photos.length < 2;
  $("clear").hidden = !shown;
  $("scores").hidden = $("share").hidden = !isDone;
  setText($("error"), state === "failed" ? shown.error : "");
  $("photo").replaceChildren(...(shown ? [shown.image] : []));
  setText($("name"), shown ? shown.name : "");
  showVerdict(state);
  if (!$("wait").hidden) showProgress();
  if (isDone) showAnswer();
  if (hadFocus === $("action") && isDone) $("status").focus(); // the button that had the focus is hidden now
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text; // screen readers would read the same text again
}

function showVerdict(state) {
  const [verdict, detail] = state === "done" ? judge(rank(shown.scores)) : [WORDS[state]];
  const parts = verdict ? [element("strong", { id: "verdict" }, verdict)] : [];
  if (detail) parts.push(element("span", { className: "unseen" }, ", "), element("span", { id: "detail" }, detail));
  const text = parts.map((part) => part.textContent).join("");
  if ($("status").textContent !== text) $("status").replaceChildren(...parts);
}

function showProgress() {
  const isSending = Number.isFinite(shown.share) && shown.share < 1;
  $("step").textContent = shown.step + (isSending ? `, ${Math.round(100 * shown.share)} %` : "");
  if (isSending) $("progress").value = shown.share;
  else $("progress").removeAttribute("value");
}

function showAnswer() {
  showScores();
  showTimes();
  $("save").hidden = Boolean(shown.url);
  if (!shown.url) Object.assign($("save"), { href: shown.preview, download: sentName(shown) });
  $("link").hidden = !shown.url || isLocal(new URL(shown.url));
  $("copied").textContent = "";
  $("snippet").hidden = true;
}

function showScores() {
  const ranked = rank(shown.scores);
  const isRaw = $("raw").checked || !calibration;
  $("raw").parentElement.hidden = !calibration;
  $("uncalibrated").hidden = Boolean(calibration);
  $("caption").textContent = isRaw ? "Raw score of each class" : "Probability of each class";
  $("bars").replaceChildren(...ranked.map(({ name, score, share }) => {
    const bar = element("div");
    if (!isRaw) bar.style.width = `${100 * share}%`;
    return element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, ...(isRaw ? [] : [bar])),
      element("td", {}, isRaw ? score.toFixed(2) : `${(100 * share).toFixed(1)} %`));
  }));
}

// Show the milliseconds that the function measured, and what the network and waiting added to them.
function showTimes() {
  const parts = [...shown.timing.matchAll(/(\w+);dur=([\d.]+)/g)].map(([, name, ms]) => [name, Number(ms)]);
  const order = ["inference", "decode", "download"];
  parts.sort(([a], [b]) => order.indexOf(a) - order.indexOf(b));
  const rest = shown.milliseconds - parts.reduce((sum, [, ms]) => sum + ms, 0);
  if (parts.length) parts.push(["network and waiting", Math.max(0, rest)]);
  parts.push(["in total", shown.milliseconds]);
  const seen = parts.filter(([, ms]) => ms >= 0.5);
  const items = seen.map(([name, ms]) => element("li", {}, element("b", {}, `${Math.round(ms)} ms`), ` ${name}`));
  if (/\b(cold|restored)\b/.test(shown.timing)) items.push(element("li", {}, "Cold start: the function had to start first."));
  $("times").replaceChildren(...items);
}

// Return the large image of a photo. It is hidden if the browser cannot show it.
function makeImage(source) {
  const image = element("img", { alt: "The selected photo", src: source });
  image.onerror = () => (image.hidden = true);
  image.onload = () => (image.hidden = false);
  return image;
}

// Return the list item of a photo in the history.
function makeItem(photo) {
  const image = element("img", { alt: "", src: photo.preview });
  image.onerror = () => (image.className = "blank");
  image.onload = () => (image.className = "");
  const spans = [element("span"), element("span"), element("span", { className: "unseen" }, `, ${photo.name}`)];
  const button = element("button", { type: "button", title: photo.name, onclick: () => show(photo) }, image, ...spans);
  return element("li", {}, button);
}

function showItem(photo) {
  const button = photo.item.firstElementChild;
  const [verdict, share] = button.querySelectorAll("span");
  button.setAttribute("aria-current", photo === shown);
  button.className = photo.state;
  setText(verdict, photo.state === "done" ? judge(rank(photo.scores))[0] : WORDS[photo.state]);
  setText(share, photo.state === "done" && calibration ? percent(rank(photo.scores)[0].share) : "");
}

function showBatch() {
  const pending = photos.filter(isPending).length;
  const failed = photos.filter(hasFailed).length;
  const answered = `${photos.length - failed} of ${photos.length} photos answered.`;
  setText($("batch"), pending ? `Asking about ${photos.length} photos…` : answered);
  $("retry").hidden = pending > 0 || failed < 2;
  $("retry").textContent = `Retry ${failed} failed photos`;
}

function element(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

// ---- Copying

async function copy(what) {
  const text = what === "link" ? makeLink(shown) : makeSnippet(what, shown);
  $("snippet").textContent = text;
  $("snippet").hidden = false;
  try {
    await navigator.clipboard.writeText(text);
    $("copied").textContent = what === "link" ? "Link copied." : `Request copied as ${what}.`;
  } catch {
    $("copied").textContent = "Your browser does not let this page copy. Copy the text below yourself.";
  }
}

// Return a link to this page that asks about the same photo.
function makeLink(photo) {
  const link = new URL(location.pathname, location.href);
  if (parameters.has("endpoint")) link.searchParams.set("endpoint", endpointText);
  link.searchParams.set("url", photo.url);
  return link.href;
}

// Return the file name of the photo as it was sent. It ends in -sent.jpg if the page made a JPEG from the photo.
function sentName(photo) {
  return photo.isConverted ? `${photo.name.replace(/\.[^.]*$/, "")}-sent.jpg` : photo.name;
}

// Return code that repeats the request for a photo. The code does not contain the API key.
function makeSnippet(language, photo) {
  const parts = { photo: sentName(photo), url: photo.url, hasKey: Boolean(readKey()) };
  return { curl: makeCurl, Python: makePython, JavaScript: makeJavaScript }[language](parts);
}

function quoteForShell(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function makeCurl({ photo, url, hasKey }) {
  const key = hasKey ? ` -H "X-Api-Key: $PREDICT_API_KEY"` : "";
  const ask = `curl -sS -H 'Content-Type: application/json'${key} -d @- ${quoteForShell(endpoint.href)}`;
  if (url) return `printf '%s' ${quoteForShell(JSON.stringify({ url }))} |\n  ${ask}`;
  return `printf '{"image": "%s"}' "$(base64 < ${quoteForShell(`./${photo}`)} | tr -d '\\n')" |\n  ${ask}`;
}

function makePython({ photo, url, hasKey }) {
  const lines = url ? [] : ["import base64"];
  if (hasKey) lines.push("import os");
  lines.push("import requests", "");
  if (!url) {
    lines.push(`with open(${JSON.stringify(photo)}, "rb") as photo:`);
    lines.push("    image = base64.b64encode(photo.read()).decode()", "");
  }
  const request = url ? `{"url": ${JSON.stringify(url)}}` : '{"image": image}';
  const key = hasKey ? ', headers={"X-Api-Key": os.environ["PREDICT_API_KEY"]}' : "";
  lines.push(`answer = requests.post(${JSON.stringify(endpoint.href)}, json=${request}${key}, timeout=60)`);
  lines.push("print(answer.json())");
  return lines.join("\n");
}

function makeJavaScript({ photo, url, hasKey }) {
  const lines = url ? [] : ['import { readFile } from "node:fs/promises"; // Node.js; save this file as ask.mjs', ""];
  if (!url) lines.push(`const image = (await readFile(${JSON.stringify(photo)})).toString("base64");`);
  const key = hasKey ? ', "X-Api-Key": process.env.PREDICT_API_KEY' : "";
  lines.push(
    `const response = await fetch(${JSON.stringify(endpoint.href)}, {`,
    '  method: "POST",',
    `  headers: { "Content-Type": "application/json"${key} },`,
    `  body: JSON.stringify({ ${url ? `url: ${JSON.stringify(url)}` : "image"} }),`,
    "});",
    "console.log(await response.json());",
  );
  return lines.join("\n");
}
