// Pixels of any size -> the size of an InputSpec, as fer_runtime/images/fitting.py and cutting.py.
//
// `spec` is the `input` of a ModelSpec, with the keys of its JSON.

import { makePixels, reduce, resize, roundHalfEven, transform } from "./resampling.mjs";

const OVERSAMPLING = 1.5;
const MAX_POINTS = 2;
const REDUCING_GAP = 3;
const SUPPORT = 2;
const WHOLE_PIXELS = 16_000_000;

/** Pixels with 1 (luma of ITU-R 601, as Pillow's "L") or 3 channels; alpha is dropped. */
export function toChannels(pixels, channels) {
  const step = pixels.channels;
  if (step === channels) return pixels;
  const { data, width, height } = pixels;
  const result = makePixels(width, height, channels);
  const [green, blue] = step === 1 ? [0, 0] : [1, 2];
  const count = width * height;
  for (let place = 0, source = 0, target = 0; place < count; place++, source += step) {
    if (channels === 1) {
      result.data[target++] = (data[source] * 19595 + data[source + green] * 38470 +
        data[source + blue] * 7471 + 0x8000) >> 16;
    } else {
      result.data[target++] = data[source];
      result.data[target++] = data[source + green];
      result.data[target++] = data[source + blue];
    }
  }
  return result;
}

/** Pixels with the spec's channels -> (channels, height, width) uint8, one plane after another. */
export function fit(pixels, spec, box) {
  const whole = [0, 0, pixels.width, pixels.height];
  const part = box ?? whole;
  const isWhole = part.every((edge, place) => edge === whole[place]);
  let fitted = pixels;
  if (spec.resize_to !== null) {
    fitted = resizedThenCropped(pixels, spec, part);
  } else if (pixels.height !== spec.height || pixels.width !== spec.width || !isWhole) {
    let [height, width] = [spec.height, spec.width];
    let used = part;
    if (spec.resize_mode === "crop") used = middle(part, spec);
    if (spec.resize_mode === "pad") {
      [height, width] = scaledSize(part[3] - part[1], part[2] - part[0], spec);
    }
    fitted = padded(resize(pixels, width, height, spec.interpolation, used), spec);
  }
  return toPlanes(fitted);
}

function toPlanes({ width, height, channels, data }) {
  const planes = new Uint8Array(data.length);
  const size = width * height;
  for (let place = 0; place < size; place++) {
    for (let channel = 0; channel < channels; channel++) {
      planes[channel * size + place] = data[place * channels + channel];
    }
  }
  return planes;
}

/** [height, width] of the whole picture once it is resized. */
export function scaledSize(height, width, spec) {
  if (Array.isArray(spec.resize_to)) return spec.resize_to;
  if (spec.resize_to !== null) return sideScaled(height, width, spec.resize_mode, spec.resize_to);
  if (spec.resize_mode === "stretch") return [spec.height, spec.width];
  const isCrop = spec.resize_mode === "crop";
  const choose = isCrop ? Math.max : Math.min;
  const scale = choose(spec.height / height, spec.width / width);
  return [
    choose(spec.height, Math.max(1, Math.floor(height * scale + 0.5))),
    choose(spec.width, Math.max(1, Math.floor(width * scale + 0.5))),
  ];
}

function sideScaled(height, width, mode, side) {
  let [short, long] = [Math.min(height, width), Math.max(height, width)];
  if (mode === "short") [short, long] = [side, Math.trunc((side * long) / short)];
  else [short, long] = [Math.max(1, Math.trunc((side * short) / long)), side];
  return width <= height ? [long, short] : [short, long];
}

function resizedThenCropped(pixels, spec, box) {
  const [left, top, right, bottom] = box;
  const [height, width] = scaledSize(bottom - top, right - left, spec);
  const across = offset(width, spec.width);
  const down = offset(height, spec.height);
  if (height * width <= Math.max(WHOLE_PIXELS, 4 * spec.height * spec.width)) {
    const resized = resize(pixels, width, height, spec.interpolation, box);
    return padded(cropped(resized, across, down, spec.width, spec.height), spec);
  }
  const [keptHeight, keptWidth] = [Math.min(height, spec.height), Math.min(width, spec.width)];
  const [column, row] = [(right - left) / width, (bottom - top) / height];
  return padded(resize(pixels, keptWidth, keptHeight, spec.interpolation, [
    left + across * column,
    top + down * row,
    Math.min(right, left + (across + keptWidth) * column),
    Math.min(bottom, top + (down + keptHeight) * row),
  ]), spec);
}

function offset(size, wanted) {
  return Math.max(0, roundHalfEven((size - wanted) / 2));
}

/** The part of the pixels that a window of at most width x height shows. */
function cropped(pixels, left, top, width, height) {
  const [right, bottom] = [Math.min(pixels.width, left + width), Math.min(pixels.height, top + height)];
  const result = makePixels(right - left, bottom - top, pixels.channels);
  const line = result.width * pixels.channels;
  for (let y = 0; y < result.height; y++) {
    const start = ((y + top) * pixels.width + left) * pixels.channels;
    result.data.set(pixels.data.subarray(start, start + line), y * line);
  }
  return result;
}

function middle([left, top, right, bottom], spec) {
  const scale = Math.max(spec.height / (bottom - top), spec.width / (right - left));
  const across = Math.max(0, (right - left - spec.width / scale) / 2);
  const down = Math.max(0, (bottom - top - spec.height / scale) / 2);
  return [left + across, top + down, right - across, bottom - down];
}

function padded(pixels, spec) {
  if (pixels.height === spec.height && pixels.width === spec.width) return pixels;
  const top = Math.floor((spec.height - pixels.height) / 2);
  const left = Math.floor((spec.width - pixels.width) / 2);
  const result = makePixels(spec.width, spec.height, pixels.channels);
  const line = pixels.width * pixels.channels;
  for (let y = 0; y < pixels.height; y++) {
    const target = ((y + top) * spec.width + left) * pixels.channels;
    result.data.set(pixels.data.subarray(y * line, (y + 1) * line), target);
  }
  return result;
}

/** A square {x, y, side, angle} of a picture -> (channels, height, width) uint8. */
export function cut(pixels, square, spec) {
  const wanted = Math.max(...scaledSize(square.side, square.side, spec));
  const isTurned = square.angle % (2 * Math.PI) !== 0;
  const isNearest = spec.interpolation === "nearest";
  let block = 1;
  if (!isNearest) {
    const times = isTurned ? OVERSAMPLING : REDUCING_GAP;
    block = Math.max(1, Math.trunc(square.side / (wanted * times)));
  }
  const { region, x, y } = regionOf(pixels, square, spec.channels, block);
  const side = square.side / block;
  if (!isTurned) {
    return fit(region, spec, [
      Math.max(0, x - side / 2),
      Math.max(0, y - side / 2),
      Math.min(region.width, x + side / 2),
      Math.min(region.height, y + side / 2),
    ]);
  }
  let count = wanted;
  if (!isNearest) {
    count = Math.min(Math.max(wanted, roundHalfEven(side)), MAX_POINTS * wanted);
  }
  const turned = turn(region, { x, y, side, angle: square.angle }, count, spec.interpolation);
  return fit(turned, spec);
}

/** What of the picture the square needs, averaged over blocks, and the square's centre in it. */
function regionOf(pixels, square, channels, block) {
  const [cos, sin] = [Math.abs(Math.cos(square.angle)), Math.abs(Math.sin(square.angle))];
  const margin = square.angle ? SUPPORT * block : 0;
  const half = (square.side / 2) * (cos + sin) + margin;
  const down = span(square.y - half, square.y + half, pixels.height, block);
  const across = span(square.x - half, square.x + half, pixels.width, block);
  const part = cropped(
    pixels, across.start, down.start, across.stop - across.start, down.stop - down.start);
  let region = toChannels(part, channels);
  if (block > 1) region = reduce(region, block);
  return {
    region: withEdges(region, across, down),
    x: (square.x - across.start) / block + across.before,
    y: (square.y - down.start) / block + down.before,
  };
}

/** Of one side of a picture: from start to stop, and the blocks that are needed beyond both ends. */
function span(low, high, length, block) {
  const [first, last] = [Math.floor(low), Math.ceil(high)];
  const start = Math.min(Math.max(first, 0), length - 1);
  let stop = Math.max(Math.min(last, length), start + 1);
  const blocks = Math.ceil((stop - start) / block);
  stop = Math.min(length, start + blocks * block);
  const before = first < start ? Math.ceil((start - first) / block) : 0;
  const after = Math.max(0, Math.ceil((last - start) / block) - blocks);
  return { start, stop, before, after };
}

/** The pixels with their edge repeated around them. */
function withEdges(pixels, across, down) {
  if (!(across.before || across.after || down.before || down.after)) return pixels;
  const { channels, data } = pixels;
  const width = pixels.width + across.before + across.after;
  const height = pixels.height + down.before + down.after;
  const result = makePixels(width, height, channels);
  for (let y = 0; y < height; y++) {
    const row = Math.min(Math.max(y - down.before, 0), pixels.height - 1) * pixels.width;
    for (let x = 0; x < width; x++) {
      const column = Math.min(Math.max(x - across.before, 0), pixels.width - 1);
      for (let i = 0; i < channels; i++) {
        result.data[(y * width + x) * channels + i] = data[(row + column) * channels + i];
      }
    }
  }
  return result;
}

function turn(region, { x, y, side, angle }, count, interpolation) {
  const step = side / count;
  const [cos, sin] = [step * Math.cos(angle), step * Math.sin(angle)];
  const half = count / 2;
  const matrix = [cos, -sin, x - half * (cos - sin), sin, cos, y - half * (sin + cos)];
  const filter = interpolation === "bilinear" || interpolation === "nearest"
    ? interpolation : "bicubic";
  return transform(region, count, matrix, filter);
}
