"""The simple graph of a list of links: both directions, each entry once, no self loops."""

from typing import Any

import torch
from torch import Tensor

from graphseq.graph.csr import CSR
from graphseq.kernels import array, kernel


def simple_graph(source: Tensor, target: Tensor, num_nodes: int) -> tuple[CSR, Tensor | None]:
    """Builds the graph without comparing any two links, in memory of twice its columns.

    Args:
        source: int64 ``[E]``, one end of each link, checked to be below ``num_nodes``.
        target: int64 ``[E]``, the other end; self pairs and repetitions, reversed or not, may
            occur.
        num_nodes: N.

    Returns:
        The graph, and int32 ``[nnz]``, how many listings each of its entries has (None: one each).
    """
    if source.device.type != "cpu":
        return _by_sorting(source, target, num_nodes)
    rowptr, col = _listed(source, target, num_nodes)
    distinct, copies = torch.empty_like(rowptr), torch.empty_like(col)
    kept = int(_merge(rowptr.numpy(), col.numpy(), distinct.numpy(), copies.numpy()))
    if kept == col.numel():
        return symmetric(rowptr, col), None
    return symmetric(distinct, col[:kept].clone()), copies[:kept].clone()


def symmetric(rowptr: Tensor, col: Tensor, edge_id: Tensor | None = None) -> CSR:
    """A graph of ones that is known to be its own transpose and to repeat no entry."""
    num_nodes = rowptr.numel() - 1
    if edge_id is None:
        edge_id = torch.arange(col.numel(), device=col.device)
    csr = CSR._trusted(rowptr, col, None, (num_nodes, num_nodes), edge_id)
    csr._derived.update(transpose=None, distinct=True)
    return csr


def _listed(source: Tensor, target: Tensor, num_nodes: int) -> tuple[Tensor, Tensor]:
    """rowptr and sorted col of all listings, repetitions included.

    Links are first dealt out to the rows of both of their ends. A walk through the rows in order
    then deals each row number out to the rows of its columns, where it arrives in ascending order;
    as the graph is symmetric, that is the graph again, and no row was ever sorted.
    """
    ends = array(source), array(target)
    rowptr = torch.zeros(num_nodes + 1, dtype=torch.int64)
    _count(*ends, rowptr.numpy())
    rowptr = rowptr.cumsum(0)
    dealt = torch.empty(int(rowptr[-1]), dtype=torch.int32)
    col = torch.empty_like(dealt)
    _deal_links(*ends, rowptr.clone().numpy(), dealt.numpy())
    _deal_rows(rowptr.numpy(), dealt.numpy(), rowptr.clone().numpy(), col.numpy())
    return rowptr, col


def _by_sorting(source: Tensor, target: Tensor, num_nodes: int) -> tuple[CSR, Tensor | None]:
    """The same on other devices, by sorting one number for each listing."""
    proper = source != target
    source, target = source[proper], target[proper]
    keys = torch.cat([source * num_nodes + target, target * num_nodes + source])
    keys, copies = keys.unique(return_counts=True)
    starts = torch.arange(num_nodes + 1, device=keys.device) * num_nodes
    rowptr = torch.searchsorted(keys, starts)
    graph = symmetric(rowptr, (keys % max(num_nodes, 1)).int())
    return graph, None if bool((copies == 1).all()) else copies.int()


@kernel()
def _count(source: Any, target: Any, after: Any) -> None:
    """Adds the entries of row ``i`` to ``after[i + 1]``."""
    for e in range(source.shape[0]):
        if source[e] != target[e]:
            after[source[e] + 1] += 1
            after[target[e] + 1] += 1


@kernel()
def _deal_links(source: Any, target: Any, free: Any, out: Any) -> None:
    """Puts each end at the next free place of the other one's row."""
    for e in range(source.shape[0]):
        i, j = source[e], target[e]
        if i != j:
            out[free[i]] = j
            free[i] += 1
            out[free[j]] = i
            free[j] += 1


@kernel()
def _deal_rows(rowptr: Any, col: Any, free: Any, out: Any) -> None:
    """Puts each row number at the next free place of the rows that its columns name."""
    for i in range(rowptr.shape[0] - 1):
        for e in range(rowptr[i], rowptr[i + 1]):
            j = col[e]
            out[free[j]] = i
            free[j] += 1


@kernel()
def _merge(rowptr: Any, col: Any, distinct: Any, copies: Any) -> int:
    """Moves the first of equal columns in a row forward, in place, and counts them; how many."""
    kept = 0
    for i in range(rowptr.shape[0] - 1):
        begin = distinct[i] = kept
        for e in range(rowptr[i], rowptr[i + 1]):
            if kept > begin and col[e] == col[kept - 1]:
                copies[kept - 1] += 1
            else:
                col[kept], copies[kept] = col[e], 1
                kept += 1
    distinct[rowptr.shape[0] - 1] = kept
    return kept
