"""From a mixer's groups (heads or channels) to one system over all of its states.

In each group g a mixer takes P values v_g of the input through N states, as
:mod:`graphseq.sequence.nn.linear_recurrence` has it:

    h_{i,g} = decay_{i,g} * h_{i-1,g} + gain_{i,g} v_{i,g}^T      [N, P],     v_{i,g} = W_g u_i
    y_i = sum_g R_g (h_{i,g}^T output_{i,g}) + D u_i

Laid out as one vector of G N P states this is a system with, for state (g, n, p),

    Lambda_i = decay_{i,g,n},   B_i = gain_{i,g,n} W_g[p],   C_i = output_{i,g,n} R_g[:, p]

that is, Lambda_i = diag(decay) x I_P, B_i = (gain x I_P) W and C_i = R (output^T x I_P).
"""

from dataclasses import dataclass, replace

from torch import Tensor

from graphseq.sequence.dynamics.system import DynamicalSystem
from graphseq.sequence.nn.mixer import at_least_float32


@dataclass(frozen=True, eq=False)
class Grouped:
    """The parts above; tensors of size 1 in a dimension broadcast.

    Shape:
        - decay, gain, output: ``[B, T, G, N]``
        - enter: W, ``[G, P, D]``
        - read: R, ``[D, G, P]``
        - skip: D, ``[D, D]``, or None where it is 0
        - enter_bias: what the values have besides W u, ``[G, P]``
        - read_bias: what is added at last, ``[D]``
    """

    decay: Tensor
    gain: Tensor
    output: Tensor
    enter: Tensor
    read: Tensor
    skip: Tensor | None = None
    enter_bias: Tensor | None = None
    read_bias: Tensor | None = None
    finite: bool = True

    def flatten(self, u: Tensor) -> DynamicalSystem:
        """The system over all states, in float32 at least, for inputs ``[B, T, D]``."""
        batch, time, channels = u.shape
        groups, width = self.enter.shape[:2]
        size = max(t.shape[-1] for t in (self.decay, self.gain, self.output))
        shape = batch, time, groups, size
        parts = (self.decay, self.gain, self.output)
        decay, gain, output = (at_least_float32(t).expand(shape) for t in parts)
        enter, read = at_least_float32(self.enter), at_least_float32(self.read)
        entering = gain[..., None, None] * enter[:, None]  # [B, T, G, N, P, D]
        reading = read[:, :, None] * output[:, :, None, ..., None]  # [B, T, D, G, N, P]
        skip = read.real.new_zeros(channels, channels)
        if self.skip is not None:
            skip = at_least_float32(self.skip)
        system = DynamicalSystem(
            Lambda=decay[..., None].expand(*shape, width).flatten(2),
            B=entering.flatten(2, 4),
            C=reading.flatten(3),
            D=skip.expand(batch, time, -1, -1),
            finite=self.finite,
        )
        if self.enter_bias is not None:
            constant = gain[..., None] * at_least_float32(self.enter_bias)[:, None]
            system = replace(system, state_bias=constant.flatten(2))
        if self.read_bias is not None:
            constant = at_least_float32(self.read_bias).expand(batch, time, -1)
            system = replace(system, output_bias=constant)
        return system
