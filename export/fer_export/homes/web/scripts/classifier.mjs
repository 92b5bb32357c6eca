// A model and its spec: fitted pixels -> probabilities, and pictures -> faces with them.

import {
  decodeFaces, enlarged, faceCrop, largeFaces, scaledDown, toDetectorInput, withEnoughPixels,
} from "./faces.mjs";
import { fit, toChannels } from "./fitting.mjs";

const LARGEST_BATCH = 32;
const SESSION = { executionProviders: ["wasm"], graphOptimizationLevel: "disabled" };  // done already

/** (N) arrays of C x H x W uint8 -> the data of the input tensor that the spec describes. */
export function feed(images, spec) {
  const size = spec.channels * spec.height * spec.width;
  const plane = spec.height * spec.width;
  const tensor = new (spec.dtype === "uint8" ? Uint8Array : Float32Array)(images.length * size);
  const [low, high] = spec.value_range.map(Math.fround);
  const span = Math.fround(spec.value_range[1] - spec.value_range[0]);
  images.forEach((pixels, place) => {
    for (let i = 0; i < size; i++) {
      const channel = Math.floor(i / plane);
      const target = place * size +
        (spec.layout === "NHWC" ? (i % plane) * spec.channels + channel : i);
      tensor[target] = spec.dtype === "uint8" ? pixels[i] : Math.fround(low + Math.fround(
        span * Math.fround(Math.fround(Math.fround(pixels[i] / 255) - Math.fround(spec.mean[channel])) /
          Math.fround(spec.std[channel]))));
    }
  });
  return tensor;
}

export function softmax(logits, temperature) {
  const largest = Math.max(...logits);
  const exponents = Array.from(logits, (value) => Math.exp((value - largest) / temperature));
  const sum = exponents.reduce((total, value) => total + value, 0);
  return exponents.map((value) => value / sum);
}

export class Classifier {
  /** `ort` is onnxruntime-web; `model` the bytes of an ONNX file, `spec` its ModelSpec. */
  static async open(ort, model, spec) {
    return new Classifier(ort, await ort.InferenceSession.create(model, SESSION), spec);
  }

  constructor(ort, session, spec) {
    Object.assign(this, { ort, session, spec });
    const batch = session.inputMetadata?.[0]?.shape?.[0];
    this.fixedBatch = typeof batch === "number" && batch > 0 ? batch : null;
  }

  /** (C, H, W) uint8 arrays -> [{logits, probabilities}], both arrays in the order of labels. */
  async run(images) {
    const results = [];
    const size = this.fixedBatch ?? LARGEST_BATCH;
    for (let start = 0; start < images.length; start += size) {
      results.push(...await this.runBatch(images.slice(start, start + size)));
    }
    return results;
  }

  async runBatch(images) {
    const { input, temperature, labels } = this.spec;
    const { channels, height, width } = input;
    const blank = new Uint8Array(channels * height * width);
    const filled = [...images];
    while (this.fixedBatch && filled.length < this.fixedBatch) filled.push(blank);
    const shape = input.layout === "NHWC" ? [height, width, channels] : [channels, height, width];
    const tensor = new this.ort.Tensor(input.dtype, feed(filled, input), [filled.length, ...shape]);
    const outputs = await this.session.run({ [input.name]: tensor });
    const logits = (outputs.logits ?? outputs[this.session.outputNames[0]]).data;
    const probabilities = outputs.probabilities?.data;
    const row = (data, place) => Array.from(
      data.subarray(place * labels.length, (place + 1) * labels.length));
    return images.map((_, place) => ({
      logits: row(logits, place),
      probabilities: probabilities
        ? row(probabilities, place) : softmax(row(logits, place), temperature),
    }));
  }

  /** Pictures of one face each, as {width, height, channels, data} -> [{logits, probabilities}]. */
  async classify(pictures) {
    const { input } = this.spec;
    return this.run(pictures.map((pixels) => fit(toChannels(pixels, input.channels), input)));
  }
}

export class FaceDetector {
  static async open(ort, model) {
    return new FaceDetector(ort, await ort.InferenceSession.create(model, SESSION));
  }

  constructor(ort, session) {
    Object.assign(this, { ort, session });
  }

  /** The faces in {pixels, scale}, the largest first, in pixels of the whole picture. */
  async detect({ pixels, scale }, { minFace, minScore }) {
    const { data, width, height } = toDetectorInput(pixels);
    const tensor = new this.ort.Tensor("float32", data, [1, 3, height, width]);
    const outputs = await this.session.run({ [this.session.inputNames[0]]: tensor });
    const values = Object.fromEntries(
      Object.entries(outputs).map(([name, output]) => [name, output.data]));
    const faces = decodeFaces(values, width, minScore);
    return largeFaces(faces.map((face) => enlarged(face, scale)), minFace);
  }
}

/** The faces of a picture (RGB pixels), each with `logits` and `probabilities`. */
export async function classifyFaces(detector, classifier, pixels, options) {
  const picture = scaledDown(pixels, options.detectSize);
  const faces = await detector.detect(picture, options);
  const sharp = withEnoughPixels(pixels, picture, faces, classifier.spec.input);
  return classifyCrops(classifier, sharp.pixels, faces, sharp.scale);
}

/** The same for faces that were found, cut out of pixels at a scale. */
export async function classifyCrops(classifier, pixels, faces, scale = 1) {
  const crops = faces.map((face) => faceCrop(pixels, face, classifier.spec.input, scale));
  const results = await classifier.run(crops);
  return faces.map((face, place) => ({ ...face, ...results[place] }));
}
