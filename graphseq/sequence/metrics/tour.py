"""Scores of predicted tours (Vinyals, Fortunato, Jaitly 2015, "Pointer Networks").

A prediction is a row of 1-based pointers that ends at the stop symbol 0. The first city may be
repeated at the end, as the paper's own data have it, or not: tours are closed in any case.
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


class TourScores(NamedTuple):
    """What predicted tours are worth.

    Args:
        length: Mean length of the valid predictions; NaN where there is none.
        valid: Share of the predictions that visit every city once.
        gap: Mean over the valid predictions of their length over the reference's, less 1.
        reference: Mean length of all reference tours.
    """

    length: float
    valid: float
    gap: float
    reference: float


def valid_tours(points: Tensor, predicted: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Which predictions visit every city once.

    Args:
        points: ``[N, n, 2]``.
        predicted: ``[N, L]``, int64, 1-based, 0 to stop.
        lengths: Numbers of cities ``[N]``, where they differ.

    Shape:
        ``[N]``, bool.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: Shapes do not fit.
    """
    check_points("valid_tours", points)
    check_rows("valid_tours", points, predicted, ("points", "predicted"))
    loops, count = read_loops("valid_tours", "predicted", predicted)
    size = sizes_of(points, lengths)
    # As many different cities as there are, and none beyond the last.
    return (count == size) & (loops <= size[:, None]).all(1) & distinct(loops)


def loop_lengths(points: Tensor, predicted: Tensor) -> Tensor:
    """Lengths ``[N]`` of the closed loops through the predicted cities, float64.

    Args:
        points: ``[N, n, 2]``.
        predicted: ``[N, L]``, int64, 1-based, 0 to stop. Loops need not be valid tours; what is
            beyond n counts as city n.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: Shapes do not fit.
    """
    check_points("loop_lengths", points)
    check_rows("loop_lengths", points, predicted, ("points", "predicted"))
    loops, _ = read_loops("loop_lengths", "predicted", predicted)
    # Behind the last city the first is repeated: the way back, then steps of length 0.
    stops = coordinates(points, torch.where(loops > 0, loops, loops[:, :1]))
    return (stops.roll(-1, 1) - stops).norm(dim=-1).sum(1)


def tour_scores(
    points: Tensor, predicted: Tensor, target: Tensor, *, lengths: Tensor | None = None
) -> TourScores:
    """Length, validity and gap of predicted tours.

    Args:
        points: ``[N, n, 2]``.
        predicted: ``[N, L]``, int64, 1-based, 0 to stop.
        target: ``[N, M]``, reference tours of the same form; the gap is the one to the optimum
            where these are optimal.
        lengths: Numbers of cities ``[N]``, where they differ.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: Shapes do not fit, or a reference is no tour.
    """
    if not bool(valid_tours(points, target, lengths).all()):
        wrong = int((~valid_tours(points, target, lengths)).nonzero()[0, 0])
        raise ValueError(f"tour_scores: target {wrong} is no tour; visit every city once")
    reference = loop_lengths(points, target)
    valid = valid_tours(points, predicted, lengths)
    found = loop_lengths(points, predicted)[valid]
    return TourScores(
        length=float(found.mean()) if len(found) else math.nan,
        valid=float(valid.double().mean()),
        gap=float((found / reference[valid] - 1).mean()) if len(found) else math.nan,
        reference=float(reference.mean()),
    )
