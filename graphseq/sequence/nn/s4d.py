"""S4D: the diagonal, time invariant state space model (Gu et al. 2022, arXiv 2206.11893).

    h_i = exp(delta a) * h_{i-1} + (exp(delta a) - 1) / a * u_i,     y_i = 2 Re(c . h_i) + d u_i

per channel with N states in N/2 complex conjugate pairs, of which one each is kept; the input
enters all of them alike (B = 1), since B and C only count as a product. An output projection
follows. As a dynamical system: Lambda_i = exp(delta a), B_i = (exp(delta a) - 1) / a (zero-order
hold), C_i = 2 c, D = d, constant. Initial a, for n = 0, 1, ...:

    s4d-lin    a_n = -1/2 + i pi n
    s4d-inv    a_n = -1/2 + i N / pi (N / (2 n + 1) - 1)
    s4d-real   a_n = -(n + 1): N real states, and y_i = c . h_i + d u_i

In parallel it is a convolution with the kernel ``K_l = 2 Re sum_n c B Lambda^l``, in blocks of 64
steps: inside a block a product with the kernel's Toeplitz matrix, from block to block the state. A
convolution by FFT over all steps would let rounding errors of the future into the past, and would
not give the last state.

========  ==============  =============  ==================================
symbol    variable        shape          meaning
========  ==============  =============  ==================================
u         u               ``[B, T, D]``  input
delta     delta_log       ``[D]``        step sizes, by their logarithm
a         a_log, a_imag   ``[D, M]``     log of -Re a, Im a; M = N/2 or N
c         c               ``[D, M, 2]``  real and imaginary part
d         skip            ``[D]``        passes the input on
h         value           ``[B, D, M]``  state
========  ==============  =============  ==================================
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphseq.sequence.nn.linear_recurrence import Dynamics, LinearRecurrence, Projected
from graphseq.sequence.nn.mixer import at_least_float32, no_autocast
from graphseq.sequence.nn.step_sizes import draw_step_sizes
from graphseq.sequence.ops import AffineState, gated_scan

S4DInit = Literal["s4d-lin", "s4d-inv", "s4d-real"]
_BLOCK = 64


class S4D(LinearRecurrence):
    """Time invariant state space, N states per channel.

    Args:
        channels: D.
        state_size: N, even unless the states are real.
        init: "s4d-lin", "s4d-inv" or "s4d-real", see above.
        delta_min: smallest step size at first.
        delta_max: largest step size at first; they are log-uniform in between.
        out_proj: whether a linear layer follows.

    Shape:
        ``[B, T, D] -> [B, T, D]``; matrix ``[B, D, T, T]``.

    Raises:
        ValueError: if the state size is not positive, or odd with complex states, the step sizes
            are not 0 < delta_min <= delta_max, or the init has no such name.
    """

    def __init__(
        self,
        channels: int,
        *,
        state_size: int = 64,
        init: S4DInit = "s4d-lin",
        delta_min: float = 1e-3,
        delta_max: float = 1e-1,
        out_proj: bool = True,
    ) -> None:
        paired = init != "s4d-real"
        size = state_size // 2 if paired else state_size
        super().__init__(channels, state_shape=(channels, size), complex_state=paired)
        _check(state_size, init, delta_min, delta_max)
        self.state_size, self.init = state_size, init
        rate, phase = _start(state_size, init)  # [M]
        self.a_log = nn.Parameter(rate.log().repeat(channels, 1))
        self.a_imag = nn.Parameter(phase.repeat(channels, 1)) if paired else None
        self.delta_log = nn.Parameter(draw_step_sizes(channels, delta_min, delta_max).log())
        part = (2,) if paired else ()
        self.c = nn.Parameter(torch.randn(channels, size, *part) / math.sqrt(1 + paired))
        self.skip = nn.Parameter(torch.ones(channels))
        self.out_proj = nn.Linear(channels, channels, bias=False) if out_proj else nn.Identity()

    def kernel(self, length: int) -> Tensor:
        """The convolution that it is, ``[D, length]``, without the skip."""
        decay, gain, output = self.constants()
        powers = _powers(decay, length)  # [D, M, length]
        return ((output * gain)[..., None] * powers).sum(1).real

    def constants(self) -> tuple[Tensor, Tensor, Tensor]:
        """Lambda, B and C, ``[D, M]``."""
        a, c = -at_least_float32(self.a_log).exp(), at_least_float32(self.c)
        if self.a_imag is not None:
            a = torch.complex(a, at_least_float32(self.a_imag))
            c = 2 * torch.view_as_complex(c)
        exponent = at_least_float32(self.delta_log).exp()[:, None] * a
        return exponent.exp(), torch.expm1(exponent) / a, c

    def project(self, x: Tensor) -> Projected:
        """The input itself."""
        return (x,)

    def scan(
        self, projected: Projected, before: AffineState, mask: Tensor | None
    ) -> tuple[Tensor, AffineState]:
        u = projected[0]
        if u.shape[1] == 0:
            return (self.skip * u)[..., None], before
        whole = torch.full((1,), u.shape[1], device=u.device)
        lengths = whole if mask is None else mask.sum(1)  # [B], or [1] for all
        with no_autocast(u):
            y, after = self._blocks(at_least_float32(u), before, lengths)
        return (y + self.skip * u)[..., None], after

    def system(self, projected: Projected) -> Dynamics:
        u = projected[0][..., None]  # [B, T, D, 1]
        decay, gain, output = (t.expand(*u.shape[:2], -1, -1) for t in self.constants())
        return Dynamics(u, decay, gain, output, self.skip)

    def read(self, mixed: Tensor, projected: Projected) -> Tensor:
        return self.out_proj(mixed.squeeze(-1).to(projected[0].dtype))

    def _blocks(
        self, u: Tensor, before: AffineState, lengths: Tensor
    ) -> tuple[Tensor, AffineState]:
        """All y ``[B, T, D]`` without the skip, and the state after each sequence's end."""
        batch, time, channels = u.shape
        size = min(_BLOCK, time)  # S steps in each of K blocks
        count = -(-time // size)
        decay, gain, output = self.constants()
        powers = _powers(decay, size + 1)  # [D, M, S + 1]
        # M' is M, with complex states 2 M: they enter matrix products as pairs of real numbers.
        enter = _reals((gain[..., None] * powers[..., :-1].flip(-1)).mT)  # [D, S, M']
        leave = _reals((output[..., None] * powers[..., 1:]).conj_physical().mT).mT  # [D, M', S]
        kernel = ((output * gain)[..., None] * powers[..., :-1]).sum(1).real  # [D, S]

        blocks = _split_blocks(u, size)  # [D, B K, S]
        added = _unreals(blocks @ enter, like=powers)  # [D, B K, M]
        added = added.unflatten(1, (batch, count)).permute(1, 2, 0, 3)  # [B, K, D, M]
        starts = _starts(powers[..., -1], added, before.value)  # [B, K + 1, D, M]
        heard = _reals(starts[:, :-1].permute(2, 0, 1, 3)).flatten(1, 2)  # [D, B K, M']
        y = torch.baddbmm(blocks @ _toeplitz(kernel), heard, leave)  # [D, B K, S]
        y = y.view(channels, batch, count * size).permute(1, 2, 0)[:, :time]

        total = decay.detach() ** lengths[:, None, None]  # [B, D, M]
        # The last block of a sequence may end early: its start, and what its own steps add.
        lengths = lengths.expand(batch)
        last = lengths // size  # [B]
        rows, steps = (torch.arange(n, device=u.device) for n in (batch, size))
        place = lengths[:, None] - size + steps  # [B, S], the steps before the end
        ours = u[rows[:, None], place.clamp(min=0)]
        ours = ours.masked_fill((place < last[:, None] * size)[..., None], 0.0)  # [B, S, D]
        own = _unreals(ours.permute(2, 0, 1) @ enter, like=powers).transpose(0, 1)  # [B, D, M]
        fade = powers[..., lengths - last * size].permute(2, 0, 1)  # [B, D, M]
        return y, AffineState(before.decay * total, fade * starts[rows, last] + own)


def _starts(decay: Tensor, added: Tensor, initial: Tensor) -> Tensor:
    """The states at the start of every block and at the end of the last, ``[B, K + 1, D, M]``.

    Shape:
        decay over a block ``[D, M]``, what each block adds ``[B, K, D, M]``, initial ``[B, D, M]``.
    """
    flat = added.flatten(2)
    before = AffineState(torch.ones_like(flat[:, 0]), initial.flatten(1))
    states, _ = gated_scan(decay.flatten(), flat, before)
    return torch.cat([initial[:, None], states.unflatten(2, tuple(decay.shape))], 1)


def _powers(base: Tensor, count: int) -> Tensor:
    """``base^0 .. base^(count - 1)`` in a new last dimension, by doubling.

    They are powers of the very number that a step multiplies with; exponentials of multiples of its
    logarithm would differ from those by the rounding of large phases.
    """
    powers, factor = torch.ones_like(base)[..., None], base[..., None]
    while powers.shape[-1] < count:
        powers, factor = torch.cat([powers, powers * factor], -1), factor * factor
    return powers[..., :count]


def _split_blocks(u: Tensor, size: int) -> Tensor:
    """``[B, T, D]`` with zeros behind -> ``[D, B K, S]``."""
    padded = F.pad(u, (0, 0, 0, -u.shape[1] % size))
    return padded.permute(2, 0, 1).reshape(u.shape[2], -1, size)


def _toeplitz(kernel: Tensor) -> Tensor:
    """``[D, S] -> [D, S, S]``: entry (j, i) is the kernel at i - j, 0 where j > i."""
    size = kernel.shape[1]
    return F.pad(kernel, (size - 1, 0)).unfold(1, size, 1).flip(1)


def _reals(z: Tensor) -> Tensor:
    """Complex ``[..., M]`` as real ``[..., 2 M]``; real as it is."""
    return torch.view_as_real(z).flatten(-2) if z.is_complex() else z


def _unreals(z: Tensor, like: Tensor) -> Tensor:
    """Back from :func:`_reals`, if ``like`` is complex."""
    return torch.view_as_complex(z.unflatten(-1, (-1, 2))) if like.is_complex() else z


def _start(state_size: int, init: str) -> tuple[Tensor, Tensor]:
    """-Re a and Im a, ``[M]``."""
    if init == "s4d-real":
        n = torch.arange(state_size, dtype=torch.float32)
        return n + 1, torch.zeros_like(n)
    n = torch.arange(state_size // 2, dtype=torch.float32)
    inverse = state_size / math.pi * (state_size / (2 * n + 1) - 1)
    return torch.full_like(n, 0.5), math.pi * n if init == "s4d-lin" else inverse


def _check(state_size: int, init: str, delta_min: float, delta_max: float) -> None:
    if init not in ("s4d-lin", "s4d-inv", "s4d-real"):
        raise ValueError(f"S4D: init is {init!r}; pass s4d-lin, s4d-inv or s4d-real")
    if state_size < 1 or (init != "s4d-real" and state_size % 2):
        raise ValueError(
            f"S4D: state_size is {state_size}; pass a positive number, even with init {init}"
        )
    if not 0 < delta_min <= delta_max:
        raise ValueError(
            f"S4D: delta_min is {delta_min} and delta_max {delta_max}; pass 0 < delta_min <= "
            "delta_max"
        )
