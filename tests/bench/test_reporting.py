"""A stored run as a page: what it says is true of its numbers, and noise is named."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from fer_bench import recording
from fer_bench.report import app
from fer_bench.reporting import page, record
from fer_bench.reporting.advice import advise
from fer_bench.reporting.peers import section as section_of_peers
from fer_runtime.errors import DataError
from tests.bench import records
from tests.bench.records import benchmark, throughput, write

EVERY_GROUP = [
    *throughput(eager=1000, runtime=4000),
    benchmark("throughput, batch 512", "eager", 512, 0.5),
    benchmark("throughput, batch 512", "runtime", 512, 0.1),
    benchmark("latency", "eager", 1, 0.002),
    benchmark("latency", "runtime", 1, 0.0005),
    benchmark("precision, batch 32", "fp32", 32, 0.01, artefact_bytes=10),
    benchmark("precision, batch 32", "int8", 32, 0.005, artefact_bytes=3),
    benchmark("threads, batch 32", "runtime, 1 thread", 32, 0.01, threads=1),
    benchmark("threads, batch 32", "runtime, 2 threads", 32, 0.006, threads=2),
    benchmark("workers, files to rows", "2 threads", 64, 0.02, workers=0),
    benchmark("workers, files to rows", "2 workers", 64, 0.01, workers=2),
    benchmark("pipeline, file to row", "JPEG, 48 pixels", 64, 0.02),
    benchmark("pipeline, file to row", "pack, 48 pixels", 64, 0.01),
    benchmark("stages, one thread", "decode", 512, 0.1),
    benchmark("stages, one thread", "session", 512, 0.3),
    benchmark("stages, one thread", "whole run", 512, 0.5),
    benchmark("cold start, one image", "eager", 1, 2.0, first_run_seconds=0.1),
    benchmark("cold start, one image", "runtime", 1, 0.2, first_run_seconds=0.001),
    benchmark("memory, batch 32", "eager", 32, 2.0, peak_bytes=4e8, artefact_bytes=2.7e6),
    benchmark("memory, batch 32", "runtime", 32, 0.2, peak_bytes=1e8, artefact_bytes=2.7e6),
    benchmark("decoding, JPG of 48", "runtime", 32, 0.001),
    benchmark("decoding, JPG of 48", "Pillow", 32, 0.004),
    benchmark(
        "roofline, batch 32", "runtime", 32, 0.01, share=0.9, microseconds=300.0,
        least_microseconds=270.0, peaks={"float32": 7e10, "int8": 2e11, "memory": 2e10},
    ),
]  # fmt: skip


def read(folder: Path, benchmarks: list[dict], **how: float) -> record.Record:
    return record.read(write(folder / "run.json", benchmarks, **how))


def test_every_group_has_a_section_whose_numbers_are_the_records(tmp_path: Path) -> None:
    found = {each.title: each for each in page.sections(read(tmp_path, EVERY_GROUP))}
    assert list(found) == [
        "Throughput", "Latency", "Precision", "Threads and workers", "Pipeline", "Stages",
        "Cold start", "Memory", "Decoding", "Share of the limit",
    ]  # fmt: skip
    ratios = {key: value for each in found.values() for key, value in each.ratios.items()}
    assert ratios == {
        "runtime / PyTorch at its best, batch 512": pytest.approx(5),
        "runtime / eager, batch 512": pytest.approx(5),
        "PyTorch at its best / runtime, p50 of one image": pytest.approx(4),
        "int8 / fp32, batch 32": pytest.approx(2),
        "2 threads / 1 thread": pytest.approx(10 / 6),
        "workers / threads": pytest.approx(2),
        "pack / JPEG, 48 pixels": pytest.approx(2),
        "session / whole run, one thread": pytest.approx(0.6),
        "cold start, PyTorch at its best / runtime": pytest.approx(10),
        "memory, PyTorch at its best / runtime": pytest.approx(4),
        "decoding, JPG of 48, runtime / Pillow": pytest.approx(4),
        "share of the limit, runtime": pytest.approx(0.9),
    }
    assert "5,120 images/s, 5.00 times PyTorch at its best" in found["Throughput"].sentences[0]
    for section in found.values():
        picture = Image.open(io.BytesIO(section.chart))
        assert picture.width == 1000
        assert section.command.startswith("pytest benchmarks -k")
        assert len({len(row) for row in section.rows}) == 1


def test_a_record_of_one_group_has_one_section(tmp_path: Path) -> None:
    found = page.sections(read(tmp_path, [benchmark("latency", "runtime", 1, 0.001)]))
    assert [each.title for each in found] == ["Latency"]
    assert found[0].ratios == {}


@pytest.mark.parametrize(("share", "is_explained"), [(0.9, False), (1.04, True)])
def test_more_than_the_limit_is_explained(tmp_path: Path, share: float, is_explained: bool) -> None:
    benchmarks = [benchmark(
        "roofline, batch 32", "runtime", 32, 0.01, share=share, microseconds=300.0,
        least_microseconds=300.0 * share, peaks={"float32": 7e10, "int8": 2e11, "memory": 2e10},
    )]  # fmt: skip
    (section,) = page.sections(read(tmp_path, benchmarks))
    assert ("too low" in " ".join(section.sentences)) == is_explained


def test_advice_follows_the_numbers(tmp_path: Path) -> None:
    def advised(benchmarks: list[dict]) -> Any:
        return advise(read(tmp_path, benchmarks))

    assert advised([benchmark("latency", "runtime", 1, 0.001)]) is None
    runs = [
        benchmark("throughput, batch 8", "runtime", 8, 8 / 3000),
        benchmark("throughput, batch 128", "runtime", 128, 128 / 3050),
        benchmark("throughput, batch 8", "runtime, CUDA", 8, 8 / 2000),
        benchmark("throughput, batch 8", "eager", 8, 8 / 9000),
    ]
    small = advised(runs)  # 3,000 is within 3 % of 3,050, and a small batch answers sooner
    assert small.command == (
        "fer-infer --model model.onnx --provider cpu --batch-size 8 images/ -o rows.csv"
    )
    fast = benchmark("throughput, batch 128", "runtime, CUDA", 128, 128 / 90_000)
    assert "--provider cuda --batch-size 128" in advised([*runs, fast]).command
    fp32 = benchmark("precision, batch 32", "fp32", 32, 0.01)
    for seconds, name in ((0.005, "model.int8.onnx"), (0.0095, "model.onnx"), (0.02, "model.onnx")):
        int8 = benchmark("precision, batch 32", "int8", 32, seconds)
        assert f"--model {name} " in advised([*runs, fp32, int8]).command


@pytest.mark.parametrize(
    ("how", "steady"),
    [({}, True), ({"drift": 0.2}, False), ({"others": 0.2}, False), ({"slower": 3.0}, True)],
)
def test_a_noisy_machine_is_named(tmp_path: Path, how: dict[str, float], steady: bool) -> None:
    found = read(tmp_path, EVERY_GROUP, **how)
    assert found.is_steady() is steady
    text, mood = page.steadiness(found)
    assert ("too noisy" in text, mood) == ((False, "good") if steady else (True, "bad"))


def test_the_command_writes_a_page_that_refers_to_nothing(tmp_path: Path) -> None:
    run, output = write(tmp_path / "run.json", EVERY_GROUP), tmp_path / "report"
    done = CliRunner().invoke(app, [str(run), "-o", str(output)], catch_exceptions=False)
    assert done.exit_code == 0 and "fer-infer --model model.int8.onnx" in done.output
    html = (output / "report.html").read_text(encoding="utf-8")
    assert html.count("<img ") == len(list(output.glob("*.png"))) == 10
    assert "http" not in html.replace("http-equiv", "") and "<script" not in html
    again = CliRunner().invoke(app, [str(run), "-o", str(output)])
    assert isinstance(again.exception, DataError) and "--overwrite" in str(again.exception)
    done = CliRunner().invoke(app, [str(run), "-o", str(output), "--overwrite"])
    assert done.exit_code == 0


def test_what_was_not_measured_is_on_the_page(tmp_path: Path) -> None:
    found = read(tmp_path, EVERY_GROUP)
    assert "Not measured" not in page.page(found, [])
    html = page.page(found._replace(skipped=("runtime, CUDA: no GPU",)), [])
    assert "Not measured" in html and "<li>runtime, CUDA: no GPU</li>" in html


def test_peers_are_a_section_of_the_page(tmp_path: Path) -> None:
    run, peers = write(tmp_path / "run.json", EVERY_GROUP[:2]), tmp_path / "peers.json"
    entry = {
        "images_per_second": 1000.0, "accuracy": 0.6, "macro_f1": 0.5, "start_seconds": 1.0,
        "installed_bytes": 1e8, "note": "",
    }  # fmt: skip
    found = {
        "images": 100,
        "peers": {
            "fer-runtime": {**entry, "batched_images_per_second": 3000.0},
            "fer": {**entry, "accuracy": 0.5},
            "deepface": {
                key: value for key, value in entry.items() if key not in ("accuracy", "macro_f1")
            },
        },
        "missing": {"facex": "cannot be installed: no network"},
    }
    peers.write_text(json.dumps(found), encoding="utf-8")
    section = section_of_peers(peers)
    assert section.ratios == {"fer-runtime / fer, one core": pytest.approx(3)}
    assert "fer-runtime the most accurate with 60.0 %" in section.sentences[1]
    assert section.sentences[-1] == "facex cannot be installed: no network"
    arguments = [str(run), "-o", str(tmp_path / "report"), "--peers", str(peers)]
    assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0
    assert (tmp_path / "report" / "peers.png").exists()
    peers.write_text("[]", encoding="utf-8")
    with pytest.raises(DataError, match="not a record of other packages"):
        section_of_peers(peers)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"benchmarks": [], "record": {"schema": 1}}'])
def test_another_file_is_not_a_record(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="not a record of the benchmarks"):
        record.read(tmp_path / "run.json")


def test_a_newer_record_and_a_missing_one_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "run.json", [])
    found = json.loads(path.read_text(encoding="utf-8"))
    found["record"]["schema"] = 99
    path.write_text(json.dumps(found), encoding="utf-8")
    with pytest.raises(DataError, match="newer fer-bench"):
        record.read(path)
    with pytest.raises(DataError, match="cannot be read"):
        record.read(tmp_path / "none.json")


def test_a_record_has_no_rounds_but_the_machine() -> None:
    output: dict[str, Any] = {"benchmarks": [records.benchmark("latency", "runtime", 1, 0.1)]}
    moment = recording.moment()
    recording.complete(output, moment, ["runtime, CUDA: no GPU"])
    assert "data" not in output["benchmarks"][0]["stats"]
    about = output["record"]
    assert about["skipped"] == ["runtime, CUDA: no GPU"]
    assert about["environment"]["cores"] > 0 and about["environment"]["packages"]["numpy"]
    assert about["before"]["reference_seconds"].keys() == about["after"]["reference_seconds"].keys()
