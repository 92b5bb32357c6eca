"""`fer_runtime.images.fitting.fit` as nodes of an ONNX graph: pictures of any size -> the input's.

A resize is a product with a matrix of weights for each axis, which the nodes compute from the
picture's size as Pillow does; ONNX's own Resize differs at the edges and from engine to engine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fer_export.homes.hub.nodes import Nodes
from fer_runtime.spec import InputSpec



@dataclass(frozen=True)
class Axis:
    """How one side of a picture becomes one side of the input; all but `count` are names of values.

    Attributes:
        length: pixels of the picture's side, float32.
        count: pixels of the input's side.
        resized: pixels of the side once it is resized, float32.
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


def fit(nodes: Nodes, planes: str, spec: InputSpec) -> str:
    """(N, C, H, W) float32, whole numbers -> (N, C, height, width), whole numbers from 0 to 255."""
    height, width = _axes(nodes, planes, spec)
    across = nodes("Transpose", _weights(nodes, width, spec.interpolation), perm=[1, 0])
    narrowed = _rounded(nodes, nodes("MatMul", planes, across))
    return _rounded(nodes, nodes("MatMul", _weights(nodes, height, spec.interpolation), narrowed))


def _axes(nodes: Nodes, planes: str, spec: InputSpec) -> tuple[Axis, Axis]:
    shape = nodes("Shape", planes)
    sides = [nodes("Gather", shape, nodes.integer(place)) for place in (2, 3)]
    lengths = [nodes.to_float(side) for side in sides]
    counts = (spec.height, spec.width)
    zero = nodes.constant(0)
    if spec.resize_to is None and spec.resize_mode in ("stretch", "crop"):
        starts = [zero, zero]
        if spec.resize_mode == "crop":
            starts = _cut_off(nodes, lengths, counts)
        axes = [
            Axis(length, count, nodes.constant(count), zero, start, nodes("Sub", length, start))
            for length, count, start in zip(lengths, counts, starts, strict=True)
        ]
    else:
        resized = [nodes.to_float(each) for each in _resized_sides(nodes, sides, lengths, spec)]
        axes = [
            Axis(length, count, size, _first(nodes, size, count), zero, length)
            for length, count, size in zip(lengths, counts, resized, strict=True)
        ]
    return axes[0], axes[1]


def _cut_off(nodes: Nodes, lengths: list[str], counts: tuple[int, int]) -> list[str]:
    """What "crop" leaves out at each end of each side, so that the middle has the input's shape."""
    counted = [nodes.constant(count) for count in counts]
    scales = [nodes("Div", each, length) for each, length in zip(counted, lengths, strict=True)]
    scale = nodes("Max", *scales)
    half, zero = nodes.constant(0.5), nodes.constant(0)
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
        return [
            nodes("Max", one, nodes("Div", nodes("Mul", wanted, side), base)) for side in sides
        ]
    counts = [nodes.constant(count) for count in (spec.height, spec.width)]
    scales = [nodes("Div", count, length) for count, length in zip(counts, lengths, strict=True)]
    scale, one, half = nodes("Min", *scales), nodes.constant(1), nodes.constant(0.5)
    grown = [nodes("Floor", nodes("Add", nodes("Mul", each, scale), half)) for each in lengths]
    return [
        nodes("Min", count, nodes("Max", one, each))
        for count, each in zip(counts, grown, strict=True)
    ]


def _first(nodes: Nodes, size: str, count: int) -> str:
    """Where the window of the input begins in the resized side, as `_offset` and `_padded` do."""
    beyond = nodes("Mul", nodes("Sub", size, nodes.constant(count)), nodes.constant(0.5))
    cropped = nodes("Round", beyond)  # halves to the even number
    padded = nodes("Ceil", beyond)
    return nodes.choose(nodes("Less", beyond, nodes.constant(0)), padded, cropped)


def _weights(nodes: Nodes, axis: Axis, interpolation: str) -> str:
    """(count, length) float32: how much each pixel of the picture counts for each of the input.

    The rows sum to one; those outside of the resized picture are zero.
    """
    one, half = nodes.constant(1), nodes.constant(0.5)
    scale = nodes("Div", nodes("Sub", axis.end, axis.start), axis.resized)
    rows = np.arange(axis.count, dtype=np.float32)[:, None]
    place = nodes("Add", nodes.constant(rows), axis.first)
    centre = nodes("Add", nodes("Mul", nodes("Add", place, half), scale), axis.start)
    columns = nodes("Range", nodes.constant(0), axis.length, one)
    if interpolation == "nearest":
        weights = nodes.to_float(nodes("Equal", nodes("Floor", centre), columns))
    else:
        step = nodes("Max", scale, one)
        distance = nodes("Div", nodes("Sub", nodes("Add", columns, half), centre), step)
        weights = _FILTERS[interpolation](nodes, nodes("Abs", distance))
        weights = nodes("Div", weights, nodes("ReduceSum", weights, nodes.constant([1], np.int64)))
    within = nodes(
        "And",
        nodes("GreaterOrEqual", place, nodes.constant(0)),
        nodes("Less", place, axis.resized),
    )
    return nodes.choose(within, weights, nodes.constant(0))


def _rounded(nodes: Nodes, values: str) -> str:
    nearest = nodes("Floor", nodes("Add", values, nodes.constant(0.5)))
    return nodes("Clip", nearest, nodes.constant(0), nodes.constant(255))


def _bilinear(nodes: Nodes, x: str) -> str:
    return nodes("Max", nodes.constant(0), nodes("Sub", nodes.constant(1), x))


def _polynomial(nodes: Nodes, x: str, *factors: float) -> str:
    """The value at x, by Horner's rule; the factor of the highest power first."""
    value = nodes.constant(factors[0])
    for factor in factors[1:]:
        value = nodes("Add", nodes("Mul", value, x), nodes.constant(factor))
    return value


def _bicubic(nodes: Nodes, x: str) -> str:
    """Keys' cubic convolution with a = -0.5, as Pillow's BICUBIC."""
    near, far = _polynomial(nodes, x, 1.5, -2.5, 0, 1), _polynomial(nodes, x, -0.5, 2.5, -4, 2)
    outer = nodes.choose(nodes("Less", x, nodes.constant(2)), far, nodes.constant(0))
    return nodes.choose(nodes("Less", x, nodes.constant(1)), near, outer)


def _lanczos(nodes: Nodes, x: str) -> str:
    """sinc(x) sinc(x / 3) for x below 3, as Pillow's LANCZOS."""
    product = nodes("Mul", _sinc(nodes, x, 1.0), _sinc(nodes, x, 1 / 3))
    return nodes.choose(nodes("Less", x, nodes.constant(3)), product, nodes.constant(0))


def _sinc(nodes: Nodes, x: str, factor: float) -> str:
    angle = nodes("Mul", x, nodes.constant(math.pi * factor))
    is_zero = nodes("Less", angle, nodes.constant(1e-6))
    safe = nodes.choose(is_zero, nodes.constant(1), angle)
    return nodes.choose(is_zero, nodes.constant(1), nodes("Div", nodes("Sin", safe), safe))


_FILTERS = {"bilinear": _bilinear, "bicubic": _bicubic, "lanczos": _lanczos}
"""InputSpec's interpolation -> weight at a distance in pixels of the result."""
