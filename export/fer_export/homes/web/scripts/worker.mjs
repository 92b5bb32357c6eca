// The page's worker: it answers requests one after another, so that the page itself never waits.
//
// `ort` is onnxruntime-web, which the page puts before these modules.

import { Classifier, FaceDetector, classifyFaces } from "./classifier.mjs";

const MAX_PIXELS = 100_000_000;
let classifier;
let detector;

/** Base64 of gzip -> bytes. */
async function unpacked(text) {
  const packed = Uint8Array.fromBase64
    ? Uint8Array.fromBase64(text)
    : Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function open({ wasm, model, faces, spec }) {
  const [binary, ...models] = await Promise.all([wasm, model, faces].map(unpacked));
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = binary;
  classifier = await Classifier.open(ort, models[0], spec);
  detector = await FaceDetector.open(ort, models[1]);
  return {};
}

/** The pixels of a picture, RGBA, upright. */
function pixelsOf(bitmap) {
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height)
    .getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });
  context.drawImage(bitmap, 0, 0);
  return { width, height, channels: 4, data: context.getImageData(0, 0, width, height).data };
}

async function decoded(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, {
      imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none",
    });
  } catch {
    throw new Error("not an image that this browser can decode");
  }
  if (bitmap.width * bitmap.height > MAX_PIXELS) {
    throw new Error(`image is over the limit of ${MAX_PIXELS.toLocaleString("en")} pixels`);
  }
  return bitmap;
}

/** A file -> its bitmap and [{probabilities, and with `options` a box and a score}]. */
async function picture({ file, options }) {
  const bitmap = await decoded(file);
  const pixels = pixelsOf(bitmap);
  const found = options
    ? await classifyFaces(detector, classifier, pixels, options)
    : await classifier.classify([pixels]);
  return { bitmap, found };
}

/** A frame of the camera -> its faces. */
async function frame({ bitmap, options }) {
  const pixels = pixelsOf(bitmap);
  bitmap.close();
  return { found: await classifyFaces(detector, classifier, pixels, options) };
}

const REQUESTS = { open, picture, frame };
let last = Promise.resolve();

function answer({ id, kind, ...request }) {
  last = last.then(async () => {
    try {
      const result = await REQUESTS[kind](request);
      postMessage({ id, result }, result.bitmap ? [result.bitmap] : []);
    } catch (error) {
      postMessage({ id, error: error.message ?? String(error) });
    }
  });
}

addEventListener("message", ({ data }) => answer(data));
