"""The compiled loops of the exact dynamic programme; :mod:`held_karp` derives them."""

from typing import Any

import numpy as np

from graphseq.kernels import kernel, prange


@kernel(parallel=True)
def shortest_tours(
    distances: Any, begin: Any, source: Any, city: Any, left: Any, right: Any,
    near: Any, tables: Any, orders: Any,
) -> None:  # fmt: skip
    """Fills ``orders`` [B, n]; every worker owns one table [R, W] and one matrix [m, W]."""
    workers = tables.shape[0]
    for worker in prange(workers):
        for i in range(worker, distances.shape[0], workers):
            _fill(distances[i], begin, source, city, near[worker], tables[worker])
            _read(begin, source, city, left, right, near[worker], tables[worker], orders[i])


@kernel()
def _fill(distances: Any, begin: Any, source: Any, city: Any, near: Any, table: Any) -> None:
    """``table[S, j]``: shortest path from city 0 through all of S to j, for every small S."""
    cities, flat = near.shape[0], table.reshape(-1)
    near[:] = 0
    table[0] = 0
    for k in range(cities):
        for j in range(cities):
            near[k, j] = distances[k + 1, j + 1]
        table[0, k] = distances[0, k + 1]
    for row in range(1, table.shape[0]):
        # Two cities before j at a time, which halves the reads and writes of the row.
        first, last = begin[row], begin[row + 1]
        alone = (last - first) % 2
        _start(table[row], alone == 1, flat[source[first]], near[city[first]])
        for p in range(first + alone, last, 2):
            one, other = flat[source[p]], flat[source[p + 1]]
            _shorten(table[row], one, near[city[p]], other, near[city[p + 1]])


@kernel()
def _start(row: Any, use: Any, path: Any, near: Any) -> None:
    for j in range(row.shape[0]):
        row[j] = path + near[j] if use else np.inf


@kernel()
def _shorten(row: Any, one: Any, near_one: Any, other: Any, near_other: Any) -> None:
    for j in range(row.shape[0]):
        x, y = one + near_one[j], other + near_other[j]
        x = x if x < y else y
        row[j] = x if x < row[j] else row[j]


@kernel()
def _read(
    begin: Any, source: Any, city: Any, left: Any, right: Any, near: Any, table: Any, order: Any
) -> None:
    """Joins two paths at their common end and follows both back to city 0."""
    flat = table.reshape(-1)
    best, length = 0, flat[left[0]] + flat[right[0]]
    for q in range(1, left.shape[0]):
        together = flat[left[q]] + flat[right[q]]
        if together < length:
            best, length = q, together
    order[0] = 0
    _follow(left[best], begin, source, city, near, flat, order, 1, 1)
    # The common end is written twice, by both paths.
    _follow(right[best], begin, source, city, near, flat, order, order.shape[0] - 1, -1)


@kernel()
def _follow(
    cell: Any, begin: Any, source: Any, city: Any, near: Any, flat: Any, order: Any,
    outer: Any, step: Any,
) -> None:  # fmt: skip
    """Writes the path that ends in ``cell`` so that its first city comes to ``order[outer]``."""
    width = near.shape[1]
    # begin[row + 1] - begin[row] cities of S and the last one
    place = outer + step * (begin[cell // width + 1] - begin[cell // width])
    while True:
        row, j = cell // width, cell % width
        order[place] = j + 1
        place -= step
        if row == 0:
            break
        best = begin[row]
        for p in range(begin[row] + 1, begin[row + 1]):
            if flat[source[p]] + near[city[p], j] < flat[source[best]] + near[city[best], j]:
                best = p
        cell = source[best]
