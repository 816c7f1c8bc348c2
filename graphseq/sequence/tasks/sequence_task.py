"""What tasks on a set of sequences share: their batches and how they step."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from graphseq.sequence.data import SequenceData
from graphseq.sequence.tasks.optimization import Optimization, Schedule, positive
from graphseq.training import Shard, Stage, Task


class Rows(NamedTuple):
    """The sequences of a batch: this rank's, and all ranks' (by position in the data)."""

    own: Tensor
    whole: Tensor


class SequenceTask(Task):
    """Batches of drawn order over a :class:`~graphseq.sequence.data.SequenceData`.

    A subclass says what kind of target it has, and writes ``losses``, ``predict`` and ``metrics``.

    Args:
        model: ``model(x, lengths=None) -> (answer, state)``; see ``SequenceModel``.
        data: the sequences, their targets and splits.
        lr: learning rate of AdamW.
        weight_decay: decoupled weight decay.
        schedule: "constant", "cosine" down to 0 over the epochs, or "exponential".
        decay: factor per epoch of the exponential schedule.
        batch_size: sequences per step, of all ranks together.
        max_norm: gradients are clipped to this norm; None leaves them.
        epochs: largest number of epochs.
        patience: stop after so many epochs without a better monitor; None never does.
        monitor: the validation metric that chooses the weights.
        seed: of the order of the batches.

    Raises:
        ValueError: an argument is out of its range, or the data have another kind of target.
    """

    kind: str

    def __init__(
        self,
        model: nn.Module,
        data: SequenceData,
        *,
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        schedule: Schedule = "constant",
        decay: float = 0.96,
        batch_size: int = 64,
        max_norm: float | None = 1.0,
        epochs: int = 50,
        patience: int | None = None,
        monitor: str = "val/loss",
        seed: int = 0,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        positive(name, batch_size=batch_size)
        if data.kind != self.kind:
            raise ValueError(
                f"{name}: {data.name} has {data.kind} as targets, expected {self.kind}; "
                "choose the task that fits"
            )
        self.model, self.data, self.seed = model, data, seed
        self.plan = Optimization(name, lr, weight_decay, schedule, decay)
        self.batch_size, self.max_norm, self.monitor = batch_size, max_norm, monitor
        self.epochs, self.patience = epochs, patience

    def prepare(self, device: torch.device) -> None:
        self.data = self.data.to(device)

    def stages(self) -> Sequence[Stage]:
        return [
            Stage(
                epochs=self.epochs,
                monitors=(self.monitor,),
                patience=self.patience,
                max_norm=self.max_norm,
            )
        ]

    def optimizers(self, stage: Stage) -> dict[str, Optimizer]:
        return {"model": self.plan.optimizer(self.model)}

    def schedulers(self, optimizers: dict[str, Optimizer], stage: Stage) -> Sequence[LRScheduler]:
        return self.plan.scheduler(optimizers["model"], stage.epochs)

    def batches(self, split: str, stage: Stage, epoch: int, shard: Shard) -> Iterable[Rows]:
        """Training sequences in a new order each epoch; those to score in the order of the data."""
        rows = {"train": self.data.train, "val": self.data.val, "test": self.data.test}[split]
        if self.training:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            rows = rows[torch.randperm(len(rows), generator=generator).to(rows.device)]
        for begin in range(0, len(rows), self.batch_size):
            whole = rows[begin : begin + self.batch_size]
            yield Rows(shard.take(whole), whole)

    def answer(self, rows: Tensor, **arguments: Tensor) -> Tensor:
        """What the model says of some sequences."""
        lengths = None if self.data.lengths is None else self.data.lengths[rows]
        return self.model(self.input(rows), lengths=lengths, **arguments)[0]

    def input(self, rows: Tensor) -> Tensor:
        """Tokens, or features in the model's precision."""
        x = self.data.x[rows]
        return x.to(next(self.model.parameters()).dtype) if x.is_floating_point() else x
