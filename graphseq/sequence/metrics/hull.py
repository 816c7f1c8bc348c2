"""Scores of predicted convex hulls (Vinyals, Fortunato, Jaitly 2015, "Pointer Networks").

A prediction is a row of 1-based pointers that ends at the stop symbol 0. The two scores are the
share of predictions that denote the true polygon, and the area of the polygons that they denote
relative to the true area. The second is a mean over the predictions that are simple polygons, so
it says nothing where many are not: it is reported as a failure then.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from graphseq.sequence.metrics.loops import (
    check_points,
    check_rows,
    coordinates,
    distinct,
    read_loops,
    sizes_of,
)

_PIECE = 1 << 21  # pairs of edges looked at together


class HullArea(NamedTuple):
    """How much of the true hulls is covered.

    Args:
        coverage: Mean of predicted over true area, of the predictions that are simple polygons;
            NaN where ``failed``.
        simple: Share of the predictions that are simple polygons.
        failed: Whether more than the allowed share are not; printed as FAIL.
    """

    coverage: float
    simple: float
    failed: bool


def same_polygons(predicted: Tensor, target: Tensor) -> Tensor:
    """Which predictions denote the target's polygon; start and direction do not matter.

    Args:
        predicted: ``[N, L]``, int64, 1-based, 0 to stop.
        target: ``[N, M]``, int64, 1-based, 0 to stop; no vertex twice but for closing the loop.

    Shape:
        ``[N]``, bool.

    Raises:
        TypeError: An argument is no int64 tensor.
        ValueError: Shapes do not fit.
    """
    check_rows("same_polygons", predicted, target, ("predicted", "target"))
    ours, num = read_loops("same_polygons", "predicted", predicted)
    true, num_true = read_loops("same_polygons", "target", target)
    width = max(ours.shape[1], true.shape[1])
    ours, true = _canonical(ours, num, width), _canonical(true, num_true, width)
    return (num == num_true) & (ours == true).all(1)


def _canonical(loops: Tensor, count: Tensor, width: int) -> Tensor:
    """The loops from their lowest vertex towards its lower neighbour, 0 behind, ``[N, width]``."""
    loops = torch.nn.functional.pad(loops, (0, width - loops.shape[1]))
    steps = torch.arange(width, device=loops.device)
    inside = steps < count[:, None]
    start = loops.masked_fill(~inside, torch.iinfo(torch.int64).max).argmin(1, keepdim=True)
    size = count.clamp(min=1)[:, None]
    ahead = loops.gather(1, (start + steps) % size)
    back = loops.gather(1, (start - steps) % size)
    second = ahead.gather(1, 1 % size), back.gather(1, 1 % size)
    return torch.where(second[0] <= second[1], ahead, back).masked_fill(~inside, 0)


def hull_accuracy(predicted: Tensor, target: Tensor) -> float:
    """Share of the predictions that denote the true polygon; see :func:`same_polygons`."""
    return float(same_polygons(predicted, target).double().mean())


def simple_polygons(points: Tensor, predicted: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Which predictions are simple polygons.

    These have three vertices or more, none twice, and edges that meet only where one ends and the
    next begins.

    Args:
        points: ``[N, n, 2]``.
        predicted: ``[N, L]``, int64, 1-based, 0 to stop.
        lengths: Numbers of points ``[N]``, where they differ; pointers beyond them are wrong.

    Shape:
        ``[N]``, bool.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: Shapes do not fit.
    """
    check_points("simple_polygons", points)
    check_rows("simple_polygons", points, predicted, ("points", "predicted"))
    loops, count = read_loops("simple_polygons", "predicted", predicted)
    right = (loops <= sizes_of(points, lengths)[:, None]).all(1) & distinct(loops) & (count >= 3)
    found = torch.zeros_like(right)
    # Of equal numbers of vertices together, so that no pair of edges is padding.
    for size in count[right].unique().tolist():
        chosen = (right & (count == size)).nonzero()[:, 0]
        for rows in chosen.split(max(1, _PIECE // size**2)):
            found[rows] = ~_crosses(coordinates(points[rows], loops[rows, :size]))
    return found


def _crosses(corner: Tensor) -> Tensor:
    """Whether edges of closed polygons ``[N, k, 2]`` touch where they should not, ``[N]``."""
    size = corner.shape[1]
    after = corner.roll(-1, 1)
    step, turn = after - corner, after.roll(-1, 1) - after
    # Neighbouring edges share a point; they share more if the second goes back along the first.
    folded = ((_cross(step, turn) == 0) & ((step * turn).sum(-1) <= 0)).any(1)
    i, j = torch.triu_indices(size, size, 2, device=corner.device)
    apart = ~((i == 0) & (j == size - 1))  # the last edge is the first one's neighbour
    i, j = i[apart], j[apart]
    a, b, c, d = corner[:, i], after[:, i], corner[:, j], after[:, j]  # [N, pairs, 2]
    # Segments meet if their boxes do and neither lies on one side of the other's line.
    boxes = (torch.minimum(a, b) <= torch.maximum(c, d)) & (
        torch.minimum(c, d) <= torch.maximum(a, b)
    )
    first = _cross(b - a, c - a).sign() * _cross(b - a, d - a).sign() <= 0
    second = _cross(d - c, a - c).sign() * _cross(d - c, b - c).sign() <= 0
    return folded | (boxes.all(-1) & first & second).any(1)


def _cross(u: Tensor, v: Tensor) -> Tensor:
    return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]


def polygon_areas(points: Tensor, pointers: Tensor) -> Tensor:
    """Areas ``[N]`` of simple polygons, float64.

    Args:
        points: ``[N, n, 2]``.
        pointers: ``[N, M]``, int64, 1-based, 0 to stop.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: Shapes do not fit.
    """
    check_points("polygon_areas", points)
    check_rows("polygon_areas", points, pointers, ("points", "pointers"))
    loops, _ = read_loops("polygon_areas", "pointers", pointers)
    # Behind the last vertex the first is repeated, which adds no area.
    loops = torch.where(loops > 0, loops, loops[:, :1])
    corner = coordinates(points, loops)
    corner = corner - corner[:, :1]  # smaller numbers, less rounding
    return _cross(corner, corner.roll(-1, 1)).sum(1).abs() / 2


def hull_area(
    points: Tensor,
    predicted: Tensor,
    target: Tensor,
    *,
    lengths: Tensor | None = None,
    fail_threshold: float = 0.01,
) -> HullArea:
    """Area of predicted hulls relative to the true ones.

    The intersection of a simple polygon on the given points with their convex hull is the polygon
    itself, so the ratio of the areas is the share of the hull that is covered.

    Args:
        points: ``[N, n, 2]``.
        predicted: ``[N, L]``, int64, 1-based, 0 to stop.
        target: ``[N, M]``, int64, 1-based, 0 to stop.
        lengths: Numbers of points ``[N]``, where they differ.
        fail_threshold: Largest share of predictions that may be no simple polygon.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: Shapes do not fit, or there are no rows.
    """
    check_rows("hull_area", predicted, target, ("predicted", "target"))
    if len(predicted) == 0:
        raise ValueError("hull_area: there are no predictions; pass at least one row")
    simple = simple_polygons(points, predicted, lengths)
    share = float(simple.double().mean())
    # Counted rather than as 1 - share, which rounds.
    failed = int((~simple).sum()) > fail_threshold * len(simple) or not bool(simple.any())
    if failed:
        return HullArea(math.nan, share, True)
    chosen = simple.nonzero()[:, 0]
    area, true = (polygon_areas(points[chosen], loops[chosen]) for loops in (predicted, target))
    return HullArea(float((area / true).mean()), share, False)
