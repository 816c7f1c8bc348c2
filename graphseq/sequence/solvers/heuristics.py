"""Stand-ins for the three approximate solvers that Pointer Networks were trained and compared with.

Vinyals, Fortunato and Jaitly (2015) label larger travelling-salesman instances by three programs
that they call A1, A2 and A3 and of which only speed and mean tour lengths are known: A1 and A2
O(n^2), A3 O(n^3) and within 1.5 of the optimum. The programs themselves are not known. An
independent reproduction takes the three below in their place, and so do we; their mean lengths are
not those of the paper.
"""

from __future__ import annotations

from graphseq.sequence.solvers.construction import (
    MOST_CITIES,
    christofides_orders,
    greedy_orders,
    nearest_orders,
)
from graphseq.sequence.solvers.instances import Values, read_instances
from graphseq.sequence.solvers.local_search import two_opt_orders
from graphseq.sequence.solvers.tour import Tours, as_tours


def a1(points: Values | None = None, *, distances: Values | None = None) -> Tours:
    """Stand-in for the paper's A1: greedy edge; the paper's program is unknown.

    Args:
        points: ``[B, n, 2]``.
        distances: ``[B, n, n]``, in place of points.

    Raises:
        TypeError: neither or both inputs were given, or not real tensors or arrays.
        ValueError: an input is not allowed.
    """
    instances = read_instances("a1", points, distances, MOST_CITIES)
    return as_tours(greedy_orders(instances), instances)


def a2(points: Values | None = None, *, distances: Values | None = None) -> Tours:
    """Stand-in for the paper's A2: nearest neighbour, then 2-opt; the paper's program is unknown.

    Args:
        points: ``[B, n, 2]``.
        distances: ``[B, n, n]``, in place of points.

    Raises:
        TypeError: neither or both inputs were given, or not real tensors or arrays.
        ValueError: an input is not allowed.
    """
    instances = read_instances("a2", points, distances, MOST_CITIES)
    return as_tours(two_opt_orders(instances, nearest_orders(instances)), instances)


def a3(points: Values | None = None, *, distances: Values | None = None) -> Tours:
    """Stand-in for the paper's A3: Christofides, then 2-opt; the paper's program is unknown.

    Args:
        points: ``[B, n, 2]``.
        distances: ``[B, n, n]``, in place of points.

    Raises:
        TypeError: neither or both inputs were given, or not real tensors or arrays.
        ValueError: an input is not allowed.
    """
    instances = read_instances("a3", points, distances, MOST_CITIES)
    return as_tours(two_opt_orders(instances, christofides_orders(instances)), instances)
