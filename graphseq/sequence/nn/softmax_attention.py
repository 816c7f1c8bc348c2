"""Causal self-attention (Vaswani et al., NeurIPS 2017, arXiv 1706.03762) that streams.

    y_i = sum_{j <= i} softmax_j(q_i . k_j / sqrt(M)) v_j

per head, M the width of its queries, followed by an output projection. What it remembers is every
key and value: the state grows, and a step costs as much as there is to read.

========  =========  ==================  ==================================
symbol    variable   shape               meaning
========  =========  ==================  ==================================
q, k      q, k       ``[B, T, H, M]``    queries and keys
v         v          ``[B, T, H, P]``    values, P = D / H
          mask       ``[B, S]``          cached positions that are no padding
========  =========  ==================  ==================================
"""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphseq.sequence.nn.mixer import (
    Mixer,
    at_least_float32,
    check_heads,
    merge_heads,
    no_autocast,
    split_heads,
    zero_padding,
)
from graphseq.sequence.nn.separable_attention import init_projections
from graphseq.sequence.nn.state import State


class SoftmaxAttention(Mixer):
    """Multi-head attention over the past; with the defaults that of ``nn.TransformerEncoderLayer``.

    Its parameters are those of ``nn.MultiheadAttention`` under their names, but for
    ``in_proj.weight`` and ``in_proj.bias``. The cache keeps the precision of the projections, which
    under autocast is half.

    Args:
        channels: D.
        num_heads: H, a divisor of D and of the key channels.
        key_channels: width of queries and of keys, all heads together; D where it is None.
        dropout: probability with which a weight is dropped in training.
        bias: whether the projections add one.

    Shape:
        ``[B, T, D] -> [B, T, D]``; state ``k [B, S, H, M]``, ``v [B, S, H, P]``, ``mask [B, S]``
        after S steps, padding included.

    Raises:
        ValueError: if a width is not a multiple of ``num_heads`` or dropout is out of [0, 1).
    """

    has_matrix = True
    merges = True
    constant_state = False

    def __init__(
        self,
        channels: int,
        *,
        num_heads: int = 1,
        key_channels: int | None = None,
        dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__(channels)
        keys = channels if key_channels is None else key_channels
        check_heads("SoftmaxAttention", num_heads, channels=channels, key_channels=keys)
        if not 0 <= dropout < 1:
            raise ValueError(f"SoftmaxAttention: dropout is {dropout}; pass a number in [0, 1)")
        self.num_heads, self.key_channels, self.dropout = num_heads, keys, dropout
        self.scale = 1 / math.sqrt(keys // num_heads)
        self.in_proj = nn.Linear(channels, 2 * keys + channels, bias=bias)
        self.out_proj = nn.Linear(channels, channels, bias=bias)
        init_projections(self.in_proj, self.out_proj)

    def forward(
        self, x: Tensor, state: State | None = None, *, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """All steps at once, see :meth:`Mixer.forward`."""
        state, inside = self.check(x, state, lengths)
        x = zero_padding(x, inside)
        q, k, v = self._project(x)
        after = self._append(state, k, v, inside)
        if x.shape[1] == 0:
            return self.readout(q.new_zeros(v.shape), x), after
        past = state["k"].shape[1]
        # Without a past, what a position inside its sequence may hear is inside too.
        allowed = None if past == 0 else _allowed(state["mask"], x.shape[1])
        # Fused attention, which keeps no T x T weights, wants one width: zeros add nothing.
        width = max(q.shape[-1], v.shape[-1])
        q, k, v = (
            F.pad(part, (0, width - part.shape[-1])).transpose(1, 2)
            for part in (q.to(after["k"].dtype), after["k"], after["v"])
        )
        mixed = F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=allowed,
            is_causal=allowed is None,
            dropout_p=self.dropout if self.training else 0.0,
            scale=self.scale,
        )[..., : self.channels // self.num_heads]
        return zero_padding(self.readout(mixed.transpose(1, 2), x), inside), after

    def step(self, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        """One step: append key and value, weigh all of them."""
        self.check_step(x_t, state)
        q, k, v = self._project(x_t)
        state = self._append(state, k[:, None], v[:, None], None)
        with no_autocast(x_t):
            scores = torch.einsum("bhm,bshm->bhs", self.scale * q, state["k"].to(q.dtype))
            scores = at_least_float32(scores).masked_fill(~state["mask"][:, None], -torch.inf)
            weights = F.dropout(scores.softmax(-1), self.dropout, self.training)
            mixed = torch.einsum("bhs,bshp->bhp", weights.to(v.dtype), state["v"].to(v.dtype))
        return self.readout(mixed, x_t), state

    def init_state(self, batch_size: int) -> State:
        """An empty cache."""
        weight, heads = self.in_proj.weight, self.num_heads
        return self.make_state(
            k=weight.new_zeros(batch_size, 0, heads, self.key_channels // heads),
            v=weight.new_zeros(batch_size, 0, heads, self.channels // heads),
            mask=torch.zeros(batch_size, 0, dtype=torch.bool, device=weight.device),
        )

    def merge(self, first: State, second: State) -> State:
        """One cache behind the other."""
        self.check_merge(first, second)
        return self._append(first, second["k"], second["v"], second["mask"])

    def state_shapes(self, batch_size: int) -> Mapping[str, tuple[int, ...]]:
        """Caches of any length."""
        shapes = super().state_shapes(batch_size)
        return {name: (shape[0], -1, *shape[2:]) for name, shape in shapes.items()}

    def check_state(self, state: State, batch_size: int) -> None:
        """Refuses, besides, a cache whose parts differ in length.

        Raises:
            ValueError: see :meth:`Mixer.check_state`.
        """
        super().check_state(state, batch_size)
        sizes = {name: tensor.shape[1] for name, tensor in state.tensors.items()}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"SoftmaxAttention: state has caches of lengths {sizes}, not of one")

    def matrix(self, x: Tensor) -> Tensor:
        """The attention weights ``[B, H, T, T]``, without dropout."""
        self.check(x, None)
        q, k, _ = map(at_least_float32, self._project(x))
        with no_autocast(x):
            scores = torch.einsum("bihm,bjhm->bhij", self.scale * q, k)
        time = torch.arange(x.shape[1], device=x.device)
        return scores.masked_fill(time > time[:, None], -torch.inf).softmax(-1)

    def values(self, x: Tensor) -> Tensor:
        """``[B, T, H, P]``."""
        return self._project(x)[2]

    def readout(self, mixed: Tensor, x: Tensor) -> Tensor:
        """Heads side by side, projected."""
        return self.out_proj(merge_heads(mixed).to(self.out_proj.weight.dtype))

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        widths = [self.key_channels, self.key_channels, self.channels]
        q, k, v = (split_heads(part, self.num_heads) for part in self.in_proj(x).split(widths, -1))
        return q, k, v

    def _append(self, state: State, k: Tensor, v: Tensor, mask: Tensor | None) -> State:
        """The cache with ``k``, ``v`` and ``mask`` (all true where it is None) behind it.

        It is copied, which costs no more than the attention that reads it, and leaves the earlier
        state to whoever holds it.
        """
        if mask is None:
            mask = torch.ones(k.shape[:2], dtype=torch.bool, device=k.device)
        if state["k"].shape[1] == 0:  # whose precision may be another
            return self.make_state(k=k, v=v, mask=mask)
        new = {"k": k, "v": v, "mask": mask}
        return self.make_state(
            **{name: torch.cat([state[name], tensor], 1) for name, tensor in new.items()}
        )


def _allowed(past: Tensor, time: int) -> Tensor:
    """``[B, 1, T, S + T]``: all of the past ``[B, S]`` that is no padding, and up to oneself."""
    step = torch.arange(time, device=past.device)
    recent = (step <= step[:, None]).expand(past.shape[0], 1, -1, -1)
    return torch.cat([past[:, None, None].expand(-1, -1, time, -1), recent], -1)
