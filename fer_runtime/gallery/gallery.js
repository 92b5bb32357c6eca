
"use strict";
/* The rows are columns of the element #data (see page.py), and #jpegs is the Base64 of all
   thumbnails. Only the rows of tiles near the window are in the document. Text goes in as
   textContent, never as HTML. */

const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
const jpegs = byId("jpegs").textContent;
const ERROR = -2, UNCERTAIN = -3, LABELS = data.labels.length, MARGIN = 600;
const grid = byId("grid"), dialog = byId("details");

/* ---- entries: one object per row ---- */

let offset = 0;
const entries = data.names.map((name, index) => {
  const predicted = data.predicted[index], truth = data.truths[index];
  const thumbnail = data.thumbnails[index], from = offset;
  offset += thumbnail ? thumbnail[0] : 0;
  const values = Object.fromEntries(data.values[index] ?? []);
  const several = data.numbers[index] > 1 || data.numbers[index + 1] > 1;
  const which = [
    several ? `face ${data.numbers[index]}` : "",
    values.frame === undefined || values.time === undefined ? "" : `${values.time} s`,
  ].filter(Boolean).join(", ");
  return {
    index, name, predicted, truth, from, thumbnail, which,
    place: predicted >= 0 ? predicted : LABELS - 1 - predicted,
    share: predicted < 0 && predicted !== UNCERTAIN ? -1
      : Math.max(...data.probabilities.slice(index * LABELS, (index + 1) * LABELS)) / 10000,
    wrong: predicted >= 0 && truth >= 0 && predicted !== truth,
    short: name.slice(name.lastIndexOf("/") + 1),
  };
});
const known = entries.some((entry) => entry.predicted >= 0 && entry.truth >= 0);
const kinds = [...data.labels, "no face", "error", "uncertain"];

const percent = (share) => `${Math.round(share * 100)}\u00a0%`;
const plural = (count) => `${count.toLocaleString("en")} ${count === 1 ? "picture" : "pictures"}`;

function verdict(entry) {
  if (entry.predicted < 0 || entry.truth < 0) return "";
  return entry.wrong ? `wrong, truth: ${data.labels[entry.truth]}` : "right";
}

/* "happy, 94 %, wrong, truth: sad, party.jpg face 2" */
function description(entry) {
  const share = entry.share < 0 ? "" : percent(entry.share);
  const name = `${entry.short} ${entry.which}`.trim();
  return [kinds[entry.place], share, verdict(entry), name].filter(Boolean).join(", ");
}

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/* ---- what is shown, and in which order ---- */

const collator = new Intl.Collator("en", { numeric: true });
const last = (entry) => entry.share < 0;
const ORDERS = {
  wrong: ["Wrong ones first", (a, b) => b.wrong - a.wrong || last(a) - last(b) || b.share - a.share],
  sure: ["Most probable first", (a, b) => b.share - a.share],
  unsure: ["Least probable first", (a, b) => last(a) - last(b) || a.share - b.share],
  name: ["Name", (a, b) => collator.compare(a.name, b.name)],
  order: ["Order of the run", () => 0],
};
const pressed = new Set();
let shown = [], active = 0;

function select() {
  const words = byId("search").value.toLowerCase().trim();
  const least = byId("minimum").value / 100, onlyWrong = byId("wrong").checked;
  shown = entries.filter((entry) =>
    (!pressed.size || pressed.has(entry.place)) && (!least || entry.share >= least) &&
    (!onlyWrong || entry.wrong) && (!words || entry.name.toLowerCase().includes(words)));
  shown.sort(ORDERS[byId("sort").value][1]);
  active = 0;
  byId("minimum-text").textContent = percent(least);
  byId("count").textContent = shown.length === entries.length
    ? `Showing all ${plural(shown.length)}.`
    : `Showing ${shown.length.toLocaleString("en")} of ${plural(entries.length)}.` +
      (shown.length ? "" : " Nothing matches; Reset shows everything.");
  layOut();
  const hidden = grid.getBoundingClientRect().top - stickyHeight();
  if (hidden < 0) scrollBy(0, hidden);  // what comes first is what was asked for
}

function stickyHeight() {
  const controls = byId("controls");
  return getComputedStyle(controls).position === "sticky" ? controls.offsetHeight : 0;
}

/* ---- the grid ---- */

let columns = 1, rowHeight = 1;
const drawn = new Map();

function layOut() {
  grid.hidden = !shown.length;
  const style = getComputedStyle(grid);
  const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
  const [tile, gap] = ["--tile", "--gap"].map((name) => parseFloat(style.getPropertyValue(name)) * rem);
  columns = Math.max(1, Math.floor((grid.clientWidth + gap) / (tile + gap)));
  grid.style.setProperty("--columns", columns);
  grid.setAttribute("aria-colcount", columns);
  grid.setAttribute("aria-rowcount", Math.ceil(shown.length / columns));
  document.documentElement.style.setProperty("--sticky", `${stickyHeight()}px`);
  grid.replaceChildren();
  drawn.clear();
  if (shown.length) {
    rowHeight = drawRow(0).getBoundingClientRect().height + gap;
  }
  grid.style.height = `${Math.ceil(shown.length / columns) * rowHeight}px`;
  draw();
}

function draw() {
  const above = -grid.getBoundingClientRect().top, rows = Math.ceil(shown.length / columns);
  const first = Math.max(0, Math.floor((above - MARGIN) / rowHeight));
  const end = Math.min(rows, Math.ceil((above + innerHeight + MARGIN) / rowHeight));
  const wanted = new Set(rows ? [Math.floor(active / columns)] : []);  // focus stays in the document
  for (let row = first; row < end; row++) wanted.add(row);
  for (const [row, element] of drawn) {
    if (!wanted.has(row)) {
      element.remove();
      drawn.delete(row);
    }
  }
  for (const row of wanted) if (!drawn.has(row)) drawRow(row);
}

function drawRow(row) {
  const element = make("div", { role: "row", "aria-rowindex": row + 1 });
  element.style.top = `${row * rowHeight}px`;
  const end = Math.min(shown.length, (row + 1) * columns);
  for (let position = row * columns; position < end; position++) {
    element.append(make("div", { role: "gridcell" }, makeTile(position)));
  }
  const next = [...drawn.keys()].filter((other) => other > row).sort((a, b) => a - b)[0];
  grid.insertBefore(element, drawn.get(next) ?? null);
  drawn.set(row, element);
  return element;
}

function makeTile(position) {
  const entry = shown[position];
  const tile = make("button", { type: "button", class: entry.wrong ? "tile wrong" : "tile" });
  tile.tabIndex = position === active ? 0 : -1;
  tile.dataset.position = position;
  const share = entry.share < 0 ? "" : percent(entry.share);
  const caption = make("span", { class: "caption", "aria-hidden": "true" },
    make("span", {}, make("strong", {}, kinds[entry.place]), make("span", {}, share)));
  if (known) {
    const text = entry.wrong ? `✗ truth: ${data.labels[entry.truth]}` : verdict(entry) && "✓ right";
    caption.append(make("span", { class: entry.wrong ? "bad" : "good" }, make("span", {}, text || "\u00a0")));
  }
  caption.append(make("span", { class: "name" }, make("bdi", {}, entry.short),
    make("span", {}, entry.which)));
  tile.append(makePicture(entry), caption);
  return tile;
}

/* The thumbnail with the face's box, or what there is to say in its place. */
function makePicture(entry) {
  const frame = make("span", { class: "frame" });
  if (!entry.thumbnail) {
    const text = entry.predicted === ERROR ? "cannot be read" : "no picture";
    frame.append(make("span", { class: "none", role: "img", "aria-label": description(entry) }, text));
    return frame;
  }
  const [length, width, height, ...box] = entry.thumbnail;
  const src = `data:image/jpeg;base64,${jpegs.slice(entry.from, entry.from + length)}`;
  frame.append(make("img", { alt: description(entry), src, width, height, decoding: "async" }));
  if (box.length) {
    const mark = make("span", { class: "box" });
    const [left, top, right, bottom] = box;
    mark.style.left = `${100 * left / width}%`;
    mark.style.top = `${100 * top / height}%`;
    mark.style.width = `${100 * (right - left) / width}%`;
    mark.style.height = `${100 * (bottom - top) / height}%`;
    frame.append(mark);
  }
  return frame;
}

function tileAt(position) {
  return grid.querySelector(`[data-position="${position}"]`);
}

function activate(position) {
  const before = tileAt(active);
  if (before) before.tabIndex = -1;
  active = position;
  draw();
  tileAt(position).tabIndex = 0;
}

function moveTo(position) {
  if (!shown.length) return;
  activate(Math.min(Math.max(position, 0), shown.length - 1));
  tileAt(active).focus({ preventScroll: true });
  tileAt(active).scrollIntoView({ block: "nearest" });
}

function gridKey(event) {
  if (event.altKey || event.metaKey || !shown.length) return;
  const column = active % columns, start = active - column;
  const page = Math.max(1, Math.floor(innerHeight / rowHeight) - 1);
  const lastStart = Math.floor((shown.length - 1) / columns) * columns;
  const down = (rows) => Math.min(start + rows * columns, lastStart) + column;
  const up = (rows) => Math.max(start - rows * columns, 0) + column;
  const target = {
    ArrowRight: active + 1, ArrowLeft: active - 1,
    ArrowDown: down(1), ArrowUp: up(1), PageDown: down(page), PageUp: up(page),
    Home: event.ctrlKey ? 0 : start,
    End: event.ctrlKey ? shown.length - 1 : start + columns - 1,
  }[event.key];
  if (target === undefined) return;
  event.preventDefault();
  moveTo(target);
}

/* ---- details ---- */

let current = 0;  // closing the dialog makes the tile active that it was opened from

function describe() {
  const entry = shown[active], first = entry.index * LABELS;
  byId("details-title").textContent = kinds[entry.place] +
    (entry.share < 0 ? "" : ` ${percent(entry.share)}`) + (verdict(entry) ? `, ${verdict(entry)}` : "");
  byId("large").replaceChildren(makePicture(entry));
  byId("bars").parentElement.hidden = entry.share < 0;
  byId("bars").replaceChildren(...data.labels.map((label, place) => {
    const share = data.probabilities[first + place] / 10000, fill = make("b");
    fill.style.width = `${100 * share}%`;
    const marked = place === entry.truth ? `${label} (truth)` : label;
    return make("li", {}, make("span", {}, marked),
      make("span", {}, `${(100 * share).toFixed(1)}\u00a0%`), make("i", { "aria-hidden": "true" }, fill));
  }));
  byId("facts").replaceChildren(...facts(entry).flatMap(([title, text]) =>
    [make("dt", {}, title), make("dd", {}, make("bdi", {}, text))]));
  byId("position").textContent = `${(active + 1).toLocaleString("en")} of ${shown.length.toLocaleString("en")}`;
  byId("previous").disabled = active === 0;
  byId("next").disabled = active === shown.length - 1;
}

function facts(entry) {
  const found = [["path", entry.name]], box = data.boxes[entry.index];
  if (data.numbers[entry.index]) found.push(["face", String(data.numbers[entry.index])]);
  if (box) {
    const [left, top, right, bottom, score] = box;
    const size = `${Math.round(right - left)} × ${Math.round(bottom - top)}`;
    found.push(["box", `${size} pixels, left ${left}, top ${top}, right ${right}, bottom ${bottom}`]);
    found.push(["face score", String(score)]);
  }
  if (entry.truth >= 0) found.push(["truth", data.labels[entry.truth]]);
  if (data.reasons[entry.index]) found.push(["reason", data.reasons[entry.index]]);
  return found.concat(data.values[entry.index] ?? []);
}

function openDetails(position) {
  current = position;
  activate(position);
  describe();
  dialog.showModal();
  byId("details-title").focus();
}

function step(by) {
  if (active + by < 0 || active + by >= shown.length) return;
  current = active + by;
  activate(current);
  describe();
  if (document.activeElement.disabled || document.activeElement === document.body) byId("close").focus();
}

/* ---- start ---- */

function makeControls() {
  const counts = data.counts, most = Math.max(1, ...counts);
  kinds.forEach((kind, place) => {
    if (place >= LABELS && !counts[place]) return;
    const bar = make("i", { "aria-hidden": "true" });
    bar.style.width = `${100 * counts[place] / most}%`;
    const button = make("button", { type: "button", "aria-pressed": "false" },
      kind, make("b", {}, counts[place].toLocaleString("en")), bar);
    button.addEventListener("click", () => {
      if (!pressed.delete(place)) pressed.add(place);
      button.setAttribute("aria-pressed", pressed.has(place));
      select();
    });
    byId("labels").append(button);
  });
  for (const [value, [title]] of Object.entries(ORDERS)) {
    if (value !== "wrong" || known) byId("sort").append(make("option", { value }, title));
  }
  byId("sort").value = known ? "wrong" : "order";
  byId("wrong-switch").hidden = !known;
  byId("boxes-switch").hidden = !data.boxes.some(Boolean);
}

function reset() {
  pressed.clear();
  for (const button of byId("labels").children) button.setAttribute("aria-pressed", "false");
  byId("search").value = "";
  byId("minimum").value = 0;
  byId("wrong").checked = false;
  byId("sort").value = known ? "wrong" : "order";
  select();
}

function listen() {
  for (const id of ["search", "minimum", "sort", "wrong"]) byId(id).addEventListener("input", select);
  byId("boxes").addEventListener("input", () =>
    document.body.classList.toggle("no-boxes", !byId("boxes").checked));
  byId("reset").addEventListener("click", reset);
  byId("skip").addEventListener("click", (event) => {
    event.preventDefault();
    moveTo(active);
  });
  grid.addEventListener("keydown", gridKey);
  grid.addEventListener("focusin", (event) => {
    const position = event.target.dataset.position;
    if (position !== undefined) activate(Number(position));
  });
  grid.addEventListener("click", (event) => {
    const tile = event.target.closest(".tile");
    if (tile) openDetails(Number(tile.dataset.position));
  });
  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  byId("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  dialog.addEventListener("close", () => moveTo(current));
  let waiting = false;
  addEventListener("scroll", () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  }, { passive: true });
  let width = innerWidth;
  addEventListener("resize", () => {
    if (width === innerWidth) return draw();  // a phone's address bar came or went
    width = innerWidth;
    const focused = grid.contains(document.activeElement);
    layOut();
    if (focused) moveTo(active);
  });
}

makeControls();
listen();
select();
performance.mark("gallery-ready");
document.documentElement.dataset.ready = Math.round(performance.now());
