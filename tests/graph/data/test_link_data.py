"""Link data: what it derives from its parts, and what it refuses."""

import hashlib

import networkx as nx
import pytest
import torch

from graphseq.graph.csr import CSR
from graphseq.graph.data import LinkData

N = 8
TRAIN = torch.tensor([[0, 1, 1, 4, 2, 2, 5], [1, 0, 2, 4, 3, 1, 6]])  # (0, 1) and (1, 2) twice
GOOD = {
    "x": torch.rand(N, 3),
    "num_nodes": N,
    "train": TRAIN,
    "val": torch.tensor([[0, 1], [2, 3]]),
    "val_negative": torch.tensor([[0, 1, 2], [5, 6, 7]]),
    "test": torch.tensor([[3], [4]]),
    "test_negative": torch.tensor([[[3, 3]], [[5, 6]]], dtype=torch.int32),  # [2, 1, 2]
}


def make(**changes):
    return LinkData(**{**GOOD, **changes})


def test_adjacency_is_networkxs_simple_graph():
    data = make()
    graph = nx.Graph(TRAIN.t().tolist())
    graph.remove_edges_from(nx.selfloop_edges(graph.copy()))
    edges = {tuple(pair) for pair in data.adjacency.edge_index.t().tolist()}
    assert edges == {*graph.edges, *((b, a) for a, b in graph.edges)}
    assert data.adjacency.num_edges == 2 * graph.number_of_edges()
    assert data.adjacency.num_nodes == N
    assert data.adjacency.is_symmetric
    assert data.adjacency is data.removal.adjacency  # sorted once
    assert data.removal is data.removal
    assert torch.equal(data.train, TRAIN)  # as listed


@pytest.mark.parametrize(
    ("changes", "in_channels", "rows"),
    [
        ({}, 3, None),
        ({"x": CSR.from_dense(torch.rand(N, 5))}, 5, None),
        ({"x": None}, None, N),
        ({"x": None, "num_embeddings": N + 1}, None, N + 1),
        ({"x": torch.tensor([0, 3, 1, 1, 0, 2, 3, 0])}, None, 4),
        ({"x": torch.zeros(N, dtype=torch.int64), "num_embeddings": 58}, None, 58),
    ],
)
def test_dims(changes, in_channels, rows):
    assert make(**changes).dims == {"in_channels": in_channels, "num_embeddings": rows}


def test_fingerprint_is_that_of_the_pairs():
    data = make()
    assert data.fingerprint == make(x=torch.zeros(N, 3), name="other").fingerprint
    wide = make(test_negative=GOOD["test_negative"].long())
    assert data.fingerprint == wide.fingerprint
    for part in ("train", "val", "val_negative", "test", "test_negative"):
        assert data.fingerprint != make(**{part: GOOD[part].flip(-1, 0)}).fingerprint
    # [2, 3] and [2, 3, 1] hold the same numbers and are different problems
    column = make(val_negative=GOOD["val_negative"][:, :2])
    assert column.fingerprint != make(val_negative=GOOD["val_negative"][:, :2, None]).fingerprint


def test_fixed_negatives_are_a_part_only_where_there_are_some():
    bare, fixed = make(), make(train_negative=GOOD["val_negative"])
    assert list(bare.parts) == ["train", "val", "val_negative", "test", "test_negative"]
    assert "train_negative" not in bare.summary()
    assert fixed.parts["train_negative"] is GOOD["val_negative"]
    assert fixed.summary()["train_negative"] == 3
    other = make(train_negative=GOOD["val_negative"].flip(0))
    assert len({data.fingerprint for data in (bare, fixed, other)}) == 3


def test_the_fingerprint_without_them_is_the_one_that_results_were_written_with():
    """Its definition before there were fixed negatives, written out."""
    digest = hashlib.sha256(b"(8, 3, None)")
    for part in ("train", "val", "val_negative", "test", "test_negative"):
        digest.update(f"{part} {tuple(GOOD[part].shape)} ".encode())
        digest.update(GOOD[part].numpy().astype("<i8").tobytes())
    assert make().fingerprint == make(train_negative=None).fingerprint == digest.hexdigest()


def test_long_parts_are_hashed_in_pieces(monkeypatch):
    whole = make().fingerprint
    monkeypatch.setattr("graphseq.graph.data.link_data._PIECE", 2)
    assert make().fingerprint == whole


def test_summary():
    summary = make(metric="mrr", name="mine").summary()
    assert summary.pop("fingerprint") == make().fingerprint
    assert summary == {
        **{"name": "mine", "num_nodes": 8, "num_edges": 4, "num_features": 3, "metric": "mrr"},
        **{"train": 7, "val": 2, "val_negative": 3, "test": 1, "test_negative": 2},
    }


def test_to_where_it_is_already():
    data = make(
        train_weight=torch.ones(7),
        train_negative=GOOD["val_negative"],
        x=CSR.from_dense(torch.rand(N, 3)),
    )
    assert data.to("cpu") is data


def test_to_moves_every_part(monkeypatch):
    data = make(train_negative=GOOD["val_negative"])
    monkeypatch.setattr(torch.Tensor, "to", lambda self, device: self.clone())
    moved = data.to("another device")
    assert list(moved.parts) == list(data.parts)
    for name, part in data.parts.items():
        assert moved.parts[name] is not part
        assert torch.equal(moved.parts[name], part)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"train": TRAIN.int()}, TypeError, "train must be int64, got torch.int32"),
        ({"val_negative": GOOD["val_negative"].float()}, TypeError, "val_negative must be int64"),
        ({"train": TRAIN.t()}, ValueError, r"train must be \[2, E\], got shape \(7, 2\); pass its"),
        ({"val": torch.zeros(2, 1, 1).long()}, ValueError, r"val must be \[2, E\]"),
        ({"val_negative": torch.zeros(2).long()}, ValueError, r"\[2, M\] or \[2, P, K\]"),
        ({"train": TRAIN[:, :0]}, ValueError, "train is empty"),
        (
            {"test": torch.tensor([[0], [8]])},
            ValueError,
            "test must hold node ids 0 .. 7, got 0 .. 8",
        ),
        ({"val": torch.tensor([[-1], [2]])}, ValueError, "val must hold node ids 0 .. 7, got -1"),
        (
            {"val_negative": torch.zeros(2, 3, 5).long()},
            ValueError,
            "val_negative has candidates for 3 links, but val has 2",
        ),
        ({"x": torch.rand(7, 3)}, ValueError, "x has 7 rows but the graph has 8 nodes"),
        ({"x": torch.rand(8)}, ValueError, r"x must be \[N, F\]"),
        ({"x": torch.full((8, 2), float("inf"))}, ValueError, "NaN or infinite"),
        ({"x": torch.zeros(8, 2).long()}, TypeError, "x must be floats"),
        ({"x": torch.zeros(8).int()}, TypeError, "x must be floats"),
        ({"x": torch.full((8,), -1)}, ValueError, "table row -1"),
        ({"num_embeddings": 4}, ValueError, "num_embeddings is 4, but x holds features"),
        ({"x": None, "num_embeddings": 4}, ValueError, "num_embeddings is 4, but 8 rows"),
        ({"train_weight": torch.ones(6)}, ValueError, r"train_weight must be \[7\]"),
        ({"train_year": torch.ones(7, 1).long()}, ValueError, r"train_year must be \[7\]"),
        (
            {"train_negative": GOOD["test_negative"]},
            TypeError,
            "train_negative must be int64, got torch.int32",
        ),
        (
            {"train_negative": GOOD["test_negative"].long()},
            ValueError,
            r"train_negative must be \[2, E\], got shape \(2, 1, 2\)",
        ),
        ({"train_negative": TRAIN[:, :0]}, ValueError, "train_negative is empty"),
        ({"train_negative": TRAIN + 5}, ValueError, "train_negative must hold node ids 0 .. 7"),
        ({"metric": "hits@0"}, ValueError, "metric must be 'hits@K'"),
        ({"metric": "map"}, ValueError, "metric must be 'hits@K'"),
    ],
)
def test_refuses(changes, error, words):
    with pytest.raises(error, match=words) as caught:
        make(**changes)
    assert str(caught.value).startswith("graph: ")


@pytest.mark.parametrize("part", ["x", "train", "train_negative", "val_negative", "train_weight"])
def test_arrays_and_lists_are_refused_with_a_remedy(part):
    value = {**GOOD, "train_weight": torch.ones(7), "train_negative": TRAIN}[part]
    with pytest.raises(TypeError, match=rf"graph: {part} is a ndarray; .*torch.from_numpy\({part}"):
        make(**{part: value.numpy()})
    with pytest.raises(TypeError, match=rf"graph: {part} is a list; pass a tensor, torch.tensor"):
        make(**{part: value.tolist()})


def test_official_links_are_told_by_name_and_by_the_form_of_their_candidates():
    shared = {"test_negative": GOOD["val_negative"]}
    own = {"val_negative": torch.zeros(2, 2, 4, dtype=torch.int64)}
    for name, form in (("ogbl-collab", shared), ("ogbl-citation2", own)):
        data = make(**form, official=name)
        assert data.fingerprint == make(**form).fingerprint
        assert data.summary() == make(**form).summary()
        assert data.to("cpu").official == name
    for name, form in (("ogbl-collab", own), ("ogbl-citation2", shared), ("ogbl-ppa", {})):
        with pytest.raises(ValueError, match=rf"graph: these are not the pairs that {name} is sc"):
            make(**form, official=name)
    with pytest.raises(ValueError, match=r"official must be one of ogbl-ddi, .*got 'ogbl-vessel'"):
        make(official="ogbl-vessel")
