// Classifies pictures by a hub folder in transformers.js, offline: node classify.mjs FOLDER DTYPE
// Names of files on stdin, a JSON line with [{label, score}] for each on stdout. Node finds the
// package from the current directory.
import { createRequire } from "node:module";
import { basename, dirname } from "node:path";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const found = createRequire(`${process.cwd()}/`).resolve("@huggingface/transformers");
const { env, pipeline } = await import(pathToFileURL(found));
const [folder, dtype] = process.argv.slice(2);
env.allowRemoteModels = false;
env.localModelPath = dirname(folder);
const classify = await pipeline("image-classification", basename(folder), { dtype });
for (const file of readFileSync(0, "utf8").split("\n").filter(Boolean)) {
  console.log(JSON.stringify(await classify(file, { top_k: 1000 })));
}
