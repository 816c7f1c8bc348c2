"""A label at some positions of each sequence: associative recall, copying, running parity.

Only positions that carry a label reach the head. In associative recall those are K of L, and the
head, whose vocabulary is large, is where the time goes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor, nn

from graphseq.sequence.data import SequenceData
from graphseq.sequence.metrics import mean_per_sequence
from graphseq.sequence.tasks.optimization import Schedule
from graphseq.sequence.tasks.sequence_task import Rows, SequenceTask
from graphseq.training import Loss, Reached, Stage

IGNORED = -100


class SequenceLabelling(SequenceTask):
    """Trains ``model(x, lengths=..., asked=...) -> (logits [M, C], state)``.

    ``asked [B, T]`` is true at the M positions that carry a label; ``acc`` is the mean over
    sequences of the mean over their labelled positions, as the MQAR benchmark scores.

    Args:
        model: see above; ``SequenceModel`` with readout "all".
        data: its targets are labels ``[N, T]``, -100 where none is asked.
        lr: learning rate of AdamW.
        weight_decay: decoupled weight decay.
        schedule: "constant", "cosine" down to 0 over the epochs, or "exponential".
        decay: factor per epoch of the exponential schedule.
        batch_size: sequences per step, of all ranks together.
        max_norm: gradients are clipped to this norm; None leaves them.
        epochs: largest number of epochs.
        patience: stop after so many epochs without a better monitor; None never does.
        solved: stop as soon as validation accuracy exceeds this; None never does.
        monitor: the validation metric that chooses the weights.
        seed: of the order of the batches.

    Raises:
        ValueError: an argument is out of its range, or the data have another kind of target.
    """

    kind = "labels"

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
        solved: float | None = None,
        monitor: str = "val/acc",
        seed: int = 0,
    ) -> None:
        super().__init__(
            model,
            data,
            lr=lr,
            weight_decay=weight_decay,
            schedule=schedule,
            decay=decay,
            batch_size=batch_size,
            max_norm=max_norm,
            epochs=epochs,
            patience=patience,
            monitor=monitor,
            seed=seed,
        )
        self.solved = solved

    def stages(self) -> Sequence[Stage]:
        (stage,) = super().stages()
        return [
            stage if self.solved is None else replace(stage, stop=Reached("val/acc", self.solved))
        ]

    def losses(self, batch: Rows, stage: Stage) -> Iterator[Loss]:
        y = self.data.y[batch.own]
        logits = self.answer(batch.own, asked=y != IGNORED)  # [M, C]
        losses = F.cross_entropy(logits, y[y != IGNORED], reduction="none")
        total = int((self.data.y[batch.whole] != IGNORED).sum())
        yield Loss(self.shard.mean(losses, total=max(total, 1)))

    def predict(self, batch: Rows, split: str, stage: Stage, final: bool) -> dict[str, Tensor]:
        y = self.data.y[batch.own]
        logits = self.answer(batch.own, asked=y != IGNORED).float()  # [M, C]
        target = y[y != IGNORED]
        return {
            "nll": F.cross_entropy(logits, target, reduction="none"),
            "right": logits.argmax(1) == target,
            "sequence": batch.own[:, None].expand_as(y)[y != IGNORED],
        }

    def metrics(self, predictions: dict[str, Tensor], split: str, stage: Stage) -> dict[str, float]:
        right, sequence = predictions["right"], predictions["sequence"]
        loss = float(predictions["nll"].double().mean())
        return {"loss": loss, "acc": mean_per_sequence(right.double(), sequence)}
