"use strict";
const byId = id => document.getElementById(id);
const WAIT_MS = 250, LIMIT_MS = 35000, RETRIES = 6, HAN = /\p{Script=Han}/u, SAMPLE = "我昨天在图书馆看了一本有意思的书。你想借吗？";
const IN_EXTENSION = location.protocol === "chrome-extension:";
let current = 0, timer, analysis;

/** Return a script's address: beside the page, or where the extension's settings say. */
function address(script) {
  return IN_EXTENSION ? new URL(script, `${byId("api").value || byId("api").placeholder}/`) : script;
}

/** Return what a script answers; throw an Error whose message is for the reader. */
async function ask(script, request) {
  for (let attempt = 1; ; ++attempt) {
    let response;
    try {
      response = await fetch(address(script), {method: "POST", body: JSON.stringify(request),
        headers: {"Content-Type": "application/json"}, signal: AbortSignal.timeout(LIMIT_MS)});
    } catch (error) {
      throw new Error(error.name === "TimeoutError" ? "There was no answer in time. Change the text to try again."
        : "The functions cannot be reached. Change the text to try again.");
    }
    const answer = await response.json().catch(() => ({}));
    if (response.ok) return answer;
    if (response.status !== 503 || attempt > RETRIES) throw new Error(answer.error?.message ?? answer.message ?? `Status ${response.status}`);
    say("A model is being copied…");  // happens at the first use after a deployment
    await new Promise(resolve => setTimeout(resolve, 1000 * (response.headers.get("Retry-After") ?? 5)));
  }
}

function say(text, isError = false) {
  byId("status").textContent = text;
  byId("status").classList.toggle("error", isError);
}

function element(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

function clear() {
  analysis = undefined;
  for (const id of ["words", "word", "translation", "credits"]) byId(id).replaceChildren();
  byId("share").hidden = true;
}

const percent = share => `${Math.floor(100 * share)} %`;

function levelOf(word) {
  return word.name ? "a name" : word.level ? `HSK ${word.level}${word.listed ? "" : ", by its parts"}` : "in no HSK list";
}

function drawWord(word) {
  if (!word.pinyin) return word.text;
  const button = element("button", {type: "button", className: word.level && !word.listed ? "word made" : "word"}, word.text);
  if (word.level) button.style.setProperty("--level", `var(--level-${word.level})`);
  button.dataset.level = word.level ?? "";
  button.setAttribute("aria-label", `${word.text}, ${word.pinyin}, ${levelOf(word)}: ${word.glosses.join("; ")}`);
  const show = () => byId("word").replaceChildren(
    element("strong", {}, `${word.text} ${word.pinyin}`), ` · ${levelOf(word)}`,
    element("div", {}, word.glosses.join("; ") || "This word is not in the dictionary."));
  for (const name of ["mouseenter", "focus", "click"]) button.addEventListener(name, show);
  return button;
}

function drawShares() {
  const {shares, level} = analysis;
  byId("share").hidden = !Object.keys(shares).length;
  if (byId("share").hidden) return;
  byId("verdict").textContent = `You know ${percent(shares[byId("known").value])} of the words. ` +
    (level ? `With HSK ${level} you would know at least 95 %.` : "No level covers 95 % of them.");
  byId("levels").replaceChildren(...Object.entries(shares).map(([name, share]) => {
    const item = element("li", {}, `HSK ${name}: ${percent(share)}`);
    item.style.setProperty("--level", `var(--level-${name})`);
    return item;
  }));
}

function drawAnalysis(answer) {
  analysis = answer;
  byId("words").replaceChildren(...answer.words.map(drawWord));
  byId("credits").textContent = answer.credits;
  drawShares();
}

async function read() {
  const number = ++current, text = byId("text").value;
  if (!text.trim()) { clear(); say("Type or paste a text."); return; }
  const isChinese = HAN.test(text);
  const [source, target] = isChinese ? ["zh", "en"] : ["en", "zh"];
  const syllabus = byId("syllabus").value;
  say("Reading…");
  const draw = (task, action) => task.then(answer => { if (number === current) action(answer); });
  const translated = ask("translate", {text, source, target});
  const segmented = isChinese ? ask("segment", {text, syllabus})
    : translated.then(answer => ask("segment", {text: answer.translation, syllabus}));
  // Each result is shown as soon as it arrives. If one fails, the other stays.
  const drawn = await Promise.allSettled([
    draw(segmented, drawAnalysis),
    draw(translated, answer => {
      byId("translation").textContent = answer.translation;
      byId("translation").lang = target;
    }),
  ]);
  if (number !== current) return;
  const faults = drawn.map(each => each.reason?.message);
  if (faults[0]) { const kept = byId("translation").textContent; clear(); if (!faults[1]) byId("translation").textContent = kept; }
  if (faults[1]) byId("translation").replaceChildren();
  setOld(false);
  const told = faults.find(Boolean) ?? "";
  say(told, Boolean(told));
}

function setOld(isOld) {
  for (const id of ["words", "translation", "share"]) byId(id).classList.toggle("old", isOld);
}

function later() {
  ++current;  // drops answers to older text
  setOld(true);
  clearTimeout(timer);
  timer = setTimeout(read, WAIT_MS);
}

for (const id of ["text", "syllabus", "api"]) byId(id).addEventListener("input", later);
byId("known").addEventListener("input", () => {
  localStorage.setItem("known", byId("known").value);
  if (analysis) drawShares();
});
byId("api").addEventListener("change", () => localStorage.setItem("api", byId("api").value));
byId("known").value = localStorage.getItem("known") ?? "3";
byId("settings").hidden = !IN_EXTENSION;
byId("api").value = localStorage.getItem("api") ?? "";
byId("text").value = decodeURIComponent(location.hash.slice(1)) || SAMPLE;
read();
