"""Object stores as sources and outputs, by a real S3 server on this machine."""

from __future__ import annotations

import gzip
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from fer_runtime import Classifier, infer
from fer_runtime.errors import DataError
from fer_runtime.object_stores.addresses import Address, is_remote, parse
from fer_runtime.sources import Sources

pytest.importorskip("moto.server", reason="moto is not installed")
pytest.importorskip("obstore", reason="the extra `cloud` is not installed")

from fer_runtime.object_stores import stores
from tests.runtime.object_store import SECRET, Bucket, make_bucket, server


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with server() as variables:
        yield variables["AWS_ENDPOINT_URL"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, faces: npt.NDArray[np.uint8]) -> Path:
    """Forty images in two folders, one of them broken, and a file of another kind."""
    top = tmp_path_factory.mktemp("local")
    for n, face in enumerate(faces[:, 0]):
        path = top / ("happy" if n % 2 else "angry") / f"{n:02}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(face).save(path)
    (top / "angry" / "broken.jpg").write_bytes(b"no image")
    (top / "notes.txt").write_text("notes")
    return top


@pytest.fixture(scope="module")
def bucket(endpoint: str, folder: Path) -> Bucket:
    found = make_bucket(endpoint, "faces")
    for path in folder.rglob("*.*"):
        found.put(f"set/{path.relative_to(folder).as_posix()}", path.read_bytes())
    return found


def text(path: Path, folder: Path | str) -> str:
    """A CSV file with the names below a folder."""
    return path.read_text(encoding="utf-8").replace(f"{folder}/", "")


def test_the_rows_are_those_of_the_same_files_here(
    bucket: Bucket, folder: Path, tiny_model: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"model": tiny_model, "provider": "cpu", "workers": 0}
    there = infer([f"{bucket.address}/set/"], tmp_path / "there.csv", **options)
    here = infer([folder], tmp_path / "here.csv", **options)
    assert (there.rows, there.errors, there.skipped) == (41, 1, 1)
    assert (here.rows, here.errors, here.skipped) == (41, 1, 1)
    assert text(tmp_path / "there.csv", f"{bucket.address}/set") == text(
        tmp_path / "here.csv", folder
    )


def test_worker_processes_get_the_contents(
    bucket: Bucket, tiny_model: Path, tmp_path: Path
) -> None:
    source = f"{bucket.address}/set/happy"
    options: dict[str, Any] = {"model": tiny_model, "provider": "cpu"}
    for workers in (0, 1):
        infer([source], tmp_path / f"{workers}.csv", workers=workers, **options)
    assert (tmp_path / "0.csv").read_bytes() == (tmp_path / "1.csv").read_bytes()


def test_resume_reads_only_what_is_missing(
    bucket: Bucket, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    original = stores.read

    def counted(name: str) -> bytes:
        read.append(name)
        return original(name)

    monkeypatch.setattr(stores, "read", counted)
    options: dict[str, Any] = {"model": tiny_model, "provider": "cpu", "part_images": 32}
    source, output = f"{bucket.address}/set/", f"{bucket.address}/out/"
    result = infer([source], output, ending=".csv", **options)
    images = [name for name in read if "/set/" in name]
    assert (result.rows, result.errors, len(images)) == (41, 1, 41)
    assert bucket.keys("out") == [
        "out/_parts/part-00000.json", "out/_parts/part-00001.json", "out/_run.json",
        "out/part-00000.csv", "out/part-00001.csv",
    ]  # fmt: skip
    before = bucket.read("out/part-00001.csv")
    stores.delete(f"{output}_parts/part-00001.json")
    read.clear()
    result = infer([source], output, ending=".csv", resume=True, **options)
    assert (result.rows, result.finished_rows) == (9, 32)
    assert len([name for name in read if "/set/" in name]) == 9
    assert bucket.read("out/part-00001.csv") == before
    with pytest.raises(DataError, match="pass --resume"):
        infer([source], output, ending=".csv", **options)


def test_shares_are_disjoint_and_complete(bucket: Bucket) -> None:
    whole = [item.name for item in Sources([f"{bucket.address}/set/"])]
    shares = [
        [item.name for item in Sources([f"{bucket.address}/set/"], shard=(index, 3))]
        for index in (1, 2, 3)
    ]
    assert whole == sorted(whole)
    assert sorted(name for share in shares for name in share) == whole


def test_single_objects_and_a_manifest(
    bucket: Bucket, folder: Path, tiny_model: Path, tmp_path: Path
) -> None:
    local = str(folder / "happy" / "01.png")
    remote = f"{bucket.address}/set/happy/03.png"
    missing = f"{bucket.address}/set/missing.png"
    lines = f"{local}\n\n{remote}\r\n{missing}\n".encode()
    (tmp_path / "list.txt").write_bytes(lines)
    (tmp_path / "list.gz").write_bytes(gzip.compress(lines))
    bucket.put("lists/list.txt.gz", gzip.compress(lines))
    bucket.put("lists/list.txt", lines)
    options: dict[str, Any] = {"model": tiny_model, "provider": "cpu"}
    found = []
    for manifest in (
        f"manifest:{tmp_path / 'list.txt'}", f"manifest:{tmp_path / 'list.gz'}",
        f"manifest:{bucket.address}/lists/list.txt.gz",
        f"manifest:{bucket.address}/lists/list.txt",
    ):  # fmt: skip
        infer([manifest], tmp_path / "rows.csv", overwrite=True, **options)
        found.append((tmp_path / "rows.csv").read_text(encoding="utf-8"))
    assert len(set(found)) == 1
    _, *rows = found[0].splitlines()
    assert [row.split(",")[0] for row in rows] == [local, remote, missing]
    assert rows[2].endswith("cannot be read: does not exist")
    direct = infer([remote], tmp_path / "one.csv", **options)
    assert direct.rows == 1


def test_the_classifier_reads_them_too(bucket: Bucket, folder: Path, tiny_model: Path) -> None:
    classifier = Classifier.load(tiny_model, provider="cpu", threads=2)
    rows = list(classifier.rows(Sources([f"{bucket.address}/set/angry"])))
    expected = list(classifier.rows(Sources([folder / "angry"])))
    assert [row.label for row in rows] == [row.label for row in expected]
    assert [row.error for row in rows if row.error] == [
        "not an image of a known format (JPEG, PNG, WebP, BMP, TIFF, GIF)"
    ]


def test_what_is_not_there_is_a_clear_error(bucket: Bucket, tmp_path: Path) -> None:
    for source, message in (
        (f"{bucket.address}/nothing/", "nothing is there"),
        ("s3://", "names no store; write s3://BUCKET/KEY"),
        ("az://account", "write az://ACCOUNT/CONTAINER/KEY"),
        ("s3://user:password@bucket/x", "credentials do not belong into an address"),
        ("https://example.org/a.jpg?signature=abc", "with a query are not supported"),
        (f"manifest:{tmp_path}/missing.txt", "does not exist"),
    ):
        with pytest.raises(DataError, match=message) as caught:
            infer([source], tmp_path / "rows.csv", provider="cpu")
        assert "password" not in str(caught.value)
        assert "abc" not in str(caught.value)


def test_no_error_shows_a_secret(bucket: Bucket) -> None:
    class FailingError(Exception):
        pass

    with pytest.raises(DataError) as caught, stores.explained("s3://faces/x"):
        raise FailingError(
            f"GET /x?X-Amz-Signature={SECRET}&X-Amz-Credential={SECRET} failed\nmore"
        )
    assert SECRET not in str(caught.value)
    assert "more" not in str(caught.value)
    assert "failed" in str(caught.value)


def test_objects_of_a_web_server(folder: Path, tiny_model: Path, tmp_path: Path) -> None:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{web.server_port}"
        sources = [f"{address}/happy/01.png", f"{address}/happy/99.png"]
        result = infer(sources, tmp_path / "rows.csv", model=tiny_model, provider="cpu")
        web.shutdown()
    assert (result.rows, result.errors) == (2, 1)
    assert "does not exist" in (tmp_path / "rows.csv").read_text(encoding="utf-8")


def test_an_output_is_a_folder_of_parts(bucket: Bucket, folder: Path) -> None:
    with pytest.raises(DataError, match="end the name with a slash"):
        infer([folder], f"{bucket.address}/rows.csv", provider="cpu")


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("s3://bucket/a/b.jpg", Address("s3://bucket", "a/b.jpg")),
        ("gs://bucket", Address("gs://bucket", "")),
        ("az://account/container/a.jpg", Address("az://account/container", "a.jpg")),
        ("https://host:8080/a b.jpg", Address("https://host:8080", "a b.jpg")),
    ],
)
def test_addresses(name: str, address: Address) -> None:
    assert parse(name) == address
    assert is_remote(name)
    assert not is_remote(name.replace("://", ":"))


def test_without_obstore_the_error_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stores.open_store.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "obstore.store", None)
    with pytest.raises(DataError, match=r"pip install '.\[cloud\]'"):
        infer(["s3://bucket/faces/"], tmp_path / "rows.csv", provider="cpu")
    stores.open_store.cache_clear()
