"""The answers that point sets are labelled with, in the order in which they are pointed at."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

from graphseq.sequence.data.sequence_data import IGNORED

TOUR_SOLVERS = ("held_karp", "exact", "best", "a1", "a2", "a3")
"""How tours may be found, by name."""

STOP = 0
Job = tuple[str, np.ndarray]

_CHUNK = 1 << 12  # points labelled together, so that the bar moves and processes stay busy


def label(solver: str, points: np.ndarray, lengths: np.ndarray, num_workers: int) -> np.ndarray:
    """Pointers of every instance, 1-based, closed by 0, then -100.

    Args:
        solver: ``"hull"``, ``"delaunay"`` or a name of :data:`TOUR_SOLVERS`.
        points: ``[N, n, 2]``.
        lengths: True numbers of points ``[N]``.
        num_workers: Processes to share the work; 1 does it in this one.

    Returns:
        ``[N, M]``, int32.
    """
    from tqdm import tqdm

    chunks = list(_chunks(lengths))
    jobs = [(solver, points[rows, : lengths[rows[0]]].astype(np.float64)) for rows in chunks]
    answers = []
    with (
        _mapping(min(num_workers, len(jobs))) as mapped,
        tqdm(desc=solver, total=len(points), unit="instance", disable=None) as bar,
    ):
        for answer in mapped(_answer, jobs):
            answers.append(answer)
            bar.update(len(answer))
    targets = np.full((len(points), max(a.shape[1] for a in answers)), IGNORED, dtype=np.int32)
    for rows, answer in zip(chunks, answers, strict=True):
        targets[rows, : answer.shape[1]] = answer
    return targets


def _chunks(lengths: np.ndarray) -> Iterator[np.ndarray]:
    """Rows of equal length, not too many at a time."""
    for size in np.unique(lengths):
        rows = (lengths == size).nonzero()[0]
        step = max(1, _CHUNK // int(size))
        yield from (rows[begin : begin + step] for begin in range(0, len(rows), step))


@contextmanager
def _mapping(num_workers: int) -> Iterator[Callable[..., Iterator[np.ndarray]]]:
    if num_workers <= 1:
        yield map
        return
    # Spawned: a forked copy of a process whose kernels have run threads may hang.
    with multiprocessing.get_context("spawn").Pool(num_workers, _one_thread) as pool:
        yield pool.imap


def _one_thread() -> None:
    torch.set_num_threads(1)


def _answer(job: Job) -> np.ndarray:
    solver, points = job
    if solver == "hull":
        return hull_pointers(points)
    return triangle_pointers(points) if solver == "delaunay" else tour_pointers(solver, points)


def hull_pointers(points: np.ndarray) -> np.ndarray:
    """Corners of the convex hulls, counter-clockwise from the lowest pointer, closed.

    Args:
        points: ``[B, n, 2]``, float64.

    Returns:
        ``[B, m]``, -100 behind the stop symbol.
    """
    from graphseq.sequence.solvers import convex_hulls

    corners, sizes = (found.numpy() for found in convex_hulls(points))
    loops = np.pad(corners + 1, ((0, 0), (0, 2)), constant_values=STOP)  # behind the last is 0
    steps = np.arange(loops.shape[1])
    loops[np.arange(len(loops)), sizes] = loops[:, 0]
    loops[np.arange(len(loops)), sizes + 1] = STOP
    return np.where(steps < sizes[:, None] + 2, loops, IGNORED)


def triangle_pointers(points: np.ndarray) -> np.ndarray:
    """Delaunay triangles, pointers increasing, triangles by the x and then the y of the incenter.

    Args:
        points: ``[B, n, 2]``, float64.

    Returns:
        ``[B, m]``, -100 behind the stop symbol.
    """
    from graphseq.sequence.solvers import delaunays

    found = [triangles.numpy().ravel() + 1 for triangles in delaunays(points)]
    out = np.full((len(found), max(map(len, found)) + 1), IGNORED)
    for row, pointers in zip(out, found, strict=True):
        row[: len(pointers) + 1] = [*pointers, STOP]
    return out


def tour_pointers(solver: str, points: np.ndarray) -> np.ndarray:
    """Tours from city 1 in the direction in which the second city is lower than the last, closed.

    Args:
        solver: A name of :data:`TOUR_SOLVERS`.
        points: ``[B, n, 2]``, float64.

    Returns:
        ``[B, n + 2]``.
    """
    closing = np.broadcast_to([1, STOP], (len(points), 2))
    return np.concatenate([_orders(solver, points) + 1, closing], axis=1)


def _orders(solver: str, points: np.ndarray) -> np.ndarray:
    """Cities in order of visit from 0, ``[B, n]``."""
    from graphseq.sequence.solvers import a1, a2, a3, best_tour, exact_tour, held_karp

    if solver == "exact":
        return np.stack([exact_tour(instance).order.numpy() for instance in points])
    if solver == "best":
        return np.stack([best_tour(instance).order.numpy() for instance in points])
    solve = {"held_karp": held_karp, "a1": a1, "a2": a2, "a3": a3}[solver]
    orders: np.ndarray = solve(points).orders.numpy()
    return orders
