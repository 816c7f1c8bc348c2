"""Uniform negative sampling without rejection: number the non-edges, draw numbers."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphseq.graph.csr import CSR
from graphseq.graph.ops.membership import SEARCHES, locate, search_together
from graphseq.graph.ops.pairs import check_graph
from graphseq.graph.ops.spmm import Backend, use_numba
from graphseq.graph.sorting import counting_sort
from graphseq.kernels import array, kernel, prange

_ORDER_BITS = 10


def sample_non_edges(
    graph: CSR,
    num: int,
    generator: torch.Generator | None = None,
    *,
    exclude_loops: bool = True,
    backend: Backend = "auto",
) -> Tensor:
    """Draws pairs ``(i, j)`` that are not stored, each with the same probability, independently.

    Args:
        graph: sparse ``[N, N]``, no entry twice.
        num: how many; a pair may come more than once.
        generator: of any device, which gets the same pairs on every device of the graph; None
            takes the default one of the graph's device.
        exclude_loops: whether ``i = j`` is never drawn.
        backend: "numba" or "torch"; "auto" takes numba on the CPU outside ``torch.compile``. Both
            draw the same pairs.

    Returns:
        int64 ``[2, num]``.

    Raises:
        ValueError: if ``num`` is negative, the graph is not square, or has no such pair.
    """
    check_graph("sample_non_edges", graph, square=True)
    if num < 0:
        raise ValueError(f"sample_non_edges: num is {num}; pass how many pairs to draw")
    before, own, spread = graph._once(
        ("non_edges", exclude_loops), lambda: _number(graph, exclude_loops)
    )
    total = int(before[-1])
    if total == 0 and num > 0:
        raise ValueError(
            f"sample_non_edges: graph connects all its {graph.shape[0]} nodes with each other; "
            "negatives cannot be drawn from a complete graph"
        )
    source = graph.device if generator is None else generator.device
    drawn = torch.randint(max(total, 1), (num,), generator=generator, device=source)
    drawn = drawn.to(graph.device)
    if not use_numba(backend, drawn):
        return _pairs_torch(graph, before, own, drawn)
    # Roughly in order, so that draws from the same rows follow each other: half the time.
    coarse = drawn >> max(total.bit_length() - _ORDER_BITS, 0)
    order = counting_sort(array(coarse), 1 << _ORDER_BITS)[1]
    out = drawn.new_empty(2, num)
    _pairs(
        array(graph.rowptr), array(graph.col), array(before), array(own), spread, array(drawn),
        order, out.numpy(), work=64 * num,
    )  # fmt: skip
    return out


def _number(graph: CSR, exclude_loops: bool) -> tuple[Tensor, Tensor, int]:
    """The numbering of non-edges, row by row, left to right.

    Returns:
        Non-edges in the rows before each row, ``[N + 1]``; where a row's loop is among its own
        non-edges (N where it may be drawn or is an edge), ``[N]``; and how many rows a proportional
        guess of a number's row is off at most.
    """
    nodes = torch.arange(graph.shape[0], device=graph.device)
    own = torch.full_like(nodes, graph.shape[0])
    if exclude_loops:
        loops = torch.stack([nodes, nodes])
        smaller = torch.zeros_like(nodes).index_add_(0, graph.row, (graph.col < graph.row).long())
        own = torch.where(locate(graph, loops) < 0, nodes - smaller, own)
    free = graph.shape[0] - graph.rowptr.diff() - (own < graph.shape[0]).long()
    before = torch.cat([nodes.new_zeros(1), free.cumsum(0)])
    guess = (before.double() / before[-1] * graph.shape[0]).long()  # number 0 / 0: no non-edges
    off = torch.maximum((guess[:-1] - nodes).abs(), (guess[1:] - nodes).abs())
    return before, own, int(off.max()) + 1 if len(nodes) and int(before[-1]) else 0


def _pairs_torch(graph: CSR, before: Tensor, own: Tensor, drawn: Tensor) -> Tensor:
    row = torch.searchsorted(before, drawn, right=True) - 1
    rank = drawn - before[row]
    rank = rank + (rank >= own[row]).long()  # past the loop
    begin = low = graph.rowptr[row]
    high = graph.rowptr[row + 1]
    longest = int((high - low).max()) if row.numel() else 0
    for _ in range(longest.bit_length()):  # first entry with more than rank non-edges before it
        middle = (low + high) // 2
        entry = graph.col[middle.clamp(max=max(graph.nnz - 1, 0))]
        right = (low < high) & (entry - (middle - begin) <= rank)
        low, high = torch.where(right, middle + 1, low), torch.where(right, high, middle)
    return torch.stack([row, rank + low - begin])


@kernel(parallel=True)
def _pairs(
    rowptr: Any, col: Any, before: Any, own: Any, spread: int, drawn: Any, order: Any, out: Any
) -> None:  # fmt: skip
    rows = before.shape[0] - 1
    for block in prange((drawn.shape[0] + SEARCHES - 1) // SEARCHES):
        draws = order[block * SEARCHES : (block + 1) * SEARCHES]
        row, place = np.empty(SEARCHES, np.int64), np.empty(SEARCHES, np.int64)
        bound, size = np.empty(SEARCHES, np.int64), np.empty(SEARCHES, np.int64)
        count = draws.shape[0]
        for q in range(count):
            bound[q] = drawn[draws[q]]
            guess: Any = np.int64(bound[q] / before[rows] * rows)
            row[q] = max(guess - spread, 0)
            size[q] = min(guess + spread, rows) + 1 - row[q]
        search_together(before, 0, bound, row[:count], size)
        for q in range(count):
            row[q] -= 1
            i, rank = row[q], bound[q] - before[row[q]]
            rank += rank >= own[i]  # past the loop
            # An entry at p has col[p] - (p - rowptr[i]) non-edges before it.
            place[q], size[q] = rowptr[i], rowptr[i + 1] - rowptr[i]
            bound[q] = rank - rowptr[i]
        search_together(col, 1, bound, place[:count], size)
        for q in range(count):
            out[0, draws[q]] = row[q]
            out[1, draws[q]] = place[q] + bound[q]
