"""Arrays come out of pickles; anything else is refused before it runs."""

import collections
import os
import pickle
import random
import subprocess

import numpy as np
import pytest
from scipy.sparse import csc_matrix, csr_matrix

from graphseq.graph.data.pickles import SparseRecord, load_pickle


def write(path, content, protocol=2):
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", [0, 1, 2])
@pytest.mark.parametrize("dtype", ["<i4", ">f8", "|b1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays(tmp_path, dtype, protocol, order):
    array = np.asarray(np.arange(6).reshape(2, 3), dtype=dtype, order=order)
    loaded = load_pickle(write(tmp_path / "p", array, protocol)).array("p")
    np.testing.assert_array_equal(loaded, array)
    assert loaded.dtype == array.dtype
    assert loaded.flags.writeable


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_containers(tmp_path, protocol):
    content = {"b": [1, 2.5, "text", None, (3,)]}
    assert load_pickle(write(tmp_path / "p", content, protocol)) == content
    lists = collections.defaultdict(list, {1: [2, 3]})
    assert load_pickle(write(tmp_path / "p", lists, protocol)) == lists


@pytest.mark.parametrize(
    "array",
    [
        np.array([{}, []], dtype=object),
        np.array(["text"]),
        np.zeros(2, dtype=[("a", "i4")]),
        np.zeros(2, dtype="M8[s]"),
    ],
)
def test_arrays_of_anything_but_numbers_are_refused(tmp_path, array):
    with pytest.raises(ValueError, match=r"p holds a damaged array"):
        load_pickle(write(tmp_path / "p", array)).array(tmp_path / "p")


def test_sparse_matrix(tmp_path):
    dense = np.eye(4)[:3]
    record = load_pickle(write(tmp_path / "p", csr_matrix(dense)))
    assert isinstance(record, SparseRecord)
    np.testing.assert_array_equal(record.matrix("p").toarray(), dense)


def test_damaged_sparse_matrix_names_the_file(tmp_path):
    for attribute, value in [
        ("indices", np.array([0, 99], np.int32)),
        ("indptr", np.array([0, 2, 1, 2], np.int32)),
        ("data", "not numbers"),
    ]:
        matrix = csr_matrix(np.eye(3)[:, :2])
        setattr(matrix, attribute, value)
        record = load_pickle(write(tmp_path / "p", matrix))
        with pytest.raises(ValueError, match="p holds a damaged sparse matrix"):
            record.matrix(tmp_path / "p")
    incomplete = csr_matrix(np.eye(2))
    del incomplete.indptr
    with pytest.raises(ValueError, match="damaged sparse matrix"):
        load_pickle(write(tmp_path / "p", incomplete)).matrix("p")


class Call:
    """Pickles as a call of any function."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (Call(os.mkdir, "was-run"), "mkdir"),
        (Call(os.system, "mkdir was-run"), "system"),
        (Call(subprocess.call, ["mkdir", "was-run"]), "call"),
        (Call(eval, "__import__('os').mkdir('was-run')"), "eval"),
        (Call(getattr, "text", "upper"), "getattr"),
        (Call(np.fromfile, "p"), "fromfile"),
        (csc_matrix(np.eye(2)), ""),
        ([np.zeros(2), {"deep": (Call(os.mkdir, "was-run"),)}], "mkdir"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_anything_else_is_refused_by_name_and_never_runs(
    tmp_path, monkeypatch, content, name, protocol
):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "evil.pkl", content, protocol)
    with pytest.raises(ValueError, match=r"evil\.pkl is refused: it asks to run") as caught:
        load_pickle(path)
    assert name in str(caught.value)
    assert not (tmp_path / "was-run").exists()


def test_memory_is_not_taken_on_a_files_word(tmp_path):
    reconstruct, _, _ = np.zeros(1).__reduce__()
    huge = Call(reconstruct, np.ndarray, (10**15,), b"b")
    with pytest.raises(ValueError, match="damaged array"):
        load_pickle(write(tmp_path / "p", huge)).array("p")
    content = pickle.dumps(np.zeros(4), protocol=2)
    assert b"K\x04\x85" in content  # the shape (4,)
    (tmp_path / "p").write_bytes(content.replace(b"K\x04\x85", b"J\x00\x00\x00\x7f\x85"))
    with pytest.raises(ValueError, match="damaged array"):
        load_pickle(tmp_path / "p").array("p")


def test_every_truncation_and_many_flips_are_one_line_errors(tmp_path):
    whole = pickle.dumps({"x": csr_matrix(np.eye(3)), "y": np.arange(5)}, protocol=2)
    path = tmp_path / "p"
    dice = random.Random(0)
    damaged = [whole[:length] for length in range(0, len(whole), 3)]
    for length in range(0, len(whole), 3):
        flipped = bytearray(whole)
        # Not 0x96: Python itself stumbles when a bytearray's content is missing.
        flipped[length] = dice.choice([byte for byte in range(256) if byte != 0x96])
        damaged.append(bytes(flipped))
    messages = []
    for content in damaged:
        path.write_bytes(content)
        try:
            loaded = load_pickle(path)
            loaded["x"].matrix(path)
            loaded["y"].array(path)
        except KeyError:  # a flip inside of a name
            continue
        except ValueError as error:
            messages.append(str(error))
    assert len(messages) >= len(whole) // 3
    assert all(str(path) in message and "\n" not in message for message in messages)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_pickle(tmp_path / "none")
