"""How long a part of a run lasts, what it watches, and how a caller shortens it."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

StopRule = Callable[[Sequence[Mapping[str, Any]]], bool]


@dataclass(frozen=True)
class Stage:
    """One part of a run with its own optimizers, budget, early stopping and best weights.

    Greedy layer-by-layer training, pre-training followed by completion, and plain training differ
    only in their stages. A stage starts from the best weights (of the first monitor) of the stage
    before it.

    Args:
        name: Name of the stage, unique in its run; it appears in the history and in errors.
        epochs: Largest number of epochs; 0 evaluates once and trains nothing (heuristics).
        monitors: Names of history columns, such as ``"val/loss"``. Each keeps its own best weights;
            the first one drives ``patience`` and decides which weights the stage hands on.
        evaluate_every: Evaluate after every so many epochs, and after the last one.
        patience: Stop after so many evaluations in a row in which the first monitor did not
            strictly improve; ``None`` never does.
        stop: Called after each evaluation with the rows of this stage (oldest first, each with
            ``"epoch"`` counted from 1 and the metrics); true stops the stage.
        max_norm: Clip the gradient of each step to this Euclidean norm: a float for all parameters
            of the optimizer together, or a tuple with one norm per parameter group.
        lower_is_better: Last parts of metric names (``"loss"`` of ``"val/loss"``) that improve by
            falling; every other metric improves by rising.

    Raises:
        ValueError: If a field is out of its range.
        TypeError: If ``monitors`` is a plain string.
    """

    name: str = "train"
    epochs: int = 200
    monitors: tuple[str, ...] = ("val/loss",)
    evaluate_every: int = 1
    patience: int | None = None
    stop: StopRule | None = None
    max_norm: float | tuple[float, ...] | None = None
    lower_is_better: tuple[str, ...] = ("loss", "nll", "ppl", "mse", "mae", "gap")

    def __post_init__(self) -> None:
        if isinstance(self.monitors, str) or not all(isinstance(m, str) for m in self.monitors):
            raise TypeError(f"Stage: monitors must be a tuple of names, got {self.monitors!r}")
        if isinstance(self.max_norm, list):
            raise TypeError(f"Stage: max_norm must be a number or a tuple, got {self.max_norm}")
        if not self.monitors:
            raise ValueError("Stage: monitors is empty; name at least one, such as ('val/loss',)")
        _require(self.epochs >= 0, "Stage", "epochs", self.epochs, "0 or more")
        _require(self.evaluate_every >= 1, "Stage", "evaluate_every", self.evaluate_every, ">= 1")
        _require(
            self.patience is None or self.patience >= 1,
            "Stage",
            "patience",
            self.patience,
            "None or >= 1",
        )
        norms = self.max_norm if isinstance(self.max_norm, tuple) else (self.max_norm,)
        _require(all(n is None or n > 0 for n in norms), "Stage", "max_norm", self.max_norm, "> 0")

    def lower(self, metric: str) -> bool:
        """Whether ``metric`` improves by falling."""
        return metric.rsplit("/", 1)[-1] in self.lower_is_better


@dataclass(frozen=True)
class Budget:
    """What a caller allows a run; every field that is not ``None`` replaces that of every stage.

    Args:
        epochs: Replaces :attr:`Stage.epochs`.
        patience: Replaces :attr:`Stage.patience`.
        evaluate_every: Replaces :attr:`Stage.evaluate_every`.
        stop: Replaces :attr:`Stage.stop`.
        max_steps: Batches per epoch after which the epoch is cut short (smoke tests).
        checkpoint_seconds: Write a checkpoint at the first batch boundary after so many seconds;
            0 writes one after every batch.

    Raises:
        ValueError: If a field is out of its range.
    """

    epochs: int | None = None
    patience: int | None = None
    evaluate_every: int | None = None
    stop: StopRule | None = None
    max_steps: int | None = None
    checkpoint_seconds: float = 60.0

    def __post_init__(self) -> None:
        _require(self.epochs is None or self.epochs >= 0, "Budget", "epochs", self.epochs, ">= 0")
        _require(
            self.patience is None or self.patience >= 1, "Budget", "patience", self.patience, ">= 1"
        )
        _require(
            self.evaluate_every is None or self.evaluate_every >= 1,
            "Budget",
            "evaluate_every",
            self.evaluate_every,
            ">= 1",
        )
        _require(
            self.max_steps is None or self.max_steps >= 1,
            "Budget",
            "max_steps",
            self.max_steps,
            ">= 1",
        )
        _require(
            0 <= self.checkpoint_seconds < math.inf,
            "Budget",
            "checkpoint_seconds",
            self.checkpoint_seconds,
            "finite and >= 0",
        )

    def apply(self, stage: Stage) -> Stage:
        """``stage`` with this budget's fields in place of its own.

        A stage of 0 epochs has nothing to train and stays that way.
        """
        if stage.epochs == 0:
            return stage
        fields = ("epochs", "patience", "evaluate_every", "stop")
        chosen = {name: getattr(self, name) for name in fields}
        return dataclasses.replace(stage, **{k: v for k, v in chosen.items() if v is not None})


def _require(condition: bool, owner: str, name: str, got: object, expected: str) -> None:
    if not condition:
        raise ValueError(f"{owner}: {name} must be {expected}, got {got!r}")
