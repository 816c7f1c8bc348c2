"""Reading a sequence one step at a time with a trained model."""

from typing import Protocol

import torch
from torch import Tensor

from graphseq.sequence.nn.state import State


class Streams(Protocol):
    """What a model needs to be streamed."""

    training: bool
    num_tokens: int | None

    def step(self, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        """One step."""
        ...

    def init_state(self, batch_size: int) -> State:
        """The state before anything was read."""
        ...

    def eval(self) -> object:
        """Evaluation mode."""
        ...


class Stream:
    """A model and what it has read so far; the answers equal those of the whole sequence.

    Memory stays constant with mixers whose state does. No gradients are kept.

    Args:
        model: a model that streams; it is put into evaluation mode.
        batch_size: number of sequences side by side; None for one, without a batch dimension.

    Example:
        >>> from functools import partial
        >>> from graphseq.sequence.models import SequenceModel
        >>> from graphseq.sequence.nn import AarenAttention
        >>> model = SequenceModel(5, num_tokens=5, mixer=partial(AarenAttention, num_heads=2))
        >>> stream = model.stream()
        >>> [tuple(stream(token).shape) for token in (3, 1, 4)]
        [(5,), (5,), (5,)]
        >>> whole, _ = model(torch.tensor([[3, 1, 4, 1]]))
        >>> torch.allclose(stream(1), whole[0, -1], atol=1e-5)
        True
    """

    def __init__(self, model: Streams, batch_size: int | None = None) -> None:
        self.model, self.batch_size = model, batch_size
        model.eval()
        self.state = model.init_state(batch_size or 1)

    @torch.no_grad()
    def __call__(self, x_t: Tensor | int) -> Tensor:
        """The answer after one more step.

        Args:
            x_t: a token or features ``[F]``; with a batch ``[B]`` tokens or ``[B, F]``.

        Returns:
            ``[C]``, with a batch ``[B, C]``.

        Raises:
            ValueError: if the model does not take such an input.
        """
        device = self.state["position"].device
        x_t = torch.as_tensor(x_t, device=device)
        x_t = x_t[None] if self.batch_size is None else x_t
        answer, self.state = self.model.step(x_t, self.state)
        return answer[0] if self.batch_size is None else answer

    def reset(self) -> None:
        """Forgets what was read."""
        self.state = self.model.init_state(self.batch_size or 1)
