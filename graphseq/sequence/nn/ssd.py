"""SSD: the state space duality layer of Mamba-2 (Dao and Gu 2024, arXiv 2405.21060), alone.

    delta_i = softplus(W_delta u_i + bias) > 0,     b_i = W_B u_i,     c_i = W_C u_i
    S_i = exp(delta_i a) S_{i-1} + b_i (delta_i x_i)^T,     a = -exp(a_log)
    y_i = S_i^T c_i + d x_i

per head, x_i being the head's share of u_i; b and c serve all heads. An output projection follows;
the convolution, the gate and the expansion of Mamba-2 are left out, as in the comparison of Sieber
et al. (2024). As a dynamical system: Lambda_i = exp(delta_i a) I, B_i = delta_i b_i, C_i = c_i,
D = d. With a = 0 and a constant delta it is linear attention without a normaliser.

========  ========  ================  ============================================
symbol    variable  shape             meaning
========  ========  ================  ============================================
x         x         ``[B, T, H, P]``  input by heads, P = D / H
delta     delta     ``[B, T, H]``     step sizes
b, c      b, c      ``[B, T, N]``     what enters (a key), what is read (a query)
a, d      a, skip   ``[H]``           rate of decay; passes the input on
S         value     ``[B, H, N, P]``  state
========  ========  ================  ============================================
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphseq.sequence.nn.linear_recurrence import Dynamics, LinearRecurrence, Projected
from graphseq.sequence.nn.mixer import at_least_float32, check_heads, merge_heads, split_heads
from graphseq.sequence.nn.s6 import SelectiveInit, check_init, init_released
from graphseq.sequence.nn.step_sizes import draw_step_sizes, inverse_softplus
from graphseq.sequence.ops import AffineState, outer_scan


class SSD(LinearRecurrence):
    """Selective state space whose decay is one number per head.

    Args:
        channels: D.
        num_heads: H, divides D.
        state_size: N.
        init: "mamba" draws step sizes from 1e-3 .. 1e-1 and rates -a from 1 .. 16; "dsf_release"
            draws all projections from N(0, 0.02), with no bias at first and a = -1.
        out_proj: whether a linear layer follows.

    Shape:
        ``[B, T, D] -> [B, T, D]``; matrix ``[B, H, T, T]``.

    Raises:
        ValueError: if the heads do not divide the channels, a size is not positive, or the init
            has no such name.
    """

    def __init__(
        self,
        channels: int,
        *,
        num_heads: int = 1,
        state_size: int = 64,
        init: SelectiveInit = "mamba",
        out_proj: bool = True,
    ) -> None:
        check_heads("SSD", num_heads, channels=channels)
        shape = num_heads, state_size, channels // num_heads
        super().__init__(channels, state_shape=shape, decay_shape=(num_heads,))
        if state_size < 1:
            raise ValueError(f"SSD: state_size is {state_size}; pass 1 or more")
        check_init("SSD", init)
        self.num_heads, self.state_size, self.init = num_heads, state_size, init
        self.x_proj = nn.Linear(channels, 2 * state_size + num_heads, bias=False)
        self.out_proj = nn.Linear(channels, channels, bias=False) if out_proj else nn.Identity()
        self.a_log = nn.Parameter(torch.zeros(num_heads))
        self.delta_bias = nn.Parameter(torch.zeros(num_heads))
        self.skip = nn.Parameter(torch.ones(num_heads))
        if init == "mamba":
            self.delta_bias.data = inverse_softplus(draw_step_sizes(num_heads))
            self.a_log.data.uniform_(1, 16).log_()
        else:
            init_released(self)

    def project(self, x: Tensor) -> Projected:
        """x ``[B, T, H, P]``, delta ``[B, T, H]``, b and c ``[B, T, N]``."""
        sizes = [self.num_heads, self.state_size, self.state_size]
        delta, b, c = at_least_float32(self.x_proj(x)).split(sizes, -1)
        return split_heads(x, self.num_heads), F.softplus(delta + self.delta_bias), b, c

    def scan(
        self, projected: Projected, before: AffineState, mask: Tensor | None
    ) -> tuple[Tensor, AffineState]:
        x, delta, b, c = projected
        q, k = (t[:, :, None].expand(-1, -1, self.num_heads, -1) for t in (c, b))
        log_decay = delta * self.rates()
        y, after = outer_scan(q, k, delta[..., None] * x, log_decay, before, mask=mask)
        return y + self.skip[:, None] * x, after

    def system(self, projected: Projected) -> Dynamics:
        x, delta, b, c = projected
        decay = torch.exp(delta * self.rates())[..., None]  # [B, T, H, 1]
        gain = delta[..., None] * b[:, :, None]  # [B, T, H, N]
        return Dynamics(x, decay, gain, c[:, :, None], self.skip)

    def read(self, mixed: Tensor, projected: Projected) -> Tensor:
        return self.out_proj(merge_heads(mixed).to(projected[0].dtype))

    def rates(self) -> Tensor:
        """a, ``[H]``, negative."""
        return -torch.exp(at_least_float32(self.a_log))
