
"use strict";
const faces = JSON.parse(document.getElementById("data").textContent).faces;
const [drop, files, status, results] = ["drop", "files", "status", "results"].map(
  (id) => document.getElementById(id));
for (const here of document.querySelectorAll(".here")) here.textContent = location.origin;

function element(name, text, parent, kind) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  parent?.append(made);
  return made;
}

/** The picture as the browser shows it, with the boxes of its faces. */
async function drawn(file, found) {
  const canvas = document.createElement("canvas");
  try {
    const picture = await createImageBitmap(file, { imageOrientation: "from-image" });
    const scale = Math.min(1, 900 / Math.max(picture.width, picture.height));
    canvas.width = Math.max(1, Math.round(picture.width * scale));
    canvas.height = Math.max(1, Math.round(picture.height * scale));
    const context = canvas.getContext("2d");
    context.drawImage(picture, 0, 0, canvas.width, canvas.height);
    context.lineWidth = Math.max(2, canvas.width / 250);
    context.font = `${Math.max(14, canvas.width / 40)}px system-ui, sans-serif`;
    found.forEach(({ box }, place) => {
      const [left, top, right, bottom] = box.map((value) => value * scale);
      context.strokeStyle = "#000";
      context.strokeRect(left - 1, top - 1, right - left + 2, bottom - top + 2);
      context.strokeStyle = "#ffd400";
      context.strokeRect(left, top, right - left, bottom - top);
      context.fillStyle = "#ffd400";
      context.fillText(String(place + 1), left + 3, Math.max(14, top - 4));
    });
  } catch {
    return null;  // a format that this browser does not show
  }
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${file.name}${found.length ? " with its faces numbered" : ""}`);
  return canvas;
}

function bars(labels, prediction, parent) {
  const list = element("dl", undefined, parent, "bars");
  labels.map((label, place) => [label, prediction.probabilities[place]])
    .sort((a, b) => b[1] - a[1])
    .forEach(([label, value]) => {
      element("dt", label, list);
      const meter = element("meter", undefined, element("dd", undefined, list));
      meter.value = value;
      meter.setAttribute("aria-label", label);
      element("dd", `${(100 * value).toFixed(1)}%`, list);
    });
}

async function show(file) {
  const answer = await fetch("predict", { method: "POST", body: file });
  const found = await answer.json();
  const article = document.createElement("article");
  const image = answer.ok ? found.images[0] : { error: found.error };
  const canvas = await drawn(file, image.faces ?? []);
  if (canvas) article.append(canvas);
  const side = element("div", undefined, article);
  element("h3", file.name, side);
  if (image.error) element("p", image.error, side, "error");
  else if (faces && !image.faces.length) element("p", "no face found", side);
  else {
    const list = element("ol", undefined, side);
    (faces ? image.faces : [image]).forEach((each, place) => {
      const item = element("li", undefined, list);
      element("strong", faces ? `${place + 1}: ${each.label}` : each.label, item);
      bars(found.labels, each, item);
    });
  }
  results.prepend(article);
  return image.error ? "failed" : "done";
}

async function showAll(many) {
  const chosen = [...many];
  let failed = 0;
  for (const [place, file] of chosen.entries()) {
    status.textContent = `${place + 1} of ${chosen.length}: ${file.name}`;
    try {
      if (await show(file) === "failed") failed += 1;
    } catch {
      status.textContent = "The server does not answer.";
      return;
    }
  }
  status.textContent = `${chosen.length} picture${chosen.length === 1 ? "" : "s"}` +
    (failed ? `, ${failed} without a prediction` : "");
}

files.addEventListener("change", () => { showAll(files.files).then(() => { files.value = ""; }); });
addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) showAll(event.clipboardData.files);
});
for (const name of ["dragenter", "dragover"]) addEventListener(name, (event) => {
  event.preventDefault();
  drop.classList.add("over");
});
for (const name of ["dragleave", "drop"]) addEventListener(name, () => drop.classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  showAll(event.dataTransfer.files);
});
