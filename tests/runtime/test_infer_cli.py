"""fer-infer and fer-doctor as processes: one row per image, exit statuses, and no traceback."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from fer_runtime import providers
from tests.runtime.tiny import LABELS

INFER = [sys.executable, "-c", "from fer_runtime.cli.infer import main; main()"]
DOCTOR = [sys.executable, "-c", "from fer_runtime.cli.doctor import main; main()"]
Done = subprocess.CompletedProcess[bytes]
Infer = Callable[..., Done]

ROWS = [
    ("1 plain.jpg", ""),
    ("2 cut off.jpg", "broken JPEG"),
    ("3 notes.jpg", "not an image of a known format"),
    ("4 empty.png", "empty file"),
    ("5 nested/schönes, „Gesicht“.jpg", ""),
    (os.fsdecode(b"6 caf\xe9.jpg"), ""),
    ("7 pipe.jpg", "is a pipe, a device or a socket"),
]
"""Names in the folder `messy`, in order, and what their errors hold."""


@pytest.fixture(scope="module")
def face(faces: npt.NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(faces[3, 0]).save(stream, "JPEG", quality=95)
    return stream.getvalue()


@pytest.fixture
def messy(tmp_path: Path, face: bytes) -> Path:
    """A folder as people have them: ROWS, and one file that is not an image."""
    folder = tmp_path / "messy folder"
    (folder / "5 nested").mkdir(parents=True)
    contents = [face, face[: len(face) // 2], b"Dear diary", b"", face, face]
    for (name, _), content in zip(ROWS, contents, strict=False):
        (folder / name).write_bytes(content)
    os.mkfifo(folder / ROWS[6][0])
    (folder / "readme.txt").write_text("no image")
    return folder


def environment() -> dict[str, str]:
    """Ours, but with the model and the buffering of stdout as a user has them."""
    hidden = ("FER_MODEL", "PYTHONUNBUFFERED")
    return {key: value for key, value in os.environ.items() if key not in hidden}


@pytest.fixture
def infer(tmp_path: Path, tiny_model: Path) -> Infer:
    """fer-infer on the CPU with the tiny model, in an empty current folder."""
    current = tmp_path / "current"
    current.mkdir()

    def run(*arguments: object, model: object = tiny_model, provider: str = "cpu") -> Done:
        options = ["--model", str(model), "--provider", provider] if model else []
        command = [*INFER, *map(str, arguments), *options]
        done = subprocess.run(
            command, cwd=current, env=environment(), capture_output=True, timeout=60, check=False
        )
        assert b"Traceback" not in done.stderr, done.stderr.decode()
        return done

    return run


def read_csv(data: bytes) -> list[dict[str, str]]:
    text = data.decode("utf-8", "surrogateescape")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def assert_messy(rows: list[dict[str, str]], folder: Path) -> None:
    """Exactly one row per image, in order; a label or an error, and never both."""
    assert [row["path"] for row in rows] == [str(folder / name) for name, _ in ROWS]
    for row, (_, error) in zip(rows, ROWS, strict=True):
        assert error in (row["error"] or "")
        assert bool(row["error"]) == bool(error)
        assert (row.get("label") or "") in ("" if error else LABELS)
        assert bool(row.get("label")) != bool(error)


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
    causes = providers.diagnose_cuda()
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


# --- long runs -------------------------------------------------------------------------------


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """4,000 hard links to one photograph: seconds of work, and little disk."""
    folder = tmp_path / "many"
    folder.mkdir()
    photo = folder / "0000.jpg"
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)
    Image.fromarray(pixels).resize((900, 900)).save(photo)
    for index in range(1, 4000):
        os.link(photo, folder / f"{index:04}.jpg")
    return folder


def start(*arguments: object, stdout: int) -> subprocess.Popen[bytes]:
    """SIGINT is set back to its default, for a job in the background starts with it ignored."""
    return subprocess.Popen(
        [*INFER, *map(str, arguments), "--provider", "cpu"],
        cwd=Path(str(arguments[0])).parent,
        env=environment(),
        stdout=stdout,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )


def test_ctrl_c_is_status_130_and_keeps_what_was_done(
    many: Path, tiny_model: Path, tmp_path: Path
) -> None:
    output, partial = tmp_path / "rows.csv", tmp_path / "rows.csv.partial"
    process = start(many, "--model", tiny_model, "-o", output, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not (partial.exists() and partial.stat().st_size):
        assert time.monotonic() < deadline, "nothing was written in 30 s"
        assert process.poll() is None, "the run was over before it could be interrupted"
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, log = process.communicate(timeout=30)
    assert process.returncode == 130, log.decode()
    assert b"Traceback" not in log
    assert f"finished rows are in {partial}" in log.decode()
    assert not output.exists()
    rows = read_csv(partial.read_bytes())
    assert [row["path"] for row in rows] == [str(many / f"{i:04}.jpg") for i in range(len(rows))]
    assert f"interrupted after {len(rows):,} images" in log.decode()
    assert rows[-1]["error"] == ""


def test_a_reader_that_leaves_ends_the_run_quietly(many: Path, tiny_model: Path) -> None:
    """As `fer-infer … | head -1` does."""
    process = start(many, "--model", tiny_model, "-o", "-", stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline().startswith(b"path,label,probability")
    process.stdout.close()
    _, log = process.communicate(timeout=30)
    assert process.returncode == 0, log.decode()
    assert b"Traceback" not in log
    assert b"Broken" not in log
    assert b"Exception ignored" not in log


def test_a_reader_that_was_never_there_ends_the_run_quietly(messy: Path, tiny_model: Path) -> None:
    """Few rows stay in the buffer until the end, so that only the last flush meets the gap."""
    process = start(messy, "--model", tiny_model, "-o", "-", stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.close()
    _, log = process.communicate(timeout=30)
    assert process.returncode == 0, log.decode()
    assert b"Traceback" not in log
    assert b"Exception ignored" not in log


def test_a_person_who_watches_sees_a_bar_and_gets_the_same_rows(
    messy: Path, tiny_model: Path, tmp_path: Path
) -> None:
    """stderr is a terminal, so that rich draws; what it draws is not the point."""
    import pty

    output = tmp_path / "rows.csv"
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [*INFER, str(messy), "--model", str(tiny_model), "--provider", "cpu", "-o", str(output)],
        cwd=tmp_path, env={**environment(), "TERM": "xterm"}, stdout=subprocess.PIPE,
        stderr=theirs, timeout=60, check=False,
    )  # fmt: skip
    os.close(theirs)
    log = os.read(ours, 100_000)
    os.close(ours)
    assert done.returncode == 3, log.decode()
    assert b"Traceback" not in log
    assert_messy(read_csv(output.read_bytes()), messy)


# --- fer-doctor ------------------------------------------------------------------------------


def test_doctor_reports_the_provider_situation(tiny_model: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [*DOCTOR, "--json"], cwd=tmp_path, env={**environment(), "FER_MODEL": str(tiny_model)},
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    found = json.loads(done.stdout)
    assert found["model"] == str(tiny_model)
    assert found["cores"] >= 1
    assert found["packages"]["numpy"] == np.__version__
    assert found["providers"]["wheels"] == providers.installed_wheels()
    assert found["providers"]["cpu"] == "runs"
    causes = providers.diagnose_cuda()
    assert found["providers"]["cuda"] == ("; ".join(map(str, causes)) or "runs")


def test_doctor_speaks_to_a_person_too(tmp_path: Path) -> None:
    done = subprocess.run(
        DOCTOR, cwd=tmp_path, env=environment(), capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode().splitlines()
    assert lines[0].startswith("fer-runtime")
    assert any(line.split()[:2] == ["cpu", "runs"] for line in lines)
    assert any(line.split()[:1] == ["cuda"] for line in lines)


# --- judging what was deployed ------------------------------------------------------------------


def test_evaluate_and_summary_go_to_stdout_beside_a_file(
    infer: Infer, tmp_path: Path, face: bytes
) -> None:
    for label in ("angry", "happy"):
        (tmp_path / "faces" / label).mkdir(parents=True)
        for index in range(3):
            (tmp_path / "faces" / label / f"{index}.jpg").write_bytes(face)
    done = infer(tmp_path / "faces", "-o", tmp_path / "o.csv", "--evaluate", "--summary")
    assert done.returncode == 0, done.stderr
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


def shell(command: str, **variables: str) -> Done:
    python = f"{INFER[0]} -c '{INFER[2]}'"
    return subprocess.run(
        ["bash", "-c", command.replace("fer-infer", python)],
        env=environment() | variables, capture_output=True, timeout=60, check=False,
    )  # fmt: skip


def test_closed_streams_and_narrow_terminals(messy: Path, tiny_model: Path, tmp_path: Path) -> None:
    """No traceback, data unharmed, and a status of the table."""
    run = f"fer-infer '{messy}' --model {tiny_model} --provider cpu"
    expected = shell(f"{run} -o -").stdout
    assert len(read_csv(expected)) == len(ROWS)
    for command in (f"{run} -o - 2>&-", f"{run} -o - 2>/dev/full"):
        done = shell(command)
        assert done.returncode == 3 and done.stdout == expected
    done = shell(f"{run} -o - ", PYTHONIOENCODING="ascii")
    assert done.returncode == 3 and done.stdout == expected, "data is UTF-8 everywhere"
    done = shell(run, PYTHONIOENCODING="ascii")
    assert done.returncode == 3 and b"sch\\xf6nes" in done.stdout
    done = shell(f"{run} -o {tmp_path}/o.csv --summary", PYTHONIOENCODING="ascii")
    assert done.returncode == 3 and done.stdout.count(b"%") == len(LABELS)
    done = shell(f"fer-infer - --model {tiny_model} --provider cpu <&-")
    assert done.returncode == 6 and b"There is no standard input" in done.stderr
    done = shell(f"{run} -o {tmp_path}/p.csv --summary | true; exit ${{PIPESTATUS[0]}}")
    assert done.returncode in (0, 3) and b"Traceback" not in done.stderr
    assert (tmp_path / "p.csv").exists()
