"""Tours: an answer, its length, and the one order that stands for all equal ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from graphseq.sequence.solvers.instances import Instances, Values, read_instances

_MANY = 2**31  # no limit of their own


@dataclass(frozen=True, eq=False)
class Tour:
    """A closed tour through all cities of one instance, and what is known about it.

    Args:
        order: ``[n]`` int64, the cities in order of visit, in the form of :func:`canonical_order`:
            city 0 first, the second city lower than the last. The way back to city 0 is not
            written.
        length: of the closed tour.
        proved_optimal: whether no tour is shorter, up to rounding.
        lower_bound: a number that no tour undercuts; ``length`` where optimality is proved.
        solver: name of what found it.
    """

    order: Tensor
    length: float
    proved_optimal: bool
    lower_bound: float
    solver: str

    @property
    def gap(self) -> float:
        """How much longer than the lower bound the tour is at most, as a fraction of the bound."""
        excess = self.length - self.lower_bound
        return 0.0 if excess <= 0 else excess / self.lower_bound if self.lower_bound else np.inf


class Tours(NamedTuple):
    """Tours of a batch of instances.

    Args:
        orders: ``[B, n]`` int64, in the form of :func:`canonical_order`.
        lengths: ``[B]`` float64.
    """

    orders: Tensor
    lengths: Tensor


def tour_length(
    orders: Tensor, points: Values | None = None, *, distances: Values | None = None
) -> Tensor:
    """Length of closed tours, in float64.

    Args:
        orders: ``[B, n]``, or ``[n]`` for a single instance; each row has every city once.
        points: ``[B, n, 2]`` or ``[n, 2]``.
        distances: ``[B, n, n]`` or ``[n, n]``, in place of points.

    Shape:
        orders ``[B, n]`` -> ``[B]``, orders ``[n]`` -> ``[]``.

    Raises:
        TypeError: orders are no int64 tensor, or points and distances are both or neither given.
        ValueError: a row of ``orders`` is no permutation, or shapes do not fit.
    """
    where = "tour_length"
    if not isinstance(orders, Tensor) or orders.dtype != torch.int64:
        kind = orders.dtype if isinstance(orders, Tensor) else type(orders).__name__
        raise TypeError(f"{where}: orders must be an int64 tensor, got {kind}; use orders.long()")
    if orders.dim() not in (1, 2):
        raise ValueError(
            f"{where}: orders have shape {tuple(orders.shape)}, expected [n] or [B, n]"
        )
    batch = orders.dim() == 2
    instances = read_instances(where, points, distances, _MANY, batch=batch)
    rows = np.atleast_2d(orders.cpu().numpy())
    check_orders(where, rows, instances)
    lengths = torch.from_numpy(lengths_of(rows, instances))
    return lengths if batch else lengths[0]


def check_orders(where: str, orders: np.ndarray, instances: Instances) -> None:
    """Refuses orders that are not one permutation of the cities for each instance.

    Raises:
        ValueError: naming the shape or the row.
    """
    if orders.shape != instances.shape:
        raise ValueError(
            f"{where}: orders have shape {orders.shape}, but there are {instances.shape[0]} "
            f"instances of {instances.shape[1]} cities"
        )
    wrong = (np.sort(orders, axis=1) != np.arange(orders.shape[1])).any(axis=1)
    if wrong.any():
        raise ValueError(
            f"{where}: row {int(wrong.argmax())} of orders is no permutation of 0 .. "
            f"{orders.shape[1] - 1}; visit every city once and leave out the way back"
        )


def lengths_of(orders: np.ndarray, instances: Instances) -> np.ndarray:
    """Lengths ``[B]`` of orders ``[B, n]`` that were checked."""
    after = np.roll(orders, -1, axis=1)
    if instances.points is not None:
        row = np.arange(len(orders))[:, None]
        step = instances.points[row, after] - instances.points[row, orders]  # [B, n, 2]
        out: np.ndarray = np.sqrt((step**2).sum(axis=2)).sum(axis=1)
        return out
    out = np.empty(len(orders))
    for rows, distances in instances.blocks():
        row = np.arange(len(distances))[:, None]
        out[rows] = distances[row, orders[rows], after[rows]].sum(axis=1)
    return out


def canonical_order(orders: Tensor) -> Tensor:
    """The same closed tours, from city 0 in the direction in which the second city is lower.

    A tour of n cities can be written in 2n ways; this is one of them, so that equal tours are
    equal tensors.

    Args:
        orders: ``[..., n]`` int64 permutations.
    """
    return torch.from_numpy(canonical(orders.cpu().numpy())).to(orders.device)


def canonical(orders: np.ndarray) -> np.ndarray:
    """:func:`canonical_order` of an array."""
    size = orders.shape[-1]
    start = orders.argmin(axis=-1)[..., None]
    ahead = np.take_along_axis(orders, (start + np.arange(size)) % size, axis=-1)
    back = np.take_along_axis(orders, (start - np.arange(size)) % size, axis=-1)
    if size < 3:
        return ahead
    return np.where(ahead[..., 1:2] < ahead[..., -1:], ahead, back)


def as_tours(orders: np.ndarray, instances: Instances) -> Tours:
    """The answer of a solver of batches, from orders that start anywhere in any direction."""
    orders = canonical(orders.astype(np.int64, copy=False))
    return Tours(torch.from_numpy(orders), torch.from_numpy(lengths_of(orders, instances)))
