"""Sets of points in the plane with a sequence of pointers to them each, checked once."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor

from graphseq.sequence.data.checks import (
    check_finite,
    check_integers,
    check_lengths,
    check_size,
    check_splits,
    check_tensor,
    digest,
)
from graphseq.sequence.data.sequence_data import IGNORED

STOP = 0
"""The pointer that ends every target; points are counted from 1."""

Kind = Literal["hull", "delaunay", "tour"]
_PIECE = 1 << 22  # pointers counted together


class PointBatch(NamedTuple):
    """Some instances, without the padding that none of them needs.

    Args:
        points: ``[B, n, 2]``, float32.
        targets: ``[B, m]``, int64, -100 behind the stop symbol.
        lengths: ``[B]``, int64.
    """

    points: Tensor
    targets: Tensor
    lengths: Tensor


@dataclass(frozen=True, eq=False)
class PointSets:
    """A geometric problem to solve by pointing at the input (Vinyals et al. 2015).

    Everything is checked at construction. Pointers are 1-based, and 0 ends a target:

    - ``"hull"``: corners of the convex hull, the first one repeated at the end
    - ``"delaunay"``: the triangles of a triangulation, three increasing pointers each
    - ``"tour"``: all cities in order of visit, the first one repeated at the end

    Args:
        points: Coordinates; what lies behind an instance's length is padding.
        targets: Pointers, closed by the stop symbol 0, then -100 up to the common length.
        train: Instances to learn from.
        val: Instances that choose the epoch and the hyper-parameters.
        test: Instances that are only scored.
        kind: What the targets are.
        lengths: True number of points of each instance; None where all have n.
        name: Shown in tables and error messages.

    Shape:
        - points: ``[N, n, 2]``, float32
        - targets: ``[N, M]``, int64
        - train, val, test: ``[number of instances in the split]``, int64, without repetitions and
          without common instances
        - lengths: ``[N]``, int64, in ``3 .. n``

    Raises:
        TypeError: An argument has the wrong type or dtype.
        ValueError: Shapes do not fit together, a coordinate is not finite, a pointer is out of
            range, a target is no closed loop, list of triangles or tour or does not stop, or a
            split is empty, repeats instances or shares some with another.
    """

    points: Tensor
    targets: Tensor
    train: Tensor
    val: Tensor
    test: Tensor
    kind: Kind
    lengths: Tensor | None = None
    name: str = "points"

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(
                f"{self.name}: kind is {self.kind!r}; pass one of {', '.join(get_args(Kind))}"
            )
        points = check_tensor(self.name, "points", self.points)
        if points.dtype != torch.float32:
            raise TypeError(
                f"{self.name}: points must be float32, got {points.dtype}; use points.float()"
            )
        if points.dim() != 3 or points.shape[2] != 2 or len(points) == 0 or points.shape[1] < 3:
            raise ValueError(
                f"{self.name}: points must be [N, n, 2] with 3 points or more, got shape "
                f"{tuple(points.shape)}; reshape or fill them"
            )
        check_finite(self.name, "points", points)
        check_integers(self.name, "targets", self.targets, "[N, M]")
        if len(self.targets) != len(points):
            raise ValueError(
                f"{self.name}: targets has {len(self.targets)} rows, points has {len(points)}; "
                "give one each"
            )
        if self.lengths is not None:
            check_lengths(self.name, "lengths", self.lengths, len(points), points.shape[1])
            least = int(self.lengths.argmin())
            if (size := int(self.lengths[least])) < 3:
                raise ValueError(f"{self.name}: instance {least} has {size} points; leave it out")
        rows = torch.arange(len(points), device=points.device)
        for piece in rows.split(max(1, _PIECE // (self.targets.shape[1] + points.shape[1]))):
            self._check_targets(piece)
        check_splits(self.name, self.splits, len(points))

    def _check_targets(self, rows: Tensor) -> None:
        targets, sizes = self.targets[rows], self.num_points[rows]
        count = (targets != IGNORED).sum(1)
        steps = torch.arange(targets.shape[1], device=targets.device)
        written = steps < (count - 1)[:, None]
        pointing = (targets >= 1) & (targets <= sizes[:, None])
        last = targets.gather(1, (count - 1).clamp(min=0)[:, None])[:, 0]
        self._refuse(
            rows,
            (written != pointing).any(1) | (last != STOP),
            f"must point at 1 .. n, stop with one {STOP}, and have {IGNORED} only behind it",
        )
        if self.kind == "delaunay":
            self._check_triangles(rows, targets, count - 1)
            return
        closed = (count >= 5) & (
            targets.gather(1, (count - 2).clamp(min=0)[:, None])[:, 0] == targets[:, 0]
        )
        self._refuse(rows, ~closed, "must be a loop that repeats its first pointer before the stop")
        times = torch.zeros(len(rows), self.points.shape[1] + 1, device=targets.device)
        inner = (steps < (count - 2)[:, None]).float()
        times.scatter_add_(1, targets.clamp(min=0), inner)
        self._refuse(rows, times.amax(1) > 1, "must not come to a point twice but to close")
        if self.kind == "tour":
            self._refuse(rows, times.sum(1) != sizes, "must visit every point")

    def _check_triangles(self, rows: Tensor, targets: Tensor, count: Tensor) -> None:
        self._refuse(rows, (count % 3 != 0) | (count == 0), "must have three pointers a triangle")
        whole = targets.shape[1] // 3
        corners = targets[:, : 3 * whole].unflatten(1, (whole, 3))
        inside = torch.arange(whole, device=targets.device) < (count // 3)[:, None]
        unsorted = (corners.diff(dim=2) <= 0).any(2) & inside
        self._refuse(rows, unsorted.any(1), "must write each triangle with increasing pointers")

    def _refuse(self, rows: Tensor, wrong: Tensor, rule: str) -> None:
        if bool(wrong.any()):
            row = int(rows[wrong.nonzero()[0, 0]])
            start = self.targets[row, :12].tolist()
            raise ValueError(
                f"{self.name}: target {row} of kind {self.kind!r} {rule}; it begins {start}"
            )

    @property
    def num_points(self) -> Tensor:
        """True number of points of each instance ``[N]``, where all are equal too."""
        if self.lengths is not None:
            return self.lengths
        return self.targets.new_full((len(self.points),), self.points.shape[1])

    @cached_property
    def target_lengths(self) -> Tensor:
        """Number of pointers of each target, the stop symbol included, ``[N]``."""
        return (self.targets != IGNORED).sum(1)

    @property
    def splits(self) -> dict[str, Tensor]:
        """The three splits by name."""
        return {"train": self.train, "val": self.val, "test": self.test}

    @property
    def dims(self) -> dict[str, int]:
        """The sizes that a model's constructor needs."""
        return {"in_channels": 2, "max_points": int(self.points.shape[1])}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over all points, targets, splits and the kind: equal for equal data."""
        tensors = {"points": self.points, "lengths": self.lengths, "targets": self.targets}
        return digest((self.kind,), {**tensors, **self.splits})

    def to(self, device: torch.device | str) -> PointSets:
        """The same data with every tensor on ``device``; itself where all is there already."""
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        moved: dict[str, Any] = {
            name: part.to(device) for name, part in parts.items() if isinstance(part, Tensor)
        }
        same = all(part is parts[name] for name, part in moved.items())
        return self if same else replace(self, **moved)

    def summary(self) -> dict[str, int | str]:
        """Name, sizes and fingerprint, for tables and for what is written beside a run."""
        return {
            "name": self.name,
            "kind": self.kind,
            "num_instances": len(self.points),
            "min_points": int(self.num_points.min()),
            "max_points": int(self.points.shape[1]),
            "max_target_length": int(self.targets.shape[1]),
            **{split: rows.numel() for split, rows in self.splits.items()},
            "fingerprint": self.fingerprint,
        }

    def take(self, rows: Tensor) -> PointBatch:
        """Some instances, cut to the most points and the longest target among them."""
        lengths, written = self.num_points[rows], self.target_lengths[rows]
        most, longest = (int(sizes.max()) if len(rows) else 0 for sizes in (lengths, written))
        return PointBatch(self.points[rows, :most], self.targets[rows, :longest], lengths)

    def buckets(
        self, rows: Tensor, batch_size: int, generator: torch.Generator | None = None
    ) -> list[Tensor]:
        """Batches of instances with equally many points, targets of similar length together.

        No batch has points to pad, and little of the targets is padding. The last batch of each
        number of points may be smaller.

        Args:
            rows: Instances to divide, int64.
            batch_size: Largest number of instances in a batch.
            generator: The batches are a function of its state; None: fixed, from small to large.

        Returns:
            Instances of each batch; together they are ``rows``.

        Raises:
            TypeError: ``batch_size`` is no whole number.
            ValueError: It is below 1.
        """
        check_size(f"{self.name}.buckets", "batch_size", batch_size)
        if generator is not None:
            order = torch.randperm(len(rows), generator=generator, device=generator.device)
            rows = rows[order.to(rows.device)]
        sizes, written = self.num_points[rows], self.target_lengths[rows]
        rows = rows[(sizes * (self.targets.shape[1] + 1) + written).argsort(stable=True)]
        groups = sizes.bincount().tolist()
        batches = [
            batch for group in rows.split(groups) if len(group) for batch in group.split(batch_size)
        ]
        if generator is None:
            return batches
        order = torch.randperm(len(batches), generator=generator, device=generator.device)
        return [batches[place] for place in order.tolist()]
