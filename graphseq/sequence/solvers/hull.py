"""Convex hulls of points in the plane, as Pointer Networks are taught to list them.

A hull is strict: its corners turn left, points that lie on an edge are no corners. It is listed
counter-clockwise from the corner with the lowest index; of points that coincide, the one with the
lowest index counts. Andrew's monotone chain runs in compiled float64; where a turn is so flat that
rounding might decide it, that one hull is computed anew in exact rational arithmetic. So answers
are exact for the numbers given, collinear points and lattices included.

What has no area is listed by the same rule: points that all coincide have the lowest index alone,
points on a line its two ends, the one with the lower index first.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from graphseq.sequence.solvers import naive
from graphseq.sequence.solvers.hull_kernels import hulls
from graphseq.sequence.solvers.instances import Values, read_lengths, read_points

_BLOCK = 2**20  # points looked at together


def convex_hull(points: Values) -> Tensor:
    """Corners of the convex hull of one set of points, as the module describes it.

    Args:
        points: ``[n, 2]``, n >= 1; computed in float64.

    Returns:
        ``[m]`` int64, indices into ``points``.

    Raises:
        TypeError: points are no real tensor or array.
        ValueError: their shape is wrong, there are none, or a coordinate is not finite.
    """
    read = read_points("convex_hull", points, batch=False)
    counts = _read_counts("convex_hull", None, read[None])
    return torch.from_numpy(_corners(read[None], counts)[0][0].astype(np.int64))


def convex_hulls(points: Values, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Corners of the convex hulls of many sets of points, as the module describes them.

    Args:
        points: ``[B, n, 2]``, n >= 1; computed in float64.
        lengths: ``[B]`` whole numbers in 1 .. n: only so many points of a row count. What stands
            behind them must be finite. None: all count.

    Returns:
        Indices ``[B, m]`` int64, padded with -1 to the largest hull, and sizes ``[B]`` int64.

    Raises:
        TypeError: points are no real tensor or array, or lengths no whole numbers.
        ValueError: a shape is wrong, a length is out of range, or a coordinate is not finite.
    """
    read = read_points("convex_hulls", points, batch=True)
    counts = _read_counts("convex_hulls", lengths, read)
    corners, sizes = _corners(read, counts)
    return torch.from_numpy(corners.astype(np.int64)), torch.from_numpy(sizes)


def _corners(points: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corners ``[B, m]`` int32, padded with -1, and sizes ``[B]``."""
    num, width = points.shape[:2]
    sizes = np.empty(num, dtype=np.int64)
    blocks, step = [], max(1, _BLOCK // width)
    for begin in range(0, num, step):
        rows = slice(begin, begin + step)
        blocks.append(_block(points[rows], lengths[rows], sizes[rows]))
    out = np.full((num, int(sizes.max(initial=0))), -1, dtype=np.int32)
    for begin, block in zip(range(0, num, step), blocks, strict=True):
        out[begin : begin + step, : block.shape[1]] = block
    return out, sizes


def _block(points: np.ndarray, lengths: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Corners of some hulls, padded with -1 to the largest of them; fills ``sizes``."""
    num, width = points.shape[:2]
    order = np.empty((num, width), dtype=np.int32)
    corners = np.empty((num, width + 1), dtype=np.int32)
    doubtful = np.empty(num, dtype=np.uint8)
    hulls(points, lengths, order, corners, sizes, doubtful, work=50 * num * width)
    for row in doubtful.nonzero()[0]:
        exact = naive.convex_hull(points[row, : lengths[row]].tolist())
        corners[row, : len(exact)], sizes[row] = exact, len(exact)
    corners = corners[:, : int(sizes.max())]
    return np.where(np.arange(corners.shape[1]) < sizes[:, None], corners, -1)


def _read_counts(where: str, lengths: Tensor | None, points: np.ndarray) -> np.ndarray:
    if points.shape[1] == 0:
        raise ValueError(f"{where}: there are no points; pass at least one, n >= 1")
    return read_lengths(where, lengths, points.shape, least=1)
