"""Compiled CPU loops behind scatter and segment: groups in parallel, serial inside a group.

Sums, extrema and products are here, what is made of exponentials in ``softmax_kernels``.

Elements arrive as a matrix ``src [E, F]``. A group is a run of ``order [E]``: group i holds the
elements ``order[ptr[i]], ..., order[ptr[i + 1] - 1]``. Scatter gets ``order`` from a counting sort,
a segment has ``order = 0, 1, ..., E - 1``. Each group is summed by one thread in a fixed order,
so results do not depend on the number of threads. The inner loop runs over F and vectorises.

Where the gradient of an element needs nothing of its neighbours, the backward loop runs over
elements instead, in the caller's order: it streams through src and the gradient and only reads
the small per-group rows at random (85 against 131 ms for max, E = 1.17 M shuffled, F = 64).

Callers have checked ranges, dtypes and contiguity, and bring the memory for the result: torch's.
Huge pages (numpy asks for them) write a 300 MB gradient in a third of the time while the same
memory is used over and over, but in several times as much where other allocations come between
and the host of a virtual machine has taken the pages back.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphseq.kernels import kernel, prange

Array = NDArray[Any]


@kernel()
def start_of(part: int, parts: int, ptr: Array) -> int:
    """First group of a part, when parts are to hold equally many elements plus groups.

    Equal numbers of groups would leave the thread with the hubs working alone.
    """
    size = ptr.shape[0] - 1
    target = (ptr[size] + size) * part // parts
    low, high = 0, size
    while low < high:
        middle = (low + high) // 2
        if ptr[middle] + middle < target:
            low = middle + 1
        else:
            high = middle
    return low


@kernel(parallel=True)
def sum_groups(src: Array, ptr: Array, order: Array, parts: int, out: Array) -> None:
    """out_i = sum of the group, 0 where it is empty."""
    for part in prange(parts):
        for i in range(start_of(part, parts, ptr), start_of(part + 1, parts, ptr)):
            total = out[i]
            total[:] = 0
            for k in range(ptr[i], ptr[i + 1]):
                row = src[order[k]]
                for f in range(row.shape[0]):
                    total[f] += row[f]


@kernel(parallel=True)
def spread_groups(values: Array, index: Array, out: Array) -> None:
    """out_e = values of e's group."""
    for e in prange(index.shape[0]):
        row, target = values[index[e]], out[e]
        for f in range(row.shape[0]):
            target[f] = row[f]


@kernel(parallel=True)
def extremum_groups(
    src: Array, ptr: Array, order: Array, largest: bool, parts: int, out: Array, ties: Array
) -> None:
    """Largest or smallest entry, 0 where the group is empty, and how many entries reach it.

    They are only counted if ``ties`` has columns.
    """
    count = ties.shape[1] > 0
    for part in prange(parts):
        for i in range(start_of(part, parts, ptr), start_of(part + 1, parts, ptr)):
            best, tied = out[i], ties[i]
            best[:] = 0
            tied[:] = 0
            for k in range(ptr[i], ptr[i + 1]):
                row = src[order[k]]
                first = k == ptr[i]
                for f in range(row.shape[0]):
                    new, old = row[f], best[f]
                    wins = first or (new > old if largest else new < old) or new != new
                    best[f] = new if wins else old  # NaN wins and stays
                    if count:
                        tied[f] = 1 if wins else tied[f] + (new == old)


@kernel(parallel=True)
def extremum_gradient(src: Array, index: Array, best: Array, share: Array, out: Array) -> None:
    """share of the group's gradient where the element reaches the extremum."""
    for e in prange(index.shape[0]):
        row, target = src[e], out[e]
        goal, part = best[index[e]], share[index[e]]
        for f in range(row.shape[0]):
            target[f] = part[f] if row[f] == goal[f] else 0


@kernel(parallel=True)
def multiply_groups(src: Array, ptr: Array, order: Array, parts: int, out: Array) -> None:
    """out_i = product of the group, 1 where it is empty."""
    for part in prange(parts):
        for i in range(start_of(part, parts, ptr), start_of(part + 1, parts, ptr)):
            product = out[i]
            product[:] = 1
            for k in range(ptr[i], ptr[i + 1]):
                row = src[order[k]]
                for f in range(row.shape[0]):
                    product[f] *= row[f]


@kernel(parallel=True)
def multiply_gradient(
    grad: Array, src: Array, ptr: Array, order: Array, parts: int, out: Array
) -> None:
    """grad_i times the product of the others: those before e times those after e, no division."""
    for part in prange(parts):
        product = np.empty(src.shape[1], src.dtype)
        for i in range(start_of(part, parts, ptr), start_of(part + 1, parts, ptr)):
            product[:] = 1
            for k in range(ptr[i], ptr[i + 1]):
                row, target = src[order[k]], out[order[k]]
                for f in range(row.shape[0]):
                    target[f] = product[f]
                    product[f] *= row[f]
            product[:] = grad[i]
            for k in range(ptr[i + 1] - 1, ptr[i] - 1, -1):
                row, target = src[order[k]], out[order[k]]
                for f in range(row.shape[0]):
                    target[f] *= product[f]
                    product[f] *= row[f]
