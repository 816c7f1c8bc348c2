"""``fit(task)``: sets one run up, puts it through the loop and takes everything down again."""

from contextlib import ExitStack
from pathlib import Path

from graphseq.training import rng
from graphseq.training.distributed import World
from graphseq.training.fabric import make_fabric
from graphseq.training.identity import identity_of
from graphseq.training.keeper import Keeper
from graphseq.training.loop import Loop
from graphseq.training.memory import reset_peak_memory
from graphseq.training.progress import FitResult
from graphseq.training.report import Report
from graphseq.training.scoring import place
from graphseq.training.stage import Budget
from graphseq.training.task import Shard, Task
from graphseq.training.units import frozen, unused_of

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
        loop = Loop(task, stages, budget.max_steps, world, keeper, report, saved, compile)
        with keeper.interrupt:
            stopped = loop.train()
        return loop.result(stopped)
