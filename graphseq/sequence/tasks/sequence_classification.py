"""Sequence classification: cross-entropy and accuracy of one class per sequence."""

from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor

from graphseq.sequence.metrics import accuracy
from graphseq.sequence.tasks.sequence_task import Rows, SequenceTask
from graphseq.training import Loss, Stage


class SequenceClassification(SequenceTask):
    """Trains ``model(x, lengths=...) -> (logits [B, C], state)``.

    Its arguments are those of :class:`SequenceTask`; the data's targets are classes.
    """

    kind = "classes"

    def losses(self, batch: Rows, stage: Stage) -> Iterator[Loss]:
        logits = self.answer(batch.own)  # [B, C]
        losses = F.cross_entropy(logits, self.data.y[batch.own], reduction="none")
        yield Loss(self.shard.mean(losses, total=len(batch.whole)))

    def predict(self, batch: Rows, split: str, stage: Stage, final: bool) -> dict[str, Tensor]:
        return {"logits": self.answer(batch.own), "y": self.data.y[batch.own]}

    def metrics(self, predictions: dict[str, Tensor], split: str, stage: Stage) -> dict[str, float]:
        logits, y = predictions["logits"].float(), predictions["y"]
        return {"loss": float(F.cross_entropy(logits, y)), "acc": accuracy(logits.argmax(1), y)}
