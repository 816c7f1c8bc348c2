"""A user's own files: all formats give the same graph, and errors name file and line."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix, save_npz

from graphseq.graph.data import graph_from_arrays, graph_from_files

N = 12
X = (np.random.default_rng(0).random((N, 3)) * 4).astype(np.float32).round(2)
EDGES = np.array([[0, 1, 1, 4], [1, 2, 2, 11]])
Y = np.arange(N) % 2
WORDS = ["train", "val", "test", "none"] * 3


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savetxt("edges.csv", EDGES.T, fmt="%d", delimiter=",", header="source,target", comments="")
    np.savetxt("x.csv", X, fmt="%.2f", delimiter=",")
    np.savetxt("y.csv", Y, fmt="%d")
    (tmp_path / "split.txt").write_text("\n".join(WORDS))
    return tmp_path


def load(**changes):
    names = {"edges": "edges.csv", "features": "x.csv", "labels": "y.csv"}
    return graph_from_files(**{**names, **changes})


def assert_same(data, expected, dense):
    assert torch.equal(dense(data.x), dense(expected.x))
    assert torch.equal(data.adjacency.edge_index, expected.adjacency.edge_index)
    assert torch.equal(data.y, expected.y)
    assert data.fingerprint == expected.fingerprint


@pytest.mark.parametrize("directed", [False, True])
def test_text_files_equal_arrays(folder, dense, directed):
    data = load(directed=directed, seed=3, normalize=True)
    expected = graph_from_arrays(X, EDGES, Y, directed=directed, seed=3, normalize=True)
    assert_same(data, expected, dense)
    assert data.name == "edges"
    assert load(name="mine").name == "mine"


def test_every_format_of_features_edges_and_labels(folder, dense):
    np.save("edges.npy", EDGES)
    np.save("y.npy", Y)
    np.save("x.npy", X)
    np.savez("x.npz", X)
    save_npz("sparse.npz", csr_matrix(X))
    (folder / "x.csv.gz").write_bytes(gzip.compress((folder / "x.csv").read_bytes()))
    expected = load()
    for features in ("x.npy", "x.npz", "sparse.npz", "x.csv.gz"):
        assert_same(load(features=features), expected, dense)
    assert_same(load(edges="edges.npy", labels="y.npy", sparse=True), expected, dense)


def test_split_files(folder, dense):
    data = load(split="split.txt")
    parts = [part.tolist() for part in data.splits.values()]
    assert parts == [[0, 4, 8], [1, 5, 9], [2, 6, 10]]
    np.savez("ids.npz", train=data.train.numpy(), val=data.val.numpy(), test=data.test.numpy())
    assert_same(load(split="ids.npz"), data, dense)
    masks = {part: np.array(WORDS) == part for part in ("train", "val", "test")}
    np.savez("masks.npz", **masks)
    assert_same(load(split="masks.npz"), data, dense)
    assert [part.numel() for part in load(split=(0.5, 0.25, 0.25)).splits.values()] == [6, 3, 3]


def test_paths_are_as_good_as_strings(folder, dense):
    np.save("x.npy", X)
    np.savez("masks.npz", **{part: np.array(WORDS) == part for part in ("train", "val", "test")})
    for features, split in (("x.csv", "split.txt"), ("x.npy", "masks.npz")):
        names = {"edges": "edges.csv", "features": features, "labels": "y.csv", "split": split}
        data = graph_from_files(**{key: folder / name for key, name in names.items()})
        assert_same(data, load(**names), dense)
        assert data.name == "edges"
    with pytest.raises(FileNotFoundError, match=r"graph_from_files: split names .*no\.txt"):
        load(split=Path("no.txt"))


@pytest.mark.parametrize("argument", ["edges", "features", "labels", "split"])
def test_missing_files_are_named(folder, argument):
    with pytest.raises(FileNotFoundError, match=rf"graph_from_files: {argument} names no\.csv"):
        load(**{argument: "no.csv"})


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("edges.csv", "s,t\n0,1\n1,12\n", "edges.csv, line 3: edge 1 -> 12, but the features have"),
        ("edges.csv", "0,1\n\n-1,2\n", "edges.csv, line 3: edge -1 -> 2"),
        ("edges.csv", "0,1\n1,2,0.5\n", "edges.csv, line 2: 3 columns, expected 2"),
        ("edges.csv", "0,1\n1,two\n", "edges.csv, line 2: 'two' is not a whole number"),
        ("x.csv", "1,2\n3\n", "x.csv, line 2: 1 columns, expected 2"),
        ("x.csv", "1,2\n\nnan,3\n" * 6, "x.csv, line 3: a feature is NaN or infinite; remove"),
        ("x.csv", "a,b\n1,2\n3,-inf\n" * 1, "x.csv, line 3: a feature is NaN or infinite"),
        ("y.csv", "0\n1\n", "y.csv holds labels of shape (2,), but the features have 12 rows"),
        ("y.csv", "0\ncat\n", "y.csv, line 2: 'cat' is not a whole number"),
        ("y.csv", "0\n-2\n" * 6, "y must lie in 0 .. 0"),
        ("split.txt", "train\nval\ntest\n", "split.txt has 3 lines, expected one per node: 12"),
        ("split.txt", "train\nvalid\n", "split.txt, line 2: 'valid' is not train, val, test"),
        ("split.txt", "train\nval\n" * 6, "test is empty"),
    ],
)
def test_faults_in_text_name_file_and_line(folder, file, text, words):
    (folder / file).write_text(text)
    with pytest.raises(ValueError, match=r".") as caught:
        load(split="split.txt")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_features_that_are_not_finite_name_the_file_and_row(folder):
    x = np.ones((12, 3), dtype=np.float32)
    x[7, 1], x[9, 0], x[:4] = np.nan, np.inf, 0  # a sparse file does not store the first rows
    np.save("x.npy", x)
    np.savez("x.npz", x)
    save_npz("sparse.npz", csr_matrix(x))
    for name in ("x.npy", "x.npz", "sparse.npz"):
        with pytest.raises(ValueError, match=rf"^{name}, row 7 of x: a feature is NaN") as caught:
            load(features=name)
        assert "\n" not in str(caught.value)


def test_faults_in_arrays_name_the_file(folder):
    np.save("y.npy", Y[:5])
    with pytest.raises(ValueError, match=r"y\.npy holds labels of shape \(5,\)"):
        load(labels="y.npy")
    np.save("edges.npy", EDGES + 0.5)
    with pytest.raises(TypeError, match="edge_index must hold whole numbers"):
        load(edges="edges.npy")
    np.savez("x.npz", a=X, b=X)
    with pytest.raises(ValueError, match=r"x\.npz holds no csr matrix \('data'\)"):
        load(features="x.npz")
    np.savez("split.npz", train=[0], test=[1])
    with pytest.raises(ValueError, match=r"split\.npz holds no array 'val'"):
        load(split="split.npz")
    (folder / "x.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(ValueError, match=r"x\.npy"):
        load(features="x.npy")
    with pytest.raises(ValueError, match="split must be a file or 3 fractions"):
        load(split=(0.8, 0.2))
