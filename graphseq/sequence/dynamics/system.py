"""A linear system with time-varying matrices: the form that the mixers share.

    h_i = Lambda_i h_{i-1} + B_i u_i,     y_i = C_i h_i + D_i u_i,     h_{-1} = 0

(Sieber, Alonso, Didier, Zeilinger and Orvieto, NeurIPS 2024, arXiv 2405.15731, eq. 1). Lambda_i is
diagonal; all four may depend on the input, and the state is linear in the past all the same. With
the state eliminated, y = Phi u for a block lower triangular Phi:

    Phi_ij = C_i Lambda_i ... Lambda_{j+1} B_j   (j < i),     Phi_ii = C_i B_i + D_i

Lambda, B and C are not unique: states of another scale, ``h_i' = s_i h_i``, give another Lambda and
the same Phi, see :meth:`DynamicalSystem.rescaled`.

The framework has no constant terms, but layers have biases. They are kept beside the four, as what
enters the state and what is added to the output, and not hidden in them:

    h_i = ... + state_bias_i,     y_i = ... + output_bias_i,     so that y = Phi u + offset

Both are None for a mixer without biases in its values and outputs.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from graphseq.sequence.ops.checks import check_shapes


@dataclass(frozen=True, eq=False)
class DynamicalSystem:
    """What a mixer is on given inputs. Batches come first: each sequence has a system of its own.

    Args:
        Lambda: the diagonal of the transition; its entries are the eigenvalues.
        B: what enters the state.
        C: what is read. Of a complex state the real part of ``C h`` counts: the conjugate states,
            which would make the output real, are left out.
        D: what passes by the state.
        state_bias: constants that enter the state, or None.
        output_bias: constants that are added to the output, or None.
        finite: false where N grows with T, so that no system of one size serves all sequences.

    Shape:
        Lambda ``[B, T, N]``, B ``[B, T, N, D]``, C ``[B, T, D, N]``, D ``[B, T, D, D]``,
        state_bias ``[B, T, N]``, output_bias ``[B, T, D]``.

    Raises:
        ValueError: the shapes do not fit together.
    """

    Lambda: Tensor
    B: Tensor
    C: Tensor
    D: Tensor
    state_bias: Tensor | None = None
    output_bias: Tensor | None = None
    finite: bool = True

    def __post_init__(self) -> None:
        expected = {
            "Lambda": (self.Lambda, "B T N"),
            "B": (self.B, "B T N D"),
            "C": (self.C, "B T D N"),
            "D": (self.D, "B T D D"),
        }
        if self.state_bias is not None:
            expected["state_bias"] = (self.state_bias, "B T N")
        if self.output_bias is not None:
            expected["output_bias"] = (self.output_bias, "B T D")
        check_shapes("DynamicalSystem", expected)

    @property
    def batch_size(self) -> int:
        """Number of sequences."""
        return self.Lambda.shape[0]

    @property
    def length(self) -> int:
        """T."""
        return self.Lambda.shape[1]

    @property
    def channels(self) -> int:
        """D."""
        return self.D.shape[-1]

    @property
    def is_complex(self) -> bool:
        """Whether states are complex."""
        return self.Lambda.is_complex()

    def run(self, u: Tensor) -> Tensor:
        """The outputs for inputs, by the recurrence.

        These inputs enter through B and D alone; Lambda, B, C and D stay what they are.

        Shape:
            ``[B, T, D] -> [B, T, D]``.

        Raises:
            ValueError: the input is not ``[B, T, D]`` of this system.
        """
        wanted = (self.batch_size, self.length, self.channels)
        if tuple(u.shape) != wanted:
            raise ValueError(
                f"DynamicalSystem.run: u has shape {tuple(u.shape)}, expected {wanted}; a system "
                "belongs to the batch that it was made for"
            )
        y = torch.einsum("btdn,btn->btd", self.C, self.states(u)).real
        y = y + torch.einsum("btde,bte->btd", self.D, u.to(self.D.dtype))
        return y if self.output_bias is None else y + self.output_bias

    def states(self, u: Tensor) -> Tensor:
        """All states for inputs, ``[B, T, D] -> [B, T, N]``."""
        entering = torch.einsum("btnd,btd->btn", self.B, u.to(self.B.dtype))
        if self.state_bias is not None:
            entering = entering + self.state_bias
        h, states = self.Lambda.new_zeros(self.batch_size, self.Lambda.shape[2]), []
        for transition, new in zip(self.Lambda.unbind(1), entering.unbind(1), strict=True):
            h = transition * h + new
            states.append(h)
        return torch.stack(states, 1) if states else entering

    def phi(self) -> Tensor:
        """Phi, in blocks ``[B, T, T, D, D]``: (i, j) maps input j to its part of output i.

        Products of transitions are formed as such, never as ratios. Memory for N T D numbers
        besides the result.
        """
        batch, time, channels = self.batch_size, self.length, self.channels
        blocks = self.D.new_zeros(batch, time, time, channels, channels)
        # What inputs 0 .. i left in the state, side by side: [B, N, (i + 1) D].
        left = self.B.new_zeros(batch, self.B.shape[2], 0)
        for i in range(time):
            left = torch.cat([self.Lambda[:, i, :, None] * left, self.B[:, i]], 2)
            row = (self.C[:, i] @ left).real.unflatten(2, (i + 1, channels))  # [B, D, i + 1, D]
            blocks[:, i, : i + 1] = row.transpose(1, 2)
            blocks[:, i, i] += self.D[:, i]
        return blocks

    def offset(self) -> Tensor:
        """What biases alone give, ``[B, T, D]``: the outputs for inputs of 0."""
        return self.run(self.D.new_zeros(self.batch_size, self.length, self.channels))

    def rescaled(self, scale: Tensor) -> "DynamicalSystem":
        """The same map with states ``scale_i * h_i``.

            Lambda_i' = scale_i / scale_{i-1} Lambda_i,   B_i' = scale_i B_i,   C_i' = C_i / scale_i

        Lambda_0, which meets no state, stays.

        Args:
            scale: not 0.

        Shape:
            scale ``[B, T, N]``, with sizes of 1 where it is the same.
        """
        scale = scale.expand_as(self.Lambda)
        ratio = torch.cat([torch.ones_like(scale[:, :1]), scale[:, 1:] / scale[:, :-1]], 1)
        return replace(
            self,
            Lambda=ratio * self.Lambda,
            B=scale[..., None] * self.B,
            C=self.C / scale[:, :, None],
            state_bias=None if self.state_bias is None else scale * self.state_bias,
        )
