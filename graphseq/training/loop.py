"""The one training loop: backprop, layer-local losses and staged training, resumable anywhere.

The heart is two nested loops (:meth:`_Run._train_epoch`)::

    for batch in task.batches("train", stage, epoch, shard):
        for loss in task.losses(batch, stage):
            zero_grad, backward, clip, step          # of the unit that the loss names

Everything else is bookkeeping that must not be got wrong.
"""

import time
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

from torch.optim.lr_scheduler import ReduceLROnPlateau

from graphseq.training import rng
from graphseq.training.distributed import World
from graphseq.training.fabric import make_fabric
from graphseq.training.identity import identity_of
from graphseq.training.keeper import Keeper
from graphseq.training.losses import LossMeter
from graphseq.training.memory import peak_memory_mb, reset_peak_memory
from graphseq.training.progress import FitResult, Progress
from graphseq.training.report import Report
from graphseq.training.scoring import place, score
from graphseq.training.stage import Budget, Stage
from graphseq.training.state import TaskState
from graphseq.training.stopping import stop_reason
from graphseq.training.task import Shard, Task
from graphseq.training.units import Units, frozen, unused_of

_RANK_STRIDE = 1_000_003  # keeps the ranks' dropout masks apart


def fit(
    task: Task,
    budget: Budget | None = None,
    *,
    seed: int = 0,
    out: Path | str | None = None,
    device: str = "cpu",
    precision: str = "32-true",
    resume: bool = False,
    progress: bool | None = None,
    tensorboard: bool = False,
    compile: bool = False,
) -> FitResult:
    """Train a task, stage by stage, and score the best weights once on the test split.

    The random generators of Python, NumPy and torch are seeded inside and restored afterwards.
    After the call the task is on ``device``, in evaluation mode, and holds the best weights of the
    last stage's first monitor.

    Under ``torchrun`` every process calls ``fit`` with the same arguments; the first one writes.

    On the CPU a resumed run ends bit-identical to one that was never interrupted. On a GPU it
    computes the same, but kernels that add with atomics may round sums differently in any two
    runs, resumed or not. Whether a stage is over is decided anew from its record, so resuming a
    finished run returns its result, and resuming it with more epochs or more patience continues
    its last stage from the weights where it stopped.

    Args:
        task: The task.
        budget: Replaces parts of the task's stages; see :class:`Budget`.
        seed: Seed of everything random that the task does not seed itself.
        out: Folder for ``checkpoint.pt``, ``checkpoint.prev.pt`` and ``history.csv``; ``None``
            writes nothing. A folder with checkpoints needs ``resume``.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"auto"``.
        precision: ``"32-true"`` (the parameters' own dtype), ``"64-true"`` (casts the task's
            parameters and float buffers), ``"bf16-mixed"`` or ``"16-mixed"``.
        resume: Go on from the checkpoint in ``out``, or start if there is none.
        progress: Show a progress bar; ``None`` does so on a terminal.
        tensorboard: Also write TensorBoard events to ``out/tensorboard``.
        compile: Compile each unit with ``torch.compile``.

    Returns:
        The metrics of the best weights, the history and what the run took.

    Raises:
        ValueError: If the task is not in order, ``out`` holds checkpoints and ``resume`` is not
            given, or the checkpoint is damaged, of another run or of another format.
        FloatingPointError: If a loss or a gradient norm is not finite; names stage, epoch and
            batch. The last good checkpoint stays.
        OSError: If ``out`` cannot be written. The last good checkpoint stays.
    """
    if out is None and (resume or tensorboard):
        raise ValueError("fit: resume and tensorboard need a folder; pass out=")
    budget = Budget() if budget is None else budget
    world = World(make_fabric(device, precision))
    reset_peak_memory(world.fabric.device)
    with ExitStack() as stack:
        stack.enter_context(rng.fork(seed + _RANK_STRIDE * world.shard.rank))
        stack.callback(setattr, task, "shard", Shard())
        place(task, world, precision)
        stack.enter_context(frozen(unused_of(task)))
        stages = [budget.apply(stage) for stage in task.stages()]
        identity = identity_of(task, stages, budget, seed, precision, world.shard.size)
        folder = None if out is None else Path(out)
        keeper = Keeper(folder, budget.checkpoint_seconds, world, identity)
        saved = keeper.open(resume)
        history = saved["progress"]["history"] if saved else []
        report = Report(folder, progress, tensorboard, history) if world.writes else None
        if report is not None:
            stack.callback(report.close)
        run = _Run(task, stages, budget.max_steps, world, keeper, report, saved, compile)
        with keeper.interrupt:
            stopped = run.train()
        return run.result(stopped)


class _Run:
    """One call of :func:`fit`: where it is, and the loops that move it on."""

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
        self.meter.sums = saved["ranks"][self.world.shard.rank]["losses"]
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
