"""What makes two runs the same run: a checkpoint only continues its own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from graphseq.training.stage import Budget, Stage
from graphseq.training.task import Task
from graphseq.training.units import check_units, missing_text

Identity = dict[str, Any]


def identity_of(
    task: Task, stages: Sequence[Stage], budget: Budget, seed: int, precision: str, processes: int
) -> Identity:
    """Check a task before it runs, and describe its run in plain values.

    Epochs, patience and stop rules are left out: a run may be continued with other ones.

    Raises:
        ValueError: If stages or units are not in order, or a trainable parameter has no optimizer.
    """
    name = type(task).__name__
    if not stages or len({stage.name for stage in stages}) < len(stages):
        raise ValueError(
            f"{name}.stages: need one or more stages with different names, "
            f"got {[stage.name for stage in stages]}"
        )
    trained: set[Tensor] = set()
    described = {}
    for stage in stages:
        optimizers = task.optimizers(stage) if stage.epochs else {}
        trained |= check_units(task, stage, optimizers)
        described[stage.name] = {
            "monitors": list(stage.monitors),
            "evaluate_every": stage.evaluate_every,
            "max_norm": stage.max_norm,
            "optimizers": {path: _settings(opt) for path, opt in optimizers.items()},
        }
    names = {p: key for key, p in task.named_parameters()}
    left = {p for p in names if p.requires_grad} - trained
    if left and any(stage.epochs for stage in stages):
        raise ValueError(f"{name}.optimizers: {missing_text(left, names)}")
    return {
        "task": name,
        "parameters": {k: f"{list(p.shape)} {p.dtype}" for p, k in names.items()},
        "seed": seed,
        "processes": processes,
        "precision": precision,
        "max_steps": budget.max_steps,
        "stages": described,
    }


def _settings(optimizer: Optimizer) -> str:
    groups = [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
    return f"{type(optimizer).__name__}{groups}"


def require_same_run(saved: Identity, now: Identity, folder: Path) -> None:
    """Check that a checkpoint belongs to the run that wants to go on from it.

    Args:
        saved: ``identity`` of the checkpoint: nested dictionaries of plain values.
        now: Identity of the run.
        folder: For the message.

    Raises:
        ValueError: Names the first difference.
    """
    difference = _first_difference(saved, now, "")
    if difference:
        raise ValueError(
            f"fit: the checkpoint in {folder} is of another run: {difference}; "
            f"choose another out folder"
        )


def _first_difference(saved: Any, now: Any, path: str) -> str | None:
    if isinstance(saved, dict) and isinstance(now, dict):
        for key in [*saved, *(key for key in now if key not in saved)]:
            inner = f"{path}.{key}" if path else str(key)
            found = _first_difference(saved.get(key, "absent"), now.get(key, "absent"), inner)
            if found:
                return found
        return None
    return None if saved == now else f"{path} was {saved}, is {now}"
