// Pillow's resize, reduce and transform on 8-bit pixels, bit for bit.
//
// The same arithmetic as libImaging/Resample.c, Reduce.c and Geometry.c of Pillow 13: fixed-point
// coefficients of 22 bits, and a box whose edges are 32-bit floats. Pixels are
// {width, height, channels, data}: rows from the top, channels innermost, uint8.

const PRECISION = 22;
const HALF = 1 << (PRECISION - 1);
const FILTERS = {
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: { support: 2, weight: bicubicWeight },
  lanczos: { support: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

function bicubicWeight(signed) {
  const x = Math.abs(signed);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
}

function sinc(x) {
  return x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI);
}

export function makePixels(width, height, channels) {
  return { width, height, channels, data: new Uint8Array(width * height * channels) };
}

/** Python's round(): halves go to the even number. */
export function roundHalfEven(value) {
  const low = Math.floor(value);
  if (value - low !== 0.5) return Math.round(value);
  return low % 2 === 0 ? low : low + 1;
}

/** The part `box` [left, top, right, bottom] -> width x height; antialiased where it shrinks. */
export function resize(pixels, width, height, interpolation, box) {
  const whole = [0, 0, pixels.width, pixels.height];
  const part = (box ?? whole).map(Math.fround);
  if (width === pixels.width && height === pixels.height &&
      part.every((edge, place) => edge === whole[place])) {
    return { ...pixels, data: pixels.data.slice() };
  }
  if (interpolation === "nearest") return resizeNearest(pixels, width, height, part);
  const filter = FILTERS[interpolation];
  const across = width === pixels.width && part[0] === 0 && part[2] === width
    ? null : coefficients(pixels.width, part[0], part[2], width, filter);
  const down = height === pixels.height && part[1] === 0 && part[3] === height
    ? null : coefficients(pixels.height, part[1], part[3], height, filter);
  const narrowed = (current, rows) => (across ? resizeAcross(current, width, across, rows) : current);
  const lowered = (current) => (down ? resizeDown(current, height, down) : current);
  const lost = pixels.height - height;
  if (lost > 0 && lost > (pixels.width - width) * 2) {  // less to do in this order
    return narrowed(lowered(pixels), [0, height]);
  }
  const last = height - 1;
  const rows = down ? [down.starts[0], down.starts[last] + down.counts[last]] : [0, height];
  return lowered(narrowed(pixels, rows));
}

/** Which inputs each output reads, and their weights as integers of 22 fractional bits. */
function coefficients(length, from, to, count, { support, weight }) {
  const scale = Math.fround(to - from) / count;
  const filterScale = Math.max(1, scale);
  const reach = support * filterScale;
  const step = Math.ceil(reach) * 2 + 1;
  const inverse = 1 / filterScale;
  const starts = new Int32Array(count);
  const counts = new Int32Array(count);
  const weights = new Int32Array(count * step);
  const exact = new Float64Array(step);
  for (let place = 0; place < count; place++) {
    const centre = from + (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - reach + 0.5));
    const size = Math.min(length, Math.trunc(centre + reach + 0.5)) - first;
    let sum = 0;
    for (let i = 0; i < size; i++) {
      exact[i] = weight((i + first - centre + 0.5) * inverse);
      sum += exact[i];
    }
    for (let i = 0; i < size; i++) {
      const share = (sum === 0 ? exact[i] : exact[i] / sum) * (1 << PRECISION);
      weights[place * step + i] = Math.trunc(share < 0 ? share - 0.5 : share + 0.5);
    }
    starts[place] = first;
    counts[place] = size;
  }
  return { starts, counts, weights, step };
}

function clip8(sum) {
  const value = sum >> PRECISION;
  return value < 0 ? 0 : value > 255 ? 255 : value;
}

/** Only the rows [first, end) are computed: those that the vertical pass reads. */
function resizeAcross(pixels, width, { starts, counts, weights, step }, [first, end]) {
  const { channels, data, height } = pixels;
  const result = makePixels(width, height, channels);
  const sumUp = channels === 3 ? sumThree : sumEach;
  for (let y = first; y < end; y++) {
    const row = y * pixels.width * channels;
    let target = y * width * channels;
    for (let x = 0; x < width; x++, target += channels) {
      const source = row + starts[x] * channels;
      sumUp(data, source, channels, weights, x * step, counts[x], result.data, target);
    }
  }
  return result;
}

function sumEach(data, source, channels, weights, place, count, result, target) {
  for (let channel = 0; channel < channels; channel++) {
    let sum = HALF;
    for (let i = 0; i < count; i++) {
      sum += data[source + channel + i * channels] * weights[place + i];
    }
    result[target + channel] = clip8(sum);
  }
}

/** The same for three channels at once, which takes a third of the time. */
function sumThree(data, source, _, weights, place, count, result, target) {
  let red = HALF;
  let green = HALF;
  let blue = HALF;
  for (let i = 0; i < count; i++, source += 3) {
    const weight = weights[place + i];
    red += data[source] * weight;
    green += data[source + 1] * weight;
    blue += data[source + 2] * weight;
  }
  result[target] = clip8(red);
  result[target + 1] = clip8(green);
  result[target + 2] = clip8(blue);
}

function resizeDown(pixels, height, { starts, counts, weights, step }) {
  const { channels, data, width } = pixels;
  const result = makePixels(width, height, channels);
  const line = width * channels;
  const sums = new Int32Array(line);
  for (let y = 0; y < height; y++) {
    sums.fill(HALF);
    for (let i = 0; i < counts[y]; i++) {
      const weight = weights[y * step + i];
      const row = (starts[y] + i) * line;
      for (let x = 0; x < line; x++) sums[x] += data[row + x] * weight;
    }
    const target = y * line;
    for (let x = 0; x < line; x++) result.data[target + x] = clip8(sums[x]);
  }
  return result;
}

function resizeNearest(pixels, width, height, [left, top, right, bottom]) {
  const across = nearestPlaces(left, Math.fround(right - left) / width, width, pixels.width);
  const down = nearestPlaces(top, Math.fround(bottom - top) / height, height, pixels.height);
  const { channels } = pixels;
  const result = makePixels(width, height, channels);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (across[x] < 0 || down[y] < 0) continue;
      const source = (down[y] * pixels.width + across[x]) * channels;
      const target = (y * width + x) * channels;
      for (let c = 0; c < channels; c++) result.data[target + c] = pixels.data[source + c];
    }
  }
  return result;
}

function nearestPlaces(from, step, count, length) {
  const places = new Int32Array(count);
  let position = from + step * 0.5;
  for (let place = 0; place < count; place++, position += step) {
    const found = position < 0 ? -1 : Math.trunc(position);
    places[place] = found < length ? found : -1;
  }
  return places;
}

/** Means of blocks of across x down pixels; the last ones may be smaller. */
export function reduce(pixels, across, down = across) {
  const { channels, data } = pixels;
  const width = Math.ceil(pixels.width / across);
  const height = Math.ceil(pixels.height / down);
  const result = makePixels(width, height, channels);
  for (let y = 0; y < height; y++) {
    const bottom = Math.min(pixels.height, (y + 1) * down);
    for (let x = 0; x < width; x++) {
      const right = Math.min(pixels.width, (x + 1) * across);
      const count = (right - x * across) * (bottom - y * down);
      const multiplier = Math.trunc(Math.fround(4294967296 / Math.fround(256 * count)));
      for (let channel = 0; channel < channels; channel++) {
        let sum = count >> 1;
        for (let row = y * down; row < bottom; row++) {
          const line = row * pixels.width;
          for (let column = x * across; column < right; column++) {
            sum += data[(line + column) * channels + channel];
          }
        }
        result.data[(y * width + x) * channels + channel] =
          Math.floor((sum * multiplier) / 16777216);
      }
    }
  }
  return result;
}

/** Read at size x size points; `matrix` [a, b, c, d, e, f] maps (x, y) to (ax + by + c, ...). */
export function transform(pixels, size, matrix, interpolation) {
  if (interpolation === "nearest") return transformNearest(pixels, size, matrix);
  const read = interpolation === "bilinear" ? readBilinear : readBicubic;
  const [a, b, c, d, e, f] = matrix;
  const { channels, width, height } = pixels;
  const result = makePixels(size, size, channels);
  for (let row = 0; row < size; row++) {
    for (let column = 0; column < size; column++) {
      const x = a * (column + 0.5) + b * (row + 0.5) + c;
      const y = d * (column + 0.5) + e * (row + 0.5) + f;
      if (x < 0 || x >= width || y < 0 || y >= height) continue;
      for (let channel = 0; channel < channels; channel++) {
        const value = read(pixels, x - 0.5, y - 0.5, channel);
        result.data[(row * size + column) * channels + channel] =
          value <= 0 ? 0 : value >= 255 ? 255 : Math.trunc(value);
      }
    }
  }
  return result;
}

function within(value, length) {
  return value < 0 ? 0 : value < length ? value : length - 1;
}

function readBilinear({ width, height, channels, data }, x, y, channel) {
  const [left, top] = [Math.floor(x), Math.floor(y)];
  const [dx, dy] = [x - left, y - top];
  const x0 = within(left, width);
  const x1 = within(left + 1, width);
  const row = (place) => {
    const start = place * width;
    const first = data[(start + x0) * channels + channel];
    const second = data[(start + x1) * channels + channel];
    return first + (second - first) * dx;
  };
  const upper = row(within(top, height));
  const lower = top + 1 >= 0 && top + 1 < height ? row(top + 1) : upper;
  return upper + (lower - upper) * dy;
}

function cubic(v1, v2, v3, v4, d) {
  const p2 = -v1 + v3;
  const p3 = 2 * (v1 - v2) + v3 - v4;
  const p4 = -v1 + v2 - v3 + v4;
  return v2 + d * (p2 + d * (p3 + d * p4));
}

function readBicubic({ width, height, channels, data }, x, y, channel) {
  const [left, top] = [Math.floor(x) - 1, Math.floor(y) - 1];
  const [dx, dy] = [x - left - 1, y - top - 1];
  const [x0, x1, x2, x3] = [0, 1, 2, 3].map((i) => within(left + i, width) * channels + channel);
  const rows = [0, 0, 0, 0];
  for (let i = 0; i < 4; i++) {
    const place = i === 0 ? within(top, height) : top + i;
    if (place < 0 || place >= height) {
      rows[i] = rows[i - 1];
    } else {
      const start = place * width * channels;
      rows[i] = cubic(
        data[start + x0], data[start + x1], data[start + x2], data[start + x3], dx);
    }
  }
  return cubic(...rows, dy);
}

/** In fixed point of 16 fractional bits, as Pillow's `affine_fixed`. */
function transformNearest(pixels, size, [a, b, c, d, e, f]) {
  const fixed = (value) => Math.floor(value * 65536 + 0.5);
  const { channels, width, height } = pixels;
  const result = makePixels(size, size, channels);
  const [stepX, stepY] = [fixed(a), fixed(d)];
  let startX = fixed(c + a * 0.5 + b * 0.5);
  let startY = fixed(f + d * 0.5 + e * 0.5);
  for (let row = 0; row < size; row++) {
    let [x, y] = [startX, startY];
    for (let column = 0; column < size; column++, x += stepX, y += stepY) {
      const [sourceX, sourceY] = [Math.floor(x / 65536), Math.floor(y / 65536)];
      if (sourceX < 0 || sourceX >= width || sourceY < 0 || sourceY >= height) continue;
      const source = (sourceY * width + sourceX) * channels;
      const target = (row * size + column) * channels;
      for (let i = 0; i < channels; i++) result.data[target + i] = pixels.data[source + i];
    }
    startX += fixed(b);
    startY += fixed(e);
  }
  return result;
}
