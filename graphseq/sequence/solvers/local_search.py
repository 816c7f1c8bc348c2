"""Local searches on tours: exchanges of two edges, and moves of short segments.

Both take a batch of tours and change a tour only where it becomes shorter, by more than rounding.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from graphseq.sequence.solvers.construction import MOST_CITIES, nearest_orders
from graphseq.sequence.solvers.instances import Instances, Values, read_instances
from graphseq.sequence.solvers.local_search_kernels import all_or_opt, all_two_opt
from graphseq.sequence.solvers.tour import Tours, as_tours, check_orders

_ROUNDING = 1e-13  # relative to the largest distance; smaller gains could go round in circles


def two_opt(
    points: Values | None = None,
    orders: Tensor | None = None,
    *,
    distances: Values | None = None,
) -> Tours:
    """Replaces two edges by two others that close the tour again, as long as one such pair gains.

    O(n^2) for each sweep over all pairs; the tours that come out are optimal against every such
    exchange.

    Args:
        points: ``[B, n, 2]``.
        orders: ``[B, n]`` int64, tours to begin with; None takes nearest neighbour's.
        distances: ``[B, n, n]``, in place of points.

    Raises:
        TypeError: neither or both inputs were given, or not real tensors or arrays.
        ValueError: an input is not allowed, or a row of ``orders`` is no permutation.
    """
    instances = read_instances("two_opt", points, distances, MOST_CITIES)
    return as_tours(two_opt_orders(instances, _begin("two_opt", instances, orders)), instances)


def two_opt_orders(instances: Instances, orders: np.ndarray) -> np.ndarray:
    """The orders ``[B, n]``, improved in place, for inputs that were checked."""
    for rows, distances in instances.blocks():
        all_two_opt(distances, _least(distances), orders[rows], work=8 * distances.size)
    return orders


def or_opt(
    points: Values | None = None,
    orders: Tensor | None = None,
    *,
    distances: Values | None = None,
    longest: int = 3,
) -> Tours:
    """Moves segments of up to ``longest`` cities elsewhere in the tour, as long as one gains.

    A segment may be turned round on the way (Or, 1976). O(n^2) for each sweep over all moves.

    Args:
        points: ``[B, n, 2]``.
        orders: ``[B, n]`` int64, tours to begin with; None takes nearest neighbour's.
        distances: ``[B, n, n]``, in place of points.
        longest: largest number of cities in a segment.

    Raises:
        TypeError: neither or both inputs were given, or not real tensors or arrays.
        ValueError: an input is not allowed, a row of ``orders`` is no permutation, or ``longest``
            is below 1.
    """
    if longest < 1:
        raise ValueError(f"or_opt: longest is {longest}; pass 1 or more")
    instances = read_instances("or_opt", points, distances, MOST_CITIES)
    found = or_opt_orders(instances, _begin("or_opt", instances, orders), longest)
    return as_tours(found, instances)


def or_opt_orders(instances: Instances, orders: np.ndarray, longest: int = 3) -> np.ndarray:
    """The orders ``[B, n]``, improved in place, for inputs that were checked."""
    for rows, distances in instances.blocks():
        scratch = np.empty((len(distances), longest), dtype=np.int64)
        work = 16 * longest * distances.size
        all_or_opt(distances, _least(distances), longest, orders[rows], scratch, work=work)
    return orders


def _begin(where: str, instances: Instances, orders: Tensor | None) -> np.ndarray:
    if orders is None:
        return nearest_orders(instances)
    begin: np.ndarray = orders.cpu().numpy().astype(np.int64)  # a copy
    check_orders(where, begin, instances)
    return begin


def _least(distances: np.ndarray) -> np.ndarray:
    """Gain ``[B]`` that counts as one."""
    least: np.ndarray = _ROUNDING * distances.max(axis=(1, 2))
    return least
