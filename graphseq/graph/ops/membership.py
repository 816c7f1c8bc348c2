"""Whether pairs are edges, and where their entries are stored."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphseq.graph.csr import CSR
from graphseq.graph.ops.pairs import check_graph, check_pairs
from graphseq.graph.ops.spmm import Backend, use_numba
from graphseq.kernels import array, kernel, prange

SEARCHES = 256  # taken together: their state fits the fastest cache


def is_edge(graph: CSR, pairs: Tensor, *, backend: Backend = "auto") -> Tensor:
    """Which pairs ``(i, j)`` are stored: one binary search in row ``i`` each.

    Args:
        graph: sparse ``[N, N]``.
        pairs: integer ``[2, B]``.
        backend: "numba" or "torch"; "auto" takes numba on the CPU outside ``torch.compile``.

    Returns:
        bool ``[B]``.

    Raises:
        TypeError: if ``pairs`` are not integers.
        ValueError: on a wrong shape or device, or a node outside the graph.
    """
    check_graph("is_edge", graph, square=True)
    return locate(graph, check_pairs("is_edge", graph, pairs), backend) >= 0


def locate(graph: CSR, pairs: Tensor, backend: Backend = "auto") -> Tensor:
    """Position of each checked pair's (first) entry among the stored ones, or -1; int64 ``[B]``."""
    if not use_numba(backend, pairs):
        return _locate_torch(graph, pairs)
    out = torch.empty_like(pairs[0])
    row, column = array(pairs)
    rowptr, col = array(graph.rowptr), array(graph.col)
    _locate(rowptr, col, row, column, out.numpy(), work=16 * out.numel())
    return out


def _locate_torch(graph: CSR, pairs: Tensor) -> Tensor:
    """All binary searches take their next step together."""
    row, column = pairs
    low, end = graph.rowptr[row], graph.rowptr[row + 1]
    high = end
    longest = int((end - low).max()) if row.numel() else 0
    for _ in range(longest.bit_length()):
        middle = (low + high) // 2
        open_ = low < high
        right = open_ & (graph.col[middle.clamp(max=max(graph.nnz - 1, 0))] < column)
        low, high = torch.where(right, middle + 1, low), torch.where(open_ & ~right, middle, high)
    if graph.nnz == 0:
        return torch.full_like(row, -1)
    found = (low < end) & (graph.col[low.clamp(max=graph.nnz - 1)] == column)
    return torch.where(found, low, -1)


@kernel(parallel=True)
def _locate(rowptr: Any, col: Any, row: Any, column: Any, out: Any) -> None:
    for block in prange((row.shape[0] + SEARCHES - 1) // SEARCHES):
        first, last = block * SEARCHES, min((block + 1) * SEARCHES, row.shape[0])
        below, size = np.empty(SEARCHES, np.int64), np.empty(SEARCHES, np.int64)
        for b in range(first, last):
            below[b - first], out[b] = column[b] - 1, rowptr[row[b]]
            size[b - first] = rowptr[row[b] + 1] - out[b]
        search_together(col, 0, below, out[first:last], size)
        for b in range(first, last):
            found = out[b] < rowptr[row[b] + 1] and col[out[b]] == column[b]
            out[b] = out[b] if found else -1


@kernel()
def search_together(keys: Any, slope: int, bound: Any, low: Any, size: Any) -> None:
    """Moves each ``low[q]`` to the first position with ``keys[p] - slope p > bound[q]``.

    Search ``q`` is over ``size[q]`` positions from ``low[q]``; sizes are used up. All searches take
    their next step before any takes its second one, and no step branches: memory then answers many
    at once, where a search by itself waits for each answer.
    """
    longest, end = 0, np.uint64(keys.shape[0] - 1)
    for q in range(low.shape[0]):
        longest = max(longest, size[q])
    while longest > 1:
        for q in range(low.shape[0]):
            half = np.uint64(size[q]) >> np.uint64(1)
            p = np.uint64(low[q]) + half
            key = keys[min(p, end)] - slope * np.int64(p)  # no search of size 0 has to be right
            low[q] = np.int64(p) if key <= bound[q] else low[q]
            size[q] -= np.int64(half)
        longest -= longest >> 1
    for q in range(low.shape[0]):
        if size[q] == 1:
            low[q] += keys[np.uint64(low[q])] - slope * low[q] <= bound[q]


@kernel()
def lower_bound(row: Any, low: int, high: int, target: int) -> int:
    """First position in ``low..high`` whose column is not below the target."""
    while low < high:
        middle = (low + high) >> 1
        if row[middle] < target:
            low = middle + 1
        else:
            high = middle
    return low
