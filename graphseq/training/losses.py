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
    counted: bool


class LossMeter:
    """Adds up the losses of an epoch and stops the run at the first one that is not finite.

    On the CPU a value is looked at before its backward pass. On a GPU looking means waiting for
    the device, so values are looked at a few dozen at a time, and always before anything is kept.
    """

    def __init__(self) -> None:
        self.sums: dict[str, list[float]] = {}  # unit -> [sum, count] of this rank's epoch so far
        self.where = ("", 0, 0)  # stage, epoch and batch, counted from 1, for errors
        self._waiting: list[_Value] = []

    def add(self, unit: str, loss: Tensor) -> None:
        """Count a loss of ``unit``."""
        self._put("the loss", unit, loss, counted=True)

    def check_norm(self, unit: str, norm: Tensor) -> None:
        """Watch a gradient norm of ``unit``."""
        self._put("the gradient norm", unit, norm, counted=False)

    def _put(self, what: str, unit: str, value: Tensor, counted: bool) -> None:
        self._waiting.append(_Value(self.where, what, unit, value.detach(), counted))
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
            if entry.counted:
                total = self.sums.setdefault(entry.unit, [0.0, 0])
                total[0] += number
                total[1] += 1

    def take(self) -> dict[str, float]:
        """The means of the epoch: ``train/loss``, and ``train/loss/UNIT`` if there are several.

        Starts the next epoch.
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
