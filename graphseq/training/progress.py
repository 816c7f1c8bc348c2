"""How far a run is, and what it returns: everything about it that is not a weight."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphseq.training.stage import Stage
from graphseq.training.state import State


@dataclass
class Progress:
    """The place of a run and its record; stored in every checkpoint.

    Args:
        stage: Index of the current stage.
        epoch: Epochs done in this stage.
        batch: Batches done in this epoch.
        epochs_run: Epochs done in all stages.
        stale: Evaluations of this stage since its first monitor last improved.
        first_row: Index in ``history`` where this stage begins.
        seconds: Wall-clock time so far, over all sessions; pauses inside one are included.
        training_seconds: The part of it spent in epochs and their evaluations.
        history: A row per epoch.
        best: Monitor -> best ``value`` of this stage, its ``epoch`` and its ``weights``.
    """

    stage: int = 0
    epoch: int = 0
    batch: int = 0
    epochs_run: int = 0
    stale: int = 0
    first_row: int = 0
    seconds: float = 0.0
    training_seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """History of this stage."""
        return self.history[self.first_row :]

    def require_within(self, stages: Sequence[Stage]) -> None:
        """Check that a resumed run has not yet done more than it is now allowed.

        Raises:
            ValueError: If it has.
        """
        stage, done = stages[self.stage], self.epoch + (self.batch > 0)
        if done > stage.epochs:
            raise ValueError(
                f"fit: the checkpoint is in epoch {done} of stage {stage.name!r}, beyond the "
                f"budget of {stage.epochs}; allow more epochs, or start again in another folder"
            )

    def start_next_stage(self) -> None:
        """Forget what belonged to the stage that is over."""
        self.stage += 1
        self.epoch = self.batch = self.stale = 0
        self.first_row = len(self.history)
        self.best = {}

    def keep_best(self, stage: Stage, row: dict[str, Any], copy: Callable[[], State]) -> None:
        """Compare an evaluation with the best so far: strictly better replaces it.

        Args:
            stage: The stage, which knows the monitors and which way each improves.
            row: The row of the history with the evaluation.
            copy: Makes a copy of the weights; called at most once.

        Raises:
            ValueError: If a monitor is not in ``row``.
            FloatingPointError: If a monitor is nan.
        """
        weights: State | None = None
        for monitor in stage.monitors:
            value = row.get(monitor)
            where = f"stage {stage.name!r}, epoch {row['epoch']}"
            if value is None:
                known = [key for key in row if "/" in key]
                raise ValueError(f"fit: no monitor {monitor!r} in {where}; there are {known}")
            if math.isnan(value):
                raise FloatingPointError(
                    f"fit: the monitor {monitor!r} is nan in {where}; check Task.metrics"
                )
            best = self.best.get(monitor)
            if best is None or _better(value, best["value"], stage.lower(monitor)):
                weights = weights or copy()
                self.best[monitor] = {"value": value, "epoch": row["epoch"], "weights": weights}
                improved = True
            else:
                improved = False
            if monitor == stage.monitors[0]:
                self.stale = 0 if improved else self.stale + 1


def _better(value: float, best: float, lower: bool) -> bool:
    return value < best if lower else value > best


@dataclass(frozen=True)
class FitResult:
    """What :func:`fit` returns.

    Args:
        metrics: ``"val/..."`` and ``"test/..."`` with the best weights of the last stage's first
            monitor; with those of a further monitor as ``"test/acc@val/acc"``.
        history: A row per epoch: ``"stage"``, ``"epoch"`` (from 1), ``"train/loss"``, the
            validation metrics where it was evaluated, ``"seconds"`` since the start.
        best_epoch: Epoch of the last stage whose weights these are.
        epochs_run: Epochs done in all stages.
        seconds: Wall-clock time of all sessions together; pauses inside one are included.
        seconds_per_epoch: Mean time of an epoch with its evaluation.
        peak_memory_mb: Peak memory in MiB during the last session, see
            :func:`~graphseq.training.memory.peak_memory_mb`: resident of the process on the CPU,
            allocated on a GPU.
        num_parameters: Number of parameters, frozen and unused ones included.
        stopped: Why the last stage ended: ``"budget"``, ``"patience"`` or ``"stop"``.
    """

    metrics: dict[str, float]
    history: list[dict[str, Any]]
    best_epoch: int
    epochs_run: int
    seconds: float
    seconds_per_epoch: float
    peak_memory_mb: float
    num_parameters: int
    stopped: str
