const faces = JSON.parse(document.getElementById("data").textContent).faces;
const [drop, files, status, results] = ["drop", "files", "status", "results"].map(
  (id) => document.getElementById(id));
for (const here of document.querySelectorAll(".here")) here.textContent = location.origin;

/** The picture as the browser shows it, with the boxes of its faces. */
async function drawn(file, found) {
  try {
    const picture = await createImageBitmap(file, { imageOrientation: "from-image" });
    return drawPicture(picture, file.name, found);
  } catch {
    return null;  // a format that this browser does not show
  }
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
      bars(found.labels, each.probabilities, item);
    });
  }
  results.prepend(article);
  return image.error ? "failed" : "done";
}

async function showAll(chosen) {
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

onPictures(files, drop, showAll);
