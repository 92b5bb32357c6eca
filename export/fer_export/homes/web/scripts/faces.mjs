// YuNet's outputs -> faces, and a face -> the square that a spec's `face_crop` takes.
//
// As fer_runtime/faces/{detector,decoding,crops}.py, in the same float32 arithmetic.

import { makePixels, reduce, resize, roundHalfEven } from "./resampling.mjs";
import { cut } from "./fitting.mjs";

const STRIDES = [8, 16, 32];
const MULTIPLE = 32;
const OVERLAP = Math.fround(0.3);
const MOST = 5000;
const SHORTEST = 0.1;
const MUCH = 1.15;
const DOWNSCALING_GAP = 2;
const EYES_SCALE = 2.9;
const ENOUGH = 0.75;
const MARGIN = 1.5;
const f32 = Math.fround;

/** RGB pixels -> {data, width, height}: BGR float32 planes, 0 to 255, padded with black. */
export function toDetectorInput(pixels) {
  const { channels, data } = pixels;
  const width = Math.ceil(pixels.width / MULTIPLE) * MULTIPLE;
  const height = Math.ceil(pixels.height / MULTIPLE) * MULTIPLE;
  const planes = new Float32Array(3 * width * height);
  for (let channel = 0; channel < 3; channel++) {
    const plane = channel * width * height;
    for (let y = 0; y < pixels.height; y++) {
      const target = plane + y * width;
      let source = y * pixels.width * channels + 2 - channel;
      for (let x = 0; x < pixels.width; x++, source += channels) planes[target + x] = data[source];
    }
  }
  return { data: planes, width, height };
}

/** The picture with a longer side of about so many pixels, and its scale; never enlarged. */
export function scaledDown(pixels, longSide) {
  const longest = Math.max(pixels.width, pixels.height);
  const wanted = Math.min(longest, longSide);
  if (longest <= MUCH * wanted) return { pixels, scale: 1 };
  const scale = wanted / longest;
  const width = Math.max(1, roundHalfEven(pixels.width * scale));
  const height = Math.max(1, roundHalfEven(pixels.height * scale));
  const across = Math.trunc(pixels.width / width / DOWNSCALING_GAP) || 1;
  const down = Math.trunc(pixels.height / height / DOWNSCALING_GAP) || 1;
  const reduced = across > 1 || down > 1 ? reduce(pixels, across, down) : pixels;
  const box = [0, 0, pixels.width / across, pixels.height / down];
  return { pixels: resize(reduced, width, height, "bilinear", box), scale };
}

/** What YuNet found in a picture `width` wide -> [{box, landmarks, score}], the best first. */
export function decodeFaces(outputs, width, minScore) {
  const least = f32(minScore);
  const candidates = [];
  for (const stride of STRIDES) {
    const [faces, objects, boxes, points] = ["cls", "obj", "bbox", "kps"].map(
      (kind) => outputs[`${kind}_${stride}`]);
    const columns = width / stride;
    for (let cell = 0; cell < objects.length; cell++) {
      const score = f32(Math.sqrt(f32(clip01(faces[cell]) * clip01(objects[cell]))));
      if (!(score >= least)) continue;
      candidates.push({
        score, ...decodeCell(boxes, points, cell, cell % columns, Math.floor(cell / columns), stride),
      });
    }
  }
  return suppress(candidates, least).map(({ left, top, width, height, landmarks, score }) => (
    { box: [left, top, left + width, top + height], landmarks, score }));
}

function clip01(value) {
  return Math.min(Math.max(value, 0), 1);
}

function decodeCell(boxes, points, cell, column, row, stride) {
  const at = cell * 4;
  const width = f32(f32(Math.exp(boxes[at + 2])) * stride);
  const height = f32(f32(Math.exp(boxes[at + 3])) * stride);
  const landmarks = [];
  for (let point = 0; point < 5; point++) {
    const place = cell * 10 + point * 2;
    landmarks.push([
      f32(f32(points[place] + column) * stride), f32(f32(points[place + 1] + row) * stride)]);
  }
  return {
    left: f32(f32(f32(column + boxes[at]) * stride) - f32(width / 2)),
    top: f32(f32(f32(row + boxes[at + 1]) * stride) - f32(height / 2)),
    width, height, landmarks,
  };
}

/** No two of them overlap too much; boxes are compared in whole pixels, as OpenCV does. */
function suppress(candidates, least) {
  if (candidates.length < 2) return candidates;
  let rest = candidates.filter(({ score }) => score > least)
    .sort((a, b) => b.score - a.score).slice(0, MOST);
  const kept = [];
  while (rest.length) {
    const best = rest[0];
    kept.push(best);
    rest = rest.slice(1).filter((other) => f32(1 - distance(best, other)) <= OVERLAP);
  }
  return kept;
}

function distance(one, other) {
  const [a, b] = [one, other].map((each) => {
    const [left, top, width, height] = [each.left, each.top, each.width, each.height].map(Math.trunc);
    return { left, top, right: left + width, bottom: top + height, area: width * height };
  });
  const across = Math.max(0, Math.min(a.right, b.right) - Math.max(a.left, b.left));
  const down = Math.max(0, Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top));
  const shared = across * down;
  const union = a.area + b.area - shared;
  return union > 0 ? 1 - shared / union : 0;
}

/** The face in pixels of a picture that is 1 / scale times as large. */
export function enlarged(face, scale) {
  if (scale === 1) return face;
  const factor = 1 / scale;
  const moved = (value) => (value + 0.5) * factor - 0.5;
  return {
    ...face, box: face.box.map(moved), landmarks: face.landmarks.map((point) => point.map(moved)),
  };
}

/** Those with a short side of at least `minFace` pixels, the largest first. */
export function largeFaces(faces, minFace) {
  const sides = ({ box }) => [box[2] - box[0], box[3] - box[1]];
  const area = (face) => sides(face)[0] * sides(face)[1];
  return faces.filter((face) => Math.min(...sides(face)) >= minFace)
    .sort((a, b) => area(b) - area(a));
}

/** The picture at a scale where each crop has as many pixels as the model's input. */
export function withEnoughPixels(pixels, picture, faces, spec) {
  if (picture.scale >= 1 || !faces.length) return picture;
  const least = Math.max(spec.height, spec.width);
  const smallest = Math.min(...faces.map((face) => faceSquare(face, spec.face_crop).side));
  if (smallest * picture.scale >= ENOUGH * least) return picture;
  return scaledDown(pixels, (MARGIN * least / smallest) * Math.max(pixels.width, pixels.height));
}

/** The face as (channels, height, width) uint8, cut out of a picture at a scale. */
export function faceCrop(pixels, face, spec, scale = 1) {
  const { x, y, side, angle } = faceSquare(face, spec.face_crop);
  return cut(
    pixels, { x: (x + 0.5) * scale, y: (y + 0.5) * scale, side: side * scale, angle }, spec);
}

/** The square of a rule around a face: centre, side and angle. */
export function faceSquare(face, rule) {
  if (rule.align !== "eyes") {
    return aroundBox(face, rule, rule.align === "level" ? eyeAngle(face) : 0);
  }
  return betweenEyesAndMouth(face, rule) ??
    aroundBox(face, { scale: rule.scale / EYES_SCALE, up: 0 }, 0);
}

function eyeAngle(face) {
  const [right, left] = face.landmarks;
  return areApart(face, right, left) ? Math.atan2(left[1] - right[1], left[0] - right[0]) : 0;
}

function areApart({ box }, one, other) {
  const least = SHORTEST * Math.max(box[2] - box[0], box[3] - box[1]);
  const apart = Math.hypot(one[0] - other[0], one[1] - other[1]);
  return least < apart && apart < Infinity;
}

function betweenEyesAndMouth(face, rule) {
  const [rightEye, leftEye, , rightCorner, leftCorner] = face.landmarks;
  const [eyes, mouth] = [midpoint(rightEye, leftEye), midpoint(rightCorner, leftCorner)];
  if (!(areApart(face, eyes, mouth) && areApart(face, rightEye, leftEye))) return null;
  const side = Math.hypot(eyes[0] - mouth[0], eyes[1] - mouth[1]) * rule.scale;
  const [x, y] = midpoint(eyes, mouth);
  return movedUp({ x, y, side, angle: eyeAngle(face) }, rule.up);
}

function aroundBox({ box: [left, top, right, bottom] }, rule, angle) {
  const side = Math.max(right - left, bottom - top) * rule.scale;
  return movedUp({ x: (left + right) / 2, y: (top + bottom) / 2, side, angle }, rule.up);
}

function movedUp(square, up) {
  const shift = up * square.side;
  return {
    ...square,
    x: square.x + Math.sin(square.angle) * shift,
    y: square.y - Math.cos(square.angle) * shift,
  };
}

function midpoint(first, second) {
  return [(first[0] + second[0]) / 2, (first[1] + second[1]) / 2];
}
