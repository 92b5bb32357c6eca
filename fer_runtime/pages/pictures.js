"use strict";
// What pages with pictures share: elements, boxes on a canvas, bars, and pictures that arrive.

function element(name, text, parent, kind) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  parent?.append(made);
  return made;
}

/** The numbered boxes of faces, on a canvas that shows the picture at a scale. */
function drawBoxes(context, faces, scale) {
  const { width } = context.canvas;
  context.lineWidth = Math.max(2, width / 250);
  context.font = `${Math.max(14, width / 40)}px system-ui, sans-serif`;
  faces.forEach(({ box }, place) => {
    const [left, top, right, bottom] = box.map((value) => value * scale);
    context.strokeStyle = "#000";
    context.strokeRect(left - 1, top - 1, right - left + 2, bottom - top + 2);
    context.strokeStyle = "#ffd400";
    context.strokeRect(left, top, right - left, bottom - top);
    context.fillStyle = "#ffd400";
    context.fillText(String(place + 1), left + 3, Math.max(14, top - 4));
  });
}

/** A canvas with the picture (an ImageBitmap), made smaller where it is large, and its faces. */
function drawPicture(picture, name, faces) {
  const canvas = document.createElement("canvas");
  const scale = Math.min(1, 900 / Math.max(picture.width, picture.height));
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  drawBoxes(context, faces, scale);
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${name}${faces.length ? " with its faces numbered" : ""}`);
  return canvas;
}

/** A bar for each label, the likeliest first. */
function bars(labels, probabilities, parent) {
  const list = element("dl", undefined, parent, "bars");
  labels.map((label, place) => [label, probabilities[place]])
    .sort((a, b) => b[1] - a[1])
    .forEach(([label, value]) => {
      element("dt", label, list);
      const meter = element("meter", undefined, element("dd", undefined, list));
      meter.value = value;
      meter.setAttribute("aria-label", label);
      element("dd", `${(100 * value).toFixed(1)}%`, list);
    });
  return list;
}

/** Calls `take` with the files that are chosen, pasted or dropped anywhere on the page. */
function onPictures(input, drop, take) {
  input.addEventListener("change", () => {
    Promise.resolve(take([...input.files])).then(() => { input.value = ""; });
  });
  addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) take([...event.clipboardData.files]);
  });
  for (const name of ["dragenter", "dragover"]) {
    addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  for (const name of ["dragleave", "drop"]) {
    addEventListener(name, () => drop.classList.remove("over"));
  }
  addEventListener("drop", (event) => {
    event.preventDefault();
    take([...event.dataTransfer.files]);
  });
}
