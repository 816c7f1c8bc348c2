"""Language modelling: predict each token from those before it, with truncated backpropagation.

The text is cut into streams that are read side by side, a chunk at a time. The state after a chunk
is where the next one starts, without its history (truncated backpropagation through time, k1 = k2),
so the model hears the whole past and learns from a chunk of it. The state is part of a checkpoint.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from graphseq.sequence.data import TokenStream
from graphseq.sequence.metrics import perplexity
from graphseq.sequence.tasks.optimization import Optimization, Schedule, positive
from graphseq.training import Loss, Shard, Stage, Task

IGNORED = -100


class Chunk(NamedTuple):
    """This rank's part of a chunk: tokens and targets ``[S, L]``; whether it is the first.

    ``total`` is the number of targets of all ranks together.
    """

    tokens: Tensor
    targets: Tensor
    first: bool
    total: int


class NextTokenPrediction(Task):
    """Trains ``model(tokens, state, asked=..., targets=...) -> (nll [M], state)``.

    Args:
        model: see above and ``SequenceModel``; its state has ``detach`` and ``with_tensors``.
        data: the text as tokens, with its splits.
        lr: learning rate of AdamW.
        weight_decay: decoupled weight decay.
        schedule: "constant", "cosine" down to 0 over the epochs, or "exponential".
        decay: factor per epoch of the exponential schedule.
        num_streams: parts of the text that are read side by side.
        chunk_length: steps between two updates, over which gradients flow.
        carry_state: whether a chunk starts from the state after the one before; a mixer whose state
            grows, attention, starts afresh instead and sees only its chunk.
        steps_per_epoch: an epoch reads so many chunks, the next epoch those after them; None reads
            the whole text in each.
        max_norm: gradients are clipped to this norm; None leaves them.
        epochs: largest number of epochs.
        patience: stop after so many epochs without a better validation loss; None never does.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        model: nn.Module,
        data: TokenStream,
        *,
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        schedule: Schedule = "constant",
        decay: float = 0.96,
        num_streams: int = 32,
        chunk_length: int = 64,
        carry_state: bool = True,
        steps_per_epoch: int | None = None,
        max_norm: float | None = 1.0,
        epochs: int = 10,
        patience: int | None = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        positive(name, num_streams=num_streams, chunk_length=chunk_length)
        if steps_per_epoch is not None:
            positive(name, steps_per_epoch=steps_per_epoch)
        if not getattr(model, "streams", True):
            raise ValueError(
                f"{name}: {type(model).__name__} does not stream, so it hears the tokens that it "
                "is to predict; pass a causal model that answers at every position"
            )
        self.model, self.data = model, data
        self.plan = Optimization(name, lr, weight_decay, schedule, decay)
        self.num_streams, self.chunk_length, self.carry_state = (
            num_streams,
            chunk_length,
            carry_state,
        )
        self.steps_per_epoch, self.max_norm = steps_per_epoch, max_norm
        self.epochs, self.patience = epochs, patience
        self.state: Any = None  # after the last training chunk
        self.scored: Any = None  # after the last chunk of an evaluation

    def prepare(self, device: torch.device) -> None:
        self.data = self.data.to(device)

    def stages(self) -> Sequence[Stage]:
        return [Stage(epochs=self.epochs, patience=self.patience, max_norm=self.max_norm)]

    def optimizers(self, stage: Stage) -> dict[str, Optimizer]:
        return {"model": self.plan.optimizer(self.model)}

    def schedulers(self, optimizers: dict[str, Optimizer], stage: Stage) -> Sequence[LRScheduler]:
        return self.plan.scheduler(optimizers["model"], stage.epochs)

    def batches(self, split: str, stage: Stage, epoch: int, shard: Shard) -> Iterable[Chunk]:
        """The chunks in the order of the text; every rank has its own streams."""
        tokens, targets = self.data.streams(split, self.num_streams)  # [S, L]
        starts = list(range(0, tokens.shape[1], self.chunk_length))
        if self.training and self.steps_per_epoch is not None:
            done = epoch * self.steps_per_epoch
            starts = [starts[(done + i) % len(starts)] for i in range(self.steps_per_epoch)]
        for start in starts:
            part = slice(start, start + self.chunk_length)
            asked = int((targets[:, part] != IGNORED).sum())
            own = shard.take(tokens[:, part]), shard.take(targets[:, part])
            yield Chunk(*own, first=start == 0, total=asked)

    def losses(self, batch: Chunk, stage: Stage) -> Iterator[Loss]:
        nll, self.state = self._read(batch, self.state)
        yield Loss(self.shard.mean(nll, total=max(batch.total, 1)))

    def predict(self, batch: Chunk, split: str, stage: Stage, final: bool) -> dict[str, Tensor]:
        nll, self.scored = self._read(batch, self.scored)
        return {"nll": nll.float()}

    def metrics(self, predictions: dict[str, Tensor], split: str, stage: Stage) -> dict[str, float]:
        nll = predictions["nll"]
        self.scored = None
        return {
            "loss": float(nll.double().mean()),
            "ppl": perplexity(nll),
            "tokens": float(nll.numel()),
        }

    def _read(self, batch: Chunk, state: Any) -> tuple[Tensor, Any]:
        """Negative log likelihoods of the chunk's targets ``[M]``, and the state after it."""
        before = None if batch.first or not self.carry_state else state
        asked = batch.targets != IGNORED
        nll, after = self.model(batch.tokens, before, asked=asked, targets=batch.targets)
        return nll, after.detach() if self.carry_state and after is not None else None

    def get_extra_state(self) -> dict[str, Any]:
        """The carried state's tensors, for a checkpoint in the middle of the text."""
        return {} if self.state is None else {"state": dict(self.state.tensors)}

    def set_extra_state(self, saved: dict[str, Any]) -> None:
        """Takes back what :meth:`get_extra_state` gave."""
        tensors = saved.get("state")
        self.state = None
        if tensors is not None:
            rows = next(iter(tensors.values())).shape[0]
            model: Any = self.model
            device = next(self.model.parameters()).device
            self.state = model.init_state(rows).with_tensors(tensors).to(device)
