"""What to deploy, by a record: why, and the command that follows from it."""

from __future__ import annotations

from typing import NamedTuple

from fer_bench.reporting import charts
from fer_bench.reporting.record import Measurement, Record
from fer_bench.reporting.section import best, is_ours

ENOUGH = 0.97
"""A smaller batch with this share of the best rate is preferred: it answers sooner."""
WORTH = 1.1
"""int8 must be so many times as fast as fp32 to be worth another file."""
PROVIDERS = {"OpenVINO": "openvino", "CUDA": "cuda", "TensorRT": "tensorrt"}


class Advice(NamedTuple):
    """What to deploy.

    Attributes:
        sentences: why.
        command: what to type.
    """

    sentences: tuple[str, ...]
    command: str


def advise(record: Record) -> Advice | None:
    """The fastest provider, precision and batch size; None without throughput in the record."""
    ours = [each for each in record.of("throughput") if is_ours(each.engine)]
    top = best(ours)
    if top is None:
        return None
    same = [each for each in ours if each.engine == top.engine]
    chosen = min(
        (each for each in same if each.images_per_second >= ENOUGH * top.images_per_second),
        key=lambda each: each.batch_size,
    )
    sentences = [
        f"{chosen.engine} at batch {chosen.batch_size}: "
        f"{charts.number(chosen.images_per_second)} images/s, "
        f"{chosen.images_per_second / top.images_per_second:.0%} of the most that it reaches at "
        "any batch size."
    ]
    provider = PROVIDERS.get(chosen.engine.partition(", ")[2], "cpu")
    model = "model.onnx"
    gain = _gain_of_int8(record)
    if gain is not None and gain >= WORTH and provider == "cpu":
        model = "model.int8.onnx"
        sentences.append(
            f"int8 makes {gain:.2f} times fp32's images/s: use it where its accuracy, which its "
            "export reports, is enough."
        )
    elif gain is not None:
        sentences.append(f"int8 makes {gain:.2f} times fp32's images/s: stay with fp32.")
    batch = "" if chosen.batch_size == 32 else f"--batch-size {chosen.batch_size} "
    sentences.append("Threads and worker processes are chosen by the run itself.")
    return Advice(
        tuple(sentences),
        f"fer-infer --model {model} --provider {provider} {batch}images/ -o rows.csv",
    )


def _gain_of_int8(record: Record) -> float | None:
    by: dict[tuple[str, int], Measurement] = {
        (each.engine, each.batch_size): each for each in record.of("precision")
    }
    if ("int8", 32) not in by or ("fp32", 32) not in by:
        return None
    return by["int8", 32].images_per_second / by["fp32", 32].images_per_second
