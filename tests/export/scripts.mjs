// Calls functions of the page's modules for the tests: JSON lines on stdin, results on stdout.
// Bytes travel as {"bytes": base64}.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const folder = process.argv[2];
const decode = (value) => {
  if (Array.isArray(value)) return value.map(decode);
  if (value === null || typeof value !== "object") return value;
  if ("bytes" in value) return new Uint8Array(Buffer.from(value.bytes, "base64"));
  if ("floats" in value) {
    const bytes = new Uint8Array(Buffer.from(value.floats, "base64"));
    return new Float32Array(bytes.buffer);
  }
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, decode(each)]));
};
const encode = (value) => {
  if (ArrayBuffer.isView(value)) {
    return { bytes: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64") };
  }
  if (Array.isArray(value)) return value.map(encode);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, encode(each)]));
};
for (const line of readFileSync(0, "utf8").split("\n").filter(Boolean)) {
  const { module, name, args } = JSON.parse(line);
  const functions = await import(pathToFileURL(`${folder}/${module}.mjs`));
  console.log(JSON.stringify(encode(await functions[name](...decode(args)))));
}
