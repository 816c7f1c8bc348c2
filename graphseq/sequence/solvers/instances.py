"""The inputs of the solvers: points or distances, checked once, read in blocks of instances."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# Points and distances: a tensor on any device, or an array.
Values = Tensor | np.ndarray

_BLOCK_BYTES = 2**24  # distances of a block of instances
_LARGEST = 1e150  # squares of coordinates must stay finite
_SYMMETRIC = 1e-6  # asymmetry that is taken for rounding, relative to the largest distance


@dataclass(frozen=True, eq=False)
class Instances:
    """A batch of travelling-salesman instances of equal size.

    Args:
        points: ``[B, n, 2]`` float64, or None.
        given: distances ``[B, n, n]`` float64, where there are no points.
    """

    points: np.ndarray | None
    given: np.ndarray | None

    @property
    def shape(self) -> tuple[int, int]:
        """Number of instances and of cities."""
        data = self.points if self.points is not None else self.given
        assert data is not None
        return data.shape[0], data.shape[1]

    def distances(self, rows: slice) -> np.ndarray:
        """Distances ``[b, n, n]`` of some instances: float64, symmetric, zero on the diagonal."""
        if self.points is not None:
            x, y = self.points[rows, :, 0], self.points[rows, :, 1]
            square = (x[:, :, None] - x[:, None, :]) ** 2
            square += (y[:, :, None] - y[:, None, :]) ** 2
            return np.sqrt(square, out=square)
        assert self.given is not None
        half = self.given[rows] / 2
        out: np.ndarray = half + half.transpose(0, 2, 1)
        city = np.arange(out.shape[1])
        out[:, city, city] = 0
        return out

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Rows and distances, block by block, so that memory does not grow with B."""
        num, cities = self.shape
        step = max(1, _BLOCK_BYTES // (8 * cities * cities))
        for begin in range(0, num, step):
            rows = slice(begin, min(begin + step, num))
            yield rows, self.distances(rows)


def read_instances(
    where: str,
    points: Values | None,
    distances: Values | None,
    most: int,
    *,
    batch: bool = True,
    instead: str = "",
) -> Instances:
    """The instances that the caller gave as points or as distances.

    Args:
        where: name of the solver, for errors.
        points: ``[B, n, 2]``, or ``[n, 2]`` without ``batch``.
        distances: ``[B, n, n]``, or ``[n, n]`` without ``batch``.
        most: largest n that the solver takes.
        batch: whether there is a dimension of instances.
        instead: solvers to name where n is larger.

    Raises:
        TypeError: an argument is neither tensor nor array, or not real; none or both were given.
        ValueError: a shape is wrong, n is out of range, a number is NaN, infinite or too large, a
            distance is negative, or distances are not symmetric.
    """
    if (points is None) == (distances is None):
        given = "neither" if points is None else "both"
        raise TypeError(f"{where}: pass either points or distances, got {given}")
    if points is not None:
        out = read_points(where, points, batch=batch)
        check_size(where, "points", out.shape[-2], most, instead)
        return Instances(out if batch else out[None], None)
    assert distances is not None
    out = _read_distances(where, distances, batch)
    check_size(where, "distances", out.shape[-1], most, instead)
    return Instances(None, out if batch else out[None])


def read_points(where: str, points: Values, batch: bool) -> np.ndarray:
    """Points as a contiguous float64 array ``[B, n, 2]`` or, without ``batch``, ``[n, 2]``.

    Raises:
        TypeError: they are neither tensor nor array, or not real numbers.
        ValueError: their shape is wrong, or a coordinate is NaN, infinite or beyond 1e150.
    """
    out = to_array(where, "points", points)
    wanted = "[B, n, 2]" if batch else "[n, 2]"
    if out.ndim != 2 + batch or out.shape[-1] != 2:
        hint = "; a batch of one is points[None]" if batch and out.ndim == 2 else ""
        raise ValueError(f"{where}: points have shape {out.shape}, expected {wanted}{hint}")
    if out.size and not np.abs(out).max() <= _LARGEST:  # NaN compares false
        raise ValueError(
            f"{where}: points hold NaN, infinity or a coordinate beyond {_LARGEST}; remove or "
            "rescale them"
        )
    return out


def _read_distances(where: str, distances: Values, batch: bool) -> np.ndarray:
    out = to_array(where, "distances", distances)
    wanted = "[B, n, n]" if batch else "[n, n]"
    if out.ndim != 2 + batch or out.shape[-1] != out.shape[-2]:
        hint = "; a batch of one is distances[None]" if batch and out.ndim == 2 else ""
        raise ValueError(f"{where}: distances have shape {out.shape}, expected {wanted}{hint}")
    if out.size == 0:
        return out
    largest = out.max()
    if not (out.min() >= 0 and largest <= _LARGEST):
        raise ValueError(
            f"{where}: distances must be finite, 0 or more and at most {_LARGEST}; remove NaN and "
            "infinity, shift or rescale"
        )
    if np.abs(out - out.swapaxes(-1, -2)).max() > _SYMMETRIC * largest:
        raise ValueError(
            f"{where}: distances are not symmetric; pass (d + d.mT) / 2 if the direction does not "
            "matter"
        )
    return out


def to_array(where: str, name: str, values: Values) -> np.ndarray:
    """A contiguous float64 array on the CPU.

    Raises:
        TypeError: the values are neither tensor nor array, or not real numbers.
    """
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        values = (values.double() if values.is_floating_point() else values).numpy()
    if not isinstance(values, np.ndarray):
        raise TypeError(
            f"{where}: {name} is a {type(values).__name__}; pass a tensor or array, "
            f"torch.tensor({name})"
        )
    if values.dtype.kind not in "fiu":
        raise TypeError(f"{where}: {name} has dtype {values.dtype}; pass real numbers")
    return np.ascontiguousarray(values, dtype=np.float64)


def check_size(where: str, name: str, size: int, most: int, instead: str = "") -> None:
    """Refuses instances without cities or with more than ``most``.

    Raises:
        ValueError: saying the range, and for large instances what to use instead.
    """
    if not 1 <= size <= most:
        remedy = f"; use {instead} for more" if instead and size > most else ""
        raise ValueError(
            f"{where}: {name} have n = {size} cities, but n must lie in 1 .. {most}{remedy}"
        )


def read_lengths(
    where: str, lengths: Tensor | None, shape: tuple[int, ...], least: int
) -> np.ndarray:
    """How many of the points ``[B, n, 2]`` of that shape count: ``[B]`` in ``least .. n``.

    Raises:
        TypeError: lengths are no tensor of whole numbers.
        ValueError: their shape is wrong or one is out of range.
    """
    num, width = shape[:2]
    if lengths is None:
        return np.full(num, width, dtype=np.int64)
    if not isinstance(lengths, Tensor) or lengths.dtype not in (torch.int32, torch.int64):
        kind = lengths.dtype if isinstance(lengths, Tensor) else type(lengths).__name__
        raise TypeError(f"{where}: lengths must be an int64 tensor, got {kind}; use lengths.long()")
    read: np.ndarray = lengths.cpu().numpy().astype(np.int64)
    if read.shape != (num,):
        raise ValueError(f"{where}: lengths have shape {read.shape}, expected [{num}]")
    if num and not least <= read.min() <= read.max() <= width:
        raise ValueError(
            f"{where}: lengths must lie in {least} .. {width}, the number of points in a row; got "
            f"{read.min()} .. {read.max()}"
        )
    return read
