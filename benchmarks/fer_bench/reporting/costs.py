"""What the other groups say: pipeline, cold start, memory, decoding, and the limit."""

from __future__ import annotations

from fer_bench.reporting import charts
from fer_bench.reporting.record import Record
from fer_bench.reporting.section import OURS, Section, is_ours, rates


def pipeline(record: Record) -> Section | None:
    """Images/s from files to a CSV file, by source."""
    measured = record.of("pipeline")
    if not measured:
        return None
    names = {each.engine: each for each in measured}
    slow, fast = (pick(measured, key=lambda each: each.images_per_second) for pick in (min, max))
    sentences = [
        f"The fastest source is {fast.engine} ({charts.number(fast.images_per_second)} images/s), "
        f"the slowest {slow.engine} ({charts.number(slow.images_per_second)} images/s). The run "
        "chooses threads and workers itself."
    ]
    ratios = {}
    if "pack, 48 pixels" in names and "JPEG, 48 pixels" in names:
        ratio = (
            names["pack, 48 pixels"].images_per_second / names["JPEG, 48 pixels"].images_per_second
        )
        ratios["pack / JPEG, 48 pixels"] = ratio
        sentences.append(f"A pack makes {ratio:.2f} times the images/s of its JPEG files.")
    chart = charts.bars(
        {name: each.images_per_second for name, each in names.items()},
        unit="images/s, from files to CSV rows",
    )
    return Section(
        "Pipeline", "pytest benchmarks -k pipeline", sentences, chart, "pipeline", ratios,
        rates(names),
    )  # fmt: skip


def stages(record: Record) -> Section | None:
    """What each stage of a run costs, on one thread."""
    measured = {each.engine: each for each in record.of("stages")}
    if not measured:
        return None
    costs = {name: 1e6 / each.images_per_second for name, each in measured.items()}
    parts = {name: cost for name, cost in costs.items() if name != "whole run"}
    sentences, ratios = [], {}
    if parts and "whole run" in costs:
        largest = max(parts, key=lambda name: parts[name])
        ratios[f"{largest} / whole run, one thread"] = parts[largest] / costs["whole run"]
        sentences.append(
            f"On one thread an image of 48 x 48 takes {costs['whole run']:.0f} microseconds from "
            f"file to row; alone, the stages take {sum(parts.values()):.0f}, of which "
            f"“{largest}” is {parts[largest]:.0f}. The rest is what passing them on costs."
        )
    chart = charts.bars(costs, unit="microseconds an image, one thread", emphasised=["whole run"])
    rows = [["one thread", "us an image"]]
    rows += [[name, charts.number(cost)] for name, cost in costs.items()]
    return Section(
        "Stages", "pytest benchmarks -k stages", sentences, chart, "stages", ratios, rows
    )


def cold_start(record: Record) -> Section | None:
    """Seconds from nothing to the first result."""
    measured = sorted(record.of("cold start"), key=lambda each: each.milliseconds["p50"])
    if not measured:
        return None
    seconds = {each.engine: each.milliseconds["p50"] / 1000 for each in measured}
    ours = next((each for each in measured if is_ours(each.engine)), None)
    torch = next((each for each in measured if not is_ours(each.engine)), None)
    sentences, ratios = [], {}
    if ours and torch:
        ratio = seconds[torch.engine] / seconds[ours.engine]
        ratios["cold start, PyTorch at its best / runtime"] = ratio
        sentences.append(
            f"A process that starts, imports, opens the model and classifies one image takes "
            f"{seconds[ours.engine]:.2f} s with {ours.engine}, and {ratio:.1f} times as long with "
            f"PyTorch's fastest start ({torch.engine}, {seconds[torch.engine]:.2f} s)."
        )
    chart = charts.bars(
        seconds, unit="seconds from the start of the process to its first result",
        emphasised=[name for name in seconds if is_ours(name)],
    )  # fmt: skip
    rows = [["seconds", "to the first result", "of it the first run"]]
    rows += [
        [each.engine, f"{seconds[each.engine]:.2f}", f"{each.facts['first_run_seconds']:.3f}"]
        for each in measured
    ]
    return Section(
        "Cold start",
        "pytest benchmarks -k cold_start",
        sentences,
        chart,
        "cold_start",
        ratios,
        rows,
    )


def memory(record: Record) -> Section | None:
    """Peak memory of a process that runs one batch."""
    measured = sorted(record.of("memory"), key=lambda each: float(each.facts["peak_bytes"]))
    if not measured:
        return None
    size = measured[0].batch_size
    megabytes = {each.engine: each.facts["peak_bytes"] / 1e6 for each in measured}
    ours = next((each.engine for each in measured if is_ours(each.engine)), None)
    torch = next((each.engine for each in measured if not is_ours(each.engine)), None)
    sentences, ratios = [], {}
    if ours and torch:
        ratio = megabytes[torch] / megabytes[ours]
        ratios["memory, PyTorch at its best / runtime"] = ratio
        sentences.append(
            f"After one batch of {size} the process of {ours} has taken {megabytes[ours]:.0f} MB "
            f"at most; with PyTorch the least is {ratio:.1f} times that ({torch}, "
            f"{megabytes[torch]:.0f} MB)."
        )
    chart = charts.bars(
        megabytes, unit=f"MB, the most that a process with one batch of {size} takes",
        emphasised=[name for name in megabytes if is_ours(name)],
    )  # fmt: skip
    rows = [["MB", "process", "model file"]]
    rows += [
        [each.engine, f"{megabytes[each.engine]:.0f}", f"{each.facts['artefact_bytes'] / 1e6:.1f}"]
        for each in measured
    ]
    return Section(
        "Memory", "pytest benchmarks -k memory", sentences, chart, "memory", ratios, rows
    )


def decoding(record: Record) -> Section | None:
    """Image files to pixels, on one thread."""
    measured = record.of("decoding")
    if not measured:
        return None
    groups = list(dict.fromkeys(each.group for each in measured))
    by = {each.key: each for each in measured}
    ratios = {}
    for group in groups:
        ours, pillow = by.get((group, OURS)), by.get((group, "Pillow"))
        if ours and pillow:
            ratios[f"{group}, runtime / Pillow"] = ours.images_per_second / pillow.images_per_second
    found = [f"{ratio:.1f} ({key.split(', ')[1]})" for key, ratio in ratios.items()]
    sentences = [f"One thread decodes {', '.join(found)} times as many images/s as Pillow."]
    names = {f"{each.group.removeprefix('decoding, ')}, {each.engine}": each for each in measured}
    chart = charts.bars(
        {name: each.images_per_second for name, each in names.items()},
        unit="images/s on one thread", emphasised=[n for n in names if n.endswith(OURS)],
    )  # fmt: skip
    return Section(
        "Decoding", "pytest benchmarks -k decoding", sentences, chart, "decoding", ratios,
        rates(names),
    )  # fmt: skip


def roofline(record: Record) -> Section | None:
    """Each engine's share of what one core could do."""
    measured = sorted(record.of("roofline"), key=lambda each: -each.facts["share"])
    if not measured:
        return None
    shares = {each.engine: 100 * each.facts["share"] for each in measured}
    peaks = measured[0].facts["peaks"]
    sentences = [
        f"One core makes {peaks['float32'] / 1e9:.0f} G multiply-adds/s in float32 and "
        f"{peaks['int8'] / 1e9:.0f} G in int8 (large matrix products), and copies "
        f"{peaks['memory'] / 1e9:.0f} GB/s. The limit of a model is the sum over its layers of "
        "whichever takes longer, its multiply-adds or its bytes.",
        "Of that limit: "
        + "; ".join(f"{name} {share:.0f} %" for name, share in shares.items()) + ".",
    ]  # fmt: skip
    if max(shares.values()) > 100:
        sentences.append("A share above 100 % shows that the limit was estimated too low.")
    ratios = {f"share of the limit, {name}": share / 100 for name, share in shares.items()}
    chart = charts.bars(
        shares, unit="% of the limit of one core, batch 32",
        emphasised=[name for name in shares if is_ours(name)],
    )  # fmt: skip
    rows = [["one core", "us an image", "limit, us", "share"]]
    rows += [
        [each.engine, f"{each.facts['microseconds']:.0f}",
         f"{each.facts['least_microseconds']:.0f}", f"{each.facts['share']:.0%}"]
        for each in measured
    ]  # fmt: skip
    return Section(
        "Share of the limit", "pytest benchmarks -k roofline", sentences, chart, "roofline", ratios,
        rows,
    )  # fmt: skip
