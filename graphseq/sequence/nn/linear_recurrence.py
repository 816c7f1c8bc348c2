"""What linear recurrent mixers share: their form as a dynamical system (Sieber et al. 2024).

    h_i = Lambda_i h_{i-1} + B_i u_i,     y_i = C_i h_i + D_i u_i        (arXiv 2405.15731)

with all four given by the input, or fixed, and Lambda diagonal. The mixers here are linear systems
per group g (a channel or a head), which takes the values v_{i,g} (P numbers) through N states:

    h_{i,g} = Lambda_{i,g} * h_{i-1,g} + B_{i,g} v_{i,g}^T      [N, P]
    y_{i,g} = h_{i,g}^T C_{i,g} + D_g v_{i,g}                   [P]

A subclass names the four tensors once (``system``). From them follow here the single step and the
matrix over time; the parallel form over all steps (``scan``) is the subclass's own.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphseq.sequence.nn.mixer import Mixer, at_least_float32, state_dtype, zero_padding
from graphseq.sequence.nn.state import State
from graphseq.sequence.ops import AffineState, merge_affine

Projected = tuple[Tensor, ...]


class Dynamics(NamedTuple):
    """The system that a mixer is on one input; tensors of size 1 in a dimension broadcast.

    Shape:
        - values: ``[B, T, G, P]``, what enters
        - decay: Lambda_i, ``[B, T, G, N]``
        - gain: B_i, ``[B, T, G, N]``
        - output: C_i, ``[B, T, G, N]``; of a complex system with real values the real part counts
        - skip: D, ``[G]``, or None where it is 0
    """

    values: Tensor
    decay: Tensor
    gain: Tensor
    output: Tensor
    skip: Tensor | None = None


class LinearRecurrence(Mixer):
    """Runs a linear system in parallel, step by step, or as a matrix.

    A subclass writes ``project``, ``scan``, ``system`` and ``read``. A state is the affine map of
    the segment that was read, see :mod:`graphseq.sequence.ops.affine_state`.

    Args:
        channels: D.
        state_shape: of what one sequence remembers.
        decay_shape: of its decay, where one factor serves several entries; else ``state_shape``.
        complex_state: whether states are complex.
    """

    has_matrix = True
    merges = True

    def __init__(
        self,
        channels: int,
        *,
        state_shape: tuple[int, ...],
        decay_shape: tuple[int, ...] | None = None,
        complex_state: bool = False,
    ) -> None:
        super().__init__(channels)
        self.state_shape = state_shape
        self.decay_shape = state_shape if decay_shape is None else decay_shape
        self.complex_state = complex_state

    def project(self, x: Tensor) -> Projected:
        """What the other methods need of the input ``[B, T, D]``."""
        raise NotImplementedError

    def scan(
        self, projected: Projected, before: AffineState, mask: Tensor | None
    ) -> tuple[Tensor, AffineState]:
        """All y of the system, ``[B, T, G, P]``, and the state after the last step."""
        raise NotImplementedError

    def system(self, projected: Projected) -> Dynamics:
        """The four tensors and the values, in float32 at least."""
        raise NotImplementedError

    def read(self, mixed: Tensor, projected: Projected) -> Tensor:
        """From y ``[B, T, G, P]`` to the output ``[B, T, D]``."""
        raise NotImplementedError

    def forward(
        self, x: Tensor, state: State | None = None, *, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """All steps at once, see :meth:`Mixer.forward`."""
        state, mask = self.check(x, state, lengths)
        projected = self.project(zero_padding(x, mask))
        mixed, after = self.scan(projected, as_affine(state), mask)
        return zero_padding(self.read(mixed, projected), mask), self.make_state(**after._asdict())

    def step(self, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        """One step of the recurrence."""
        self.check_step(x_t, state)
        projected = self.project(x_t[:, None])
        mixed, after = self.advance(self.system(projected), as_affine(state))
        return self.read(mixed, projected)[:, 0], self.make_state(**after._asdict())

    def advance(self, system: Dynamics, before: AffineState) -> tuple[Tensor, AffineState]:
        """One step of a system with T = 1: y ``[B, 1, G, P]`` and the state after it."""
        decay, gain, output = system.decay[:, 0], system.gain[:, 0], system.output[:, 0]
        v = system.values[:, 0]  # [B, G, P]
        batch, groups, width = v.shape
        size = math.prod(self.state_shape) // (groups * width)
        h = before.value.reshape(batch, groups, size, width)
        h = decay[..., None] * h + gain[..., None] * v[:, :, None]  # [B, G, N, P]
        y = like_values((output[..., None] * h).sum(2), v)  # [B, G, P]
        if system.skip is not None:
            y = y + system.skip[:, None] * v
        total = before.decay * decay.detach().reshape(before.decay.shape)
        return y[:, None], AffineState(total, h.reshape(before.value.shape))

    def init_state(self, batch_size: int) -> State:
        """The map that changes nothing: decay 1, value 0."""
        dtype = state_dtype(self)
        dtype = dtype.to_complex() if self.complex_state else dtype
        device = next(self.parameters()).device
        return self.make_state(
            decay=torch.ones(batch_size, *self.decay_shape, dtype=dtype, device=device),
            value=torch.zeros(batch_size, *self.state_shape, dtype=dtype, device=device),
        )

    def merge(self, first: State, second: State) -> State:
        """The composition of both maps."""
        if not self.merges:
            return super().merge(first, second)
        self.check_merge(first, second)
        after = merge_affine(as_affine(first), as_affine(second))
        return self.make_state(**after._asdict())

    def dynamics(self, x: Tensor) -> Dynamics:
        """Lambda_i, B_i, C_i, D and the values on one input ``[B, T, D]``, for analysis."""
        self.check(x, None)
        return self.system(self.project(x))

    def matrix(self, x: Tensor) -> Tensor:
        """Phi ``[B, G, T, T]``: ``Phi_ij = C_i Lambda_i ... Lambda_{j+1} B_j``, plus D where i = j.

        It is the recurrence run on the T unit sequences: products of decays are formed as such,
        so a decay of 0 is exact. For analysis: T steps, and memory for G N T numbers.
        """
        v, decay, gain, output, skip = self.dynamics(x)
        unit = torch.eye(x.shape[1], dtype=decay.dtype, device=x.device)
        columns, rows = torch.zeros_like(unit[:1]), []
        for i in range(x.shape[1]):
            columns = decay[:, i, :, :, None] * columns + gain[:, i, :, :, None] * unit[i]
            rows.append((output[:, i, :, :, None] * columns).sum(2))  # [B, G, T]
        weights = torch.stack(rows, 2) if rows else v.new_zeros(*v.shape[0:3:2], 0, 0)
        weights = like_values(weights, v)
        return weights if skip is None else weights + skip[:, None, None] * unit.real

    def values(self, x: Tensor) -> Tensor:
        """What enters the system, ``[B, T, G, P]``."""
        return self.dynamics(x).values

    def readout(self, mixed: Tensor, x: Tensor) -> Tensor:
        """What follows the system."""
        return self.read(mixed, self.project(x))


def as_affine(state: State) -> AffineState:
    """The tensors of a state as the ops take them."""
    return AffineState(state["decay"], state["value"])


def like_values(y: Tensor, values: Tensor) -> Tensor:
    """The real part where values are real."""
    return y if values.is_complex() else y.real


def logits(layer: nn.Linear, x: Tensor) -> Tensor:
    """A linear layer whose result is float32 at least before the bias is added.

    A bias that keeps a decay near 1 is large beside what the input adds; half precision would
    round the sum to a few distinct decays.
    """
    out = at_least_float32(F.linear(x, layer.weight))
    return out if layer.bias is None else out + layer.bias


def input_scale(log_decay: Tensor) -> Tensor:
    """``sqrt(1 - decay^2)``, from ``log decay <= 0``.

    Where 1 - decay^2 is below 1e-6 the scale is linear in it, so that its gradient stays finite (at
    most 1000 by decay^2) where the decay reaches 1 and the scale 0.
    """
    rest = -torch.expm1(2 * log_decay)
    floor = 1e-6
    return torch.where(rest < floor, rest / math.sqrt(floor), rest.clamp(min=floor).sqrt())
