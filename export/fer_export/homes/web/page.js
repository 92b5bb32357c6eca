const { labels, spec, options } = JSON.parse(document.getElementById("data").textContent);
const [drop, files, status, results, find, camera, live, view, video, rate, faceList, keep, table,
  save, clear] = ["drop", "files", "status", "results", "find", "camera", "live", "view", "video",
  "rate", "faces", "keep", "table", "save", "clear"].map((id) => document.getElementById(id));
const rows = [];
const MOST_SHOWN = 200;
const IN_WORK = 2;
const LIST_EVERY_MS = 100;
let stream = null;
let listed = 0;

// The worker, and requests to it.

const waiting = new Map();
let count = 0;
let worker;
let failed = null;

const textOf = (id) => document.getElementById(id).textContent;

/** Starts while the rest of the page, which is the model, is still being read. */
function startWorker() {
  const source = new Blob([textOf("worker")], { type: "text/javascript" });
  worker = new Worker(URL.createObjectURL(source));
  worker.onmessage = ({ data: { id, result, error } }) => {
    const { resolve, reject } = waiting.get(id);
    waiting.delete(id);
    if (error === undefined) resolve(result);
    else reject(new Error(error));
  };
  worker.onerror = (event) => {
    event.preventDefault();
    failed = event.message || "its worker does not start";
    for (const { reject } of waiting.values()) reject(new Error(failed));
    waiting.clear();
  };
}

async function openModel() {
  await new Promise((resolve) => { addEventListener("DOMContentLoaded", resolve); });
  await ask("open", {
    wasm: textOf("wasm"), model: textOf("model"), faces: textOf("detector"), spec,
    pixels: options.maxPixels,
  });
}

function ask(kind, request, transferred = []) {
  return new Promise((resolve, reject) => {
    if (failed !== null) throw new Error(failed);
    count += 1;
    waiting.set(count, { resolve, reject });
    worker.postMessage({ id: count, kind, ...request }, transferred);
  });
}

// Pictures.

function likeliest(probabilities) {
  return labels[probabilities.indexOf(Math.max(...probabilities))];
}

function listFaces(found, numbered, parent) {
  found.forEach(({ probabilities }, place) => {
    const item = element("li", undefined, parent);
    const label = likeliest(probabilities);
    element("strong", numbered ? `${place + 1}: ${label}` : label, item);
    bars(labels, probabilities, item);
  });
}

function addRows(name, found, hasFaces, { error = "", note = "" } = {}) {
  if (!found.length) rows.push({ path: name, error, note });
  found.forEach(({ probabilities, box, score }, place) => {
    const row = { path: name, label: likeliest(probabilities), probabilities };
    rows.push(hasFaces ? { ...row, face: place + 1, box, score } : row);
  });
  table.hidden = false;
}

function showPicture(name, bitmap, found, hasFaces) {
  const article = document.createElement("article");
  article.append(drawPicture(bitmap, name, hasFaces ? found : []));
  const side = element("div", undefined, article);
  element("h3", name, side);
  if (found.length) listFaces(found, hasFaces, element("ol", undefined, side));
  else element("p", "no face found", side);
  results.prepend(article);
  bitmap.close();
  addRows(name, found, hasFaces, { note: "no face found" });
}

function showError(name, message) {
  const article = document.createElement("article");
  const side = element("div", undefined, article);
  element("h3", name, side);
  element("p", message, side, "error");
  results.prepend(article);
  addRows(name, [], find.checked, { error: message });
}

/** A file's result, or what is wrong with it; asked for before the one ahead of it is shown. */
async function classified(file) {
  const hasFaces = find.checked;
  try {
    const result = await ask("picture", { file, options: hasFaces ? options.picture : null });
    return { ...result, hasFaces };
  } catch (error) {
    return { error: error.message };
  }
}

async function showAll(chosen) {
  let failures = 0;
  let next = chosen.length ? classified(chosen[0]) : null;
  for (const [place, { name }] of chosen.entries()) {
    status.textContent = `${place + 1} of ${chosen.length}: ${name}`;
    const { bitmap, found, hasFaces, error } = await next;
    next = place + 1 < chosen.length ? classified(chosen[place + 1]) : null;
    if (error === undefined) showPicture(name, bitmap, found, hasFaces);
    else showError(name, error);
    failures += error !== undefined;
    while (results.childElementCount > MOST_SHOWN) results.lastElementChild.remove();
  }
  const hidden = Math.max(0, rows.length - MOST_SHOWN);
  status.textContent = `${chosen.length} picture${chosen.length === 1 ? "" : "s"}` +
    (failures ? `, ${failures} without a prediction` : "") +
    (hidden ? `; the last ${MOST_SHOWN} are shown, the table has all` : "");
}

// The camera.

async function startCamera() {
  camera.disabled = true;
  try {
    if (!navigator.mediaDevices) throw new Error("the browser allows it on https and files only");
    stream = await navigator.mediaDevices.getUserMedia({
      video: {
        width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 60 }, facingMode: "user",
      },
    });
  } catch (error) {
    const reasons = {
      NotAllowedError: "the browser did not allow it", NotFoundError: "no camera was found",
      NotReadableError: "another program is using it",
    };
    status.textContent = `The camera cannot be used: ${reasons[error.name] ?? error.message}.`;
    return;
  } finally {
    camera.disabled = false;
    camera.focus();
  }
  stream.getVideoTracks()[0].addEventListener("ended", () => stopCamera());
  video.srcObject = stream;
  await video.play();
  [view.width, view.height] = [video.videoWidth, video.videoHeight];
  live.hidden = false;
  camera.textContent = "Stop the camera";
  camera.setAttribute("aria-pressed", "true");
  status.textContent = "The camera is on.";
  watch(stream);
}

function stopCamera(why = "The camera is off.") {
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  live.hidden = true;
  camera.textContent = "Start the camera";
  camera.setAttribute("aria-pressed", "false");
  status.textContent = why;
}

/** Frames while the camera is on; one waits while the worker does another, the rest are left. */
function watch(current) {
  const times = [];
  let inWork = 0;
  const next = async () => {
    if (stream !== current) return;
    video.requestVideoFrameCallback(next);
    if (inWork >= IN_WORK) return;
    inWork += 1;
    try {
      const bitmap = await createImageBitmap(video);
      showFrame(await ask("frame", { bitmap, options: options.camera }, [bitmap]), times);
    } catch (error) {
      if (stream === current) stopCamera(`The camera stopped: ${error.message}.`);
    } finally {
      inWork -= 1;
    }
  };
  video.requestVideoFrameCallback(next);
}

let shown = null;

function showFrame(frame, times) {
  if (!stream) return;
  shown?.bitmap.close();
  shown = frame;
  const context = view.getContext("2d");
  context.drawImage(frame.bitmap, 0, 0, view.width, view.height);
  drawBoxes(context, frame.found, view.width / frame.bitmap.width);
  const now = performance.now();
  times.push(now);
  while (times[0] < now - 1000) times.shift();
  if (now < listed + LIST_EVERY_MS) return;
  listed = now;
  const { length } = frame.found;
  rate.textContent = `${times.length} pictures a second, ${length} face${length === 1 ? "" : "s"}`;
  faceList.replaceChildren();
  listFaces(frame.found, true, faceList);
}

keep.addEventListener("click", async () => {
  if (!shown) return;
  const { bitmap, found } = shown;
  const name = `camera ${new Date().toISOString().replace(/\.\d+Z/, "Z")}`;
  showPicture(name, await createImageBitmap(bitmap), found, true);
  status.textContent = `kept: ${name}`;
});
camera.addEventListener("click", () => (stream ? stopCamera() : startCamera()));

// The table, with the columns of fer-infer.

function cells(row, hasFaces) {
  const face = hasFaces ? [row.face, ...(row.box ?? ["", "", "", ""]), row.score] : [];
  const values = row.probabilities ?? labels.map(() => "");
  return [
    row.path, ...face.map((value) => (Number.isFinite(value) ? value : "")), row.label ?? "",
    row.probabilities ? Math.max(...values) : "", ...values, row.error ?? "",
    ...(hasFaces ? [row.note ?? ""] : []),
  ];
}

function csv() {
  const hasFaces = rows.some((row) => row.face || row.note);
  const quoted = (value) => {
    const text = typeof value === "number" && !Number.isInteger(value)
      ? value.toFixed(6) : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const header = options.columns[hasFaces ? "faces" : "plain"];
  return [header, ...rows.map((row) => cells(row, hasFaces))]
    .map((line) => line.map(quoted).join(",") + "\n").join("");
}

save.addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  link.download = "predictions.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
});
clear.addEventListener("click", () => {
  rows.length = 0;
  results.replaceChildren();
  table.hidden = true;
  status.textContent = "Cleared.";
  files.focus();
});

// The start.

startWorker();
const opened = openModel();
let shownAll = opened;
onPictures(files, drop, (chosen) => {
  if (chosen.length) shownAll = shownAll.then(() => showAll(chosen));
  return shownAll;
});
opened.then(() => {
  for (const control of [files, camera]) control.disabled = false;
  document.documentElement.dataset.ready = String(Math.round(performance.now()));
  status.textContent = "Ready.";
}, (error) => {
  status.className = "error";
  status.textContent = `The model could not be started: ${error.message}. The page requires a ` +
    "recent browser (Chrome or Edge 105, Firefox 132, Safari 16.4, or later).";
});
