"""A user's own links from arrays: drawn and given splits, features, and what is refused."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from graphseq.graph.csr import CSR
from graphseq.graph.data import links_from_arrays
from graphseq.graph.ops import is_edge

pytestmark = pytest.mark.usefixtures("generators_untouched")

N = 60
EDGES = np.random.default_rng(0).integers(0, N, (2, 200))
X = np.random.default_rng(1).random((N, 4))
TRAIN = np.array([[0, 1, 2, 1], [1, 2, 3, 0]])  # (0, 1) in both directions
VAL, TEST = np.array([[0], [2]]), np.array([[3, 4], [4, 5]])


def as_set(pairs):
    return {(min(a, b), max(a, b)) for a, b in pairs.t().tolist()}


def test_drawn_split():
    data = links_from_arrays(EDGES, X, seed=4)
    links = {(min(a, b), max(a, b)) for a, b in EDGES.T.tolist() if a != b}
    assert as_set(torch.cat([data.train, data.val, data.test], 1)) == links
    assert (data.val.shape[1], data.test.shape[1]) == (len(links) // 10, len(links) // 5)
    free = N * (N - 1) // 2 - len(links)
    assert data.val_negative.shape[1] == data.test_negative.shape[1] == free // 2  # under 1,000
    assert not (as_set(data.val_negative) | as_set(data.test_negative)) & links
    assert data.fingerprint == links_from_arrays(torch.from_numpy(EDGES), X, seed=4).fingerprint
    assert data.fingerprint != links_from_arrays(EDGES, X, seed=5).fingerprint


def test_how_many_negatives():
    path = np.array([np.arange(999), np.arange(1, 1000)])
    assert links_from_arrays(path).val_negative.shape[1] == 1000  # more than the test's 199 links
    data = links_from_arrays(path, num_negatives=120, val=0.3, test=0.3)
    assert (data.val_negative.shape[1], data.test_negative.shape[1]) == (120, 120)
    assert data.val.shape[1] == 299


def test_given_split():
    data = links_from_arrays(TRAIN, num_nodes=N, val=VAL, test=TEST, metric="hits@10")
    assert data.train.tolist() == [[0, 1, 2], [1, 2, 3]]  # one direction of each
    assert torch.equal(data.val, torch.from_numpy(VAL))
    assert data.adjacency.num_edges == 2 * 3
    known = as_set(torch.cat([data.train, data.val, data.test], 1))
    negatives = torch.cat([data.val_negative, data.test_negative], 1)
    assert not as_set(negatives) & known
    assert len(as_set(negatives)) == negatives.shape[1] == 2 * ((N * (N - 1) // 2 - 6) // 2)


def test_given_negatives():
    shared, own = np.array([[0, 0], [4, 5]]), np.zeros((2, 2, 3), int)
    data = links_from_arrays(
        TRAIN, val=VAL, test=TEST, val_negative=shared, test_negative=own, metric="mrr"
    )
    assert torch.equal(data.val_negative, torch.from_numpy(shared))
    assert data.test_negative.shape == (2, 2, 3)
    assert data.num_nodes == 6
    data = links_from_arrays(TRAIN, val=VAL, test=TEST, val_negative=shared, metric="mrr")
    assert data.test_negative.shape == (2, 9)  # all there are


def test_both_directions_of_a_given_split_leave_no_target_to_be_seen():
    links = links_from_arrays(EDGES, num_nodes=N, val=0.1, test=0.1, metric="mrr")
    both = torch.cat([links.train, links.train.flip(0)], 1)  # PyG's edge_index
    data = links_from_arrays(both, num_nodes=N, val=links.val, test=links.test, metric="mrr")
    assert data.removal.num_repeated == 0
    graph = data.removal.without(torch.arange(64))
    assert not is_edge(graph.csr, data.train[:, :64]).any()


def test_given_negatives_that_are_links_are_a_warning():
    negative = np.array([[0, 1, 3, 4], [5, 0, 4, 2]])  # (1, 0) is trained on, (3, 4) tested
    given = {"val": VAL, "test": TEST, "metric": "mrr", "name": "mine"}
    with pytest.warns(UserWarning, match="mine: 2 of 4 pairs in val_negative are links; a model"):
        links_from_arrays(TRAIN, **given, val_negative=negative)
    with pytest.warns(UserWarning, match="mine: 4 of 8 pairs in test_negative are links"):
        links_from_arrays(TRAIN, **given, test_negative=negative[:, None].repeat(2, 1))


def test_features_and_tables():
    assert links_from_arrays(EDGES, X).dims == {"in_channels": 4, "num_embeddings": None}
    assert torch.equal(links_from_arrays(EDGES, X).x, torch.from_numpy(X).float())
    assert isinstance(links_from_arrays(EDGES, csr_matrix(X), sparse=True).x, CSR)
    scaled = links_from_arrays(EDGES, X, normalize=True).x
    assert torch.allclose(scaled.sum(1), torch.ones(N))
    assert links_from_arrays(EDGES).dims == {"in_channels": None, "num_embeddings": N}
    kinds = np.arange(N) % 7
    assert links_from_arrays(EDGES, kinds).dims == {"in_channels": None, "num_embeddings": 7}
    assert links_from_arrays(EDGES, num_nodes=90).num_nodes == 90


def test_links_that_are_known_already_are_a_warning():
    with pytest.warns(UserWarning, match="mine: 1 of 2 test links are training links too"):
        links_from_arrays(
            TRAIN, val=VAL, test=np.array([[3, 3], [2, 4]]), metric="mrr", name="mine"
        )


COMPLETE = np.stack(np.triu_indices(8, k=1))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"edges": EDGES.T}, ValueError, r"edges must be \[2, E\], got shape \(200, 2\); pass its"),
        ({"edges": EDGES + 0.5}, TypeError, "edges must hold whole numbers"),
        ({"edges": EDGES[:, :0]}, ValueError, "none of the graph's 0 links"),
        ({"edges": EDGES, "val": VAL}, ValueError, "give val and test both as links"),
        ({"edges": EDGES, "val_negative": VAL}, ValueError, "as fractions such as 0.1, without"),
        ({"edges": EDGES, "val": 1, "test": 2}, ValueError, "give val and test both as links"),
        ({"edges": EDGES, "x": X[:50]}, ValueError, "edges must join nodes 0 .. 49"),
        ({"edges": EDGES, "x": X * np.nan}, ValueError, "NaN or infinite"),
        ({"edges": EDGES - 1}, ValueError, "joins"),
        ({"edges": TRAIN * 10**9}, ValueError, "largest node id is 3000000000, far more"),
        ({"edges": COMPLETE}, ValueError, "only 0 pairs of the 8 nodes are no links"),
        ({"edges": EDGES, "num_negatives": 50}, ValueError, "hits@100 would be 1 for every model"),
        ({"edges": EDGES, "metric": "best"}, ValueError, "metric must be 'hits@K'"),
        ({"edges": TRAIN, "val": VAL, "test": TEST[:, :0]}, ValueError, "test is empty"),
    ],
)
def test_refuses(arguments, error, words):
    with pytest.raises(error, match=words) as caught:
        links_from_arrays(**arguments)
    assert "\n" not in str(caught.value)
