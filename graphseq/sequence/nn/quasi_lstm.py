"""Quasi-LSTM: an LSTM whose gates see the input only, so that the state is linear in the past.

    f_i = sigmoid(W_f u_i + b_f),   i_i = sigmoid(W_i u_i + b_i),   o_i = sigmoid(W_o u_i + b_o)
    h_i = f_i * h_{i-1} + i_i * W_u u_i,     y_i = W_out (o_i * h_i)

As a dynamical system, per channel with one state: Lambda_i = f_i, B_i = i_i, C_i = o_i, D = 0, on
the values W_u u_i (Sieber et al. 2024, arXiv 2405.15731, section 4.3). Options:

- ``reversed_sigmoid``: ``f_i = sigmoid(-(W_f u_i + b_f))^relu(alpha)`` with one learned alpha, the
  transition that S6 has (their equation 22)
- ``output_tanh``: ``o_i * tanh(h_i)``, as in an LSTM; then C_i = 1 and o_i acts after the system
- ``conv_width``: values pass a causal convolution, whose output the gates read instead of u
- ``gated``: ``W_out (gelu(W_gate u_i) * o_i * h_i)``

The comparison's released block is ``QuasiLSTM(D, expand=2, conv_width=4, gated=True)``.

========  ========  ===============  ================================
symbol    variable  shape            meaning
========  ========  ===============  ================================
W_u u     v         ``[B, T, E D]``  values; E is the expansion
f, i, o   f, i, o   ``[B, T, E D]``  forget, input and output gates
h         value     ``[B, E D]``     state
========  ========  ===============  ================================
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphseq.sequence.nn.causal_conv import CausalConv
from graphseq.sequence.nn.linear_recurrence import (
    Dynamics,
    LinearRecurrence,
    Projected,
    as_affine,
    logits,
)
from graphseq.sequence.nn.mixer import state_dtype, zero_padding
from graphseq.sequence.nn.state import State
from graphseq.sequence.ops import AffineState, gated_scan


class QuasiLSTM(LinearRecurrence):
    """Gated recurrence with independent forget and input gates, elementwise.

    Args:
        channels: D.
        expand: E, the state has E D channels.
        conv_width: taps of the causal convolution before the gates; 0 for none. With one the state
            also holds the last inputs, and states do not merge.
        gated: whether a gelu gate multiplies what is read.
        reversed_sigmoid: see above.
        output_tanh: see above.

    Shape:
        ``[B, T, D] -> [B, T, D]``; matrix ``[B, E D, T, T]``.

    Raises:
        ValueError: if the expansion or the width of the convolution is out of range.
    """

    def __init__(
        self,
        channels: int,
        *,
        expand: int = 1,
        conv_width: int = 0,
        gated: bool = False,
        reversed_sigmoid: bool = False,
        output_tanh: bool = False,
    ) -> None:
        width = expand * channels
        super().__init__(channels, state_shape=(width,))
        if expand < 1 or conv_width < 0:
            raise ValueError(
                f"QuasiLSTM: expand is {expand} and conv_width {conv_width}; pass 1 or more, and "
                "0 (no convolution) or more"
            )
        self.expand, self.conv_width, self.gated = expand, conv_width, gated
        self.reversed_sigmoid, self.output_tanh = reversed_sigmoid, output_tanh
        self.merges = conv_width == 0  # type: ignore[misc]  # an option of this class decides
        self.in_proj = nn.Linear(channels, (1 + gated) * width, bias=False)
        self.conv = CausalConv(width, conv_width) if conv_width else None
        self.gate_proj = nn.Linear(width if conv_width else channels, 3 * width)
        self.out_proj = nn.Linear(width, channels, bias=False)
        self.alpha = nn.Parameter(torch.ones(())) if reversed_sigmoid else None

    def forward(
        self, x: Tensor, state: State | None = None, *, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """All steps at once, see :meth:`Mixer.forward`."""
        if self.conv is None:
            return super().forward(x, state, lengths=lengths)
        state, mask = self.check(x, state, lengths)
        projected, recent = self._convolved(zero_padding(x, mask), state["recent"], lengths)
        mixed, after = self.scan(projected, as_affine(state), mask)
        y = zero_padding(self.read(mixed, projected), mask)
        return y, self.make_state(**after._asdict(), recent=recent)

    def step(self, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        """One step of the recurrence, and of the convolution where there is one."""
        if self.conv is None:
            return super().step(x_t, state)
        self.check_step(x_t, state)
        projected, recent = self._convolved(x_t[:, None], state["recent"])
        mixed, after = self.advance(self.system(projected), as_affine(state))
        y_t = self.read(mixed, projected)[:, 0]
        return y_t, self.make_state(**after._asdict(), recent=recent)

    def init_state(self, batch_size: int) -> State:
        """The map that changes nothing, and with a convolution inputs of 0."""
        state = super().init_state(batch_size)
        return (
            state
            if self.conv is None
            else self.make_state(**state.tensors, recent=self._before(batch_size))
        )

    def project(self, x: Tensor) -> Projected:
        """Values, gates f, i, o, and the outer gate where there is one, ``[B, T, E D]``."""
        if self.conv is not None:
            return self._convolved(x, self._before(x.shape[0]))[0]
        v, *outer = self.in_proj(x).chunk(1 + self.gated, -1)
        return (v, *self._gates(x), *outer)

    def _convolved(
        self, x: Tensor, recent: Tensor, lengths: Tensor | None = None
    ) -> tuple[Projected, Tensor]:
        assert self.conv is not None
        v, *outer = self.in_proj(x).chunk(1 + self.gated, -1)
        v, recent = self.conv(v, recent, lengths)
        return (v, *self._gates(v), *outer), recent

    def _before(self, batch_size: int) -> Tensor:
        shape = batch_size, self.conv_width - 1, self.state_shape[0]
        device = self.out_proj.weight.device
        return torch.zeros(shape, dtype=state_dtype(self), device=device)

    def _gates(self, x: Tensor) -> Projected:
        f, i, o = logits(self.gate_proj, x).chunk(3, -1)
        if self.alpha is None:
            return torch.sigmoid(f), torch.sigmoid(i), torch.sigmoid(o)
        # sigmoid(-f)^alpha through the logarithm, whose gradient is finite where the power is 0
        forget = torch.exp(-F.relu(self.alpha) * F.softplus(f))
        return forget, torch.sigmoid(i), torch.sigmoid(o)

    def scan(
        self, projected: Projected, before: AffineState, mask: Tensor | None
    ) -> tuple[Tensor, AffineState]:
        v, f, i, o, *_ = projected
        h, after = gated_scan(f, i * v, before, mask=mask)
        return (h if self.output_tanh else o * h)[..., None], after

    def system(self, projected: Projected) -> Dynamics:
        v, f, i, o = (part[..., None] for part in projected[:4])
        return Dynamics(v, f, i, torch.ones_like(o) if self.output_tanh else o)

    def read(self, mixed: Tensor, projected: Projected) -> Tensor:
        v, _, _, o, *outer = projected
        y = mixed.squeeze(-1)  # [B, T, E D]
        y = o * torch.tanh(y) if self.output_tanh else y
        y = y.to(v.dtype)
        return self.out_proj(F.gelu(outer[0]) * y if outer else y)
