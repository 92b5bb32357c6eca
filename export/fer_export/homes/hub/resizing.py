"""`fer_runtime.images.fitting.fit` as nodes of an ONNX graph: pictures of any size -> the input's.

A resize is a product with a matrix of weights for each axis, which the nodes compute from the
picture's size as Pillow does; ONNX's own Resize differs at the edges and from engine to engine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import TensorProto

from fer_export.homes.hub.nodes import Nodes
from fer_runtime.spec import InputSpec


@dataclass(frozen=True)
class Axis:
    """How one side of a picture becomes one side of the input; all but `count` are names of values.

    Attributes:
        length: pixels of the picture's side, double.
        count: pixels of the input's side.
        resized: pixels of the side once it is resized.
        first: the resized pixel that is the input's first; negative where there is black before it.
        start: where the part of the picture that is resized begins, in its pixels.
        end: where it ends.
    """

    length: str
    count: int
    resized: str
    first: str
    start: str
    end: str


def number(nodes: Nodes, value: Any) -> str:
    """A constant in double precision, which everything here is computed in."""
    return nodes.constant(value, np.float64)


def as_double(nodes: Nodes, name: str) -> str:
    """A value in double precision."""
    return nodes("Cast", name, to=TensorProto.DOUBLE)


def fit(nodes: Nodes, planes: str, spec: InputSpec) -> str:
    """(N, C, H, W) float32, whole numbers -> (N, C, height, width), whole numbers from 0 to 255."""
    height, width = _axes(nodes, planes, spec)
    down = _weights(nodes, height, spec.interpolation)
    across = nodes("Transpose", _weights(nodes, width, spec.interpolation), perm=[1, 0])
    pixels = as_double(nodes, planes)

    def narrowed(values: str) -> str:
        return _rounded(nodes, nodes("MatMul", values, across))

    def lowered(values: str) -> str:
        return _rounded(nodes, nodes("MatMul", down, values))

    # Pillow begins with the side that loses more than twice the pixels of the other one.
    lost = [nodes("Sub", axis.length, axis.resized) for axis in (height, width)]
    twice = nodes("Mul", number(nodes, 2), lost[1])
    is_lowered_first = nodes("Greater", lost[0], nodes("Max", number(nodes, 0), twice))
    fitted = nodes.choose(is_lowered_first, narrowed(lowered(pixels)), lowered(narrowed(pixels)))
    return nodes("Cast", fitted, to=TensorProto.FLOAT)


def _axes(nodes: Nodes, planes: str, spec: InputSpec) -> tuple[Axis, Axis]:
    shape = nodes("Shape", planes)
    sides = [nodes("Gather", shape, nodes.integer(place)) for place in (2, 3)]
    lengths = [as_double(nodes, side) for side in sides]
    counts = (spec.height, spec.width)
    zero = number(nodes, 0)
    if spec.resize_to is None and spec.resize_mode in ("stretch", "crop"):
        starts = [zero, zero]
        if spec.resize_mode == "crop":
            starts = _cut_off(nodes, lengths, counts)
        axes = [
            Axis(length, count, number(nodes, count), zero, start, nodes("Sub", length, start))
            for length, count, start in zip(lengths, counts, starts, strict=True)
        ]
    else:
        resized = [as_double(nodes, each) for each in _resized_sides(nodes, sides, lengths, spec)]
        axes = [
            Axis(length, count, size, _first(nodes, size, count), zero, length)
            for length, count, size in zip(lengths, counts, resized, strict=True)
        ]
    return axes[0], axes[1]


def _cut_off(nodes: Nodes, lengths: list[str], counts: tuple[int, int]) -> list[str]:
    """What "crop" leaves out at each end of each side, so that the middle has the input's shape."""
    counted = [number(nodes, count) for count in counts]
    scales = [nodes("Div", each, length) for each, length in zip(counted, lengths, strict=True)]
    scale = nodes("Max", *scales)
    half, zero = number(nodes, 0.5), number(nodes, 0)
    return [
        nodes("Max", zero, nodes("Mul", half, nodes("Sub", length, nodes("Div", each, scale))))
        for each, length in zip(counted, lengths, strict=True)
    ]


def _resized_sides(
    nodes: Nodes, sides: list[str], lengths: list[str], spec: InputSpec
) -> list[str]:
    """(height, width) of the whole picture once it is resized, before it is cropped or padded."""
    if isinstance(spec.resize_to, tuple):
        return [nodes.integer(side) for side in spec.resize_to]
    if spec.resize_to is not None:
        base = nodes("Min" if spec.resize_mode == "short" else "Max", *sides)
        wanted, one = nodes.integer(spec.resize_to), nodes.integer(1)
        return [nodes("Max", one, nodes("Div", nodes("Mul", wanted, side), base)) for side in sides]
    counts = [number(nodes, count) for count in (spec.height, spec.width)]
    scales = [nodes("Div", count, length) for count, length in zip(counts, lengths, strict=True)]
    scale, one, half = nodes("Min", *scales), number(nodes, 1), number(nodes, 0.5)
    grown = [nodes("Floor", nodes("Add", nodes("Mul", each, scale), half)) for each in lengths]
    return [
        nodes("Min", count, nodes("Max", one, each))
        for count, each in zip(counts, grown, strict=True)
    ]


def _first(nodes: Nodes, size: str, count: int) -> str:
    """Where the window of the input begins in the resized side, as `_offset` and `_padded` do."""
    beyond = nodes("Mul", nodes("Sub", size, number(nodes, count)), number(nodes, 0.5))
    cropped = nodes("Round", beyond)  # halves to the even number
    padded = nodes("Ceil", beyond)
    return nodes.choose(nodes("Less", beyond, number(nodes, 0)), padded, cropped)


def _weights(nodes: Nodes, axis: Axis, interpolation: str) -> str:
    """(count, length) how much each pixel of the picture counts for each of the input.

    In units of 2 ** -22, whole numbers, as Pillow has them: sums are exact, and round as there. The
    rows outside of the resized picture are zero.
    """
    one, half, zero = number(nodes, 1), number(nodes, 0.5), number(nodes, 0)
    start, end = (as_double(nodes, nodes.to_float(edge)) for edge in (axis.start, axis.end))
    scale = nodes("Div", nodes("Sub", end, start), axis.resized)
    rows = np.arange(axis.count, dtype=np.float64)[:, None]
    place = nodes("Add", number(nodes, rows), axis.first)
    centre = nodes("Add", nodes("Mul", nodes("Add", place, half), scale), start)
    columns = nodes("Range", zero, axis.length, one)
    if interpolation == "nearest":
        weights = as_double(nodes, nodes("Equal", nodes("Floor", centre), columns))
    else:
        step = nodes("Max", scale, one)
        distance = nodes("Div", nodes("Sub", nodes("Add", columns, half), centre), step)
        weights = _FILTERS[interpolation](nodes, nodes("Abs", distance))
        weights = nodes("Div", weights, nodes("ReduceSum", weights, nodes.constant([1], np.int64)))
    scaled = nodes("Mul", weights, number(nodes, UNIT))
    nearest = nodes("Floor", nodes("Add", nodes("Abs", scaled), half))
    whole = nodes("Mul", nodes("Sign", scaled), nearest)
    within = nodes("And", nodes("GreaterOrEqual", place, zero), nodes("Less", place, axis.resized))
    return nodes.choose(within, whole, zero)


def _rounded(nodes: Nodes, sums: str) -> str:
    """Sums of pixels by weights -> pixels."""
    scaled = nodes("Div", nodes("Add", sums, number(nodes, UNIT / 2)), number(nodes, UNIT))
    return nodes("Clip", nodes("Floor", scaled), number(nodes, 0), number(nodes, 255))


def _bilinear(nodes: Nodes, x: str) -> str:
    return nodes("Max", number(nodes, 0), nodes("Sub", number(nodes, 1), x))


def _polynomial(nodes: Nodes, x: str, *factors: float) -> str:
    """The value at x, by Horner's rule; the factor of the highest power first."""
    value = number(nodes, factors[0])
    for factor in factors[1:]:
        value = nodes("Add", nodes("Mul", value, x), number(nodes, factor))
    return value


def _bicubic(nodes: Nodes, x: str) -> str:
    """Keys' cubic convolution with a = -0.5, as Pillow's BICUBIC."""
    near, far = _polynomial(nodes, x, 1.5, -2.5, 0, 1), _polynomial(nodes, x, -0.5, 2.5, -4, 2)
    outer = nodes.choose(nodes("Less", x, number(nodes, 2)), far, number(nodes, 0))
    return nodes.choose(nodes("Less", x, number(nodes, 1)), near, outer)


def _lanczos(nodes: Nodes, x: str) -> str:
    """sinc(x) sinc(x / 3) for x below 3, as Pillow's LANCZOS."""
    product = nodes("Mul", _sinc(nodes, x, 1.0), _sinc(nodes, x, 1 / 3))
    return nodes.choose(nodes("Less", x, number(nodes, 3)), product, number(nodes, 0))


def _sinc(nodes: Nodes, x: str, factor: float) -> str:
    angle = nodes("Mul", x, number(nodes, math.pi * factor))
    is_zero = nodes("Less", angle, number(nodes, 1e-6))
    safe = nodes.choose(is_zero, number(nodes, 1), angle)
    return nodes.choose(is_zero, number(nodes, 1), nodes("Div", nodes("Sin", safe), safe))


UNIT = 1 << 22
"""Pillow's weights are whole numbers of this part of one."""
_FILTERS = {"bilinear": _bilinear, "bicubic": _bicubic, "lanczos": _lanczos}
"""InputSpec's interpolation -> weight at a distance in pixels of the result."""
