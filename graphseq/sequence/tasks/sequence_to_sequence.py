"""Sequence to sequence with teacher forcing; scored token by token and by whole answers."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from graphseq.sequence.data import PairedSequences
from graphseq.sequence.metrics import accuracy
from graphseq.sequence.tasks.optimization import Optimization, Schedule, positive
from graphseq.sequence.tasks.sequence_task import Rows
from graphseq.training import Loss, Shard, Stage, Task

IGNORED = -100


class SequenceToSequence(Task):
    """Trains ``model(source, target, source_lengths) -> logits [B, T, V]``; see ``Seq2Seq``.

    The model sees the right targets before each position (teacher forcing). The final scores also
    let it answer by itself, with ``model.generate(source, source_lengths, max_length)``:
    ``exact`` is the share of answers that are right from the first token to the end symbol.

    Args:
        model: see above.
        data: pairs of sequences.
        lr: learning rate of AdamW.
        weight_decay: decoupled weight decay.
        schedule: "constant", "cosine" down to 0 over the epochs, or "exponential".
        decay: factor per epoch of the exponential schedule.
        batch_size: pairs per step, of all ranks together.
        max_norm: gradients are clipped to this norm; None leaves them.
        epochs: largest number of epochs.
        patience: stop after so many epochs without a better validation loss; None never does.
        seed: of the order of the batches.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        model: nn.Module,
        data: PairedSequences,
        *,
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        schedule: Schedule = "constant",
        decay: float = 0.96,
        batch_size: int = 64,
        max_norm: float | None = 1.0,
        epochs: int = 20,
        patience: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        positive(type(self).__name__, batch_size=batch_size)
        self.model, self.data, self.seed = model, data, seed
        self.plan = Optimization(type(self).__name__, lr, weight_decay, schedule, decay)
        self.batch_size, self.max_norm = batch_size, max_norm
        self.epochs, self.patience = epochs, patience

    def prepare(self, device: torch.device) -> None:
        self.data = self.data.to(device)

    def stages(self) -> Sequence[Stage]:
        return [Stage(epochs=self.epochs, patience=self.patience, max_norm=self.max_norm)]

    def optimizers(self, stage: Stage) -> dict[str, Optimizer]:
        return {"model": self.plan.optimizer(self.model)}

    def schedulers(self, optimizers: dict[str, Optimizer], stage: Stage) -> Sequence[LRScheduler]:
        return self.plan.scheduler(optimizers["model"], stage.epochs)

    def batches(self, split: str, stage: Stage, epoch: int, shard: Shard) -> Iterable[Rows]:
        rows = {"train": self.data.train, "val": self.data.val, "test": self.data.test}[split]
        if self.training:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            rows = rows[torch.randperm(len(rows), generator=generator).to(rows.device)]
        for begin in range(0, len(rows), self.batch_size):
            whole = rows[begin : begin + self.batch_size]
            yield Rows(shard.take(whole), whole)

    def losses(self, batch: Rows, stage: Stage) -> Iterator[Loss]:
        logits, target = self._answer(batch.own)
        total = int((self.data.target[batch.whole] != IGNORED).sum())
        losses = nn.functional.cross_entropy(logits, target, reduction="none")
        yield Loss(self.shard.mean(losses, total=total))

    def predict(self, batch: Rows, split: str, stage: Stage, final: bool) -> dict[str, Tensor]:
        logits, target = self._answer(batch.own)
        found = {
            "nll": nn.functional.cross_entropy(logits.float(), target, reduction="none"),
            "right": logits.argmax(1) == target,
        }
        if final:
            found["exact"] = self._exact(batch.own)
        return found

    def metrics(self, predictions: dict[str, Tensor], split: str, stage: Stage) -> dict[str, float]:
        right = predictions["right"]
        found = {
            "loss": float(predictions["nll"].double().mean()),
            "acc": accuracy(right, torch.ones_like(right)),
        }
        if "exact" in predictions:
            found["exact"] = float(predictions["exact"].double().mean())
        return found

    def _answer(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Logits ``[M, V]`` and targets ``[M]`` of all tokens that are no padding."""
        target = self.data.target[rows]
        lengths = None if self.data.source_lengths is None else self.data.source_lengths[rows]
        logits = self.model(self.data.source[rows], target, lengths)  # [B, T, V]
        return logits[target != IGNORED], target[target != IGNORED]

    def _exact(self, rows: Tensor) -> Tensor:
        """Whether each answer, made without help, is the target: ``[B]``."""
        target = self.data.target[rows]
        lengths = None if self.data.source_lengths is None else self.data.source_lengths[rows]
        model: Any = self.model
        answer = model.generate(self.data.source[rows], lengths, target.shape[1])  # [B, T]
        return ((answer == target) | (target == IGNORED)).all(1)
