"""fer-serve's /predict: answers, limits, and what is done about bad requests."""

from __future__ import annotations

import http.client
import io
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from fer_runtime import Classifier, FaceOptions
from fer_runtime.shipped import SHIPPED

pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")
pytest.importorskip("httptools", reason="the extra `serve` is not installed")
pytest.importorskip("starlette", reason="the extra `serve` is not installed")

from fer_runtime.serve.limits import Limits
from fer_runtime.serve.predict import is_quick
from tests.runtime.served import Running, form, running

Faces = npt.NDArray[np.uint8]
PHOTOGRAPH = Path(__file__).parents[1] / "data" / "astronaut.jpg"


def encoded(pixels: npt.NDArray[np.uint8], kind: str = "JPEG", **settings: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **settings)
    return stream.getvalue()


@pytest.fixture(scope="module")
def server(tiny_model: Path) -> Iterator[Running]:
    with running(tiny_model, limits=Limits(time_limit=0.6, max_body=100_000)) as found:
        yield found


@pytest.fixture(scope="module")
def jpeg() -> bytes:
    return encoded(np.arange(48 * 48, dtype=np.uint8).reshape(48, 48))


def test_an_image_is_classified_as_the_classifier_does(
    server: Running, tiny_model: Path, faces: Faces
) -> None:
    classifier = Classifier.load(tiny_model, threads=1)
    for kind in ("JPEG", "PNG"):
        for face in faces[:5, 0]:
            data = encoded(face, kind)
            expected = classifier.predict(data)
            answer = server.post(data)
            assert answer.status == 200
            found = answer.json
            assert found["model"] == "tiny"
            assert tuple(found["labels"]) == classifier.spec.labels
            (image,) = found["images"]
            assert image["label"] == expected.label
            rounded = [float(f"{value:.6f}") for value in expected.probabilities.values()]
            assert image["probabilities"] == rounded
            assert image["probability"] == max(rounded)


def test_a_form_with_several_images_keeps_their_order_and_names(
    server: Running, faces: Faces
) -> None:
    files = [(f"{n}.png", encoded(face, "PNG")) for n, face in enumerate(faces[:6, 0])]
    body, content_type = form(*files)
    answer = server.post(body, content_type=content_type)
    found = answer.json["images"]
    assert [image["name"] for image in found] == [name for name, _ in files]
    single = [server.post(data).json["images"][0]["label"] for _, data in files]
    assert [image["label"] for image in found] == single


def test_a_bad_image_spoils_only_its_own_answer(server: Running, jpeg: bytes) -> None:
    body, content_type = form(("a.jpg", jpeg), ("b.jpg", b"no image"), ("c.jpg", jpeg))
    answer = server.post(body, content_type=content_type)
    first, second, third = answer.json["images"]
    assert answer.status == 200
    assert first["label"] == third["label"]
    assert second == {
        "name": "b.jpg",
        "error": "not an image of a known format (JPEG, PNG, WebP, BMP, TIFF, GIF)",
    }
    body, content_type = form(("a.jpg", jpeg[:99]), ("b.jpg", b"no image"))
    answer = server.post(body, content_type=content_type)
    assert answer.status == 422
    assert all("error" in image for image in answer.json["images"])


@pytest.mark.parametrize(
    ("body", "headers", "status", "message"),
    [
        (b"some text", {}, 422, "not an image of a known format"),
        (b"", {}, 422, "no bytes to decode"),
        (b"\xff\xd8\xff\xe0 cut off", {}, 422, "broken JPEG"),
        (b"x" * 100_001, {}, 413, "over the limit of 100,000 bytes"),
        (b"image=1", {"content_type": "application/x-www-form-urlencoded"}, 415, "--data-binary"),
        (b"--XX--", {"content_type": "multipart/form-data; boundary=XX"}, 400, "no file"),
        (b"nothing", {"content_type": "multipart/form-data; boundary=XX"}, 400, "cannot be read"),
        (b"--XX\r\n", {"content_type": "multipart/form-data; boundary=XX"}, 400, "cut off"),
    ],
)
def test_a_bad_body_is_refused_clearly(
    server: Running, body: bytes, headers: dict[str, str], status: int, message: str
) -> None:
    answer = server.post(body, **headers)
    assert answer.status == status
    assert message in answer.json["error"]
    assert set(answer.json) == {"error", "kind"}


def test_curl_sends_an_image_as_a_form_and_it_is_an_image(server: Running, jpeg: bytes) -> None:
    answer = server.post(jpeg, content_type="application/x-www-form-urlencoded")
    assert answer.status == 200


def test_an_image_of_too_many_pixels_is_not_decoded(tiny_model: Path) -> None:
    bomb = encoded(np.zeros((3000, 3000), np.uint8), "PNG")
    with running(tiny_model, limits=Limits(max_pixels=1_000_000)) as server:
        answer = server.post(bomb)
    assert answer.status == 422
    assert "over the limit of 1,000,000 pixels" in answer.json["error"]


def test_too_many_images_are_refused(tiny_model: Path, jpeg: bytes) -> None:
    body, content_type = form(*[("a.jpg", jpeg)] * 4)
    with running(tiny_model, limits=Limits(max_images=3)) as server:
        answer = server.post(body, content_type=content_type)
    assert answer.status == 413
    assert answer.json["error"] == "The form has 4 files; 3 are allowed."


def test_other_paths_and_methods(server: Running) -> None:
    assert server.request("GET", "/nowhere").json["error"].startswith("There is nothing at")
    assert server.request("GET", "/nowhere").status == 404
    answer = server.request("GET", "/predict")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert server.request("PUT", "/metrics").status == 405


def head(length: int, path: str = "/predict") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode()


def test_a_slow_sender_is_answered_and_closed(server: Running, jpeg: bytes) -> None:
    started = time.monotonic()
    answer = server.send(head(len(jpeg)) + jpeg[:100])
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"did not arrive within 0.6 seconds" in answer
    assert 0.5 < time.monotonic() - started < 5
    for begun in (b"POST /predict HTT", b"POST /predict HTTP/1.1\r\nHos"):
        assert server.send(begun).startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert server.send(b"") == b""


def test_a_body_shorter_than_its_length_is_answered(server: Running, jpeg: bytes) -> None:
    answer = server.send(head(len(jpeg) + 50) + jpeg, end=True)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"shorter than its Content-Length" in answer


def test_a_client_that_sends_no_more_still_gets_its_answer(server: Running, jpeg: bytes) -> None:
    answer = server.send(head(len(jpeg)) + jpeg, end=True)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'"label"' in answer


def test_what_follows_a_request_does_not_spoil_it(server: Running, jpeg: bytes) -> None:
    answer = server.send(head(len(jpeg)) + jpeg + b"garbage\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert server.send(b"garbage\r\n\r\n").startswith(b"HTTP/1.1 400 ")


def test_connections_that_ended_leave_nothing_behind(server: Running, jpeg: bytes) -> None:
    for data in (head(500), head(len(jpeg)) + jpeg[:50], head(len(jpeg)) + jpeg, b"POST"):
        with socket.create_connection(("127.0.0.1", server.port)) as stream:
            stream.sendall(data)
    assert server.post(jpeg).status == 200
    until = time.monotonic() + 5
    while server.server.server_state.connections and time.monotonic() < until:
        time.sleep(0.02)
    assert not server.server.server_state.connections
    assert not server.server.server_state.tasks
    assert server.service.held == 0
    assert server.service.waiting == 0


def test_too_many_are_refused_at_once_and_the_connection_goes_on(
    tiny_model: Path, jpeg: bytes
) -> None:
    with running(tiny_model) as server:
        admission = server.service.admission
        admission.seconds_each = 1.0
        admission.begin(3)
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        try:
            for path, body in (("/predict", jpeg), ("/predict", bytes(100_000))):
                connection.request("POST", path, body)
                answer = connection.getresponse()
                assert (answer.status, answer.getheader("retry-after")) in ((503, "1"), (503, "3"))
                assert b"try again later" in answer.read()
            assert server.request("GET", "/v2/health/live").status == 200
            admission.end(3)
            connection.request("POST", "/predict", jpeg)
            assert connection.getresponse().status == 200
        finally:
            connection.close()
        text = server.request("GET", "/metrics").body.decode()
    assert 'fer_errors_total{kind="busy"} 2.0' in text
    assert 'fer_requests_total{endpoint="predict",status="503"} 2.0' in text


def test_faces_of_a_photograph() -> None:
    photograph = PHOTOGRAPH.read_bytes()
    expected = Classifier.load(SHIPPED, threads=1).predict_faces(photograph)
    with running(SHIPPED, faces=FaceOptions()) as server:
        found = server.post(photograph).json["images"][0]["faces"]
        nobody = server.post(encoded(np.full((64, 64), 99, np.uint8), "PNG"))
        broken = server.post(photograph[:2000])
    assert len(found) == len(expected) == 1
    assert found[0]["label"] == expected[0].label
    assert expected[0].face is not None
    assert found[0]["box"] == [round(value, 1) for value in expected[0].face.box]
    assert len(found[0]["landmarks"]) == 5
    assert nobody.json["images"] == [{"faces": []}]
    assert broken.status == 422


def test_metrics_count_what_happened(tiny_model: Path, jpeg: bytes) -> None:
    with running(tiny_model) as server:
        for body in (jpeg, jpeg, b"text"):
            server.post(body)
        time.sleep(0.05)
        answer = server.request("GET", "/metrics")
    text = answer.body.decode()
    assert answer.headers["content-type"].startswith("text/plain")

    def value(name: str) -> float:
        (found,) = re.findall(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(found)

    assert value('fer_requests_total{endpoint="predict",status="200"}') == 2
    assert value('fer_requests_total{endpoint="predict",status="422"}') == 1
    assert value('fer_errors_total{kind="image"}') == 1
    assert value("fer_images_total") == 2
    assert value("fer_batch_images_sum") == 2
    assert value("fer_images_waiting") == 0
    assert value('fer_request_seconds_count{endpoint="predict"}') == 3


def test_the_page_loads_nothing_from_elsewhere(server: Running) -> None:
    answer = server.request("GET", "/docs")
    text = answer.body.decode()
    assert answer.status == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "http" not in re.sub(r"HTTP|https?://127|<html", "", text).replace("http-equiv", "")
    assert "{{" not in text
    assert "not what the person feels" in text.replace("\n", " ")


def test_other_origins_may_read_answers_only_where_asked(tiny_model: Path, jpeg: bytes) -> None:
    name = "access-control-allow-origin"
    with running(tiny_model) as server:
        assert name not in server.post(jpeg, origin="https://example.org").headers
    with running(tiny_model, allowed_origins=("https://example.org",)) as server:
        answer = server.post(jpeg, origin="https://example.org")
        assert answer.headers[name] == "https://example.org"
        assert name not in server.post(jpeg, origin="https://other.org").headers


def test_only_small_baseline_jpegs_are_decoded_in_the_event_loop(jpeg: bytes) -> None:
    picture = np.zeros((48, 48), np.uint8)
    assert is_quick(jpeg)
    assert not is_quick(encoded(picture, "PNG"))
    assert not is_quick(encoded(picture, "JPEG", progressive=True))
    assert not is_quick(encoded(np.zeros((200, 200), np.uint8)))
    assert not is_quick(jpeg + b" " * 20_000)
    assert is_quick(b"\xff\xd8\xff broken")
