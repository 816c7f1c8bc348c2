"""The engine under all ops on common neighbours: intersections of rows, as lists.

Pairs are put in order of their longer row. That row is marked once in a bitmap (a bit per column:
29 KB for 235,868 nodes, which stays in the fastest cache) and the shorter rows of all pairs that
share it are walked against it. Where marking does not pay, because the row is long and few pairs
share it, the shorter row is searched in the longer one instead. So a pair costs about as much as
its shorter row is long, whether the graph is small and dense or large and skewed.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from graphseq.graph.csr import CSR
from graphseq.graph.ops.pairs import degrees
from graphseq.graph.sorting import counting_sort
from graphseq.kernels import array, kernel, prange

# Entries of lists in memory at a time, whatever the number of pairs: 8 MB stay in the cache, and
# the allocator hands out the same memory again (16.8 M entries at once take twice as long).
BLOCK = 1 << 21
_GROUPS, _GROUP_WORK = 64, 4096


class Lists(NamedTuple):
    """Intersections of some pairs: list ``k`` is ``col[start[k] : start[k] + length[k]]``."""

    pair: Tensor  # int64 [K]: which pair list k belongs to
    start: Tensor  # int64 [K]
    length: Tensor  # int64 [K]
    col: Tensor  # int32, ascending inside each list, with gaps between lists

    def arrays(self) -> tuple[Any, ...]:
        """All four as numpy arrays."""
        return tuple(array(part) for part in self)

    def groups(self) -> Any:
        """Cuts of ``0..K`` into runs of about equal work, as numpy; the same for all threads."""
        return _balanced(self.length + 1)


def intersect(graph: CSR, pairs: Tensor) -> Iterator[Lists]:
    """Common columns of the two rows of each pair, for checked pairs on the CPU, block by block."""
    degree = degrees(graph, pairs)
    longer = torch.where(degree[0] >= degree[1], pairs[0], pairs[1])
    order = torch.from_numpy(counting_sort(array(longer), graph.shape[0])[1])
    longer, shorter = longer[order], (pairs.sum(0) - longer)[order]
    # One more than can be found: loops write before they know.
    room = torch.minimum(*degree)[order] + 1
    ends = room.cumsum(0)
    total = int(ends[-1]) if len(ends) else 0
    cuts = torch.searchsorted(ends, torch.arange(BLOCK, max(total, BLOCK), BLOCK)).tolist()
    for begin, end in zip([0, *cuts], [*cuts, len(order)], strict=True):
        if begin < end:
            block = slice(begin, end)
            yield _lists(graph, longer[block], shorter[block], order[block], room[block])


def _lists(graph: CSR, longer: Tensor, shorter: Tensor, pair: Tensor, room: Tensor) -> Lists:
    ends = room.cumsum(0)
    start, count = ends - room, torch.empty_like(pair)
    col = torch.empty(int(ends[-1]), dtype=torch.int32)
    words = (graph.shape[1] + 63) // 64
    _intersect(
        _balanced(room), array(graph.rowptr), array(graph.col), array(longer), array(shorter),
        array(start), words, col.numpy(), count.numpy(), work=4 * col.numel(),
    )  # fmt: skip
    return Lists(pair, start, count, col)


def _balanced(work: Tensor) -> Any:
    ends = work.cumsum(0)
    total = int(ends[-1]) if len(ends) else 0
    groups = max(1, min(_GROUPS, total // _GROUP_WORK))
    marks = torch.arange(1, groups) * (total // groups)
    cuts = torch.searchsorted(ends, marks)
    return torch.cat([cuts.new_zeros(1), cuts, cuts.new_full((1,), len(work))]).numpy()


@kernel(parallel=True)
def _intersect(
    groups: Any, rowptr: Any, col: Any, longer: Any, shorter: Any, start: Any, words: int,
    out: Any, count: Any,
) -> None:  # fmt: skip
    for group in prange(groups.shape[0] - 1):
        k, stop = groups[group], groups[group + 1]
        bits = np.zeros(words if k < stop else 0, np.uint64)
        while k < stop:
            row = col[rowptr[longer[k]] : rowptr[longer[k] + 1]]
            end = k
            while end < stop and longer[end] == longer[k]:
                end += 1
            mark = worth_marking(rowptr, row.shape[0], shorter[k:end])
            if mark:
                set_bits(bits, row)
            for q in range(k, end):
                other = col[rowptr[shorter[q]] : rowptr[shorter[q] + 1]]
                if mark:
                    count[q] = walk(bits, other, out[start[q] :])
                else:
                    count[q] = search(other, row, out[start[q] :])
            if mark:
                clear_bits(bits, row)
            k = end


@kernel()
def worth_marking(rowptr: Any, length: int, shorter: Any) -> bool:
    """Whether marking a row and walking the others beats searching each of them in it."""
    walking, searching = 2.0 * length, 0.0
    for q in range(shorter.shape[0]):
        size = rowptr[shorter[q] + 1] - rowptr[shorter[q]]
        walking += size
        searching += 4.0 * size * (1.0 + np.log2(1.0 + length / (size + 1)))
    return walking < searching


@kernel()
def set_bits(bits: Any, row: Any) -> None:
    """Marks the columns of a row."""
    for e in range(row.shape[0]):
        c = np.uint32(row[e])
        bits[c >> np.uint32(6)] |= np.uint64(1) << np.uint64(c & np.uint32(63))


@kernel()
def clear_bits(bits: Any, row: Any) -> None:
    """Unmarks them."""
    for e in range(row.shape[0]):
        bits[np.uint32(row[e]) >> np.uint32(6)] = 0


@kernel()
def walk(bits: Any, row: Any, out: Any) -> int:
    """Marked columns of a row, without a branch: whether one is marked is hard to predict."""
    n = 0
    for e in range(row.shape[0]):
        c = np.uint32(row[e])
        out[n] = row[e]
        n += (bits[c >> np.uint32(6)] >> np.uint64(c & np.uint32(63))) & np.uint64(1)
    return n


@kernel()
def search(short: Any, long: Any, out: Any) -> int:
    """Columns of the shorter row that are in the longer: steps that double, then a bisection."""
    n, low, size = 0, 0, long.shape[0]
    for e in range(short.shape[0]):
        target, step = short[e], 1
        while low + step < size and long[low + step] < target:
            low += step
            step *= 2
        high = min(low + step + 1, size)
        while low < high:
            middle = (low + high) >> 1
            if long[middle] < target:
                low = middle + 1
            else:
                high = middle
        if low == size:
            break
        if long[low] == target:
            out[n] = target
            n += 1
    return n
