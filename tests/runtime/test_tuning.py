"""--tune: the search finds the fastest settings, and a broken file of them is as good as none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from fer_runtime import Classifier
from fer_runtime.cli import infer as cli
from fer_runtime.cli.infer_tuning import _readable
from fer_runtime.machine import usable_threads
from fer_runtime.run import Run
from fer_runtime.tuning import kept
from fer_runtime.tuning import search as searching
from fer_runtime.tuning.search import Found, search
from fer_runtime.tuning.settings import Settings

DEFAULT = Settings(32, 8, workers=True)
SIZES = (8, 16, 64, 128)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


# --- the search ------------------------------------------------------------------------------


class Machine:
    """Makes up rates, and counts trials."""

    def __init__(self, rate: Callable[[Settings], float]) -> None:
        self.rate = rate
        self.tried: list[Settings] = []

    def __call__(self, settings: Settings, seconds: float) -> float:
        self.tried.append(settings)
        return self.rate(settings)


def found_on(machine: Machine, *, processes: bool = True, budget: float = 25) -> Found:
    return search(machine, DEFAULT, SIZES, processes=processes, budget=budget)


def test_the_fastest_settings_are_found() -> None:
    def rate(settings: Settings) -> float:
        batch = {8: 0.7, 16: 0.8, 32: 1.0, 64: 1.2, 128: 0.9}[settings.batch_size]
        return batch * (1.1 if settings.threads == 4 else 1) * (1.5 if settings.workers else 1)

    found = found_on(Machine(rate))
    assert found.best == Settings(64, 4, workers=True)
    assert found.gain == pytest.approx(1.2 * 1.1)


def test_what_is_slow_is_tried_once() -> None:
    machine = Machine(lambda settings: 100.0 - abs(settings.batch_size - 64))
    found_on(machine, processes=False)
    tried = [settings.batch_size for settings in machine.tried]
    assert (tried.count(8), tried.count(128)) == (1, 1)
    assert tried.count(64) >= 4


def test_a_small_gain_is_noise_and_the_defaults_stay() -> None:
    machine = Machine(lambda settings: 1.01 if settings.batch_size == 64 else 1.0)
    found = found_on(machine)
    assert (found.best, found.gain) == (DEFAULT, 1.0)


def test_a_gain_that_comes_and_goes_is_noise() -> None:
    calls = iter(range(10_000))

    def rate(settings: Settings) -> float:
        if settings.batch_size != 64:
            return 1.0
        return 1.3 if next(calls) % 3 else 0.7

    assert found_on(Machine(rate), processes=False).best == DEFAULT


def test_workers_that_do_not_pay_do_not_count_against_the_defaults() -> None:
    """By default a run starts none where they do not pay."""
    machine = Machine(lambda settings: 0.5 if settings.workers else 1.0)
    assert found_on(machine).best == DEFAULT


def test_without_processes_none_is_tried() -> None:
    machine = Machine(lambda settings: 1.0)
    found_on(machine, processes=False)
    assert not any(settings.workers for settings in machine.tried)


def test_it_ends_when_the_time_is_over() -> None:
    machine = Machine(lambda settings: 1.0 if settings.batch_size == 32 else 2.0)
    found_on(machine, budget=0)
    assert len(machine.tried) <= 1 + 2 * 3


# --- the file --------------------------------------------------------------------------------


def test_what_is_kept_is_found_for_the_same_model_provider_and_kind(
    tiny_model: Path, tmp_path: Path
) -> None:
    assert kept.find(tiny_model, "auto", faces=False) is None
    settings = Settings(64, 3, workers=False)
    assert kept.keep(settings, tiny_model, "auto", faces=False) == tmp_path / "cache/tuned.json"
    assert kept.find(tiny_model, "auto", faces=False) == settings
    assert kept.find(tiny_model, "cpu", faces=False) is None
    assert kept.find(tiny_model, "auto", faces=True) is None
    other = tmp_path / "other.onnx"
    other.write_bytes(tiny_model.read_bytes() + b" ")
    assert kept.find(other, "auto", faces=False) is None
    kept.keep(settings, other, "cpu", faces=True)
    assert kept.find(tiny_model, "auto", faces=False) == settings


def test_another_number_of_cores_needs_another_search(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.keep(Settings(64, 3, workers=False), tiny_model, "auto", faces=False)
    monkeypatch.setattr(kept, "usable_threads", lambda: 99)
    assert kept.find(tiny_model, "auto", faces=False) is None


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", "\x00\xff", '{"schema_version": 2, "settings": {}}',
        '{"schema_version": 1, "settings": []}', '{"schema_version": 1}',
    ],
)  # fmt: skip
def test_a_broken_file_is_as_good_as_none(text: str, tiny_model: Path, cache: Path) -> None:
    cache.mkdir()
    (cache / "tuned.json").write_text(text, encoding="latin-1")
    assert kept.find(tiny_model, "auto", faces=False) is None
    settings = Settings(64, 3, workers=False)
    kept.keep(settings, tiny_model, "auto", faces=False)
    assert kept.find(tiny_model, "auto", faces=False) == settings


@pytest.mark.parametrize(
    "changed",
    [
        {"batch_size": 0}, {"batch_size": "64"}, {"threads": -1}, {"workers": 3},
        {"batch_size": True}, {"batch_size": 10**9}, {"more": 1},
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_not_used(
    changed: dict[str, object], tiny_model: Path, cache: Path
) -> None:
    kept.keep(Settings(64, 3, workers=False), tiny_model, "auto", faces=False)
    file = cache / "tuned.json"
    found = json.loads(file.read_text())
    for entry in found["settings"].values():
        entry.update(changed)
    file.write_text(json.dumps(found))
    assert kept.find(tiny_model, "auto", faces=False) is None


def test_a_folder_that_cannot_be_written_keeps_nothing(
    tiny_model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.write_text("a file")
    settings = Settings(64, 3, workers=False)
    assert kept.keep(settings, tiny_model, "auto", faces=False) is None
    monkeypatch.setenv("FER_CACHE", "")
    assert kept.keep(settings, tiny_model, "auto", faces=False) is None
    assert kept.find(tiny_model, "auto", faces=False) is None


# --- the command -----------------------------------------------------------------------------


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(each) for each in arguments])


def test_tune_finds_keeps_and_is_used(
    messy: Path, tiny_model: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "TRIAL", 0.01)
    done = run("--tune", "--model", tiny_model, messy)
    assert done.exit_code == 0, done.output
    assert "images/s  batch size 64, " in done.stdout
    assert done.stdout.splitlines()[-1].startswith("best: batch size ")
    assert f"kept in {cache / 'tuned.json'}" in done.stderr
    output = tmp_path / "rows.csv"
    settings = Settings(16, usable_threads(), workers=False)
    kept.keep(settings, tiny_model, "auto", faces=False)
    done = run("--model", tiny_model, messy, "-o", output)
    assert f"tuned: {settings}; --no-tuned for the defaults" in done.stderr
    for flags in (("--no-tuned",), ("--batch-size", 8, "--threads", 1, "--workers", 0)):
        done = run("--model", tiny_model, messy, "-o", output, "--overwrite", *flags)
        assert "tuned:" not in done.stderr
        assert done.exit_code == 3


def test_tuned_defaults_are_not_mentioned(messy: Path, tiny_model: Path, tmp_path: Path) -> None:
    kept.keep(Settings.default(), tiny_model, "auto", faces=False)
    done = run("--model", tiny_model, messy, "-o", tmp_path / "rows.csv")
    assert "tuned:" not in done.stderr


def test_tune_refuses_what_it_looks_for(messy: Path, tiny_model: Path) -> None:
    done = run("--tune", "--batch-size", 8, "--model", tiny_model, messy)
    assert done.exit_code == 2
    assert "omit them" in done.stderr


@pytest.mark.parametrize("content", [None, "not an image"])
def test_tune_needs_images_that_can_be_read(
    content: str | None, tmp_path: Path, tiny_model: Path, cache: Path
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    if content is not None:
        (folder / "x.jpg").write_text(content)
    done = run("--tune", "--model", tiny_model, folder)
    assert done.exit_code != 0
    assert "no image there that can be read" in str(done.exception)
    assert not (cache / "tuned.json").exists()


def test_images_that_cannot_be_read_are_left_out(messy: Path, tiny_model: Path) -> None:
    made = Run([messy], model=tiny_model, provider="cpu")
    readable = {Path(item.path).name for item in _readable(made)}
    rows = Classifier.load(tiny_model).rows(path for path in messy.rglob("*") if path.is_file())
    assert readable == {Path(row.name).name for row in rows if row.error is None}
