"""NodeData refuses what does not fit together, and survives round trips."""

import dataclasses

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from graphseq.graph.adjacency import Adjacency
from graphseq.graph.csr import CSR
from graphseq.graph.data import NodeData

RING = torch.tensor([[0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 0]])


def make(**changes):
    parts = {
        "x": torch.arange(18.0).reshape(6, 3),
        "adjacency": Adjacency.from_edge_index(RING, num_nodes=6),
        "y": torch.tensor([0, 1, 0, 1, 0, -1]),
        "train": torch.tensor([0, 1]),
        "val": torch.tensor([2]),
        "test": torch.tensor([4, 3]),
        "num_classes": 2,
        "name": "ring",
    }
    return NodeData(**{**parts, **changes})


def test_sizes_and_summary():
    data = make()
    assert data.num_nodes == 6
    assert data.dims == {"in_channels": 3, "out_channels": 2}
    summary = data.summary()
    sizes = {key: summary[key] for key in ("num_nodes", "num_edges", "num_features", "num_classes")}
    assert sizes == {"num_nodes": 6, "num_edges": 6, "num_features": 3, "num_classes": 2}
    assert (summary["train"], summary["val"], summary["test"]) == (2, 1, 2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.name = "other"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x": torch.zeros(6)}, "x must be [N, F]"),
        ({"x": torch.zeros(5, 3)}, "x has 5 rows but the graph has 6 nodes"),
        ({"x": torch.full((6, 3), float("nan"))}, "x holds NaN"),
        ({"x": torch.full((6, 3), float("inf"))}, "x holds NaN or infinite"),
        ({"y": torch.zeros(5, dtype=torch.long)}, "y must be [6]"),
        ({"y": torch.zeros(6, 1, dtype=torch.long)}, "y must be [6]"),
        ({"y": torch.tensor([0, 1, 2, 0, 0, 0])}, "y must lie in 0 .. 1"),
        ({"y": torch.tensor([0, 1, -2, 0, 0, 0])}, "y must lie in 0 .. 1"),
        ({"train": torch.tensor([], dtype=torch.long)}, "train is empty"),
        ({"test": torch.tensor([6])}, "test must hold node ids 0 .. 5, got 6 .. 6"),
        ({"test": torch.tensor([-1])}, "test must hold node ids"),
        ({"val": torch.tensor([2, 2])}, "val repeats a node"),
        ({"val": torch.tensor([1])}, "shares one with another split"),
        ({"test": torch.tensor([5])}, "label is unknown"),
    ],
)
def test_wrong_values_are_named(changes, words):
    with pytest.raises(ValueError, match=r"^ring: ") as caught:
        make(**changes)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x": torch.zeros(6, 3, dtype=torch.long)}, "x must be floating"),
        ({"y": torch.zeros(6)}, "y must be int64"),
        ({"train": torch.tensor([0, 1], dtype=torch.int32)}, "train must be a vector of int64"),
        ({"train": torch.tensor([[0, 1]])}, "train must be a vector"),
        ({"val": torch.tensor([False] * 5 + [True])}, "turn a mask into ids"),
    ],
)
def test_wrong_types_are_named(changes, words):
    with pytest.raises(TypeError, match=r"^ring: ") as caught:
        make(**changes)
    assert words in str(caught.value)


def test_fingerprint_changes_with_splits_and_sizes_only():
    first = make()
    assert first.fingerprint == make(x=torch.zeros(6, 3), name="other").fingerprint
    assert len(first.fingerprint) == 64
    others = [
        make(train=torch.tensor([1, 0])),
        make(train=torch.tensor([0]), val=torch.tensor([1, 2])),  # the same nodes in sequence
        make(val=torch.tensor([4, 3]), test=torch.tensor([2])),
        make(x=torch.zeros(6, 4)),
        make(num_classes=3),
        make(adjacency=Adjacency.from_edge_index(RING[:, :5], num_nodes=6)),
    ]
    assert len({first.fingerprint, *(data.fingerprint for data in others)}) == 7


def test_to_moves_every_tensor():
    data = make(x=CSR.from_dense(torch.eye(6))).to("cpu")
    for tensor in (data.x.col, data.adjacency.csr.col, data.y, data.train, data.val, data.test):
        assert tensor.device.type == "cpu"
    if torch.cuda.is_available():
        moved = data.to("cuda")
        assert moved.x.col.is_cuda
        assert moved.adjacency.csr.col.is_cuda
        assert moved.test.is_cuda
        assert moved.fingerprint == data.fingerprint


@pytest.mark.parametrize("sparse", [False, True])
def test_pyg_round_trip(sparse):
    x = torch.tensor(np.random.default_rng(0).random((6, 3)) < 0.5).float()
    data = make(x=CSR.from_dense(x) if sparse else x)
    pyg = data.to_pyg()
    pyg.validate(raise_on_error=True)
    assert pyg.train_mask.tolist() == [True, True, False, False, False, False]
    assert torch.equal(pyg.x, x)
    back = NodeData.from_pyg(pyg, name="ring")
    assert torch.equal(back.x, x)
    assert torch.equal(back.y, data.y)
    assert torch.equal(back.adjacency.edge_index, data.adjacency.edge_index)
    assert torch.equal(back.test, data.test.sort().values)
    assert (back.num_classes, back.name) == (2, "ring")


def test_from_pyg_names_what_is_missing():
    pyg = make().to_pyg()
    del pyg.val_mask
    with pytest.raises(ValueError, match="no val_mask"):
        NodeData.from_pyg(pyg)
    pyg = make().to_pyg()
    pyg.train_mask = torch.stack([pyg.train_mask] * 10, dim=1)
    with pytest.raises(ValueError, match=r"choose one split, such as train_mask\[:, 0\]"):
        NodeData.from_pyg(pyg)
    with pytest.raises(ValueError, match="no x"):
        NodeData.from_pyg(Data(edge_index=RING))


def test_from_pyg_takes_a_column_of_labels():
    pyg = make().to_pyg()
    pyg.y = pyg.y[:, None]
    assert torch.equal(NodeData.from_pyg(pyg).y, make().y)
