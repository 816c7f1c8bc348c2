"""LRU: the linear recurrent unit (Orvieto et al. 2023, arXiv 2303.06349).

    h_i = Lambda * h_{i-1} + gamma * (B u_i),     Lambda = exp(-exp(nu) + i exp(theta))
    y_i = Re(C h_i) + d * u_i,                    gamma = sqrt(1 - |Lambda|^2)

with N complex states, and complex dense B ``[N, D]`` and C ``[D, N]``. It is time invariant:
Lambda_i = Lambda, B_i = gamma B, C_i = Re C, D = diag d. |Lambda| < 1 by construction, and gamma
keeps the variance of the state for white inputs.

========  ===============  =============  =====================================
symbol    variable         shape          meaning
========  ===============  =============  =====================================
nu        nu_log           ``[N]``        log of the rate of decay, -log|Lambda|
theta     theta_log        ``[N]``        log of the phase
B u       driven           ``[B, T, N]``  complex values
C         out_proj         ``[D, 2 N]``   Re C and -Im C, side by side
d         skip             ``[D]``        passes the input on
h         value            ``[B, N]``     complex state
========  ===============  =============  =====================================
"""

import math

import torch
from torch import Tensor, nn

from graphseq.sequence.nn.linear_recurrence import (
    Dynamics,
    LinearRecurrence,
    Projected,
    input_scale,
)
from graphseq.sequence.nn.mixer import at_least_float32
from graphseq.sequence.ops import AffineState, gated_scan


class LRU(LinearRecurrence):
    """Time invariant diagonal recurrence with complex states.

    The matrix over time, the values that it weighs, and their mixtures are complex, one group for
    each state; ``readout`` takes the real part.

    Args:
        channels: D.
        state_size: N; D where it is None.
        r_min: smallest |Lambda| at first.
        r_max: largest |Lambda| at first; the area between both is filled evenly.
        max_phase: largest phase at first, in radians; phases are uniform from 0.

    Shape:
        ``[B, T, D] -> [B, T, D]``; matrix ``[B, N, T, T]``, complex.

    Raises:
        ValueError: if the sizes do not satisfy 0 <= r_min < r_max < 1 and the rest > 0.
    """

    def __init__(
        self,
        channels: int,
        *,
        state_size: int | None = None,
        r_min: float = 0.9,
        r_max: float = 0.999,
        max_phase: float = 2 * math.pi,
    ) -> None:
        size = channels if state_size is None else state_size
        super().__init__(channels, state_shape=(size,), complex_state=True)
        if size < 1 or max_phase <= 0:
            raise ValueError(
                f"LRU: state_size is {size} and max_phase {max_phase}; pass positive numbers"
            )
        if not 0 <= r_min < r_max < 1:
            raise ValueError(
                f"LRU: r_min is {r_min} and r_max {r_max}; pass 0 <= r_min < r_max < 1"
            )
        self.state_size = size
        self.in_proj = nn.Linear(channels, 2 * size, bias=False)
        self.out_proj = nn.Linear(2 * size, channels, bias=False)
        nn.init.normal_(self.in_proj.weight, std=(2 * channels) ** -0.5)
        nn.init.normal_(self.out_proj.weight, std=size**-0.5)
        area = torch.empty(size).uniform_(r_min**2, r_max**2)  # |Lambda|^2
        self.nu_log = nn.Parameter(torch.log(-0.5 * area.log()))
        # 1 - rand() lies in (0, 1]: its logarithm is finite
        self.theta_log = nn.Parameter(torch.log(max_phase * (1 - torch.rand(size))))
        self.skip = nn.Parameter(torch.randn(channels))

    def project(self, x: Tensor) -> Projected:
        """The input ``[B, T, D]`` and B u ``[B, T, N]``, complex."""
        real, imag = at_least_float32(self.in_proj(x)).chunk(2, -1)
        return x, torch.complex(real.contiguous(), imag.contiguous())

    def scan(
        self, projected: Projected, before: AffineState, mask: Tensor | None
    ) -> tuple[Tensor, AffineState]:
        driven = projected[1]
        decay, gain = self.spectrum()
        h, after = gated_scan(decay, gain * driven, before, mask=mask)
        return h[..., None], after

    def system(self, projected: Projected) -> Dynamics:
        driven = projected[1][..., None]  # [B, T, N, 1]
        decay, gain = (part[:, None].expand_as(driven) for part in self.spectrum())
        return Dynamics(driven, decay, gain, torch.ones_like(gain))

    def read(self, mixed: Tensor, projected: Projected) -> Tensor:
        x = projected[0]
        h = mixed.squeeze(-1)
        return self.out_proj(torch.cat([h.real, h.imag], -1).to(x.dtype)) + self.skip * x

    def spectrum(self) -> tuple[Tensor, Tensor]:
        """Lambda, complex, and gamma, ``[N]``."""
        log_decay = -at_least_float32(self.nu_log).exp()
        phase = at_least_float32(self.theta_log).exp()
        return torch.exp(torch.complex(log_decay, phase)), input_scale(log_decay)
