"""The three problems of Pointer Networks (Vinyals, Fortunato, Jaitly 2015), drawn and labelled.

Points are uniform in the unit square, on the grid of multiples of 2^-24 on which float32 is exact.
Labels are kept in the cache folder.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from graphseq.files import cached_arrays
from graphseq.sequence.data.checks import check_size, digest
from graphseq.sequence.data.labels import TOUR_SOLVERS, label
from graphseq.sequence.data.point_sets import Kind, PointSets
from graphseq.sequence.data.splits import generators_of, rows_of, sizes_of

Range = int | tuple[int, int]
TourSolver = Literal["held_karp", "exact", "best", "a1", "a2", "a3"]
_LARGEST = {"held_karp": 20, "exact": 1000}  # cities that a solver takes
_VERSION = 1  # to be raised when labels change


def hulls(
    *,
    num_nodes: Range = (5, 50),
    num_train: int = 100_000,
    num_val: int = 1_000,
    num_test: int = 10_000,
    seed: int = 0,
    num_workers: int = 1,
) -> PointSets:
    """Point at the corners of the convex hull, counter-clockwise from the lowest pointer.

    Args:
        num_nodes: Number of points, or the smallest and the largest, all equally likely.
        num_train: Instances to learn from; the paper has a million.
        num_val: Instances to validate.
        num_test: Instances to test.
        seed: Seed of the draw; each split has a stream of its own.
        num_workers: Processes that label; they import the caller's main module, so a script must
            call this below ``if __name__ == "__main__"`` to pass more than 1.

    Raises:
        TypeError: A size or the seed is no whole number.
        ValueError: An argument is out of its range.
    """
    sizes = sizes_of("hulls", num_train, num_val, num_test)
    return _labelled("hull", "hull", num_nodes, sizes, seed, num_workers)


def triangulations(
    *,
    num_nodes: Range = 5,
    num_train: int = 100_000,
    num_val: int = 1_000,
    num_test: int = 10_000,
    seed: int = 0,
    num_workers: int = 1,
) -> PointSets:
    """Point at the corners of the Delaunay triangles, which are sorted by their incenters.

    Args:
        num_nodes: Number of points, or the smallest and the largest, all equally likely.
        num_train: Instances to learn from; the paper has a million.
        num_val: Instances to validate.
        num_test: Instances to test.
        seed: Seed of the draw; each split has a stream of its own.
        num_workers: Processes that label; see :func:`hulls`.

    Raises:
        TypeError: A size or the seed is no whole number.
        ValueError: An argument is out of its range.
    """
    sizes = sizes_of("triangulations", num_train, num_val, num_test)
    return _labelled("delaunay", "delaunay", num_nodes, sizes, seed, num_workers)


def tours(
    *,
    num_nodes: Range = 10,
    num_train: int = 100_000,
    num_val: int = 1_000,
    num_test: int = 10_000,
    seed: int = 0,
    solver: TourSolver = "held_karp",
    canonical_direction: bool = False,
    num_workers: int = 1,
) -> PointSets:
    """Point at the cities of a short round trip from city 1.

    Args:
        num_nodes: Number of cities, or the smallest and the largest, all equally likely.
        num_train: Instances to learn from; the paper has a million.
        num_val: Instances to validate.
        num_test: Instances to test.
        seed: Seed of the draw; each split has a stream of its own.
        solver: ``"held_karp"`` (up to 20 cities) and ``"exact"`` find shortest tours, ``"best"``
            a short one, ``"a1"``, ``"a2"`` and ``"a3"`` stand in for the paper's heuristics.
        canonical_direction: Go in the direction in which the second city is lower than the last.
            False: the direction is drawn, for in the paper's data it means nothing.
        num_workers: Processes that label; see :func:`hulls`.

    Raises:
        TypeError: A size or the seed is no whole number.
        ValueError: An argument is out of its range.
    """
    sizes = sizes_of("tours", num_train, num_val, num_test)
    if solver not in TOUR_SOLVERS:
        raise ValueError(f"tours: solver is {solver!r}; pass one of {', '.join(TOUR_SOLVERS)}")
    most = _range("tours", num_nodes)[1]
    if most > _LARGEST.get(solver, most):
        raise ValueError(
            f"tours: num_nodes goes up to {most}, but solver {solver!r} takes {_LARGEST[solver]} "
            "cities; pass fewer, or solver='best'"
        )
    data = _labelled("tour", solver, num_nodes, sizes, seed, num_workers)
    return data if canonical_direction else _turned(data, seed)


def _turned(data: PointSets, seed: int) -> PointSets:
    """Half of the tours, drawn, the other way round."""
    rows, steps = torch.arange(len(data.points)), torch.arange(data.targets.shape[1])
    coins = torch.from_numpy(np.random.default_rng([seed, 1]).random(len(rows)) < 0.5)
    back = data.num_points[:, None] - steps  # a closed tour is as long forwards as backwards
    turn = coins[:, None] & (back >= 0)
    targets = data.targets.gather(1, torch.where(turn, back, steps))
    return PointSets(
        points=data.points,
        targets=targets,
        **data.splits,
        kind="tour",
        lengths=data.lengths,
        name=data.name,
    )


def _range(where: str, num_nodes: Range) -> tuple[int, int]:
    """Smallest and largest number of points."""
    least, most = (num_nodes, num_nodes) if isinstance(num_nodes, int) else num_nodes
    check_size(where, "num_nodes", least, 3)
    check_size(where, "num_nodes", most, least)
    return least, most


def _labelled(
    kind: Kind, solver: str, num_nodes: Range, sizes: dict[str, int], seed: int, num_workers: int
) -> PointSets:
    where = {"hull": "hulls", "delaunay": "triangulations", "tour": "tours"}[kind]
    least, most = _range(where, num_nodes)
    check_size(where, "num_workers", num_workers)
    drawn = [
        _draw(generator, sizes[split], least, most)
        for split, generator in generators_of(where, seed).items()
    ]
    points, lengths = (np.concatenate(part) for part in zip(*drawn, strict=True))
    found = torch.from_numpy(points), torch.from_numpy(lengths)
    # With the points in the name, labels can never meet points that they do not belong to.
    name = (
        f"{kind}-{solver}-v{_VERSION}-uniform-n{least}-{most}-seed{seed}-"
        f"{digest((), {'points': found[0], 'lengths': found[1]})[:16]}"
    )
    targets = cached_arrays(
        name, [], lambda: {"targets": label(solver, points, lengths, num_workers)}
    )["targets"]
    return PointSets(
        points=found[0],
        targets=torch.from_numpy(targets.astype(np.int64)),
        **rows_of(sizes)._asdict(),
        kind=kind,
        lengths=found[1] if least < most else None,
        name=f"{where}({least})" if least == most else f"{where}({least}-{most})",
    )


def _draw(
    generator: np.random.Generator, num: int, least: int, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Points ``[num, most, 2]``, zero behind the length, and lengths."""
    lengths = generator.integers(least, most, size=num, endpoint=True)
    points = generator.random((num, most, 2), dtype=np.float32)
    points[np.arange(most) >= lengths[:, None]] = 0
    return points, lengths
