"""Rules that end a stage early."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphseq.training.progress import Progress
from graphseq.training.stage import Stage


@dataclass(frozen=True)
class WindowMean:
    """Stop when a metric exceeds the mean of its previous values: DAGNN's rule for small graphs.

    After more than ``after`` epochs, stop as soon as ``metric`` of the current epoch exceeds the
    mean of its ``window`` values before that (of fewer, while there are fewer).

    Source: the training protocol of "Towards Deeper Graph Neural Networks" (KDD 2020), which stops
    after half of its 1,000 epochs with a window of 100. The weights kept are those of the lowest
    validation loss, which is what ``monitors=("val/loss",)`` does.

    Args:
        window: Number of earlier values to average.
        after: Number of epochs before the rule applies.
        metric: Column of the history.

    Raises:
        ValueError: If ``window < 1`` or ``after < 0``.
    """

    window: int = 100
    after: int = 500
    metric: str = "val/loss"

    def __post_init__(self) -> None:
        if self.window < 1 or self.after < 0:
            raise ValueError(
                f"WindowMean: need window >= 1 and after >= 0, got {self.window} and {self.after}"
            )

    def __call__(self, history: Sequence[Mapping[str, Any]]) -> bool:
        """Whether to stop after the last row of ``history``."""
        if not history or history[-1]["epoch"] <= self.after or self.metric not in history[-1]:
            return False
        before: list[float] = []
        for row in reversed(history[:-1]):
            if len(before) == self.window:
                break
            if self.metric in row:
                before.append(row[self.metric])
        return bool(before) and history[-1][self.metric] > sum(before) / len(before)


@dataclass(frozen=True)
class Reached:
    """Stop as soon as a metric is above a value: what is solved needs no more training.

    Args:
        metric: Column of the history, for example ``val/acc``.
        value: The value to exceed.
    """

    metric: str
    value: float

    def __call__(self, history: Sequence[Mapping[str, Any]]) -> bool:
        """Whether to stop after the last row of ``history``."""
        return bool(history) and history[-1].get(self.metric, -math.inf) > self.value


def stop_reason(stage: Stage, progress: Progress) -> str | None:
    """Why a stage is over: ``"budget"``, ``"patience"``, ``"stop"``, or ``None`` while it is not.

    Decided anew from the record each time, never stored. So a run that is resumed with more epochs
    or more patience goes on, and one whose rule still says stop stays stopped.

    Args:
        stage: The stage with its budget applied.
        progress: The place in it, and its history.
    """
    if progress.epoch >= stage.epochs:
        return "budget"
    if stage.patience is not None and progress.stale >= stage.patience:
        return "patience"
    if stage.stop is not None:
        rows = progress.rows
        if rows and stage.monitors[0] in rows[-1] and stage.stop(rows):
            return "stop"
    return None
