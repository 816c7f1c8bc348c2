"""Tours built step by step: nearest neighbour, greedy edge, Christofides.

All take a batch of instances, as points ``[B, n, 2]`` or as symmetric ``distances [B, n, n]``, and
return :class:`Tours`. Equal distances are decided by the lower index.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphseq.sequence.solvers.construction_kernels import greedy_edges, nearest_neighbors
from graphseq.sequence.solvers.instances import Instances, Values, read_instances
from graphseq.sequence.solvers.tour import Tours, as_tours

MOST_CITIES = 5000  # distances of one instance take 200 MB


def nearest_neighbor(
    points: Values | None = None, *, distances: Values | None = None, start: int = 0
) -> Tours:
    """Always on to the nearest city that was not visited yet; O(n^2).

    Args:
        points: ``[B, n, 2]``.
        distances: ``[B, n, n]``, in place of points.
        start: the city to start from.

    Raises:
        TypeError: neither or both inputs were given, or not real tensors or arrays.
        ValueError: an input is not allowed, or ``start`` is no city.
    """
    instances = read_instances("nearest_neighbor", points, distances, MOST_CITIES)
    if not 0 <= start < instances.shape[1]:
        raise ValueError(
            f"nearest_neighbor: start is {start}; pass a city in 0 .. {instances.shape[1] - 1}"
        )
    return as_tours(nearest_orders(instances, start), instances)


def nearest_orders(instances: Instances, start: int = 0) -> np.ndarray:
    """Orders of :func:`nearest_neighbor`, for inputs that were checked."""
    orders = np.empty(instances.shape, dtype=np.int64)
    for rows, distances in instances.blocks():
        seen = np.empty(distances.shape[:2], dtype=np.uint8)
        nearest_neighbors(distances, start, seen, orders[rows], work=distances.size)
    return orders


def greedy_edge(points: Values | None = None, *, distances: Values | None = None) -> Tours:
    """The shortest edge that leaves degrees of at most two and no early cycle, n - 1 times.

    The last edge closes the tour. O(n^2 log n), for the sort of the edges.

    Args:
        points: ``[B, n, 2]``.
        distances: ``[B, n, n]``, in place of points.

    Raises:
        TypeError: neither or both inputs were given, or not real tensors or arrays.
        ValueError: an input is not allowed.
    """
    instances = read_instances("greedy_edge", points, distances, MOST_CITIES)
    return as_tours(greedy_orders(instances), instances)


def greedy_orders(instances: Instances) -> np.ndarray:
    """Orders of :func:`greedy_edge`, for inputs that were checked."""
    cities = instances.shape[1]
    orders = np.zeros(instances.shape, dtype=np.int64)
    if cities == 1:
        return orders
    first, second = np.triu_indices(cities, 1)
    for rows, distances in instances.blocks():
        ranked = distances[:, first, second].argsort(axis=1, kind="stable")
        degree, far = np.empty((2, *distances.shape[:2]), dtype=np.int64)
        link = np.zeros((*distances.shape[:2], 2), dtype=np.int64)
        greedy_edges(
            ranked, first, second, degree, far, link, orders[rows], work=2 * ranked.size
        )  # fmt: skip
    return orders


def christofides(points: Values | None = None, *, distances: Values | None = None) -> Tours:
    """Christofides' tour: a spanning tree, a matching of its odd cities, and short cuts; O(n^3).

    At most 1.5 times the optimum where distances obey the triangle inequality. The matching is
    networkx's and takes most of the time, about 10 ms for an instance of 50 cities.

    Args:
        points: ``[B, n, 2]``.
        distances: ``[B, n, n]``, in place of points.

    Raises:
        TypeError: neither or both inputs were given, or not real tensors or arrays.
        ValueError: an input is not allowed.
    """
    instances = read_instances("christofides", points, distances, MOST_CITIES)
    return as_tours(christofides_orders(instances), instances)


def christofides_orders(instances: Instances) -> np.ndarray:
    """Orders of :func:`christofides`, for inputs that were checked."""
    orders = np.empty(instances.shape, dtype=np.int64)
    for rows, distances in instances.blocks():
        orders[rows] = [_christofides(matrix) for matrix in distances]
    return orders


def _christofides(distances: np.ndarray) -> list[int]:
    import networkx as nx

    if len(distances) < 3:
        return list(range(len(distances)))
    tree = spanning_tree(distances)
    degrees = np.bincount(np.ravel(tree), minlength=len(distances))
    odd = (degrees % 2).nonzero()[0].tolist()
    table = distances.tolist()
    between: Any = nx.Graph()
    between.add_weighted_edges_from((i, j, table[i][j]) for i in odd for j in odd if i < j)
    edges: Any = nx.MultiGraph(tree)
    edges.add_edges_from(nx.min_weight_matching(between))
    visits = [0, *(city for _, city in nx.eulerian_circuit(edges, source=0))]
    return list(dict.fromkeys(visits))  # each city at its first visit


def spanning_tree(distances: np.ndarray) -> list[tuple[int, int]]:
    """The n - 1 edges of a shortest spanning tree (Prim), grown from city 0."""
    nearest = np.zeros(len(distances), dtype=np.int64)  # the city of the tree nearest to each
    away = distances[0].copy()
    away[0] = np.inf
    edges = []
    for _ in range(len(distances) - 1):
        city = int(away.argmin())
        edges.append((int(nearest[city]), city))
        away[city] = np.inf
        closer = (distances[city] < away) & np.isfinite(away)
        nearest[closer], away[closer] = city, distances[city, closer]
    return edges
