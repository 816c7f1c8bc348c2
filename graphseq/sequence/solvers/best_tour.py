"""A good tour of one larger instance, by iterated local search.

From each of several first tours, 2-opt and Or-opt moves among near neighbours descend to a local
optimum. Then, again and again, a random double bridge of two short neighbouring segments disturbs
it, a queue of the touched cities descends anew, and the outcome stays if it is not longer.
"""

from __future__ import annotations

import numpy as np
import torch

from graphseq.sequence.solvers.construction import MOST_CITIES, greedy_orders, nearest_orders
from graphseq.sequence.solvers.held_karp import shortest_orders
from graphseq.sequence.solvers.instances import Instances, Values, read_instances
from graphseq.sequence.solvers.iterated_search_kernels import iterate
from graphseq.sequence.solvers.local_search import two_opt_orders
from graphseq.sequence.solvers.tour import Tour, canonical, lengths_of

EXHAUSTED = 12  # up to here the dynamic programme takes less than a local search
_FEWEST = 8  # so that a segment of three is less than half of a tour
_NEAR = 10  # neighbours that a move may connect a city with
_ROUNDING = 1e-13  # relative to the largest distance; smaller gains could go round in circles


def best_tour(
    points: Values | None = None,
    *,
    distances: Values | None = None,
    num_starts: int = 3,
    num_kicks: int | None = None,
    seed: int = 0,
) -> Tour:
    """A tour close to the shortest, without proof; up to 12 cities the shortest, with proof.

    Its lower bound, half the two shortest edges of every city, is a loose one: 10 to 20 % below the
    optimum for uniform points.

    Args:
        points: ``[n, 2]``, n in 1 .. 5000.
        distances: ``[n, n]``, symmetric and not negative, in place of points.
        num_starts: first tours: greedy edge, then nearest neighbour from drawn cities.
        num_kicks: disturbances of each; None is 20 n, 0 a plain local search.
        seed: of what is drawn; the answer is a function of the arguments.

    Raises:
        TypeError: neither or both inputs were given, or not real tensors or arrays.
        ValueError: an input is not allowed, ``num_starts`` is below 1 or ``num_kicks`` below 0.
    """
    if num_starts < 1 or (num_kicks is not None and num_kicks < 0):
        raise ValueError(
            f"best_tour: num_starts is {num_starts} and num_kicks {num_kicks}; pass 1 or more "
            "starts and 0 or more kicks"
        )
    instances = read_instances("best_tour", points, distances, MOST_CITIES, batch=False)
    if instances.shape[1] <= EXHAUSTED:
        return exhausted(instances)
    order = search(instances, num_starts, num_kicks, seed)
    bound = nearest_two_bound(instances.distances(slice(None))[0])
    return answer(order, instances, lower_bound=bound, solver="iterated local search")


def search(
    instances: Instances, num_starts: int = 3, num_kicks: int | None = None, seed: int = 0
) -> np.ndarray:
    """The order ``[n]`` of :func:`best_tour`, for one instance that was checked."""
    if instances.shape[1] < _FEWEST:
        return two_opt_orders(instances, nearest_orders(instances))[0]
    generator = np.random.default_rng(seed)
    cities, distances = instances.shape[1], instances.distances(slice(None))[0]
    near = _near(distances)
    least = _ROUNDING * distances.max()
    place, kept, queue = np.empty((3, cities), dtype=np.int64)
    waiting = np.zeros(cities, dtype=np.uint8)
    kicks = 20 * cities if num_kicks is None else num_kicks
    orders = []
    for start in range(num_starts):
        first = int(generator.integers(cities))
        order = greedy_orders(instances) if start == 0 else nearest_orders(instances, first)
        draws = generator.integers(2**31, size=(kicks, 3))
        iterate(distances, near, least, draws, order[0], place, kept, queue, waiting)
        orders.append(kept.copy())
    lengths = [distances[order, np.roll(order, -1)].sum() for order in orders]
    return orders[int(np.argmin(lengths))]


def _near(distances: np.ndarray) -> np.ndarray:
    """The nearest cities of each, from near to far, ``[n, min(10, n - 1)]``."""
    others = distances.copy()
    np.fill_diagonal(others, np.inf)
    return others.argsort(axis=1, kind="stable")[:, : min(_NEAR, len(others) - 1)].copy()


def nearest_two_bound(distances: np.ndarray) -> float:
    """Half the sum of every city's two shortest edges, which no tour undercuts."""
    if len(distances) < 3:
        return 2 * float(distances.max())
    others = distances.copy()
    np.fill_diagonal(others, np.inf)
    return float(np.partition(others, 1, axis=1)[:, :2].sum()) / 2


def exhausted(instances: Instances) -> Tour:
    """The shortest tour of one small instance, by the dynamic programme."""
    return answer(shortest_orders(instances)[0], instances, lower_bound=None, solver="Held-Karp")


def answer(
    order: np.ndarray, instances: Instances, *, lower_bound: float | None, solver: str
) -> Tour:
    """The tour of one instance; no lower bound means that the order is proved to be optimal."""
    order = canonical(order.astype(np.int64))
    length = float(lengths_of(order[None], instances)[0])
    return Tour(
        order=torch.from_numpy(order),
        length=length,
        proved_optimal=lower_bound is None,
        lower_bound=length if lower_bound is None else min(lower_bound, length),
        solver=solver,
    )
