"""A mixer with what stands around it in a stack: residual connections, norms, an MLP.

With norm "post" (Vaswani et al. 2017) a block is ``z = norm(x + mix(x))``, then
``y = norm(z + mlp(z))``; with "pre" it is ``z = x + mix(norm(x))``, then ``y = z + mlp(norm(z))``;
with "none" it is the mixer and the MLP alone, as recurrent layers are stacked.
"""

from collections.abc import Mapping
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from graphseq.sequence.nn.mixer import Mixer
from graphseq.sequence.nn.state import State

Norm = Literal["pre", "post", "none"]
Activation = Literal["relu", "gelu"]


class Block(nn.Module):
    """One layer of a stack around a mixer, which it streams like.

    Args:
        mixer: maps ``[B, T, D] -> [B, T, D]``.
        ff_channels: width of the MLP's hidden layer; no MLP where it is None.
        norm: where layer norms and residual connections are: "pre", "post", or "none" of either.
        activation: of the MLP.
        dropout: of what the mixer and the MLP add, and of the MLP's hidden layer.

    Raises:
        ValueError: if the norm or the activation has no such name, or dropout is out of [0, 1].
    """

    def __init__(
        self,
        mixer: Mixer,
        *,
        ff_channels: int | None = None,
        norm: Norm = "pre",
        activation: Activation = "relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if norm not in ("pre", "post", "none"):
            raise ValueError(f"Block: norm is {norm!r}; pass pre, post or none")
        if activation not in ("relu", "gelu"):
            raise ValueError(f"Block: activation is {activation!r}; pass relu or gelu")
        self.mixer, self.norm = mixer, norm
        self.act = F.relu if activation == "relu" else F.gelu
        self.dropout = dropout_layer(dropout)
        width = mixer.channels
        self.mixer_norm = nn.LayerNorm(width) if norm != "none" else None
        self.mlp_in = self.mlp_out = self.mlp_norm = None
        if ff_channels is not None:
            self.mlp_in, self.mlp_out = nn.Linear(width, ff_channels), nn.Linear(ff_channels, width)
            self.mlp_norm = nn.LayerNorm(width) if norm != "none" else None

    @property
    def streams(self) -> bool:
        """Whether its mixer does."""
        return self.mixer.streams

    def forward(
        self, x: Tensor, state: State | None = None, *, lengths: Tensor | None = None
    ) -> tuple[Tensor, State | None]:
        """All steps at once: ``[B, T, D]``, and the state after them."""
        mixed, state = self.mixer(self._before(x, self.mixer_norm), state, lengths=lengths)
        return self._mlp(self._after(x, mixed, self.mixer_norm)), state

    def step(self, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        """One step: ``[B, D]``."""
        mixed, state = self.mixer.step(self._before(x_t, self.mixer_norm), state)
        return self._mlp(self._after(x_t, mixed, self.mixer_norm)), state

    def init_state(self, batch_size: int) -> State:
        """Its mixer's."""
        return self.mixer.init_state(batch_size)

    def state_shapes(self, batch_size: int) -> Mapping[str, tuple[int, ...]]:
        """Its mixer's."""
        return self.mixer.state_shapes(batch_size)

    def _mlp(self, x: Tensor) -> Tensor:
        if self.mlp_in is None or self.mlp_out is None:
            return x
        hidden = self.dropout(self.act(self.mlp_in(self._before(x, self.mlp_norm))))
        return self._after(x, self.mlp_out(hidden), self.mlp_norm)

    def _before(self, x: Tensor, norm: nn.LayerNorm | None) -> Tensor:
        return norm(x) if norm is not None and self.norm == "pre" else x

    def _after(self, x: Tensor, added: Tensor, norm: nn.LayerNorm | None) -> Tensor:
        if norm is None:
            return self.dropout(added)
        total = x + self.dropout(added)
        return norm(total) if self.norm == "post" else total


def dropout_layer(p: float) -> nn.Module:
    """Dropout; nothing where p is 0, for which torch would still draw a mask."""
    return nn.Dropout(p) if p else nn.Identity()
