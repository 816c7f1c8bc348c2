"""The slow twins: exact answers in a few lines, by other means than the fast paths."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations, permutations

Table = Sequence[Sequence[float]]


def held_karp(distances: Table) -> tuple[list[int], float]:
    """Order and length of a shortest tour, by a dictionary of sets; n >= 2."""
    cities = range(1, len(distances))
    paths = {(frozenset([j]), j): (distances[0][j], [0, j]) for j in cities}
    for size in range(2, len(distances)):
        longer = {}
        for group in combinations(cities, size):
            for j in group:
                before = frozenset(group) - {j}
                length, k = min((paths[before, k][0] + distances[k][j], k) for k in before)
                longer[frozenset(group), j] = length, [*paths[before, k][1], j]
        paths = longer
    length, order = min(
        (length + distances[j][0], order) for (_, j), (length, order) in paths.items()
    )
    return order, length


def shortest_tour(distances: Table) -> tuple[list[int], float]:
    """Order and length of a shortest tour, by trying all."""
    tours = ([0, *rest] for rest in permutations(range(1, len(distances))))
    length, order = min((sum(distances[i][j] for i, j in _legs(tour)), tour) for tour in tours)
    return order, length


def _legs(tour: list[int]) -> zip[tuple[int, int]]:
    return zip(tour, [*tour[1:], tour[0]], strict=True)


def convex_hull(points: Sequence[Sequence[float]]) -> list[int]:
    """Corners of the strict hull, counter-clockwise from the lowest index, in exact arithmetic."""
    at = [(Fraction(x), Fraction(y)) for x, y in points]
    first = {at[i]: i for i in reversed(range(len(at)))}  # of equal points, the lowest index
    order = sorted(first)
    half = [*_chain(order)[:-1], *_chain(order[::-1])[:-1]]
    corners = [first[point] for point in half or order]
    start = corners.index(min(corners))
    return corners[start:] + corners[:start]


def _chain(order: list[tuple[Fraction, Fraction]]) -> list[tuple[Fraction, Fraction]]:
    """The points of a sorted row from which the way to the next turns left."""
    chain: list[tuple[Fraction, Fraction]] = []
    for x, y in order:
        while len(chain) > 1:
            (ax, ay), (bx, by) = chain[-2:]
            if (bx - ax) * (y - ay) > (by - ay) * (x - ax):
                break
            chain.pop()
        chain.append((x, y))
    return chain
