"""Mean training losses, and the watch for values that are not finite."""

import math
from typing import NamedTuple

from torch import Tensor

_WAIT = 32  # values on a GPU between two looks; each look waits for the device


class _Value(NamedTuple):
    where: tuple[str, int, int]
    what: str
    unit: str
    value: Tensor
    step: bool | None  # of a loss: whether it ends a step; None is no loss


class LossMeter:
    """Adds up the losses of an epoch and stops the run at the first one that is not finite.

    The loss of a step is the sum of its parts, as its gradient is. It counts in the epoch in which
    the step is made.

    On the CPU a value is looked at before its backward pass. On a GPU looking means waiting for
    the device, so values are looked at a few dozen at a time, and always before anything is kept.
    """

    def __init__(self) -> None:
        self.sums: dict[str, list[float]] = {}  # unit -> [sum, steps] of this rank's epoch so far
        self.parts: dict[str, float] = {}  # unit -> sum over the parts of a step still to be made
        self.where = ("", 0, 0)  # stage, epoch and batch, counted from 1, for errors
        self._waiting: list[_Value] = []

    def add(self, unit: str, loss: Tensor, step: bool = True) -> None:
        """Count a loss of ``unit``; ``step`` False is a part of a step that others end."""
        self._put("the loss", unit, loss, step)

    def check_norm(self, unit: str, norm: Tensor) -> None:
        """Watch a gradient norm of ``unit``."""
        self._put("the gradient norm", unit, norm, None)

    def _put(self, what: str, unit: str, value: Tensor, step: bool | None) -> None:
        self._waiting.append(_Value(self.where, what, unit, value.detach(), step))
        if not value.is_cuda or len(self._waiting) >= _WAIT:
            self.flush()

    def flush(self) -> None:
        """Look at everything that waits.

        Raises:
            FloatingPointError: Names stage, epoch and batch of the first value that is not finite.
        """
        waiting, self._waiting = self._waiting, []
        for entry in waiting:
            number = entry.value.item()
            if not math.isfinite(number):
                stage, epoch, batch = entry.where
                raise FloatingPointError(
                    f"fit: {entry.what} of unit {entry.unit!r} is {number} in stage {stage!r}, "
                    f"epoch {epoch}, batch {batch}; lower the learning rate or set max_norm"
                )
            if entry.step is not None:
                self._count(entry.unit, number, entry.step)

    def _count(self, unit: str, number: float, step: bool) -> None:
        number += self.parts.pop(unit, 0.0)
        if step:
            total = self.sums.setdefault(unit, [0.0, 0])
            total[0] += number
            total[1] += 1
        else:
            self.parts[unit] = number

    def take(self) -> dict[str, float]:
        """The means over the epoch's steps: ``train/loss``, by unit if there are several.

        The columns of units are ``train/loss/UNIT``. Starts the next epoch.
        """
        self.flush()
        row: dict[str, float] = {}
        if self.sums:
            total, count = (sum(column) for column in zip(*self.sums.values(), strict=True))
            row["train/loss"] = total / count
        if len(self.sums) > 1:
            row |= {f"train/loss/{unit}": s / n for unit, (s, n) in self.sums.items()}
        self.sums.clear()
        return row
