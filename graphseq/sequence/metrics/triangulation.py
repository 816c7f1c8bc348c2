"""Scores of predicted Delaunay triangulations (Vinyals, Fortunato, Jaitly 2015).

A prediction is a row of 1-based pointers that ends at the stop symbol 0, read three by three; an
incomplete last triple is dropped. Neither the order of triangles nor that of corners matters.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from graphseq.sequence.metrics.loops import check_rows, read_pointers


class TriangleCounts(NamedTuple):
    """Numbers of different triangles per instance, each ``[N]`` int64.

    Args:
        common: Predicted and true.
        predicted: Predicted, a triple with a repeated corner included.
        target: True.
    """

    common: Tensor
    predicted: Tensor
    target: Tensor


def triangle_counts(predicted: Tensor, target: Tensor) -> TriangleCounts:
    """How many triangles are predicted, are true, and are both.

    Args:
        predicted: ``[N, L]``, int64, 1-based, 0 to stop.
        target: ``[N, M]``, int64, 1-based, 0 to stop.

    Raises:
        TypeError: An argument is no int64 tensor.
        ValueError: Shapes do not fit, or numbers of triangles would overflow.
    """
    where = "triangle_counts"
    check_rows(where, predicted, target, ("predicted", "target"))
    base = 1 + max(int(rows.max()) if rows.numel() else 0 for rows in (predicted, target))
    if len(target) * base**3 >= 2**63:
        raise ValueError(
            f"{where}: {len(target)} rows with pointers up to {base - 1} are too many to number "
            "their triangles; pass fewer rows at a time"
        )
    first = _triangles(where, "predicted", predicted, base).unique()
    second = _triangles(where, "target", target, base).unique()
    common = first[torch.isin(first, second, assume_unique=True)]
    return TriangleCounts(
        *(torch.bincount(k // base**3, minlength=len(target)) for k in (common, first, second))
    )


def _triangles(where: str, name: str, pointers: Tensor, base: int) -> Tensor:
    """A number for every triangle: the digits of instance and corners, in the given base."""
    count = read_pointers(where, name, pointers)
    whole = pointers.shape[1] // 3
    corners = pointers[:, : 3 * whole].unflatten(1, (whole, 3)).sort(2).values
    kept = torch.arange(whole, device=pointers.device) < (count // 3)[:, None]
    instance = kept.nonzero()[:, 0]
    a, b, c = corners[kept].unbind(1)
    return ((instance * base + a) * base + b) * base + c


def triangulation_accuracy(predicted: Tensor, target: Tensor) -> float:
    """Share of the predictions whose set of triangles is the true one."""
    counts = triangle_counts(predicted, target)
    right = (counts.common == counts.target) & (counts.predicted == counts.target)
    return float(right.double().mean())


def triangle_coverage(predicted: Tensor, target: Tensor) -> float:
    """Share of an instance's true triangles that are predicted, mean over the instances."""
    counts = triangle_counts(predicted, target)
    return float((counts.common.double() / counts.target).mean())
