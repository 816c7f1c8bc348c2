"""Broken and hostile files are one-line errors that name the file."""

import io
import os
import pickle
import random

import numpy as np
import pytest

from graphseq.files import load_npy, load_npz, sha256_of


def npz_bytes(**arrays):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def test_round_trip_of_named_arrays_only(tmp_path):
    a, b = np.arange(6).reshape(2, 3), np.float32(2.5)
    path = tmp_path / "a.npz"
    path.write_bytes(npz_bytes(a=a, b=b, objects=np.array([{}], dtype=object)))
    with pytest.raises(ValueError, match="Object arrays"):
        load_npz(path)
    loaded = load_npz(path, ["b", "a"])
    assert list(loaded) == ["b", "a"]
    np.testing.assert_array_equal(loaded["a"], a)
    assert loaded["b"] == b
    assert loaded["b"].dtype == np.float32


class Evil:
    def __reduce__(self):
        return os.mkdir, ("was-run",)


def test_pickled_objects_are_never_loaded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("a.npz", a=np.array([Evil()], dtype=object))
    with pytest.raises(ValueError, match=r"a\.npz"):
        load_npz("a.npz", ["a"])
    np.save("a.npy", np.array([Evil()], dtype=object))
    with pytest.raises(ValueError, match=r"a\.npy"):
        load_npy("a.npy")
    (tmp_path / "b.npy").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match=r"b\.npy"):
        load_npy("b.npy")
    assert not (tmp_path / "was-run").exists()


def test_every_truncation_and_many_flips_are_a_value_error_or_the_truth(tmp_path):
    truth = np.arange(40)
    whole = npz_bytes(a=truth)
    path = tmp_path / "a.npz"
    dice = random.Random(0)
    damaged = [whole[:length] for length in range(len(whole))]
    for _ in range(400):
        flipped = bytearray(whole)
        flipped[dice.randrange(len(whole))] ^= 1 << dice.randrange(8)
        damaged.append(bytes(flipped))
    messages = []
    for content in damaged:
        path.write_bytes(content)
        try:
            np.testing.assert_array_equal(load_npz(path, ["a"])["a"], truth)
        except ValueError as error:
            messages.append(str(error))
    assert len(messages) >= len(whole)  # each of the truncations, at least
    assert all(str(path) in message and "\n" not in message for message in messages)


def test_a_missing_array_and_a_missing_file(tmp_path):
    (tmp_path / "a.npz").write_bytes(npz_bytes(a=np.zeros(1)))
    with pytest.raises(ValueError, match=r"a\.npz holds no array 'labels'"):
        load_npz(tmp_path / "a.npz", ["a", "labels"])
    with pytest.raises(FileNotFoundError):
        load_npz(tmp_path / "b.npz", ["a"])


def test_size_is_bounded(tmp_path):
    (tmp_path / "bomb.npz").write_bytes(npz_bytes(a=np.zeros(1_000_000)))
    with pytest.raises(ValueError, match="unpacks to 8000128 bytes"):
        load_npz(tmp_path / "bomb.npz", ["a"], max_bytes=1_000_000)


def test_truncated_npy(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(10))
    np.testing.assert_array_equal(load_npy(tmp_path / "a.npy"), np.arange(10))
    whole = (tmp_path / "a.npy").read_bytes()
    for length in (0, 5, 60, len(whole) - 1):
        (tmp_path / "a.npy").write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"a\.npy"):
            load_npy(tmp_path / "a.npy")


def test_sha256_of_a_known_text(tmp_path):
    (tmp_path / "a").write_text("abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of(tmp_path / "a") == known
