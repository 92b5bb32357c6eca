"""The Open Inference Protocol of fer-serve: Triton's client, and requests written out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fer_runtime.session import Session

pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")
pytest.importorskip("httptools", reason="the extra `serve` is not installed")
pytest.importorskip("starlette", reason="the extra `serve` is not installed")

from tests.runtime.served import Running, running

INFER = "/v2/models/tiny/infer"


@pytest.fixture(scope="module")
def server(tiny_model: Path) -> Iterator[Running]:
    with running(tiny_model) as found:
        yield found


def request_for(pixels: npt.NDArray[np.uint8], **more: Any) -> dict[str, Any]:
    tensor = {"name": "images", "datatype": "UINT8", "shape": list(pixels.shape)}
    return {"inputs": [tensor | {"data": pixels.ravel().tolist()}], **more}


def post(server: Running, request: object, **headers: str) -> Any:
    return server.post(json.dumps(request).encode(), INFER, **headers)


def test_tritons_client_unchanged(
    server: Running, tiny_session: Session, faces: npt.NDArray[np.uint8]
) -> None:
    client_of = pytest.importorskip("tritonclient.http", reason="tritonclient is not installed")
    client = client_of.InferenceServerClient(f"127.0.0.1:{server.port}")
    try:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("tiny")
        assert not client.is_model_ready("other")
        assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
        metadata = client.get_model_metadata("tiny")
        assert metadata["inputs"] == [
            {"name": "images", "datatype": "UINT8", "shape": [-1, 1, 48, 48]}
        ]
        assert [output["name"] for output in metadata["outputs"]] == ["logits", "probabilities"]
        for count in (1, 2, 17, 40):
            pixels = np.ascontiguousarray(faces[:count])
            expected = tiny_session.run(pixels) if count <= 32 else None
            for binary in (True, False):
                tensor = client_of.InferInput("images", list(pixels.shape), "UINT8")
                tensor.set_data_from_numpy(pixels, binary_data=binary)
                outputs = [
                    client_of.InferRequestedOutput(name, binary_data=binary)
                    for name in ("logits", "probabilities")
                ]
                result = client.infer("tiny", [tensor], outputs=outputs, request_id="7")
                assert result.get_response()["id"] == "7"
                assert result.as_numpy("logits").shape == (count, 7)
                if expected is not None:  # bit for bit
                    assert np.array_equal(result.as_numpy("logits"), expected.logits)
                    assert np.array_equal(result.as_numpy("probabilities"), expected.probabilities)
        everything = client.infer("tiny", [tensor]).get_response()["outputs"]
        assert [output["name"] for output in everything] == ["logits", "probabilities"]
    finally:
        client.close()


def test_more_images_than_a_batch_keep_their_order(
    server: Running, tiny_session: Session, faces: npt.NDArray[np.uint8]
) -> None:
    answer = post(server, request_for(faces))
    found = np.array(answer.json["outputs"][0]["data"], np.float32).reshape(-1, 7)
    np.testing.assert_allclose(found, tiny_session.run(faces).logits, rtol=1e-5, atol=1e-5)


def test_nested_data_and_versions(server: Running, faces: npt.NDArray[np.uint8]) -> None:
    nested = request_for(faces[:2], outputs=[{"name": "probabilities"}])
    nested["inputs"][0]["data"] = faces[:2].tolist()
    body = json.dumps(nested).encode()
    answer = server.post(body, "/v2/models/tiny/versions/1/infer")
    (output,) = answer.json["outputs"]
    assert output["shape"] == [2, 7]
    assert sum(output["data"]) == pytest.approx(2, abs=1e-5)
    assert server.post(body, "/v2/models/tiny/versions/2/infer").status == 404
    assert server.request("GET", "/v2/models/tiny/versions/1").status == 200
    assert server.request("GET", "/v2/models/tiny/versions/1/ready").json["ready"] is True
    assert server.request("GET", "/v2/models/other").json["kind"] == "unknown_model"
    assert server.request("GET", "/v2").json["name"] == "fer-runtime"


GOOD = request_for(np.zeros((1, 1, 48, 48), np.uint8))


def changed(**values: Any) -> dict[str, Any]:
    """The good request with other values of its input."""
    return {"inputs": [GOOD["inputs"][0] | values]}


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ([], 'no list of "inputs"'),
        ({"inputs": []}, "0 tensors"),
        ({"inputs": GOOD["inputs"] * 2}, "2 tensors"),
        (changed(name="pixels"), "takes 'images'"),
        (changed(datatype="FP32"), "takes UINT8"),
        (changed(shape=[1, 48, 48]), "takes [N, 1, 48, 48]"),
        (changed(shape=[0, 1, 48, 48]), "N from 1"),
        (changed(shape=[True, 1, 48, 48]), "takes [N, 1, 48, 48]"),
        (changed(shape="1,1,48,48"), "takes [N, 1, 48, 48]"),
        (changed(data=[0] * 5), "5 numbers"),
        (changed(data=[300] * 2304), "from 0 to 255"),
        (changed(data=[-1] * 2304), "from 0 to 255"),
        (changed(data=["a"] * 2304), "not whole numbers"),
        (changed(data=[10**30] * 2304), "not whole numbers"),
        (changed(data=None), "not whole numbers"),
        (changed(parameters={"binary_data_size": 2304}), "0 bytes follow"),
        (GOOD | {"outputs": [{"name": "features"}]}, "no output 'features'"),
        (GOOD | {"outputs": ["logits"]}, "no output 'logits'"),
    ],
)
def test_a_wrong_request_is_refused_clearly(
    server: Running, request_: object, message: str
) -> None:
    answer = post(server, request_)
    assert answer.status == 400
    assert message in answer.json["error"]


def test_a_wrong_header_length_is_refused(server: Running) -> None:
    for value in ("99999999", "-1", "many"):
        answer = post(server, GOOD, inference_header_content_length=value)
        assert answer.status == 400
        assert "Inference-Header-Content-Length" in answer.json["error"]
    assert server.post(b"{", INFER).json["error"].startswith("The request is not JSON")
    assert server.post(b"[" * 100_000, INFER).status == 400
