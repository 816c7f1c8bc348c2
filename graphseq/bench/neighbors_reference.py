"""The straightforward formulation of common-neighbour ops, in plain torch, as well as it goes.

Neighbour rows of both ends are gathered for the whole batch, every entry becomes a 64-bit key
``pair * N + neighbour``, one global binary search finds the shared keys, and a sparse matrix of
ones times ``x`` sums over them. A batch's links are removed by building the graph of the others.
"""

import warnings
from typing import Any

import torch
from torch import Tensor
from torch_geometric.utils import to_undirected


def gather_rows(rowptr: Tensor, col: Tensor, nodes: Tensor) -> tuple[Tensor, Tensor]:
    """The neighbours of each node, one after the other: position in ``nodes``, neighbour."""
    degree = rowptr[nodes + 1] - rowptr[nodes]
    total = int(degree.sum())
    owner = torch.repeat_interleave(torch.arange(len(nodes)), degree, output_size=total)
    shift = rowptr[nodes] - (degree.cumsum(0) - degree)
    return owner, col[torch.arange(total) + shift[owner]]


def common_keys(rowptr: Tensor, col: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor]:
    """(pair, neighbour) of all common neighbours, sorted; ``col`` is int64."""
    size = len(rowptr) - 1
    rows = [gather_rows(rowptr, col, nodes) for nodes in pairs]
    few, many = sorted((owner * size + neighbor for owner, neighbor in rows), key=len)
    place = torch.searchsorted(many, few).clamp_(max=len(many) - 1)
    shared = few[many[place] == few]
    pair = torch.div(shared, size, rounding_mode="floor")
    return pair, shared - pair * size


class SparsePool(torch.autograd.Function):
    """Sparse times dense and, backward, the transpose times dense: torch's own CSR products.

    torch's own backward of this product sorts more slowly.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, rowptr: Tensor, col: Tensor, x: Tensor, pairs: Tensor
    ) -> Tensor:
        pair, neighbor = common_keys(rowptr, col, pairs)
        ctx.common, ctx.shape = (pair, neighbor), (pairs.size(1), len(x))
        return sparse_ones(pair, neighbor, ctx.shape, x.dtype) @ x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, None, Tensor, None]:  # type: ignore[override]
        pair, neighbor = ctx.common
        order = torch.argsort(neighbor, stable=True)
        matrix = sparse_ones(neighbor[order], pair[order], ctx.shape[::-1], grad.dtype)
        return None, None, matrix @ grad, None


def sparse_ones(row: Tensor, col: Tensor, shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
    """A matrix of ones from entries sorted by row."""
    counts = torch.bincount(row, minlength=shape[0])
    rowptr = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    ones = torch.ones(len(col), dtype=dtype)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(rowptr, col, ones, shape, check_invariants=False)


def rebuild_without(train_edges: Tensor, index: Tensor, num_nodes: int) -> Tensor:
    """The sorted ``edge_index`` of all links but some."""
    kept = torch.ones(train_edges.size(1), dtype=torch.bool)
    kept[index] = False
    return to_undirected(train_edges[:, kept], num_nodes=num_nodes)
