"""S6: the selective state space model of Mamba (Gu and Dao 2023, arXiv 2312.00752), alone.

    delta_i = softplus(W_2 W_1 u_i + bias) > 0,     b_i = W_B u_i,     c_i = W_C u_i
    h_i[k, n] = exp(delta_i[k] a[k, n]) h_{i-1}[k, n] + delta_i[k] b_i[n] u_i[k]
    y_i[k] = sum_n c_i[n] h_i[k, n] + d[k] u_i[k],     a = -exp(a_log)

and an output projection: the block of the comparison of Sieber et al. (2024), without the
convolution, the gate and the expansion of Mamba. As a dynamical system, per channel with N states:
Lambda_i = diag exp(delta_i a), B_i = delta_i b_i, C_i = c_i, D = d. With N = 1 it is a gated RNN
with forget gate sigmoid(-x)^{-a}, x being the argument of the softplus.

========  ========  =============  ==================================
symbol    variable  shape          meaning
========  ========  =============  ==================================
u         u         ``[B, T, D]``  input
delta     delta     ``[B, T, D]``  step sizes
b, c      b, c      ``[B, T, N]``  what enters, what is read
a         a         ``[D, N]``     rates of decay, negative
d         skip      ``[D]``        passes the input on
h         value     ``[B, D, N]``  state
========  ========  =============  ==================================
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphseq.sequence.nn.linear_recurrence import Dynamics, LinearRecurrence, Projected, logits
from graphseq.sequence.nn.mixer import at_least_float32
from graphseq.sequence.nn.step_sizes import draw_step_sizes, inverse_softplus
from graphseq.sequence.ops import AffineState, selective_scan

SelectiveInit = Literal["mamba", "dsf_release"]


class S6(LinearRecurrence):
    """Selective state space: decays and inputs that the input chooses, N states per channel.

    Args:
        channels: D.
        state_size: N.
        delta_rank: rank of the projection to step sizes, W_2 W_1; ``ceil(D / 16)`` where None.
        init: "mamba" draws step sizes from 1e-3 .. 1e-1 and keeps them from generic initialisers;
            "dsf_release" draws all projections from N(0, 0.02) and has no bias at first, so that
            step sizes start near softplus(0) = 0.69.
        out_proj: whether a linear layer follows.

    Shape:
        ``[B, T, D] -> [B, T, D]``; matrix ``[B, D, T, T]``.

    Raises:
        ValueError: if a size is not positive or the init has no such name.
    """

    def __init__(
        self,
        channels: int,
        *,
        state_size: int = 16,
        delta_rank: int | None = None,
        init: SelectiveInit = "mamba",
        out_proj: bool = True,
    ) -> None:
        super().__init__(channels, state_shape=(channels, state_size))
        rank = math.ceil(channels / 16) if delta_rank is None else delta_rank
        if state_size < 1 or rank < 1:
            raise ValueError(
                f"S6: state_size is {state_size} and delta_rank {rank}; pass 1 or more for both"
            )
        check_init("S6", init)
        self.state_size, self.delta_rank, self.init = state_size, rank, init
        self.x_proj = nn.Linear(channels, rank + 2 * state_size, bias=False)
        self.delta_proj = nn.Linear(rank, channels)
        self.out_proj = nn.Linear(channels, channels, bias=False) if out_proj else nn.Identity()
        rates = torch.arange(1, state_size + 1, dtype=torch.float32)
        self.a_log = nn.Parameter(rates.log().repeat(channels, 1))
        self.skip = nn.Parameter(torch.ones(channels))
        if init == "mamba":
            self.keeps_init = ("delta_proj",)
            nn.init.uniform_(self.delta_proj.weight, -(rank**-0.5), rank**-0.5)
            self.delta_proj.bias.data = inverse_softplus(draw_step_sizes(channels))
        else:
            init_released(self)

    def project(self, x: Tensor) -> Projected:
        """u and delta ``[B, T, D]``, b and c ``[B, T, N]``."""
        sizes = [self.delta_rank, self.state_size, self.state_size]
        low, b, c = self.x_proj(x).split(sizes, -1)
        delta = F.softplus(logits(self.delta_proj, low))
        return x, delta, at_least_float32(b), at_least_float32(c)

    def scan(
        self, projected: Projected, before: AffineState, mask: Tensor | None
    ) -> tuple[Tensor, AffineState]:
        u, delta, b, c = projected
        y, after = selective_scan(u, delta, self.rates(), b, c, before, mask=mask)
        return (y + self.skip * u)[..., None], after

    def system(self, projected: Projected) -> Dynamics:
        u, delta, b, c = projected
        decay = torch.exp(delta[..., None] * self.rates())  # [B, T, D, N]
        gain = delta[..., None] * b[:, :, None]  # [B, T, D, N]
        return Dynamics(u[..., None], decay, gain, c[:, :, None], self.skip)

    def read(self, mixed: Tensor, projected: Projected) -> Tensor:
        return self.out_proj(mixed.squeeze(-1).to(projected[0].dtype))

    def rates(self) -> Tensor:
        """a, ``[D, N]``, negative."""
        return -torch.exp(at_least_float32(self.a_log))


def check_init(owner: str, init: str) -> None:
    """Refuses an initialisation without such a name.

    Raises:
        ValueError: naming the owner.
    """
    if init not in ("mamba", "dsf_release"):
        raise ValueError(f"{owner}: init is {init!r}; pass mamba or dsf_release")


def init_released(mixer: nn.Module) -> None:
    """Every linear layer as the comparison's released code leaves it: N(0, 0.02), biases 0."""
    for layer in mixer.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
