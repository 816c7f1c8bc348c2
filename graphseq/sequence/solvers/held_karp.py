"""Shortest tours by dynamic programming (Bellman; Held and Karp, both 1962), many at a time.

Let E(S, j) be the length of the shortest path that starts in city 0, visits every city of the set
S and ends in city j, which is not in S::

    E({}, j) = d(0, j),   E(S, j) = min over k in S of  E(S - k, k) + d(k, j)

As distances are symmetric, a tour through the m = n - 1 other cities is two such paths that meet in
a city j, one through a set S and one through all that remains, R = all - S - j::

    shortest tour = min over |S| = floor((m - 1) / 2) and j of  E(S, j) + E(R, j)

so only sets of at most ceil((m - 1) / 2) cities are needed, half of all, and a row E(S, .) is m
numbers side by side. Nothing but E is kept: the city before j is found again by the same minimum
when the best tour is read off. Which cells each minimum reads is the same for all instances of one
size; this plan is made once.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import torch

from graphseq.sequence.solvers.held_karp_kernels import shortest_tours
from graphseq.sequence.solvers.instances import Instances, Values, read_instances
from graphseq.sequence.solvers.tour import Tours, as_tours

MOST_CITIES = 20


def held_karp(points: Values | None = None, *, distances: Values | None = None) -> Tours:
    """Shortest tours of a batch of instances, proved by exhaustion.

    Takes n^2 2^n time and 2^(n - 2) rows of n numbers in each thread: 25 KB for n = 10, 42 MB for
    n = 20, whatever B is. Of tours that are equally long, the same one is always found.

    Args:
        points: ``[B, n, 2]``, n in 1 .. 20; any real dtype, computed in float64.
        distances: ``[B, n, n]``, symmetric and not negative, in place of points; the diagonal is
            not read.

    Shape:
        ``[B, n, 2]`` or ``[B, n, n]`` -> orders ``[B, n]`` int64, lengths ``[B]`` float64, on the
        CPU.

    Raises:
        TypeError: neither or both were given, or not real tensors or arrays.
        ValueError: a shape does not fit, n is out of range, or a number is not allowed.
    """
    instances = read_instances(
        "held_karp", points, distances, MOST_CITIES, instead="exact_tour or best_tour"
    )
    return as_tours(shortest_orders(instances), instances)


def shortest_orders(instances: Instances) -> np.ndarray:
    """Orders ``[B, n]`` of instances that were checked."""
    num, cities = instances.shape
    if cities == 1 or num == 0:
        return np.zeros((num, cities), dtype=np.int64)
    plan = plan_of(cities - 1)
    workers = min(num, torch.get_num_threads())
    near = np.empty((workers, cities - 1, plan.width))
    tables = np.empty((workers, len(plan.begin) - 1, plan.width))
    orders = np.empty((num, cities), dtype=np.int64)
    for rows, distances in instances.blocks():
        work = len(distances) * len(plan.source) * plan.width
        shortest_tours(
            distances, plan.begin, plan.source, plan.city, plan.left, plan.right,
            near, tables, orders[rows], work=work,
        )  # fmt: skip
    return orders


class Plan(NamedTuple):
    """What the minima read, for m cities beside city 0; a cell of E is row * width + column.

    Args:
        width: m, rounded up to a multiple of 4.
        begin: ``[R + 1]`` int32, where the entries of each row of E begin; R sets, by size.
        source: cell of E(S - k, k), for each k of each S.
        city: k, for each k of each S.
        left: cell of E(S, j), for each S and j where two paths may meet.
        right: cell of E(R, j).
    """

    width: int
    begin: np.ndarray
    source: np.ndarray
    city: np.ndarray
    left: np.ndarray
    right: np.ndarray


@functools.lru_cache(maxsize=32)
def plan_of(m: int) -> Plan:
    """The plan for m cities beside city 0."""
    width, short = -(-m // 4) * 4, (m - 1) // 2
    sets = np.arange(2**m, dtype=np.int64)
    sizes = ((sets[:, None] >> np.arange(m)) & 1).sum(axis=1)
    sets = sets[np.argsort(sizes, kind="stable")]
    sets = sets[: int((sizes <= m - 1 - short).sum())]
    row_of = np.zeros(2**m, dtype=np.int64)
    row_of[sets] = np.arange(len(sets))
    member = ((sets[:, None] >> np.arange(m)) & 1).astype(bool)  # [R, m]
    row, city = member.nonzero()
    source = row_of[sets[row] - (1 << city)] * width + city
    half, end = (~member & (member.sum(axis=1) == short)[:, None]).nonzero()
    rest = row_of[2**m - 1 - sets[half] - (1 << end)]
    begin = np.concatenate([[0], member.sum(axis=1).cumsum()])
    arrays = begin, source, city, half * width + end, rest * width + end
    return Plan(width, *(array.astype(np.int32) for array in arrays))
