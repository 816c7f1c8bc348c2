"""The one training loop: backprop, layer-local losses and staged training, resumable anywhere.

The heart is two nested loops (:meth:`Loop._train_epoch`)::

    for batch in task.batches("train", stage, epoch, shard):
        for loss in task.losses(batch, stage):
            zero_grad, backward, clip, step          # of the unit that the loss names

Everything else is bookkeeping that must not be got wrong.
"""

import time
import warnings
from collections.abc import Sequence
from itertools import islice
from typing import Any

from torch.optim.lr_scheduler import ReduceLROnPlateau

from graphseq.training import rng
from graphseq.training.distributed import World
from graphseq.training.keeper import Keeper
from graphseq.training.losses import LossMeter
from graphseq.training.memory import peak_memory_mb
from graphseq.training.progress import FitResult, Progress
from graphseq.training.report import Report
from graphseq.training.scoring import score
from graphseq.training.stage import Stage
from graphseq.training.state import TaskState
from graphseq.training.stopping import stop_reason
from graphseq.training.task import Task
from graphseq.training.units import Units, frozen


class Loop:
    """One call of :func:`~graphseq.training.fit.fit`: where it is, and what moves it on.

    Args:
        task: The task, on its device.
        stages: Its stages within the budget.
        max_steps: Batches of an epoch at the most; None takes all.
        world: The ranks.
        keeper: Saves the run at batch boundaries.
        report: Shows and writes the history; None on all ranks but the first.
        saved: The checkpoint to go on from, or None.
        compile: Compile each unit with ``torch.compile``.
    """

    def __init__(
        self,
        task: Task,
        stages: Sequence[Stage],
        max_steps: int | None,
        world: World,
        keeper: Keeper,
        report: Report | None,
        saved: dict[str, Any] | None,
        compile: bool,
    ) -> None:
        self.task, self.stages, self.max_steps, self.world = task, stages, max_steps, world
        self.keeper, self.report, self.saved, self.compile = keeper, report, saved, compile
        self.state = TaskState(task)
        self.progress = Progress(**saved["progress"]) if saved else Progress()
        self.progress.require_within(stages)
        self.meter = LossMeter()
        self.started = time.perf_counter() - self.progress.seconds

    def train(self) -> str:
        """All stages that are left; returns why the last one ended."""
        while True:
            stage = self.stages[self.progress.stage]
            reason = self._train_stage(stage)
            self.saved = None
            self.state.load(self.progress.best[stage.monitors[0]]["weights"])
            if stage is self.stages[-1]:
                return reason
            self.progress.start_next_stage()

    def _train_stage(self, stage: Stage) -> str:
        task, progress = self.task, self.progress
        optimizers = task.optimizers(stage) if stage.epochs else {}
        self.schedulers = list(task.schedulers(optimizers, stage)) if stage.epochs else []
        self.units = Units(self.world.fabric, task, stage, optimizers)
        self.meter.parts.clear()  # a step that the stage before did not get to make
        others = [p for p in task.parameters() if p not in self.units.trained]
        if self.report is not None:
            self.report.start(stage, progress.epoch)
        task.train()
        with frozen(others), self.units.set_up(self.compile):
            if self.saved is not None:
                self._restore(self.saved)
            while (reason := stop_reason(stage, progress)) is None:
                self._train_epoch(stage)
            if not progress.best:  # a stage of no epochs: what it has is what it started with
                row = {"stage": stage.name, "epoch": progress.epoch}
                self._record(stage, row, evaluated=True)
            self.keeper.save(self._payload)
        return reason

    def _train_epoch(self, stage: Stage) -> None:
        progress, began = self.progress, time.perf_counter()
        batches = self.task.batches("train", stage, progress.epoch, self.world.shard)
        batches = islice(batches, self.max_steps)
        if progress.batch:  # resumed inside this epoch: pass over what is done, without a trace
            assert self.saved is not None
            for _ in range(progress.batch):
                next(batches, None)
            self._restore_task(self.saved)
        self.saved = None
        for batch in batches:
            progress.batch += 1
            self.meter.where = (stage.name, progress.epoch + 1, progress.batch)
            for loss in self.task.losses(batch, stage):
                self.units.step(loss, self.meter)
            self.keeper.boundary(self._payload)
        self._finish_epoch(stage)
        progress.training_seconds += time.perf_counter() - began
        self.keeper.boundary(self._payload)

    def _finish_epoch(self, stage: Stage) -> None:
        progress = self.progress
        if progress.batch == 0:
            name = type(self.task).__name__
            raise ValueError(f"{name}.batches: no batches for 'train'; every split needs rows")
        progress.epoch += 1
        progress.epochs_run += 1
        progress.batch = 0
        evaluated = progress.epoch % stage.evaluate_every == 0 or progress.epoch == stage.epochs
        losses = self.world.mean(self.meter.take())
        row: dict[str, Any] = {"stage": stage.name, "epoch": progress.epoch, **losses}
        self._record(stage, row, evaluated)
        if self.schedulers:
            self._step_schedulers(row.get(stage.monitors[0]))

    def _step_schedulers(self, value: float | None) -> None:
        with warnings.catch_warnings():
            # Told of a step before this session, or of one that a gradient scaler has skipped.
            warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
            for scheduler in self.schedulers:
                if not isinstance(scheduler, ReduceLROnPlateau):
                    scheduler.step()
                elif value is not None:
                    scheduler.step(value)

    def _record(self, stage: Stage, row: dict[str, Any], evaluated: bool) -> None:
        if evaluated:
            self.world.level(self.units.buffers())
            self.world.require_equal(self.units.parameters())
            with self.units.bare():
                scores = score(self.task, "val", stage, self.world, final=False)
            row |= {f"val/{name}": value for name, value in scores.items()}
            trained = self.units.trained
            self.progress.keep_best(stage, row, lambda: self.state.snapshot(trained))
        row["seconds"] = time.perf_counter() - self.started
        self.progress.history.append(row)
        if self.report is not None:
            self.report.row(row)

    def _payload(self) -> dict[str, Any]:
        """Everything that a resumed run needs, of all ranks."""
        self.meter.flush()
        if not self.state.is_finite():
            place = f"stage {self.stages[self.progress.stage].name!r}, epoch {self.progress.epoch}"
            raise FloatingPointError(
                f"fit: a weight is not finite after {place}, batch {self.progress.batch}; "
                f"lower the learning rate or set max_norm"
            )
        self.progress.seconds = time.perf_counter() - self.started
        mine = {
            "rng": rng.get_state(),
            "losses": self.meter.sums,
            "parts": self.meter.parts,
            "buffers": {name: buffer.cpu() for name, buffer in self.state.buffers().items()},
            "extra": self.state.extra(),
        }
        return {
            "progress": vars(self.progress),
            "parameters": {name: p.detach() for name, p in self.state.parameters().items()},
            "units": self.units.state_dict(),
            "schedulers": [scheduler.state_dict() for scheduler in self.schedulers],
            "ranks": self.world.gather_objects(mine),
        }

    def _restore(self, saved: dict[str, Any]) -> None:
        self.units.load_state_dict(saved["units"])
        for scheduler, state in zip(self.schedulers, saved["schedulers"], strict=True):
            scheduler.load_state_dict(state)
        mine = saved["ranks"][self.world.shard.rank]
        # Checkpoints of earlier versions have no parts of steps.
        self.meter.sums, self.meter.parts = mine["losses"], mine.get("parts", {})
        self._restore_task(saved)

    def _restore_task(self, saved: dict[str, Any]) -> None:
        mine = saved["ranks"][self.world.shard.rank]
        self.state.load({**mine, "parameters": saved["parameters"]})
        rng.set_state(mine["rng"])

    def result(self, stopped: str) -> FitResult:
        """Score the weights of every monitor, once, and sum the run up."""
        progress, stage = self.progress, self.stages[-1]
        metrics: dict[str, float] = {}
        for monitor in reversed(stage.monitors):  # the first one last: its weights stay
            self.state.load(progress.best[monitor]["weights"])
            suffix = "" if monitor == stage.monitors[0] else f"@{monitor}"
            scored = {
                f"{split}/{name}{suffix}": value
                for split in ("val", "test")
                for name, value in score(self.task, split, stage, self.world, final=True).items()
            }
            metrics = scored | metrics
        self.task.eval()
        return FitResult(
            metrics=metrics,
            history=progress.history,
            best_epoch=progress.best[stage.monitors[0]]["epoch"],
            epochs_run=progress.epochs_run,
            seconds=time.perf_counter() - self.started,
            seconds_per_epoch=progress.training_seconds / max(progress.epochs_run, 1),
            peak_memory_mb=peak_memory_mb(self.world.fabric.device),
            num_parameters=sum(p.numel() for p in self.task.parameters()),
            stopped=stopped,
        )
