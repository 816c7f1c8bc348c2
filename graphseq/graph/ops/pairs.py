"""What every op on pairs of nodes checks before a compiled loop runs."""

from typing import Any

import torch
from torch import Tensor

from graphseq.graph.checks import check_index, check_tensor
from graphseq.graph.csr import CSR
from graphseq.kernels import array, kernel, prange


def check_graph(where: str, graph: CSR, square: bool = False) -> None:
    """Refuses a matrix whose rows are no sets: an entry that is stored twice would count twice.

    Raises:
        ValueError: if a row repeats a column, or the matrix has to be square and is not.
    """
    if square and graph.shape[0] != graph.shape[1]:
        raise ValueError(
            f"{where}: graph has shape {graph.shape}, not square; pass the adjacency of a graph"
        )
    if not graph._once("distinct", lambda: _distinct(graph)):
        raise ValueError(
            f"{where}: graph stores an entry more than once; remove repeated edges first, for "
            "example by torch_geometric.utils.coalesce(edge_index)"
        )


def check_pairs(where: str, graph: CSR, pairs: Tensor, name: str = "pairs") -> Tensor:
    """Pairs of rows of the graph as int64 ``[2, B]``.

    Raises:
        TypeError: if they are no tensor, or not of integers.
        ValueError: on a wrong shape or device, or a node outside the graph.
    """
    check_tensor(where, name, pairs)
    if pairs.dim() != 2 or pairs.size(0) != 2:
        raise ValueError(
            f"{where}: {name} has shape {tuple(pairs.shape)}, expected [2, B]; one column per pair"
        )
    check_nodes(where, graph, name, pairs)
    return pairs.long()


def check_nodes(where: str, graph: CSR, name: str, nodes: Tensor) -> None:
    """Refuses a tensor of any shape that holds something else than rows of the graph.

    Raises:
        TypeError: if they are not integers.
        ValueError: on another device, or a node outside the graph.
    """
    if nodes.device != graph.device:
        raise ValueError(
            f"{where}: {name} is on {nodes.device}, the graph on {graph.device}; "
            "move them to one device"
        )
    check_index(where, name, nodes.reshape(-1), graph.shape[0])


def degrees(graph: CSR, nodes: Tensor) -> Tensor:
    """Stored entries of each of these rows, int64 like ``nodes``."""
    return graph.rowptr[nodes + 1] - graph.rowptr[nodes]


def expand(graph: CSR, rows: Tensor) -> tuple[Tensor, Tensor]:
    """The entries of these rows one after the other: which of ``rows``, and stored position."""
    degree = degrees(graph, rows)
    owner = torch.repeat_interleave(torch.arange(len(rows), device=rows.device), degree)
    before = degree.cumsum(0) - degree
    inside = torch.arange(len(owner), device=rows.device) - before[owner]
    return owner, graph.rowptr[rows][owner] + inside


def _distinct(graph: CSR) -> bool:
    if graph.device.type == "cpu":
        rowptr, col = array(graph.rowptr), array(graph.col)
        groups = graph.arrays()[0]
        return not _repeats(groups, rowptr, col, work=graph.nnz)
    same = graph.col[1:] == graph.col[:-1]
    starts = graph.rowptr[(graph.rowptr > 0) & (graph.rowptr < graph.nnz)]
    same[starts - 1] = False  # the last entry of a row may equal the first of the next
    return not bool(same.any())


@kernel(parallel=True)
def _repeats(groups: Any, rowptr: Any, col: Any) -> int:
    found = 0
    for group in prange(groups.shape[0] - 1):
        here = 0
        for i in range(groups[group], groups[group + 1]):
            for e in range(rowptr[i] + 1, rowptr[i + 1]):
                here += col[e] == col[e - 1]
        found += here
    return found
