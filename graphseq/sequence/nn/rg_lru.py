"""RG-LRU: the real-gated linear recurrent unit of Griffin (De et al. 2024, arXiv 2402.19427).

    r_i = sigmoid(W_r u_i + bias),     g_i = sigmoid(W_g u_i + bias),     x_i = W_x u_i
    a_i = a^{c r_i},     a = sigmoid(lambda),     c = 8
    h_i = a_i * h_{i-1} + sqrt(1 - a_i^2) * g_i * x_i,     y_i = W_out h_i

As a dynamical system, per channel with one state: Lambda_i = a_i, B_i = sqrt(1 - a_i^2) g_i,
C_i = 1, D = 0, on the values x_i. The scale keeps the variance of the state for white inputs.

========  ==========  =============  ======================
symbol    variable    shape          meaning
========  ==========  =============  ======================
r         recurrence  ``[B, T, D]``  gate of the decay
g         enter       ``[B, T, D]``  gate of the input
lambda    a_logit     ``[D]``        decay without its gate
h         value       ``[B, D]``     state
========  ==========  =============  ======================
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphseq.sequence.nn.linear_recurrence import (
    Dynamics,
    LinearRecurrence,
    Projected,
    input_scale,
    logits,
)
from graphseq.sequence.nn.mixer import at_least_float32
from graphseq.sequence.ops import AffineState, gated_scan

_POWER = 8.0  # c


class RGLRU(LinearRecurrence):
    """Elementwise recurrence with gated decay; at first a^c is uniform in 0.9 .. 0.999.

    Args:
        channels: D.

    Shape:
        ``[B, T, D] -> [B, T, D]``; matrix ``[B, D, T, T]``.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, state_shape=(channels,))
        self.in_proj = nn.Linear(channels, channels, bias=False)
        self.gate_proj = nn.Linear(channels, 2 * channels)
        self.out_proj = nn.Linear(channels, channels, bias=False)
        log_a = torch.empty(channels).uniform_(0.9, 0.999).log() / _POWER
        self.a_logit = nn.Parameter(log_a - torch.log(-torch.expm1(log_a)))

    def project(self, x: Tensor) -> Projected:
        """Values, log decays and gains, ``[B, T, D]``."""
        recurrence, enter = torch.sigmoid(logits(self.gate_proj, x)).chunk(2, -1)
        log_decay = _POWER * recurrence * F.logsigmoid(at_least_float32(self.a_logit))
        return self.in_proj(x), log_decay, input_scale(log_decay) * enter

    def scan(
        self, projected: Projected, before: AffineState, mask: Tensor | None
    ) -> tuple[Tensor, AffineState]:
        v, log_decay, gain = projected
        h, after = gated_scan(log_decay.exp(), gain * v, before, mask=mask)
        return h[..., None], after

    def system(self, projected: Projected) -> Dynamics:
        v, log_decay, gain = (part[..., None] for part in projected)
        return Dynamics(v, log_decay.exp(), gain, torch.ones_like(gain))

    def read(self, mixed: Tensor, projected: Projected) -> Tensor:
        return self.out_proj(mixed.squeeze(-1).to(projected[0].dtype))
