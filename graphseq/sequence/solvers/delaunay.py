"""Delaunay triangulations, as Pointer Networks are taught to list them.

Every triangle is three indices in increasing order; triangles are sorted by their incenter, first
by x, then by y. With corners A, B, C and the lengths a, b, c of the sides opposite them, the
incenter is (a A + b B + c C) / (a + b + c).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from graphseq.sequence.solvers import naive
from graphseq.sequence.solvers.instances import Values, read_lengths, read_points


def delaunay(points: Values) -> Tensor:
    """The Delaunay triangulation of one set of points (Qhull, through SciPy, in float64).

    Points that coincide with one of lower index belong to no triangle. Where there is no triangle
    at all, with fewer than three different points or all on a line, the result is empty. Where more
    than three points lie on one circle with none inside, as on a lattice, any triangulation of them
    is a Delaunay triangulation; then Qhull's choice is returned.

    Args:
        points: ``[n, 2]``.

    Returns:
        ``[k, 3]`` int64, sorted as the module describes; with n different points and h of them on
        the border of the hull, k = 2 n - 2 - h.

    Raises:
        TypeError: points are no real tensor or array.
        ValueError: their shape is wrong, a coordinate is not finite, or points lie so close to one
            another or to a line that no triangulation is certain in float64.
    """
    return _delaunay("delaunay", read_points("delaunay", points, batch=False))


def delaunays(points: Values, lengths: Tensor | None = None) -> list[Tensor]:
    """:func:`delaunay` of many sets of points.

    Args:
        points: ``[B, n, 2]``.
        lengths: ``[B]`` whole numbers in 0 .. n: only so many points of a row count. None: all.

    Returns:
        B tensors ``[k, 3]``.

    Raises:
        TypeError: as :func:`delaunay`, or lengths no whole numbers.
        ValueError: as :func:`delaunay`, or lengths do not fit.
    """
    where = "delaunays"
    read = read_points(where, points, batch=True)
    counts = read_lengths(where, lengths, read.shape, least=0)
    return [_delaunay(where, row[:n]) for row, n in zip(read, counts, strict=True)]


def _delaunay(where: str, points: np.ndarray) -> Tensor:
    from scipy.spatial import Delaunay, QhullError

    # The lowest index of each different point, in increasing order; a pair is a complex number,
    # whose comparison is ten times faster than that of rows.
    kept = np.sort(np.unique(points.view(np.complex128)[:, 0], return_index=True)[1])
    if len(kept) < 3:
        return torch.zeros(0, 3, dtype=torch.int64)
    different = points[kept]
    # Qhull works with absolute coordinates; small differences survive around the middle.
    middle = (different.min(axis=0) + different.max(axis=0)) / 2
    try:
        found = Delaunay(different - middle)
    except QhullError as error:
        if len(naive.convex_hull(different.tolist())) == 2:
            return torch.zeros(0, 3, dtype=torch.int64)
        raise ValueError(
            f"{where}: the points lie so close to a line that float64 cannot triangulate them; "
            "stretch or remove them"
        ) from error
    if len(found.coplanar):
        raise ValueError(
            f"{where}: points {kept[found.coplanar[:, 0]].tolist()[:5]} lie too close to others "
            "for float64; remove or separate them"
        )
    triangles = np.sort(kept[found.simplices], axis=1)
    return torch.from_numpy(by_incenter(points, triangles).astype(np.int64))


def by_incenter(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Triangles ``[k, 3]`` of sorted indices, by incenter; equal incenters by their indices."""
    corners = points[triangles]  # [k, 3, 2]
    opposite = corners[:, [1, 2, 0]] - corners[:, [2, 0, 1]]
    sides = np.sqrt((opposite**2).sum(axis=2, keepdims=True))  # [k, 3, 1]
    center = (sides * corners).sum(axis=1) / sides.sum(axis=1)
    a, b, c = triangles.T
    out: np.ndarray = triangles[np.lexsort((c, b, a, center[:, 1], center[:, 0]))]
    return out
