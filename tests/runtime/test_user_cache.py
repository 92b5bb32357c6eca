"""The user's folder, and engines in it: nothing depends on either."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fer_runtime.providers import engine_cache
from fer_runtime.user_cache import user_folder


def test_the_folder_is_the_systems_unless_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FER_CACHE", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_folder() == tmp_path / "fer-runtime"
    monkeypatch.setenv("FER_CACHE", str(tmp_path / "mine"))
    assert user_folder() == tmp_path / "mine"
    monkeypatch.setenv("FER_CACHE", "")
    assert user_folder() is None


def test_engines_are_apart_by_model_library_and_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FER_CACHE", str(tmp_path))
    one, two = tmp_path / "one.onnx", tmp_path / "two.onnx"
    one.write_bytes(b"1")
    two.write_bytes(b"2")
    found = {
        engine_cache.folder_of(one, "library-1", "GPU a"),
        engine_cache.folder_of(two, "library-1", "GPU a"),
        engine_cache.folder_of(one, "library-2", "GPU a"),
        engine_cache.folder_of(one, "library-1", "GPU b"),
    }
    assert len(found) == 4
    assert all(folder is not None and folder.is_dir() for folder in found)
    assert engine_cache.folder_of(one, "library-1", "GPU a") in found


def test_a_folder_that_cannot_be_written_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file where the folder should be")
    monkeypatch.setenv("FER_CACHE", str(blocked))
    assert engine_cache.folder_of(blocked, "library-1") is None
    monkeypatch.setenv("FER_CACHE", "")
    assert engine_cache.folder_of(blocked, "library-1") is None


def test_a_folder_without_permission_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "m.onnx"
    model.write_bytes(b"1")
    monkeypatch.setenv("FER_CACHE", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    assert engine_cache.folder_of(model, "library-1") is None
