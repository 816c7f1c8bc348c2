"""Run by torchrun: trains tasks on several ranks and leaves what each rank saw.

Usage: ranks.py FOLDER. Writes FOLDER/rank<i>.pt, a dictionary case -> result.
"""

import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from toys import Carried, LayerLocal, Regression, TwoStage, weights, without_seconds

from graphseq.training import Budget, FitResult, Loss, Stage, Task, evaluate, fit
from graphseq.training.distributed import World
from graphseq.training.units import Units

STAGE = Stage(epochs=3, monitors=("val/mse", "val/gap"), patience=2)
ONE_EPOCH = Stage(epochs=1, monitors=("val/mse",))
CLIPPED = Stage(epochs=3, monitors=("val/mse",), max_norm=0.3)


def double(kind: Callable[..., Regression], **options: Any) -> Callable[[], Regression]:
    """A task in float64 without dropout, whose batches do not divide evenly."""
    return lambda: kind(dtype=torch.float64, **options)


class Widths(Regression):
    """Predictions of several shapes and types, and fewer rows than ranks in the last batch."""

    def predict(self, batch: Any, split: str, stage: Stage, final: bool) -> dict[str, Any]:
        rows, _ = batch
        answer = super().predict(batch, split, stage, final)
        return answer | {
            "flag": rows % 3 == 0,
            "half": (rows / 2).to(torch.bfloat16),
            "cube": rows[:, None, None].expand(-1, 2, 2).to(torch.int32),
        }

    def metrics(self, predictions: Any, split: str, stage: Stage) -> dict[str, float]:
        rows = torch.arange(len(self.x))
        assert predictions["flag"].tolist() == (rows % 3 == 0).tolist()
        assert predictions["half"].dtype == torch.bfloat16
        assert predictions["half"].tolist() == (rows / 2).to(torch.bfloat16).tolist()
        assert predictions["cube"][:, 1, 1].tolist() == rows.tolist()
        return super().metrics(predictions, split, stage)


def summary(task: Regression, result: FitResult) -> dict[str, Any]:
    return {
        "weights": weights(task),
        "metrics": result.metrics,
        "history": without_seconds(result.history),
        "seen": task.seen,
        "stopped": result.stopped,
    }


def run(make: Callable[[], Regression], **options: Any) -> dict[str, Any]:
    """Train and sum up."""
    task = make()
    return summary(task, fit(task, **options))


class ThroughModel(LayerLocal):
    """Layer-local training whose layers are all reached by one pass through the model."""

    def losses(self, batch: Any, stage: Stage) -> Iterator[Loss]:
        rows, total = batch
        for i, out in enumerate(self.model(self.x[rows], every=True)):
            per_row = (out - self.y[rows]).square().mean(1)
            yield Loss(self.shard.mean(per_row, total), f"model.layers.{i}")


CASES: dict[str, Callable[[], Regression]] = {
    "one unit": double(Regression, stage=STAGE),
    "one unit, one step": double(Regression, batch_size=23, stage=ONE_EPOCH),
    "one unit, batches of one": double(Regression, batch_size=1, rows=5, stage=STAGE),
    "one unit, clipped": double(Regression, stage=CLIPPED),
    "layer-local": double(LayerLocal, stage=STAGE),
    "layer-local, one step": double(LayerLocal, batch_size=23, stage=ONE_EPOCH),
    "layers through the model": double(ThroughModel, stage=STAGE),
    "two stages": double(TwoStage),
    "predictions": double(Widths, batch_size=4, rows=9, stage=STAGE),
}


class Bypassing(Regression):
    """Calls the parts of its unit instead of the unit."""

    def losses(self, batch: Any, stage: Stage) -> Iterator[Loss]:
        rows, total = batch
        h = self.x[rows]
        for name in ("0", "1"):
            h = getattr(self.model, name)(h)
        yield Loss(self.shard.mean((h - self.y[rows]).square().mean(1), total))


class Normed(Regression):
    """Has running statistics, which every rank estimates from its own rows."""

    def __init__(self, **options: Any) -> None:
        super().__init__(nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2)), **options)


class Signalled(Carried):
    """The second rank is told to end while the first one is not."""

    def losses(self, batch: Any, stage: Stage) -> Iterator[Loss]:
        if self.steps == 8 and self.shard.rank == 1 and SIGNALS:
            signal.raise_signal(SIGNALS.pop())
        yield from super().losses(batch, stage)


SIGNALS = [signal.SIGTERM]


@contextmanager
def whole_model_wrapped(task: Task, checked: bool) -> Iterator[None]:
    """Takes per-unit wrapping out: the model is set up once, and each layer steps by itself."""

    @contextmanager
    def set_up(self: Units, compile: bool) -> Iterator[None]:
        units = list(self.by_path.values())
        model = task.model
        wrapped, *steppers = self.fabric.setup(model, *(unit.optimizer for unit in units))
        for unit, stepper in zip(units, steppers, strict=True):
            unit.wrapped, unit.stepper = wrapped, stepper
            unit.place = lambda module: None  # type: ignore[method-assign]
        task.model = wrapped
        yield
        task.model = model

    right = Units.set_up, World.require_equal
    Units.set_up = set_up  # type: ignore[method-assign]
    if not checked:
        World.require_equal = lambda self, parameters: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        Units.set_up, World.require_equal = right  # type: ignore[method-assign]


def through_whole_model(checked: bool) -> Any:
    task = ThroughModel(dtype=torch.float64, stage=STAGE)
    model = task.model
    with whole_model_wrapped(task, checked):
        result = outcome(lambda: fit(task))
    return result if checked else [p.detach() for p in model.parameters()]


def outcome(work: Callable[[], Any]) -> str:
    """The name and text of what ends ``work``."""
    try:
        work()
    except (Exception, SystemExit) as error:
        return f"{type(error).__name__}: {error}"
    return "fine"


def resumed(folder: Path) -> dict[str, Any]:
    """A run that one rank was told to leave, gone on with."""
    budget = Budget(epochs=4)
    ended = outcome(lambda: fit(Signalled(), budget, out=folder, seed=2))
    task = Signalled()
    batches = summary(task, fit(task, budget, out=folder, seed=2, resume=True))
    return {"ended": ended, "resumed": batches, "plain": run(Signalled, budget=budget, seed=2)}


def main(folder: Path) -> None:
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    results: dict[str, Any] = {name: run(make) for name, make in CASES.items()}
    results["normed"] = run(Normed)
    results["evaluated"] = evaluate(CASES["one unit"](), "val")
    results["signal"] = resumed(folder / "resumed")
    results["bypassing"] = outcome(lambda: fit(Bypassing()))
    results["whole, checked"] = through_whole_model(checked=True)
    results["whole, unchecked"] = through_whole_model(checked=False)
    torch.save(results, folder / f"rank{os.environ['RANK']}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
