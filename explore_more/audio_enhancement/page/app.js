// Record or choose a recording, let a job enhance it, and compare both.
"use strict";
const $ = (id) => document.getElementById(id);
const api = (new URLSearchParams(location.search).get("api") || "").replace(/\/$/, "");
const POLL_MS = 500;
const MAX_DRAWN_SECONDS = 600; // a phone's memory holds no more decoded sound
let turn = 0; // the number of the newest request; only its answer is shown
let recorder = null;
let sounds = null; // {before, after}: audio elements
let heard = "after";

if (api) $("host").textContent = `Recordings are sent to ${new URL(api, location.href).host}.`;

function say(text, isError = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
}

async function ask(method, url, body) {
  const headers = typeof body === "string" ? { "Content-Type": "application/json" } : {};
  let response;
  try {
    response = await fetch(url.startsWith("/") ? api + url : url, { method, body, headers });
  } catch {
    throw new Error("The server cannot be reached; check the connection and try again.");
  }
  const isJson = (response.headers.get("Content-Type") || "").includes("json");
  if (response.ok) return isJson ? response.json() : response.blob();
  const answer = isJson ? await response.json() : {};
  throw new Error(answer.error?.message || `The server answered with status ${response.status}; try again.`);
}

// Resolve with the job when it has ended. A socket, if there is one, reports changes at once; polling always works.
async function wait(job, mine) {
  let told = null;
  const socket = job.socket ? new WebSocket(job.socket) : null;
  if (socket) socket.onmessage = (message) => { told = JSON.parse(message.data); };
  try {
    for (;;) {
      const seen = told || await ask("GET", `/jobs/${job.id}`);
      told = null;
      if (mine !== turn || seen.state === "done" || seen.state === "failed") return seen;
      if (seen.progress) $("progress").value = seen.progress; else $("progress").removeAttribute("value");
      say(seen.progress ? `Enhancing: ${Math.round(100 * seen.progress)} %` : "Enhancing …");
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  } finally {
    socket?.close();
  }
}

async function enhance(recording) {
  const mine = ++turn;
  stop();
  $("result").hidden = true;
  $("progress").hidden = false;
  $("progress").removeAttribute("value");
  say("Uploading …");
  try {
    if (!recording.size) throw new Error("The recording is empty; record or choose another.");
    const job = await ask("POST", "/jobs", JSON.stringify({ upload: recording.size }));
    await ask("PUT", job.upload, new Blob([recording])); // without a type: the link is not signed for one
    await ask("POST", `/jobs/${job.id}`);
    const ended = await wait(job, mine);
    if (mine !== turn) return;
    if (ended.state === "failed") throw new Error(ended.error.message);
    const enhanced = await ask("GET", ended.result.url);
    if (mine !== turn) return;
    await show(recording, enhanced, ended.result, mine);
  } catch (error) {
    if (mine === turn) say(error.message, true);
  } finally {
    if (mine === turn) $("progress").hidden = true;
  }
}

async function show(recording, enhanced, result, mine) {
  if (sounds) Object.values(sounds).forEach((sound) => URL.revokeObjectURL(sound.src));
  sounds = { before: new Audio(URL.createObjectURL(recording)), after: new Audio(URL.createObjectURL(enhanced)) };
  for (const sound of Object.values(sounds)) {
    sound.ontimeupdate = moved;
    sound.onended = () => { stop(); };
  }
  $("download").href = sounds.after.src;
  $("download").download = `enhanced.${result.format}`;
  $("position").max = result.seconds;
  listen("after");
  moved();
  $("result").hidden = false;
  say("Done");
  const drawable = result.seconds <= MAX_DRAWN_SECONDS;
  for (const [name, blob] of [["before", recording], ["after", enhanced]]) {
    const canvas = $(`spectrum-${name}`);
    canvas.parentElement.hidden = !drawable;
    if (drawable) await draw(canvas, blob).catch(() => { canvas.parentElement.hidden = true; });
    if (mine !== turn) return;
  }
}

function listen(name) {
  const from = sounds[heard], to = sounds[name];
  const playing = !from.paused;
  if (name !== heard) {
    to.currentTime = from.currentTime;
    from.pause();
    if (playing) to.play();
  }
  heard = name;
  for (const side of ["before", "after"]) $(side).setAttribute("aria-pressed", String(side === name));
}

function stop() {
  if (sounds) Object.values(sounds).forEach((sound) => sound.pause());
  $("play").textContent = "Play";
}

function moved() {
  const seconds = sounds[heard].currentTime;
  if (document.activeElement !== $("position") || !sounds[heard].paused) $("position").value = seconds;
  $("time").value = `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
}

// Draw a spectrogram: the power of 512-sample windows, from -90 to -20 dB, up to 12 kHz.
async function draw(canvas, blob) {
  const context = new OfflineAudioContext(1, 1, 24000);
  const samples = (await context.decodeAudioData(await blob.arrayBuffer())).getChannelData(0);
  const size = 512, bins = size / 2, columns = canvas.width;
  const image = new ImageData(columns, bins);
  const window = Float32Array.from({ length: size }, (_, i) => 0.5 - 0.5 * Math.cos(2 * Math.PI * i / size));
  for (let column = 0; column < columns; column++) {
    const start = Math.round(column * Math.max(0, samples.length - size) / columns);
    const real = new Float32Array(size), imaginary = new Float32Array(size);
    for (let i = 0; i < size; i++) real[i] = (samples[start + i] || 0) * window[i];
    transform(real, imaginary);
    for (let bin = 0; bin < bins; bin++) {
      const power = (real[bin] ** 2 + imaginary[bin] ** 2) / (size / 4) ** 2;
      const level = Math.max(0, Math.min(1, (10 * Math.log10(power + 1e-12) + 90) / 70));
      const pixel = 4 * ((bins - 1 - bin) * columns + column);
      image.data.set([255 * level ** 1.2, 255 * Math.max(0, 2 * level - 1), 255 * Math.min(1, 1.5 * level) * (1 - level ** 4), 255], pixel);
    }
  }
  const drawing = canvas.getContext("2d");
  drawing.imageSmoothingEnabled = true;
  drawing.drawImage(await createImageBitmap(image), 0, 0, canvas.width, canvas.height);
}

// Fast Fourier transform in place; the length is a power of two.
function transform(real, imaginary) {
  const n = real.length;
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) { [real[i], real[j]] = [real[j], real[i]]; [imaginary[i], imaginary[j]] = [imaginary[j], imaginary[i]]; }
  }
  for (let length = 2; length <= n; length <<= 1) {
    for (let k = 0; k < length / 2; k++) {
      const cos = Math.cos(2 * Math.PI * k / length), sin = -Math.sin(2 * Math.PI * k / length);
      for (let i = k; i < n; i += length) {
        const j = i + length / 2;
        const a = real[j] * cos - imaginary[j] * sin, b = real[j] * sin + imaginary[j] * cos;
        real[j] = real[i] - a; imaginary[j] = imaginary[i] - b;
        real[i] += a; imaginary[i] += b;
      }
    }
  }
}

async function record() {
  if (recorder) return recorder.stop();
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: { noiseSuppression: false, echoCancellation: false } });
  } catch {
    return say("The microphone cannot be used; allow it in the browser, or choose a file.", true);
  }
  const mine = ++turn, pieces = [], started = Date.now();
  stop();
  recorder = new MediaRecorder(stream);
  recorder.ondataavailable = (event) => pieces.push(event.data);
  recorder.onstop = () => {
    clearInterval(clock);
    stream.getTracks().forEach((track) => track.stop());
    const type = recorder.mimeType;
    recorder = null;
    $("record").textContent = "Record";
    $("record").classList.remove("on");
    if (mine === turn) enhance(new Blob(pieces, { type }));
  };
  recorder.start(1000);
  $("record").textContent = "Stop";
  $("record").classList.add("on");
  const clock = setInterval(() => say(`Recording: ${Math.round((Date.now() - started) / 1000)} s`), 250);
}

function choose(file) {
  if (!file) return;
  if (recorder) { turn++; recorder.stop(); }
  enhance(file);
}

$("record").onclick = record;
$("file").onchange = () => { choose($("file").files[0]); $("file").value = ""; };
$("sample").onclick = async () => {
  try { choose(await (await fetch("/sample")).blob()); } catch { say("The sample cannot be loaded; check the connection and try again.", true); }
};
$("before").onclick = () => listen("before");
$("after").onclick = () => listen("after");
$("play").onclick = async () => {
  if (!sounds[heard].paused) return stop();
  try { await sounds[heard].play(); $("play").textContent = "Pause"; } catch { say("The browser cannot play this format; download the recording.", true); }
};
$("position").oninput = () => { sounds[heard].currentTime = Number($("position").value); moved(); };
document.ondragover = (event) => { event.preventDefault(); document.body.classList.add("over"); };
document.ondragleave = () => document.body.classList.remove("over");
document.ondrop = (event) => { event.preventDefault(); document.body.classList.remove("over"); choose(event.dataTransfer.files[0]); };
