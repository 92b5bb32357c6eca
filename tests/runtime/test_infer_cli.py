"""fer-infer and fer-doctor as processes: one row per image, exit statuses, and no traceback."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

from fer_runtime import providers
from tests.runtime.command import (
    INFER,
    ROWS,
    Infer,
    assert_messy,
    environment,
    read_csv,
)
from tests.runtime.tiny import LABELS


def test_a_messy_folder_gives_a_row_per_image_and_status_3(
    infer: Infer, messy: Path, tmp_path: Path
) -> None:
    output = tmp_path / "rows.csv"
    done = infer(messy, "--output", output, "--batch-size", 2, "--threads", 3)
    assert done.returncode == 3
    assert done.stdout == b""
    rows = read_csv(output.read_bytes())
    assert list(rows[0]) == ["path", "label", "probability", *LABELS, "error"]
    assert_messy(rows, messy)
    assert not Path(f"{output}.partial").exists()
    log = done.stderr.decode()
    assert "on CPU, as requested" in log
    assert "7 images in" in log
    assert "4 with an error, 1 other file skipped" in log
    good = [row for row in rows if not row["error"]]
    for row in good:
        assert sum(float(row[label]) for label in LABELS) == pytest.approx(1, abs=1e-5)
        assert row["probability"] == max(row[label] for label in LABELS)
        assert row["probability"] == row[row["label"]] == good[0]["probability"]


def test_csv_on_stdout_is_the_same_as_in_a_file(infer: Infer, messy: Path) -> None:
    done = infer(messy, "--output", "-")
    assert done.returncode == 3
    assert_messy(read_csv(done.stdout), messy)


def test_json_lines_on_stdout(infer: Infer, messy: Path) -> None:
    done = infer(messy, "--json", "--top-k", 2)
    assert done.returncode == 3
    rows = [
        json.loads(line) for line in done.stdout.decode("utf-8", "surrogateescape").splitlines()
    ]
    assert_messy(rows, messy)
    assert [len(row["top"]) for row in rows if not row["error"]] == [2, 2, 2]


def test_text_for_a_person(infer: Infer, messy: Path) -> None:
    done = infer(messy / ROWS[0][0], messy / "3 notes.jpg", "--top-k", 1)
    assert done.returncode == 3
    good, bad = done.stdout.decode().splitlines()
    path, _, text = good.rpartition(": ")
    label, share = text.split()
    assert path == str(messy / ROWS[0][0])
    assert label in LABELS
    assert share.endswith("%")
    assert f"{messy / '3 notes.jpg'}: ERROR not an image" in bad


def test_all_images_readable_is_status_0(infer: Infer, messy: Path) -> None:
    done = infer(messy / "5 nested", "--json")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 1


def test_on_error_fail_ends_with_6_and_leaves_no_file(
    infer: Infer, messy: Path, tmp_path: Path
) -> None:
    output = tmp_path / "rows.csv"
    done = infer(messy, "--on-error", "fail", "--output", output)
    assert done.returncode == 6
    assert f"{messy / '2 cut off.jpg'}: broken JPEG" in done.stderr.decode()
    assert not output.exists()


def test_a_folder_without_images_is_status_6(infer: Infer, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").touch()
    done = infer(tmp_path / "empty", "--output", tmp_path / "rows.csv")
    assert done.returncode == 6
    assert "empty: no image files there (1 other file)" in done.stderr.decode()
    assert not (tmp_path / "rows.csv").exists()


def test_a_missing_model_is_status_5_and_says_what_makes_one(infer: Infer, messy: Path) -> None:
    done = infer(messy, "--output", "rows.csv", model="missing.onnx")
    assert done.returncode == 5
    assert "missing.onnx does not exist" in done.stderr.decode()
    assert "fer-export onnx best.pt" in done.stderr.decode()


def test_cuda_is_refused_with_4_quickly_and_nothing_is_written(
    infer: Infer, messy: Path, tmp_path: Path
) -> None:
    causes = providers.PROVIDERS["cuda"].diagnose()
    if not causes:
        pytest.skip("needs a machine without CUDA, and this one has it")
    started = time.perf_counter()
    done = infer(messy, "--output", tmp_path / "rows.csv", provider="cuda")
    assert time.perf_counter() - started < 10
    assert done.returncode == 4
    message = done.stderr.decode()
    assert "cuda was requested but cannot run here" in message
    assert causes[0].what in message
    assert "--provider cpu" in message
    assert len(message.strip().splitlines()) == 1
    assert done.stdout == b""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["current", "messy folder"]


@pytest.mark.parametrize(
    "arguments",
    [["--nonsense"], ["--batch-size", "0"], ["--on-error", "perhaps"], ["--threads", "two"], None],
    ids=str,
)
def test_bad_usage_is_status_2(infer: Infer, messy: Path, arguments: list[str] | None) -> None:
    done = infer(messy, *arguments) if arguments else infer(model=None)
    assert done.returncode == 2
    assert b"Usage" in done.stderr + done.stdout


def test_an_output_that_cannot_be_is_usage_before_any_work(infer: Infer, messy: Path) -> None:
    done = infer(messy, "--output", "rows.xlsx")
    assert done.returncode == 2
    assert "rows.xlsx: unknown ending" in done.stderr.decode()
    source = messy / "table.csv"
    source.write_text("pixels\n1 2 3 4\n")
    done = infer(source, "--output", source)
    assert done.returncode == 2 and b"is an input too" in done.stderr
    assert source.read_text() == "pixels\n1 2 3 4\n"


def test_standard_output_on_a_full_disk_is_status_6(
    messy: Path, tiny_model: Path, tmp_path: Path
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full, a disk that is always full")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*INFER, str(messy), "--json", "--model", str(tiny_model), "--provider", "cpu"],
            cwd=messy.parent, env=environment(), stdout=full, stderr=subprocess.PIPE, timeout=60,
            check=False,
        )  # fmt: skip
    assert done.returncode == 6
    assert "standard output cannot be written: No space left" in done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


# --- evaluating what was deployed ---------------------------------------------------------------


def test_evaluate_and_summary_go_to_stdout_beside_a_file(
    infer: Infer, tmp_path: Path, face: bytes
) -> None:
    for label in ("angry", "happy"):
        (tmp_path / "faces" / label).mkdir(parents=True)
        for index in range(3):
            (tmp_path / "faces" / label / f"{index}.jpg").write_bytes(face)
    done = infer(tmp_path / "faces", "-o", tmp_path / "o.csv", "--evaluate", "--summary")
    assert done.returncode == 0, done.stderr
    assert b"--exclude-duplicates-of DIR leaves them out" in done.stderr
    out = done.stdout.decode()
    assert "6 labelled images evaluated" in out and "accuracy" in out and "100.0%" in out
    again = infer(tmp_path / "faces", "--output", "-", "--evaluate")
    assert len(read_csv(again.stdout)) == 6, "rows on stdout stay rows"
    assert b"6 labelled images evaluated" in again.stderr
    other = infer(tmp_path / "faces" / "angry", "-o", tmp_path / "o2.csv", "--evaluate")
    assert other.returncode == 0
    (tmp_path / "faces" / "joy").mkdir()
    (tmp_path / "faces" / "joy" / "x.jpg").write_bytes(face)
    mixed = infer(tmp_path / "faces", "-o", tmp_path / "o3.csv", "--evaluate", "--json")
    found = json.loads(mixed.stdout)
    assert (mixed.returncode, found["unlabelled"]) == (0, 1)
    assert found["metrics"]["count"] == 6 and len(found["confusion"]) == len(LABELS)
    assert len(read_csv((tmp_path / "o3.csv").read_bytes())) == 7, "every image has a row"
    only = infer(tmp_path / "faces" / "joy", "-o", tmp_path / "o4.csv", "--evaluate")
    assert (
        only.returncode == 6 and b"no image with a label was read (1 images without)" in only.stderr
    )
    twice = infer(tmp_path / "faces", "-o", tmp_path / "o5.csv", "--evaluate",
                  "--exclude-duplicates-of", tmp_path / "faces" / "joy")  # fmt: skip
    assert twice.returncode == 6, "the same face everywhere"


def test_shards_together_are_the_whole(infer: Infer, messy: Path) -> None:
    whole = read_csv(infer(messy, "--output", "-").stdout)
    parts = [read_csv(infer(messy, "--output", "-", "--shard", f"{i}/2").stdout) for i in (1, 2)]
    merged = sorted((row for part in parts for row in part), key=lambda row: row["path"])
    assert [row["path"] for row in merged] == sorted(row["path"] for row in whole)
    assert infer(messy, "--shard", "3/2").returncode == 2
    empty = infer(messy, "--output", "-", "--shard", "30/30")
    assert empty.returncode == 0 and read_csv(empty.stdout) == [], "a share may be empty"


def test_sources_that_are_not_there_are_found_before_the_first_image(
    infer: Infer, messy: Path, tmp_path: Path
) -> None:
    done = infer(messy, messy / "missing.tar", "-o", tmp_path / "o.csv")
    assert done.returncode == 6 and b"missing.tar does not exist" in done.stderr
    assert not (tmp_path / "o.csv.partial").exists()


def test_on_error_fail_keeps_the_rows_before(infer: Infer, messy: Path, tmp_path: Path) -> None:
    done = infer(messy, "-o", tmp_path / "o.csv", "--on-error", "fail")
    assert done.returncode == 6 and b"2 cut off.jpg: broken JPEG" in done.stderr
    assert len(read_csv((tmp_path / "o.csv.partial").read_bytes())) == 1
