"""Hashes: equal contents hash alike whatever their order, and any difference shows."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from fer_runtime import hashing
from tests.properties import given, settings, st

Weights = list[tuple[str, npt.NDArray[np.generic]]]

LITERAL = "a73be20f7eea5416f22b475249c0669478bb7123df65d4d0fd01303a264e5460"


def weights() -> Weights:
    return [
        ("conv.weight", np.arange(6, dtype=np.float32).reshape(2, 3)),
        ("bn.num_batches_tracked", np.array(3, np.int64)),
        ("fc.bias", np.array([0.5, -1], np.float32)),
    ]


def test_weights_hash_is_byte_exact() -> None:
    """Spelled out: names in order, each name NUL dtype NUL shape NUL, then little-endian bytes."""
    spelled = (
        b"bias\0float32\0(2,)\0" + bytes.fromhex("0000003f000080bf")
        + b"count\0int64\0()\0" + bytes.fromhex("0300000000000000")
    )  # fmt: skip
    small: Weights = [("count", np.array(3)), ("bias", np.array([0.5, -1], np.float32))]
    assert hashing.weights_sha256(small) == hashlib.sha256(spelled).hexdigest()
    assert hashing.weights_sha256(small) == LITERAL


def test_weights_hash_of_nothing_is_the_hash_of_nothing() -> None:
    assert hashing.weights_sha256([]) == (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )


@settings(deadline=None, max_examples=20)
@given(st.permutations(weights()))
def test_order_does_not_matter(shuffled: Weights) -> None:
    assert hashing.weights_sha256(shuffled) == hashing.weights_sha256(weights())
    assert hashing.weights_sha256(iter(shuffled)) == hashing.weights_sha256(weights())


@pytest.mark.parametrize(
    "other",
    [
        ("bias", np.zeros(4, np.float64)),
        ("bias", np.zeros(4, np.int32)),
        ("bias", np.zeros((2, 2), np.float32)),
        ("bias", np.zeros((4, 1), np.float32)),
        ("bias", np.zeros(5, np.float32)),
        ("Bias", np.zeros(4, np.float32)),
        ("bias", np.array([0, 0, 0, 1e-45], np.float32)),
        ("bias", np.array([0, 0, 0, -0.0], np.float32)),
    ],
    ids=["float64", "int32", "(2, 2)", "(4, 1)", "longer", "name", "value", "sign"],
)
def test_dtype_shape_name_and_every_bit_count(other: tuple[str, npt.NDArray[np.generic]]) -> None:
    reference = hashing.weights_sha256([("bias", np.zeros(4, np.float32))])
    assert hashing.weights_sha256([other]) != reference


def test_a_scalar_is_not_a_vector_of_one() -> None:
    scalar, vector = np.array(2.0, np.float32), np.array([2.0], np.float32)
    assert hashing.weights_sha256([("a", scalar)]) != hashing.weights_sha256([("a", vector)])


def test_memory_layout_and_byte_order_do_not_count() -> None:
    plain = np.arange(6, dtype=np.float32).reshape(2, 3)
    expected = hashing.weights_sha256([("w", plain)])
    for same in (np.asfortranarray(plain), plain.astype(">f4"), np.repeat(plain, 2, 1)[:, ::2]):
        assert hashing.weights_sha256([("w", same)]) == expected


def test_arrays_are_not_written_to() -> None:
    array = np.arange(4, dtype=">i4")
    array.flags.writeable = False
    hashing.weights_sha256([("w", array)])
    np.testing.assert_array_equal(array, [0, 1, 2, 3])


def test_file_hash_is_the_hash_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert hashing.file_sha256(path) == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
    path.write_bytes(b"x" * 3_000_001)
    assert hashing.file_sha256(path) == hashlib.sha256(b"x" * 3_000_001).hexdigest()


def test_file_hash_of_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        hashing.file_sha256(tmp_path / "missing")


def test_dataset_hash_is_byte_exact_and_has_no_order() -> None:
    entries = [("b/2.png", "22"), ("a/1.png", "11")]
    expected = hashlib.sha256(b"a/1.png\x0011\nb/2.png\x0022\n").hexdigest()
    assert hashing.dataset_sha256(entries) == expected
    assert hashing.dataset_sha256(reversed(entries)) == expected


def test_dataset_hash_sees_names_contents_and_doubles() -> None:
    reference = hashing.dataset_sha256([("a", "1"), ("b", "2")])
    for other in ([("a", "2"), ("b", "1")], [("a", "1")], [("a", "1"), ("a", "1"), ("b", "2")]):
        assert hashing.dataset_sha256(other) != reference


def test_dataset_hash_takes_names_that_are_not_utf_8() -> None:
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    expected = hashlib.sha256(b"caf\xe9.png\x001\n").hexdigest()
    assert hashing.dataset_sha256([(name, "1")]) == expected
