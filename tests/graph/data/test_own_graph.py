"""A user's own arrays: what goes in comes out, and what is wrong is named."""

import numpy as np
import pytest
import torch
from scipy.sparse import coo_matrix, csr_array

from graphseq.graph.csr import CSR
from graphseq.graph.data import graph_from_arrays

pytestmark = pytest.mark.usefixtures("generators_untouched")

N = 20
X = np.random.default_rng(0).random((N, 4)) * (np.arange(N) > 1)[:, None]
EDGES = np.array([[0, 1, 1, 4, 4, 9], [1, 2, 2, 4, 0, 19]])
Y = np.arange(N) % 3


def make(**changes):
    parts = {"x": X, "edge_index": EDGES, "y": Y, "name": "mine"}
    return graph_from_arrays(**{**parts, **changes})


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_numpy_and_torch(kind):
    data = make(x=kind(X), edge_index=kind(EDGES), y=kind(Y))
    assert data.x.dtype == torch.float32
    np.testing.assert_allclose(data.x.numpy(), X, rtol=1e-6)
    assert data.y.tolist() == Y.tolist()
    assert (data.num_classes, data.name) == (3, "mine")
    assert [part.numel() for part in data.splits.values()] == [12, 4, 4]


def test_undirected_by_default_directed_on_request():
    pairs = {tuple(pair) for pair in EDGES.T.tolist()}
    directed = make(directed=True).adjacency.edge_index.T.tolist()
    assert sorted(map(tuple, directed)) == sorted(pairs)
    undirected = make().adjacency.edge_index.T.tolist()
    assert sorted(map(tuple, undirected)) == sorted(pairs | {(b, a) for a, b in pairs})
    assert (4, 4) in pairs  # a self loop stays


def test_no_edges_at_all():
    data = make(edge_index=torch.zeros(2, 0, dtype=torch.long))
    assert data.adjacency.num_edges == 0
    assert make(edge_index=np.zeros((2, 0))).adjacency.num_nodes == N


@pytest.mark.parametrize("kind", [coo_matrix, csr_array])
def test_scipy_and_sparse_features(kind, dense):
    for sparse in (False, True):
        data = make(x=kind(X), sparse=sparse)
        assert isinstance(data.x, CSR) == sparse
        assert torch.equal(dense(data.x), make().x)
    assert torch.equal(dense(make(sparse=True).x), make().x)


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, bool, np.float16, np.float64])
def test_features_of_any_number_type(dtype):
    assert torch.equal(make(x=(X > 0.5).astype(dtype)).x, torch.from_numpy(X > 0.5).float())


def test_normalised(dense):
    for sparse in (False, True):
        sums = dense(make(normalize=True, sparse=sparse).x).sum(dim=1)
        torch.testing.assert_close(sums, (torch.arange(N) > 1).float())


def test_splits_as_ids_and_masks():
    train, val, test = [3, 1], torch.tensor([5, 6]), np.array([7, 9, 8], np.int32)
    data = make(train=train, val=val, test=test)
    assert (data.train.tolist(), data.val.tolist(), data.test.tolist()) == (
        [3, 1],
        [5, 6],
        [7, 9, 8],
    )
    mask = np.zeros(N, bool)
    mask[[5, 6]] = True
    masked = make(train=train, val=mask, test=test)
    assert masked.val.tolist() == [5, 6]
    assert masked.fingerprint == data.fingerprint


def test_fractions_are_drawn_from_the_seed_among_known_labels():
    y = Y.copy()
    y[:10] = -1
    first, again, other = (make(y=y, seed=seed) for seed in (0, 0, 1))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert torch.cat(list(first.splits.values())).sort().values.tolist() == list(range(10, N))


MASK = np.zeros(N - 1, bool)


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"x": X[0]}, ValueError, "x must be [N, F], got shape (4,)"),
        ({"x": X.astype(str)}, TypeError, "x must hold real numbers, got <U"),
        ({"x": X.astype(complex)}, TypeError, "x must hold real numbers, got complex"),
        ({"x": np.where(X > 0.9, np.nan, X)}, ValueError, "NaN or infinite values, first in row"),
        ({"x": coo_matrix(np.where(X > 0.9, np.inf, X))}, ValueError, "NaN or infinite values"),
        ({"edge_index": EDGES.T}, ValueError, "edge_index must be [2, E], got shape (6, 2)"),
        ({"edge_index": EDGES.T}, ValueError, "pass its transpose"),
        ({"edge_index": EDGES[0]}, ValueError, "edge_index must be [2, E]"),
        ({"edge_index": EDGES + 0.5}, TypeError, "edge_index must hold whole numbers"),
        ({"edge_index": EDGES + 1}, ValueError, "edge number 5 joins 10 and 20"),
        ({"edge_index": EDGES - 1}, ValueError, "edge number 0 joins -1 and 0"),
        ({"y": Y[:-1]}, ValueError, "y must be [20], one class per row of x, got shape (19,)"),
        ({"y": Y[:, None]}, ValueError, "y must be [20]"),
        ({"y": Y.astype(float)}, TypeError, "y must hold whole numbers, got float64"),
        ({"y": Y - 2}, ValueError, "y must lie in 0 .. 0"),
        ({"num_classes": 2}, ValueError, "y must lie in 0 .. 1"),
        ({"train": 0.0}, ValueError, "fractions must be positive"),
        ({"train": 0.9}, ValueError, "sum to at most 1"),
        ({"train": [1, 2]}, ValueError, "val is the number 0.2 but another split is not"),
        ({"train": 1}, ValueError, "train is the number 1"),
        ({"train": [], "val": [1], "test": [2]}, ValueError, "train is empty"),
        ({"train": [0], "val": [1], "test": [20]}, ValueError, "test must hold node ids 0 .. 19"),
        ({"train": [0], "val": [0], "test": [2]}, ValueError, "shares one with another"),
        ({"train": [0.5], "val": [1], "test": [2]}, TypeError, "train must hold whole numbers"),
        ({"train": MASK, "val": [1], "test": [2]}, ValueError, "train is a mask of shape (19,)"),
    ],
)
def test_what_is_wrong_is_named(changes, kind, words):
    with pytest.raises(kind) as caught:
        make(**changes)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
