"""Shortest tours with proof, by cutting planes and branch and bound (HiGHS, through SciPy).

1. A local search gives a tour, of length U.
2. The subtour relaxation (:mod:`relaxation`) is solved again and again, with every set of cities
   that its solution violates, and every edge that its prices call for, until there are none: bound
   L, usually 0.7 % below the optimum.
3. Edges whose reduced cost exceeds U - L lie in no tour shorter than U and are dropped; a few
   hundred remain.
4. Their integer programme is solved. While its answer falls into several circles, these are added
   as sets and it is solved again; an answer of one circle is a shortest tour.
"""

from __future__ import annotations

import math
import time
from typing import Literal

import numpy as np

from graphseq.sequence.solvers.best_tour import (
    EXHAUSTED,
    answer,
    exhausted,
    nearest_two_bound,
    search,
)
from graphseq.sequence.solvers.instances import Instances, Values, read_instances
from graphseq.sequence.solvers.relaxation import Relaxation
from graphseq.sequence.solvers.subtours import components, violated_sets, without_city_0
from graphseq.sequence.solvers.tour import Tour

MOST_CITIES = 1000
_NEAR = 8  # neighbours that the first variables connect a city with
_SLACK = 1e-6  # of the mean edge: what rounding may add to a bound


def exact_tour(
    points: Values | None = None,
    *,
    distances: Values | None = None,
    time_limit: float | None = None,
    method: Literal["auto", "held-karp", "highs"] = "auto",
) -> Tour:
    """The shortest tour of one instance, with proof.

    Out of time, or where HiGHS gives up, it is the best tour found and a lower bound, and
    ``proved_optimal`` is false. The proof is one of floating-point arithmetic: HiGHS closes its gap
    to 1e-6 of the mean edge. 100 uniform points take about a second, 200 ten seconds or more.

    Args:
        points: ``[n, 2]``, n in 1 .. 1000.
        distances: ``[n, n]``, symmetric and not negative, in place of points.
        time_limit: seconds, for the search of cuts and the branch and bound; None sets no limit.
        method: "held-karp" is the dynamic programme (n <= 20), "highs" the cutting planes; "auto"
            takes the former up to 12 cities.

    Raises:
        TypeError: neither or both inputs were given, or not real tensors or arrays.
        ValueError: an input, ``time_limit`` or ``method`` is not allowed.
    """
    if method not in ("auto", "held-karp", "highs"):
        raise ValueError(f"exact_tour: method is {method!r}; pass 'auto', 'held-karp' or 'highs'")
    if time_limit is not None and not time_limit >= 0:
        raise ValueError(f"exact_tour: time_limit is {time_limit}; pass seconds, or None for none")
    most, instead = (20, "method='highs'") if method == "held-karp" else (MOST_CITIES, "best_tour")
    instances = read_instances("exact_tour", points, distances, most, batch=False, instead=instead)
    if method == "held-karp" or (method == "auto" and instances.shape[1] <= EXHAUSTED):
        return exhausted(instances)
    return _cutting_planes(instances, math.inf if time_limit is None else time_limit)


def _cutting_planes(instances: Instances, seconds: float) -> Tour:
    deadline = time.monotonic() + seconds
    order = search(instances)
    distances = instances.distances(slice(None))[0]
    unit = float(distances[order, np.roll(order, -1)].mean())
    if len(order) <= 3 or unit == 0:  # every tour, or this one, is shortest
        return answer(order, instances, lower_bound=None, solver="HiGHS")
    search_ = _Search(distances / unit, order, deadline)
    proved = search_.run()
    bound = None if proved else search_.bound * unit
    return answer(search_.order, instances, lower_bound=bound, solver="HiGHS")


class _Search:
    """Steps 2 to 4 on distances of mean edge 1: the best tour and the highest bound so far."""

    def __init__(self, distances: np.ndarray, order: np.ndarray, deadline: float) -> None:
        self.distances, self.order, self.deadline = distances, order, deadline
        near = distances.argsort(axis=1, kind="stable")[:, : _NEAR + 1]
        edges = np.zeros(distances.shape, dtype=bool)
        edges[np.arange(len(order))[:, None], near] = True
        self.relaxation = Relaxation(distances, edges | edges.T | self.in_tour())
        self.bound = nearest_two_bound(distances)

    @property
    def length(self) -> float:
        return float(self.distances[self.order, np.roll(self.order, -1)].sum())

    def in_tour(self) -> np.ndarray:
        """The edges of the best tour, ``[n, n]`` bool."""
        edges = np.zeros(self.distances.shape, dtype=bool)
        edges[self.order, np.roll(self.order, -1)] = True
        return edges | edges.T

    def left(self) -> float:
        return self.deadline - time.monotonic()

    def run(self) -> bool:
        """Whether the best tour is proved to be shortest."""
        finished = self.cut()
        self.bound = max(self.bound, self.relaxation.bound)
        if self.bound > self.length - _SLACK:
            return True
        return finished and self.branch()

    def cut(self) -> bool:
        """Solves the relaxation with all cuts and all edges; False if time ran out."""
        relaxation, cities = self.relaxation, len(self.order)
        while self.left() > 0:
            weights = relaxation.solve(self.left())
            if weights is None:
                return False
            sets = violated_sets(cities, relaxation.first, relaxation.second, weights)
            if relaxation.add_sets(sets):
                continue
            if not relaxation.add_attractive_edges():
                return True
        return False

    def branch(self) -> bool:
        """Solves the integer programme of the edges that may lie in a better tour."""
        relaxation = self.relaxation
        room = self.length - relaxation.last_bound + _SLACK
        relaxation.edges = (relaxation.reduced <= room) | self.in_tour()
        np.fill_diagonal(relaxation.edges, False)
        relaxation.refresh()
        # An edge that no better tour can do without is in the best one, too.
        forced = (relaxation.reduced < -room) & self.in_tour()
        while self.left() > 0:
            weights = self.solve_integer(forced)
            if weights is None:
                return False
            ends = relaxation.first, relaxation.second
            parts = components(len(self.order), *ends, weights)
            if parts.max() == 0:
                order = _walk(*ends, weights)
                shorter = self.distances[order, np.roll(order, -1)].sum() < self.length
                self.order = order if shorter else self.order
                return True
            sets = without_city_0(parts == np.arange(parts.max() + 1)[:, None])
            if not relaxation.add_sets(sets):  # HiGHS went beyond its tolerances
                return False
        return False

    def solve_integer(self, forced: np.ndarray) -> np.ndarray | None:
        """Weights 0 or 1 of the edges, or None if HiGHS gave up; raises the bound."""
        from scipy.optimize import Bounds, LinearConstraint, milp

        relaxation = self.relaxation
        degree, border = relaxation.matrices()
        rows = [LinearConstraint(degree, 2, 2)]
        rows += [LinearConstraint(border, 2, np.inf)] if len(relaxation.sets) else []
        ends = relaxation.first, relaxation.second
        options: dict[str, float] = {"mip_rel_gap": 0.0}
        if self.left() < math.inf:
            options["time_limit"] = max(self.left(), 0.0)
        found = milp(
            self.distances[ends],
            integrality=np.ones(len(ends[0])),
            bounds=Bounds(forced[ends].astype(float), np.ones(len(ends[0]))),
            constraints=rows,
            options=options,
        )
        if found.mip_dual_bound is not None:
            self.bound = max(self.bound, min(found.mip_dual_bound - _SLACK, self.length))
        return found.x.round() if found.status == 0 else None


def _walk(first: np.ndarray, second: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The cities along edges of weight 1 that form one circle, from city 0."""
    links: dict[int, list[int]] = {}
    for i, j in zip(first[weights > 0.5].tolist(), second[weights > 0.5].tolist(), strict=True):
        links.setdefault(i, []).append(j)
        links.setdefault(j, []).append(i)
    order, before = [0], -1
    while len(order) < len(links):
        here = order[-1]
        after = links[here][0] if links[here][0] != before else links[here][1]
        order.append(after)
        before = here
    return np.array(order)
