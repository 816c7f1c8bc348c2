"""Quasi-GRU: a GRU whose gate and candidate see the input only (minGRU, Feng et al. 2024).

    z_i = sigmoid(W_z u_i + bias),     h_i = (1 - z_i) * h_{i-1} + z_i * W u_i,     y_i = W_out h_i

As a dynamical system, per channel with one state: Lambda_i = 1 - z_i, B_i = z_i, C_i = 1, D = 0,
on the values W u_i. One gate couples how much is forgotten and how much enters, so the state is an
average of values. (arXiv 2410.01201, section 3.1; in the form of Sieber et al. 2024.)

========  ========  =============  ===========
symbol    variable  shape          meaning
========  ========  =============  ===========
z         z         ``[B, T, D]``  update gate
h         value     ``[B, D]``     state
========  ========  =============  ===========
"""

import torch
from torch import Tensor, nn

from graphseq.sequence.nn.linear_recurrence import Dynamics, LinearRecurrence, Projected, logits
from graphseq.sequence.ops import AffineState, gated_scan


class QuasiGRU(LinearRecurrence):
    """Gated average of values, elementwise.

    Args:
        channels: D.

    Shape:
        ``[B, T, D] -> [B, T, D]``; matrix ``[B, D, T, T]``.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, state_shape=(channels,))
        self.in_proj = nn.Linear(channels, channels, bias=False)
        self.gate_proj = nn.Linear(channels, channels)
        self.out_proj = nn.Linear(channels, channels, bias=False)

    def project(self, x: Tensor) -> Projected:
        """Values and the logits of the gate, ``[B, T, D]``."""
        return self.in_proj(x), logits(self.gate_proj, x)

    def scan(
        self, projected: Projected, before: AffineState, mask: Tensor | None
    ) -> tuple[Tensor, AffineState]:
        v, z = projected
        h, after = gated_scan(torch.sigmoid(-z), torch.sigmoid(z) * v, before, mask=mask)
        return h[..., None], after

    def system(self, projected: Projected) -> Dynamics:
        v, z = projected
        decay, gain = torch.sigmoid(-z)[..., None], torch.sigmoid(z)[..., None]
        return Dynamics(v[..., None], decay, gain, torch.ones_like(gain))

    def read(self, mixed: Tensor, projected: Projected) -> Tensor:
        return self.out_proj(mixed.squeeze(-1).to(projected[0].dtype))
