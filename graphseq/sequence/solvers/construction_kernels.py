"""The compiled loops that build tours from nothing; :mod:`construction` describes them."""

from typing import Any

import numpy as np

from graphseq.kernels import kernel, prange


@kernel(parallel=True)
def nearest_neighbors(distances: Any, start: Any, seen: Any, orders: Any) -> None:
    """Fills ``orders`` [B, n]; ``seen`` [B, n] is scratch."""
    for i in prange(distances.shape[0]):
        seen[i] = 0
        here = start
        for place in range(distances.shape[1]):
            orders[i, place] = here
            seen[i, here] = 1
            here = _nearest(distances[i, here], seen[i])


@kernel()
def _nearest(distances: Any, seen: Any) -> Any:
    """The city that was not seen and lies nearest, the lowest of equal ones; -1 if none is left."""
    best, length = -1, np.inf
    for j in range(distances.shape[0]):
        if seen[j] == 0 and distances[j] < length:
            best, length = j, distances[j]
    return best


@kernel(parallel=True)
def greedy_edges(
    ranked: Any, first: Any, second: Any, degree: Any, far: Any, link: Any, orders: Any
) -> None:
    """Fills ``orders`` [B, n] from edges ``ranked`` [B, E] by length; the rest is scratch.

    ``far`` holds for each end of a piece its other end, ``link`` [B, n, 2] a city's neighbours.
    """
    cities = orders.shape[1]
    for i in prange(ranked.shape[0]):
        for j in range(cities):
            degree[i, j] = 0
            far[i, j] = j
        chosen, e = 0, 0
        while chosen < cities - 1:
            a, b = first[ranked[i, e]], second[ranked[i, e]]
            e += 1
            if degree[i, a] < 2 and degree[i, b] < 2 and far[i, a] != b:
                _join(a, b, degree[i], far[i], link[i])
                chosen += 1
        _walk(degree[i], link[i], orders[i])


@kernel()
def _join(a: Any, b: Any, degree: Any, far: Any, link: Any) -> None:
    link[a, degree[a]], link[b, degree[b]] = b, a
    degree[a] += 1
    degree[b] += 1
    end, other = far[a], far[b]
    far[end], far[other] = other, end


@kernel()
def _walk(degree: Any, link: Any, order: Any) -> None:
    """Writes a path that visits all cities, from one of its ends."""
    here = 0
    while degree[here] == 2:
        here += 1
    before = -1
    for place in range(order.shape[0]):
        order[place] = here
        after = link[here, 0]
        if after == before:
            after = link[here, 1]
        before, here = here, after
