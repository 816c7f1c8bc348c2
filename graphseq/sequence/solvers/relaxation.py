"""The subtour relaxation of the travelling-salesman problem, solved by HiGHS.

One variable x_e in 0 .. 1 for each edge; every city has degree two, and every set S of a growing
list is left at least twice::

    min sum_e d_e x_e   with   x(edges at i) = 2 for all i,   x(border of S) >= 2 for all S

Only edges that matter are variables. For any prices p_i of the cities and m_S >= 0 of the sets,
with the reduced costs r_ij = d_ij - p_i - p_j - sum of m_S over the sets that (i, j) leaves, no
tour is shorter than

    L = 2 sum p + 2 sum m + sum over all edges of min(0, r_e)

and none that uses an edge e with r_e > 0 is shorter than L + r_e. Both are computed here from the
prices, for all edges, so that bounds do not rest on the tolerances of HiGHS.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_ATTRACTIVE = -1e-7  # reduced cost below which an edge becomes a variable


class Relaxation:
    """The growing linear programme of one instance.

    Args:
        distances: ``[n, n]``, symmetric, of mean edge length about 1.
        edges: ``[n, n]`` bool, symmetric: the first variables; they must contain a tour.
    """

    def __init__(self, distances: np.ndarray, edges: np.ndarray) -> None:
        self.distances = distances
        self.edges = edges & ~np.eye(len(distances), dtype=bool)
        self.sets = np.zeros((0, len(distances)), dtype=bool)
        self.bound = self.last_bound = 0.0
        self.reduced = distances
        self.refresh()

    def refresh(self) -> None:
        """Lists the variables: the ends of the edges, first < second."""
        self.first, self.second = np.triu(self.edges).nonzero()

    def add_sets(self, sets: np.ndarray) -> bool:
        """Takes in further sets; whether one of them was new."""
        before = len(self.sets)
        known = {row.tobytes() for row in self.sets}
        new = [row for row in sets if row.tobytes() not in known]
        self.sets = np.vstack([self.sets, *new])
        return len(self.sets) > before

    def add_attractive_edges(self) -> bool:
        """Makes variables of the edges that the prices call for; whether there was one."""
        new = (self.reduced < _ATTRACTIVE) & ~self.edges
        np.fill_diagonal(new, False)
        self.edges |= new
        self.refresh()
        return bool(new.any())

    def matrices(self) -> tuple[Any, Any]:
        """Rows of the cities and of the sets, sparse ``[n, E]`` and ``[C, E]``."""
        from scipy.sparse import csr_array

        column, ones = np.arange(len(self.first)), np.ones(2 * len(self.first))
        ends = np.concatenate([self.first, self.second]), np.concatenate([column, column])
        shape = len(self.distances), len(self.first)
        border = self.sets[:, self.first] ^ self.sets[:, self.second]
        return csr_array((ones, ends), shape=shape), csr_array(border.astype(np.float64))

    def solve(self, seconds: float) -> np.ndarray | None:
        """The weights ``[E]``; None if HiGHS gave up. Raises ``bound``, sets ``reduced``."""
        from scipy.optimize import linprog

        degree, border = self.matrices()
        found = linprog(
            self.distances[self.first, self.second],
            A_ub=-border if len(self.sets) else None,
            b_ub=np.full(len(self.sets), -2.0) if len(self.sets) else None,
            A_eq=degree,
            b_eq=np.full(len(self.distances), 2.0),
            bounds=(0, 1),
            method="highs",
            options={"time_limit": max(seconds, 0.0)},
        )
        if found.status != 0:
            return None
        price_of_sets = np.maximum(-found.ineqlin.marginals, 0) if len(self.sets) else np.zeros(0)
        self._price(found.eqlin.marginals, price_of_sets)
        weights: np.ndarray = found.x
        return weights

    def _price(self, of_cities: np.ndarray, of_sets: np.ndarray) -> None:
        reduced = self.distances - of_cities[:, None] - of_cities[None, :]
        for price, member in zip(of_sets, self.sets, strict=True):
            if price > 0:
                reduced -= price * (member[:, None] ^ member[None, :])
        np.fill_diagonal(reduced, 0)
        bound = 2 * of_cities.sum() + 2 * of_sets.sum() + np.minimum(reduced, 0).sum() / 2
        self.reduced, self.last_bound = reduced, float(bound)
        self.bound = max(self.bound, self.last_bound)
