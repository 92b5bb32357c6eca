"""One classifier in many threads and processes: forked, spawned, pickled, and closed."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from fer_runtime import Classifier, Prediction
from fer_runtime.errors import ModelFileError, ProviderError
from fer_runtime.providers import PROVIDERS
from fer_runtime.session import Session

Pixels = npt.NDArray[np.uint8]


def predict_all(classifier: Classifier, faces: Pixels) -> list[Prediction]:
    return [classifier.predict(pixels) for pixels in faces[:, 0]]


SCRIPT = """
import multiprocessing
import sys
import numpy as np
from fer_runtime import Classifier

def predict_all(classifier, faces):
    return [classifier.predict(pixels) for pixels in faces]

if __name__ == "__main__":
    classifier = Classifier.load(sys.argv[1], threads=int(sys.argv[3]))
    faces = np.random.default_rng(0).integers(0, 256, (5, 48, 48), np.uint8)
    expected = predict_all(classifier, faces)
    classifier.predict_batch(list(faces))
    with multiprocessing.get_context(sys.argv[2]).Pool(2) as pool:
        found = pool.starmap(predict_all, [(classifier, faces)] * 3)
    print(found == [expected] * 3)
"""


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_it_works_in_processes_although_it_was_used_here(
    method: str, threads: int, tiny_model: Path, tmp_path: Path
) -> None:
    script = tmp_path / "pool.py"
    script.write_text(SCRIPT)
    command: list[str | Path] = [sys.executable, script, tiny_model, method, str(threads)]
    root = Path(__file__).parents[2]
    paths = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    assert done.stdout == "True\n", done.stderr


def test_a_gpu_does_not_survive_a_fork(tiny_model: Path, faces: Pixels) -> None:
    session = Session.open(tiny_model, threads=1)
    session.provider, session._process = "cuda", os.getpid() + 1
    session._entry = PROVIDERS["cuda"]
    with pytest.raises(ProviderError, match="cuda cannot be used in a process that was forked"):
        session.run(faces[:1])


def test_it_is_pickled_as_its_configuration(tiny_model: Path, faces: Pixels) -> None:
    classifier = Classifier.load(tiny_model, threads=2, batch_size=5)
    data = pickle.dumps(classifier)
    assert len(data) < 5000, "the weights are in it"
    for other in (pickle.loads(data), copy.copy(classifier), copy.deepcopy(classifier)):
        assert other is not classifier
        assert (other.batch_size, other.threads, other.session.threads) == (5, 2, 2)
        assert other.spec == classifier.spec
        assert predict_all(other, faces[:4]) == predict_all(classifier, faces[:4])


def test_a_file_that_changed_is_not_unpickled(tiny_model: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(tiny_model.read_bytes())
    data = pickle.dumps(Classifier.load(model, threads=1))
    changed = model.read_bytes().replace(b'"happy"', b'"HAPPY"')
    assert changed != model.read_bytes()
    model.write_bytes(changed)
    with pytest.raises(ModelFileError, match="is not the file that was pickled"):
        pickle.loads(data)
    model.unlink()
    with pytest.raises(ModelFileError, match="does not exist"):
        pickle.loads(data)


def test_many_threads_get_what_one_gets(tiny_model: Path, faces: Pixels) -> None:
    with Classifier.load(tiny_model, threads=2) as classifier:
        classifier.warm_up()
        classifier.warm_up(16)
        expected = predict_all(classifier, faces)
        with ThreadPoolExecutor(8) as pool:
            for found in pool.map(lambda _: predict_all(classifier, faces), range(16)):
                assert found == expected
    with pytest.raises(ValueError, match="batch_size=0"):
        classifier.warm_up(0)


def test_closing_ends_the_workers(tiny_model: Path, faces: Pixels) -> None:
    with Classifier.load(tiny_model, threads=1, workers=1) as classifier:
        first = classifier.predict_batch(list(faces[:3, 0]))
        assert classifier._pool is not None
        pids = classifier._pool.pids()
    assert classifier._pool is None
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert predict_all(classifier, faces[:3]) == first
