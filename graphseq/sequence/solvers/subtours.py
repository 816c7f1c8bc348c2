"""Sets of cities that a solution of the relaxation leaves too seldom.

A tour crosses the border of every set of cities at least twice. Weighted edges that cross one less
often violate that set's subtour constraint; sets with the lightest border are found by the minimum
cut of Stoer and Wagner (1997), whose every phase yields a cut.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphseq.kernels import kernel

_VIOLATED = 1e-5  # below two; the relaxation is solved to 1e-7


def violated_sets(cities: int, first: Any, second: Any, weight: Any) -> np.ndarray:
    """Sets with a border of less than two, ``[C, n]`` bool, none of which holds city 0.

    Args:
        cities: n.
        first: ``[E]`` one end of each edge.
        second: ``[E]`` the other end.
        weight: ``[E]`` between 0 and 1, for first < second.
    """
    parts = components(cities, first, second, weight)
    if parts.max() > 0:
        return without_city_0(parts == np.arange(parts.max() + 1)[:, None])
    border = np.zeros((cities, cities))
    border[first, second] = np.maximum(weight, 0)  # rounding may leave less
    border += border.T
    member = np.zeros((cities, cities), dtype=np.bool_)
    group = np.arange(cities)
    count = phase_cuts(border, 2 - _VIOLATED, group, np.empty(cities), member, work=cities**3)
    return without_city_0(member[:count])


def components(cities: int, first: Any, second: Any, weight: Any) -> np.ndarray:
    """Number of each city's connected component, over edges of positive weight."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    used = weight > 1e-6
    ones = np.ones(int(used.sum()))
    graph = coo_array((ones, (first[used], second[used])), shape=(cities, cities))
    parts: np.ndarray = connected_components(graph, directed=False)[1]
    return parts


def without_city_0(member: np.ndarray) -> np.ndarray:
    """Sets or, where they hold city 0, their complements, each once."""
    return np.unique(member ^ member[:, :1], axis=0)


@kernel()
def phase_cuts(border: Any, limit: Any, group: Any, tie: Any, member: Any) -> Any:
    """Fills ``member`` [n, n] with the cuts lighter than ``limit`` and returns their number.

    Every phase grows a set from city 0 by the group that is tied to it most. The last group's ties
    are the weight of the cut between it and all others; then the last two groups become one.
    ``border`` [n, n] holds weights and is used up, ``group`` names each city's group.
    """
    cities, count = border.shape[0], 0
    for left in range(cities, 1, -1):
        last, before = 0, 0
        for c in range(cities):
            tie[c] = border[0, c] if group[c] == c else -1.0  # -1: no group, or taken
        tie[0] = -1.0
        weight = 0.0
        for _ in range(left - 1):
            best = -1
            for c in range(cities):
                if tie[c] >= 0 and (best < 0 or tie[c] > tie[best]):
                    best = c
            last, before, weight = best, last, tie[best]
            tie[best] = -1.0
            for c in range(cities):
                if tie[c] >= 0:
                    tie[c] += border[best, c]
        if weight < limit:
            for c in range(cities):
                member[count, c] = group[c] == last
            count += 1
        for c in range(cities):
            border[before, c] += border[last, c]
            border[c, before] = border[before, c]
            if group[c] == last:
                group[c] = before
        border[before, before] = 0.0
    return count
