"""A user's own edge list: all formats give the same data, and errors name file and line."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

from graphseq.graph.data import links_from_arrays, links_from_files

N = 40
DICE = np.random.default_rng(0)
EDGES = DICE.integers(0, N, (2, 150))
EDGES[:, 0] = N - 1, 0
X = DICE.random((N, 3)).astype(np.float32).round(2)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savetxt("mine.csv", EDGES.T, fmt="%d", delimiter=",", header="from,to", comments="")
    np.savetxt("x.csv", X, fmt="%.2f", delimiter=",")
    for name, part in (
        ("train", slice(0, 100)),
        ("val", slice(100, 120)),
        ("test", slice(120, 150)),
    ):
        np.savetxt(f"{name}.txt", EDGES[:, part].T, fmt="%d")
    return tmp_path


def test_one_file(folder):
    data = links_from_files(edges="mine.csv", features="x.csv", seed=3)
    expected = links_from_arrays(EDGES, X, seed=3)
    assert data.fingerprint == expected.fingerprint
    assert torch.equal(data.x, expected.x)
    assert data.name == "mine"
    assert links_from_files(edges=Path("mine.csv"), name="yours").name == "yours"
    halves = links_from_files(edges="mine.csv", split=(0.5, 0.25, 0.25))
    assert halves.fingerprint == links_from_arrays(EDGES, val=0.25, test=0.25).fingerprint


def test_formats_of_edges(folder):
    np.save("mine.npy", EDGES)
    (folder / "mine.csv.gz").write_bytes(gzip.compress((folder / "mine.csv").read_bytes()))
    expected = links_from_files(edges="mine.csv")
    for edges in ("mine.npy", "mine.csv.gz"):
        assert links_from_files(edges=edges).fingerprint == expected.fingerprint


@pytest.mark.filterwarnings("ignore:.* are training links too")
def test_three_files_and_more(folder):
    data = links_from_files(edges="train.txt", val="val.txt", test="test.txt", seed=1)
    parts = EDGES[:, :100], EDGES[:, 100:120], EDGES[:, 120:]
    expected = links_from_arrays(parts[0], val=parts[1], test=parts[2], seed=1)
    assert data.fingerprint == expected.fingerprint
    np.save("negative.npy", np.zeros((2, 20, 7), int))
    with pytest.warns(UserWarning, match="145 of 150 pairs in test_negative are links"):
        data = links_from_files(
            **{"edges": "train.txt", "val": "val.txt", "test": "test.txt", "num_nodes": 50},
            val_negative="negative.npy",
            test_negative="mine.csv",
            metric="mrr",
        )
    assert data.val_negative.shape == (2, 20, 7)
    assert torch.equal(data.test_negative, torch.from_numpy(EDGES))
    assert data.num_nodes == 50


@pytest.mark.parametrize(
    "argument", ["edges", "features", "val", "test", "val_negative", "test_negative"]
)
def test_missing_files_are_named(folder, argument):
    names = {"edges": "train.txt", "val": "val.txt", "test": "test.txt"}
    with pytest.raises(FileNotFoundError, match=rf"links_from_files: {argument} names no\.csv"):
        links_from_files(**{**names, argument: "no.csv"})


@pytest.mark.parametrize(
    ("text", "changes", "words"),
    [
        ("a,b\n0,1\n1,40\n", {"features": "x.csv"}, "line 3: edge 1 -> 40, but the features have"),
        ("0,1\n-1,2\n", {}, "mine.csv, line 2: edge -1 -> 2, but node ids count from 0"),
        ("0,1\n1,2,0.5\n", {}, "mine.csv, line 2: 3 columns, expected 2"),
        ("0,1\n1,two\n", {}, "mine.csv, line 2: 'two' is not a whole number"),
        ("", {}, "mine.csv holds no lines of numbers"),
        ("0,1\n", {"val": "val.txt"}, "give both val and test, or neither"),
        ("0,1\n", {"split": (0.5, 0.2, 0.2)}, "split must be 3 fractions that sum to 1"),
        ("0,1\n", {"split": (0.5, 0.5)}, "split must be 3 fractions that sum to 1"),
    ],
)
def test_faults_name_file_and_line(folder, text, changes, words):
    (folder / "mine.csv").write_text(text)
    with pytest.raises(ValueError, match=r".") as caught:
        links_from_files(edges="mine.csv", **changes)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
