"""One or several numbers per sequence: squared error."""

from collections.abc import Iterator

from torch import Tensor

from graphseq.sequence.tasks.sequence_task import Rows, SequenceTask
from graphseq.training import Loss, Stage


class SequenceRegression(SequenceTask):
    """Trains ``model(x, lengths=...) -> (values [B, K], state)`` on squared errors.

    Its arguments are those of :class:`SequenceTask`; the data's targets are values ``[N]`` or
    ``[N, K]``.
    """

    kind = "values"

    def losses(self, batch: Rows, stage: Stage) -> Iterator[Loss]:
        errors = self._errors(batch.own)  # [B, K]
        yield Loss(self.shard.mean(errors.mean(1), total=len(batch.whole)))

    def predict(self, batch: Rows, split: str, stage: Stage, final: bool) -> dict[str, Tensor]:
        return {"squared": self._errors(batch.own)}

    def metrics(self, predictions: dict[str, Tensor], split: str, stage: Stage) -> dict[str, float]:
        error = float(predictions["squared"].double().mean())
        return {"loss": error, "mse": error}

    def _errors(self, rows: Tensor) -> Tensor:
        values = self.answer(rows)  # [B, K]
        return (values - self.data.y[rows].reshape(values.shape).to(values)).square()
