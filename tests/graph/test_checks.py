"""Numbers are checked piece by piece: the answer is the same, the memory is not."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from graphseq.graph import checks
from graphseq.graph.adjacency import Adjacency
from graphseq.graph.checks import all_finite
from graphseq.graph.csr import CSR
from graphseq.graph.data import LinkData, NodeData


@pytest.mark.parametrize(
    "shape", [(7, 5), (1, 40), (40, 1), (23,), (0,), (0, 3), (3, 0), (4, 2, 3)]
)
@pytest.mark.parametrize("piece", [1, 6, 1000])
def test_every_place_is_looked_at(monkeypatch, shape, piece):
    monkeypatch.setattr(checks, "_PIECE", piece)
    values = torch.zeros(shape)
    assert all_finite(values)
    for number, place in enumerate(np.ndindex(*shape)):
        values[place] = (float("nan"), float("inf"), -float("inf"))[number % 3]
        assert not all_finite(values)
        assert not all_finite(values.t() if values.dim() == 2 else values)
        values[place] = 0


def test_numbers_that_are_finite_though_their_sum_is_not():
    values = torch.full((4, 3), torch.finfo(torch.float32).max, requires_grad=True)
    assert all_finite(values)
    assert all_finite(values.half().clamp(max=6e4))
    infinite = torch.tensor([float("inf"), -float("inf")])
    assert not all_finite(infinite)


class Largest(TorchDispatchMode):
    """Bytes of the largest tensor made inside of the block, views of ``known`` ones left out."""

    def __init__(self, *known):
        super().__init__()
        self.known = {tensor.untyped_storage().data_ptr() for tensor in known}
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                storage = leaf.untyped_storage()
                if storage.data_ptr() not in self.known:
                    self.bytes = max(self.bytes, storage.nbytes())
        return out


N = 8000
PAIR = torch.tensor([[0], [1]])


def node_data(x):
    edges = Adjacency.from_edge_index(PAIR, num_nodes=N)
    y, parts = torch.zeros(N, dtype=torch.int64), torch.arange(3)[:, None]
    return NodeData(x, edges, y, *parts, num_classes=1)


def link_data(x):
    return LinkData(x, N, PAIR, PAIR, PAIR, PAIR, PAIR)


@pytest.mark.parametrize("make", [node_data, link_data])
def test_features_in_a_file_are_checked_with_less_memory_than_they_take(
    make, tmp_path, monkeypatch
):
    monkeypatch.setattr(checks, "_PIECE", 1 << 14)
    array = np.full((N, 100), 3e38, np.float32)  # the sum is infinite, so each is looked at
    np.save(tmp_path / "x.npy", array)
    x = torch.from_numpy(np.load(tmp_path / "x.npy", mmap_mode="c"))
    with Largest(x) as largest:
        assert make(x).x is x
    assert 1 << 14 <= largest.bytes < array.nbytes // 10
    array[-1, -1] = np.nan
    np.save(tmp_path / "x.npy", array)
    x = torch.from_numpy(np.load(tmp_path / "x.npy", mmap_mode="c"))
    with pytest.raises(ValueError, match="NaN or infinite"):
        make(x)


def test_stored_values_too(monkeypatch):
    monkeypatch.setattr(checks, "_PIECE", 1 << 10)
    x = CSR.from_dense(torch.full((N, 4), 3e38))
    with Largest(x.value) as largest:
        link_data(x)
    assert largest.bytes < x.value.untyped_storage().nbytes() // 10
