// Runs a model in onnxruntime-web as the page does: node web.mjs FOLDER, where FOLDER has
// model.onnx, spec.json, batches.json (their sizes) and pixels; logits and probabilities go there.
import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [folder, loader, classifierModule] = process.argv.slice(2);
const ort = await import(pathToFileURL(loader));
const { Classifier } = await import(pathToFileURL(classifierModule));
const read = (name) => readFileSync(`${folder}/${name}`);
const spec = JSON.parse(read("spec.json"));
const { channels, height, width } = spec.input;
const size = channels * height * width;
const pixels = new Uint8Array(read("pixels"));

ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmBinary = new Uint8Array(read("wasm"));
const classifier = await Classifier.open(ort, new Uint8Array(read("model.onnx")), spec);
const images = Array.from(
  { length: pixels.length / size }, (_, place) => pixels.subarray(place * size, (place + 1) * size));
const results = [];
let start = 0;
for (const count of JSON.parse(read("batches.json"))) {
  results.push(...await classifier.run(images.slice(start, start + count)));
  start += count;
}
for (const name of ["logits", "probabilities"]) {
  writeFileSync(`${folder}/${name}`, Float32Array.from(results.flatMap((each) => each[name])));
}
