"""What the groups about speed say: throughput, latency, precision, threads and workers."""

from __future__ import annotations

from fer_bench.reporting import charts
from fer_bench.reporting.record import Record
from fer_bench.reporting.section import Section, best, is_ours, rates


def throughput(record: Record) -> Section | None:
    """Images/s against the batch size."""
    measured = record.of("throughput")
    if not measured:
        return None
    series: dict[str, dict[int, float]] = {}
    for each in sorted(measured, key=lambda one: one.batch_size):
        series.setdefault(each.engine, {})[each.batch_size] = each.images_per_second
    most = max(each.batch_size for each in measured)
    last = {each.engine: each for each in measured if each.batch_size == most}
    sentences, ratios = [], {}
    ours = best(each for each in last.values() if is_ours(each.engine))
    torch = best(each for each in last.values() if not is_ours(each.engine))
    if ours and torch:
        ratio = ours.images_per_second / torch.images_per_second
        ratios[f"runtime / PyTorch at its best, batch {most}"] = ratio
        sentences.append(
            f"At batch {most} {ours.engine} makes {charts.number(ours.images_per_second)} "
            f"images/s, {ratio:.2f} times PyTorch at its best ({torch.engine}, "
            f"{charts.number(torch.images_per_second)} images/s)."
        )
    if ours and "eager" in last and torch:
        ratio = ours.images_per_second / last["eager"].images_per_second
        ratios[f"runtime / eager, batch {most}"] = ratio
        sentences.append(
            f"Eager PyTorch as it is started makes "
            f"{charts.number(last['eager'].images_per_second)} images/s there, {ratio:.2f} times "
            "less; part of that is the allocator, which gives large blocks back to the system "
            "after each run, unless it is told to keep them (“blocks kept”)."
        )
    chart = charts.lines(
        series, x="images in a batch", y="images/s", emphasised=[ours.engine] if ours else ()
    )
    sizes = sorted({each.batch_size for each in measured})
    rows = [["images/s at batch", *(str(size) for size in sizes)]]
    for engine, points in series.items():
        cells = (points.get(size) for size in sizes)
        rows.append([engine, *("" if cell is None else charts.number(cell) for cell in cells)])
    return Section(
        "Throughput",
        "pytest benchmarks -k throughput",
        sentences,
        chart,
        "throughput",
        ratios,
        rows,
    )


def latency(record: Record) -> Section | None:
    """The time of one image, with its percentiles."""
    measured = sorted(record.of("latency"), key=lambda each: each.milliseconds["p50"])
    if not measured:
        return None
    fastest = measured[0]
    calm = min(measured, key=lambda each: each.milliseconds["p99"])
    sentences = [
        f"The median of one image is shortest with {fastest.engine}: "
        f"{fastest.milliseconds['p50']:.3g} ms, and {fastest.milliseconds['p99']:.3g} ms or less "
        f"in 99 of 100 runs ({fastest.rounds:,} runs)."
    ]
    if calm is not fastest:
        sentences.append(
            f"The shortest 99th percentile is that of {calm.engine}: "
            f"{calm.milliseconds['p99']:.3g} ms."
        )
    ratios = {}
    torch = next((each for each in measured if not is_ours(each.engine)), None)
    ours = next((each for each in measured if is_ours(each.engine)), None)
    if torch and ours:
        ratio = torch.milliseconds["p50"] / ours.milliseconds["p50"]
        ratios["PyTorch at its best / runtime, p50 of one image"] = ratio
        sentences.append(
            f"PyTorch's fastest way for one image, {torch.engine}, takes {ratio:.2f} times as long "
            f"as {ours.engine}."
        )
    chart = charts.percentiles(
        {each.engine: each.milliseconds for each in measured}, unit="milliseconds for one image"
    )
    rows = [["one image, ms", "p50", "p90", "p99", "runs"]]
    rows += [
        [each.engine, *(f"{each.milliseconds[p]:.3f}" for p in ("p50", "p90", "p99")),
         f"{each.rounds:,}"]
        for each in measured
    ]  # fmt: skip
    return Section(
        "Latency", "pytest benchmarks -k latency", sentences, chart, "latency", ratios, rows
    )


def threads(record: Record) -> Section | None:
    """Images/s by threads of one engine, and by worker processes of a run."""
    counted, working = record.of("threads"), record.of("workers")
    if not counted and not working:
        return None
    sentences, ratios = [], {}
    ours = [each for each in counted if is_ours(each.engine)]
    if len(ours) > 1:
        one = min(ours, key=lambda each: each.facts["threads"])
        most = max(ours, key=lambda each: each.facts["threads"])
        ratio = most.images_per_second / one.images_per_second
        ratios[f"{most.facts['threads']} threads / 1 thread"] = ratio
        sentences.append(
            f"One session on {most.facts['threads']} threads makes {ratio:.2f} times the images/s "
            "of one thread."
        )
    alone = next((each for each in working if each.facts["workers"] == 0), None)
    several = best(each for each in working if each.facts["workers"] > 0)
    if alone and several:
        ratio = several.images_per_second / alone.images_per_second
        ratios["workers / threads"] = ratio
        sentences.append(
            f"From files to rows {several.facts['workers']} worker processes make {ratio:.2f} "
            "times the images/s of threads in one process."
        )
    measured = [*counted, *working]
    names = {each.engine if each in counted else f"files to rows, {each.engine}": each
             for each in measured}  # fmt: skip
    chart = charts.bars(
        {name: each.images_per_second for name, each in names.items()}, unit="images/s",
        emphasised=[name for name, each in names.items() if is_ours(each.engine)],
    )  # fmt: skip
    return Section(
        "Threads and workers", "pytest benchmarks -k 'threads or workers'", sentences, chart,
        "threads", ratios, rates(names),
    )  # fmt: skip


def precision(record: Record) -> Section | None:
    """Images/s of fp32, fp16 and int8."""
    measured = record.of("precision")
    if not measured:
        return None
    by = {(each.engine, each.batch_size): each for each in measured}
    sizes = sorted({each.batch_size for each in measured})
    sentences, ratios = [], {}
    for name in ("int8", "fp16"):
        for size in sizes:
            if (name, size) in by and ("fp32", size) in by:
                one, other = by[name, size], by["fp32", size]
                ratios[f"{name} / fp32, batch {size}"] = (
                    one.images_per_second / other.images_per_second
                )
        found = [f"{ratio:.2f} (batch {key.rsplit(' ', 1)[1]})"
                 for key, ratio in ratios.items() if key.startswith(name)]  # fmt: skip
        if found:
            sentences.append(f"{name} makes {', '.join(found)} times fp32's images/s.")
    sentences.append(
        "What a precision costs in accuracy is in the export's report; int8 is not written where "
        "macro-F1 falls by more than half a point."
    )
    names = {f"{each.engine}, batch {each.batch_size}": each for each in measured}
    chart = charts.bars(
        {name: each.images_per_second for name, each in names.items()}, unit="images/s",
        emphasised=[name for name in names if name.startswith("int8")],
    )  # fmt: skip
    return Section(
        "Precision", "pytest benchmarks -k precision", sentences, chart, "precision", ratios,
        rates(names),
    )  # fmt: skip
