"""Scoring a task on a split: predictions of all batches and ranks, metrics once on everything."""

from collections.abc import Sequence
from numbers import Real

import torch

from graphseq.training import rng
from graphseq.training.distributed import World
from graphseq.training.fabric import make_fabric
from graphseq.training.stage import Stage
from graphseq.training.task import Shard, Task


def evaluate(
    task: Task, split: str = "test", *, device: str = "cpu", precision: str = "32-true"
) -> dict[str, float]:
    """Metrics of ``task`` with the weights that it has, as the end of :func:`fit` computes them.

    Args:
        task: The task; its last stage is the one that is asked.
        split: ``"train"``, ``"val"`` or ``"test"``. Training rows are scored only when asked for:
            all of them, without dropout.
        device: As for :func:`fit`.
        precision: As for :func:`fit`.

    Returns:
        Metric name, without the split -> value.

    Raises:
        ValueError: If the split has no batches, or device or precision cannot be had.
    """
    found = evaluate_splits(task, (split,), device=device, precision=precision)
    return {name.removeprefix(f"{split}/"): value for name, value in found.items()}


def evaluate_splits(
    task: Task, splits: Sequence[str], *, device: str = "cpu", precision: str = "32-true"
) -> dict[str, float]:
    """As :func:`evaluate` for several splits: set up once, names with their split.

    Args:
        task: The task.
        splits: Any of ``"train"``, ``"val"`` and ``"test"``.
        device: As for :func:`fit`.
        precision: As for :func:`fit`.

    Returns:
        ``"val/acc"`` and so on -> value.

    Raises:
        ValueError: If a split has no batches, or device or precision cannot be had.
    """
    world = World(make_fabric(device, precision))
    with rng.fork():
        place(task, world, precision)
        try:
            return {
                f"{split}/{name}": value
                for split in splits
                for name, value in score(task, split, task.stages()[-1], world, final=True).items()
            }
        finally:
            task.shard = Shard()


def place(task: Task, world: World, precision: str) -> None:
    """Bring ``task`` to the device and tell it its share of the batches."""
    if not isinstance(task.__dict__.get("model", task._modules.get("model")), torch.nn.Module):
        raise ValueError(f"{type(task).__name__}: assign self.model, a torch.nn.Module")
    task.to(world.fabric.device)
    if precision == "64-true":
        task.double()
    task.prepare(world.fabric.device)
    task.shard = world.shard


@torch.no_grad()
def score(task: Task, split: str, stage: Stage, world: World, final: bool) -> dict[str, float]:
    """Predict every batch of ``split`` in evaluation mode and compute the metrics once.

    Raises:
        ValueError: If no rank has a batch of ``split``.
        TypeError: If predictions or metrics are not what :class:`Task` says.
    """
    training = task.training
    task.eval()
    with world.fabric.autocast():
        parts = [
            task.predict(batch, split, stage, final)
            for batch in task.batches(split, stage, 0, world.shard)
        ]
    name = type(task).__name__
    if not any(world.gather_objects(len(parts))):
        raise ValueError(f"{name}.batches: no batches for {split!r}; every split needs rows")
    measure = task.final_metrics if final else task.metrics
    metrics = measure(world.join(parts), split, stage)
    task.train(training)
    for key, value in metrics.items():
        if not isinstance(value, Real):
            raise TypeError(
                f"{name}.metrics: {key!r} must be a number, got {type(value).__name__}; use .item()"
            )
    # Ranks compute the same from the same rows; the first one's word rules out any doubt.
    return world.from_first({key: float(value) for key, value in metrics.items()})
