"""What a piece of work has to say about itself so that :func:`graphseq.training.fit` can run it.

Ordinary backpropagation is layer-local training with one layer. So a task *yields* losses: each
yielded loss is one zero_grad, backward, clip and step on the unit that it names, and the generator
goes on afterwards with the fresh weights.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from graphseq.training.stage import Stage


@dataclass(frozen=True, slots=True)
class Loss:
    """One backward pass and, unless told otherwise, one optimizer step.

    Args:
        value: The scalar to differentiate.
        unit: Path under the task of the module to step, a key of :meth:`Task.optimizers`.
        step: ``False`` only accumulates the gradient: the unit's gradients are cleared at the
            first backward after a step of that unit, and not before. The loss of a step is the sum
            of its parts, and ``train/loss`` is the mean over steps.
    """

    value: Tensor
    unit: str = "model"
    step: bool = True


@dataclass(frozen=True, slots=True)
class Shard:
    """The share of each batch that one of ``size`` data-parallel processes works on.

    Args:
        rank: Index of this process.
        size: Number of processes.
    """

    rank: int = 0
    size: int = 1

    def take(self, rows: Tensor) -> Tensor:
        """This rank's contiguous slice of ``rows``, cut along the first dimension.

        The first ``len(rows) % size`` ranks hold one row more; a slice may be empty. The slices of
        all ranks, one after the other, are ``rows`` again.
        """
        each, extra = divmod(len(rows), self.size)
        start = self.rank * each + min(self.rank, extra)
        return rows[start : start + each + (self.rank < extra)]

    def mean(self, per_row: Tensor, total: int) -> Tensor:
        """This rank's part of the mean over ``total`` rows, as the averaging of ranks expects it.

        Data parallelism averages gradients over ranks. With ``size * sum(own rows) / total`` on
        each rank, that average is the gradient of the mean over all rows, even where shards are
        uneven or empty.

        Args:
            per_row: Losses of this rank's rows, ``[n]``; ``n`` may be 0.
            total: Number of rows of all ranks together.
        """
        return per_row.sum() * (self.size / total)


@runtime_checkable
class PartlyUsed(Protocol):
    """A model that has parameters which its configuration never uses."""

    def unused_parameters(self) -> Mapping[str, str]:
        """Parameter name (relative to the model) -> why this configuration does not use it."""


class Task(nn.Module, ABC):
    """Objective, optimizers, batches and metrics of one piece of work around ``self.model``.

    A subclass calls ``super().__init__()`` and assigns ``self.model``. Whatever changes during
    training and is no parameter (a state carried from batch to batch, drawn negatives) must be a
    persistent buffer or come from ``get_extra_state``: those are what a checkpoint holds. Data and
    everything else that can be rebuilt belongs in plain attributes or non-persistent buffers.

    Example:
        >>> class Line(Task):
        ...     def __init__(self, model, x, y):
        ...         super().__init__()
        ...         self.model, self.x, self.y = model, x, y
        ...     def optimizers(self, stage):
        ...         return {"model": torch.optim.SGD(self.model.parameters(), lr=0.1)}
        ...     def batches(self, split, stage, epoch, shard):
        ...         yield shard.take(torch.arange(len(self.x)))
        ...     def losses(self, rows, stage):
        ...         error = self.model(self.x[rows])[:, 0] - self.y[rows]
        ...         yield Loss(self.shard.mean(error.square(), total=len(self.x)))
        ...     def predict(self, rows, split, stage, final):
        ...         return {"out": self.model(self.x[rows])[:, 0], "y": self.y[rows]}
        ...     def metrics(self, predictions, split, stage):
        ...         return {"mse": (predictions["out"] - predictions["y"]).square().mean().item()}
        ...     def stages(self):
        ...         return [Stage(epochs=100, monitors=("val/mse",))]
        >>> from graphseq.training import fit
        >>> x = torch.eye(3)
        >>> result = fit(Line(nn.Linear(3, 1), x, y=torch.tensor([1.0, 2.0, 3.0])))
        >>> result.metrics["test/mse"] < 0.01
        True
    """

    model: nn.Module
    shard: Shard = Shard()  # set by fit: the share of this process

    def stages(self) -> Sequence[Stage]:
        """The parts of a run, in order; by default one stage with its defaults."""
        return (Stage(),)

    def prepare(self, device: torch.device) -> None:
        """Move what is neither parameter nor buffer to ``device``; called once, after ``.to``."""

    @abstractmethod
    def optimizers(self, stage: Stage) -> dict[str, Optimizer]:
        """A fresh optimizer per unit that ``stage`` trains.

        A unit is a submodule given by its path under the task: ``"model"``, ``"model.layers.0"``.
        Units may not contain or share parameters with each other. An optimizer holds all trainable
        parameters of its unit and no others. Parameters of no unit are frozen during the stage.
        Called once more per stage before training starts, to check that every trainable parameter
        has an optimizer in some stage: it must not change the task.
        """

    def schedulers(self, optimizers: dict[str, Optimizer], stage: Stage) -> Sequence[LRScheduler]:
        """Learning-rate schedulers of ``optimizers``; by default none.

        Each is stepped once per *epoch*, after its evaluation (``ReduceLROnPlateau`` with the value
        of the first monitor, in the epochs that have one).
        """
        return ()

    @abstractmethod
    def batches(self, split: str, stage: Stage, epoch: int, shard: Shard) -> Iterable[Any]:
        """The batches of ``split`` (``"train"``, ``"val"`` or ``"test"``).

        A pure function of the task's seed, ``stage`` and ``epoch``: a resumed run calls it again
        and skips the batches already done. ``epoch`` counts from 0 for ``"train"`` and is always
        0 otherwise. In evaluation mode the ``"train"`` rows are scored and not learnt from, so none
        should be dropped. Batch sizes are global: draw order and negatives alike on every rank,
        then cut each batch with ``shard.take``. Every rank must yield the same number of training
        batches.
        """

    @abstractmethod
    def losses(self, batch: Any, stage: Stage) -> Iterator[Loss]:
        """Yield the losses of a training batch, each of which is stepped before the next is made.

        Under data parallelism gradients are averaged over ranks, so a loss must be *this rank's
        share of the global mean times the number of ranks*, which ``self.shard.mean`` computes.
        Every rank yields the same units in the same order and calls each unit by its own
        ``forward`` (``self.model(x)``), which is where ranks meet. Detach what one unit hands to
        the next if its gradient shall stay inside the unit.
        """

    @abstractmethod
    def predict(
        self, batch: Any, split: str, stage: Stage, final: bool
    ) -> Tensor | dict[str, Tensor]:
        """Predictions for a batch, rows first, called without gradients and in evaluation mode.

        ``final`` is true for the scoring at the end of a run; otherwise a cheaper answer will do.
        What is returned is concatenated over batches and ranks, in the order of one process.
        """

    @abstractmethod
    def metrics(self, predictions: Any, split: str, stage: Stage) -> dict[str, float]:
        """Metrics of all rows of ``split`` at once, by their plain names (``"loss"``, ``"acc"``).

        Never averaged over batches. :func:`fit` prefixes the split: ``"val/acc"``.
        """

    def final_metrics(self, predictions: Any, split: str, stage: Stage) -> dict[str, float]:
        """As :meth:`metrics`, which it calls, for the scores that a run ends with."""
        return self.metrics(predictions, split, stage)

    def unused_parameters(self) -> dict[str, str]:
        """Parameter name under the task -> why it is unused; by default what the model lists.

        :func:`fit` freezes these for the run, and they still count as parameters.
        """
        if isinstance(self.model, PartlyUsed):
            return {f"model.{name}": why for name, why in self.model.unused_parameters().items()}
        return {}
