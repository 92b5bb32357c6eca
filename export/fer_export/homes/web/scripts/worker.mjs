// The page's worker: it answers requests one after another, so that the page itself never waits.
//
// `ort` is onnxruntime-web, which the page puts before these modules.

import { Classifier, FaceDetector, classifyCrops, classifyFaces } from "./classifier.mjs";
import { fit, toChannels } from "./fitting.mjs";

const canvases = new Map();
let classifier;
let detector;
let maxPixels;

/** Base64 of gzip -> bytes. */
async function unpacked(text) {
  const packed = Uint8Array.fromBase64
    ? Uint8Array.fromBase64(text)
    : Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function open({ wasm, model, faces, spec, pixels }) {
  maxPixels = pixels;
  const [binary, ...models] = await Promise.all([wasm, model, faces].map(unpacked));
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = binary;
  classifier = await Classifier.open(ort, models[0], spec);
  detector = await FaceDetector.open(ort, models[1]);
  return {};
}

/** A canvas to read pixels from; those of a camera are kept, because making one takes a while. */
function canvasOf(width, height) {
  const key = `${width} x ${height}`;
  if (!canvases.has(key)) {
    if (canvases.size === 2) canvases.clear();
    canvases.set(key, new OffscreenCanvas(width, height).getContext("2d", {
      willReadFrequently: true, colorSpace: "srgb",
    }));
  }
  return canvases.get(key);
}

/** The pixels of a picture at a size, by default its own: RGBA, upright. */
function pixelsOf(bitmap, width = bitmap.width, height = bitmap.height) {
  const context = canvasOf(width, height);
  context.clearRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  return { width, height, channels: 4, data: new Uint8Array(data.buffer) };
}

/** The same of a picture with transparent parts, in their own colours, which a canvas loses. */
function pixelsUnderAlpha(bitmap) {
  const { width, height } = bitmap;
  const gl = new OffscreenCanvas(1, 1).getContext("webgl2");
  if (!gl) return null;
  gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
  gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
  const texture = gl.getParameter(gl.TEXTURE_BINDING_2D);
  gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
  const data = new Uint8Array(width * height * 4);
  gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, data);
  const isRead = gl.getError() === gl.NO_ERROR;
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return isRead ? { width, height, channels: 4, data } : null;
}

function isOpaque({ data }) {
  for (let place = 3; place < data.length; place += 4) if (data[place] !== 255) return false;
  return true;
}

/** The colours of a picture, RGB, upright; alpha is dropped. */
function coloursOf(bitmap) {
  const pixels = pixelsOf(bitmap);
  const read = isOpaque(pixels) ? pixels : pixelsUnderAlpha(bitmap) ?? pixels;
  return toChannels(read, 3);
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
  if (bitmap.width * bitmap.height > maxPixels) {
    throw new Error(`image is over the limit of ${maxPixels.toLocaleString("en")} pixels`);
  }
  return bitmap;
}

/** A file -> its bitmap and [{probabilities, and with `options` a box and a score}]. */
async function picture({ file, options }) {
  const bitmap = await decoded(file);
  const pixels = coloursOf(bitmap);
  const found = options
    ? await classifyFaces(detector, classifier, pixels, options)
    : await classifier.classify([pixels]);
  return { bitmap, found };
}

/** A frame of the camera -> its faces; the browser makes it smaller, which it does faster. */
async function frame({ bitmap, options }) {
  const scale = Math.min(1, options.detectSize / Math.max(bitmap.width, bitmap.height));
  const size = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
  const picture = { pixels: pixelsOf(bitmap, ...size), scale };
  const faces = await detector.detect(picture, options);
  const found = faces.length
    ? await classifyCrops(classifier, pixelsOf(bitmap), faces) : [];
  return { bitmap, found };
}

/** A file -> the pixels that the model is given, (channels, height, width); for comparisons. */
async function fitted({ file }) {
  const { input } = classifier.spec;
  return { planes: fit(toChannels(coloursOf(await decoded(file)), input.channels), input) };
}

const REQUESTS = { open, picture, frame, fitted };
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
