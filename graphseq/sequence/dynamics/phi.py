"""A mixer as one matrix over time and channels, and as what that matrix does to inputs."""

import torch
from torch import Tensor

from graphseq.sequence.dynamics.to_dynamics import to_dynamics
from graphseq.sequence.nn import Mixer


def phi(mixer: Mixer, u: Tensor) -> Tensor:
    """Phi of a mixer on given inputs: block (i, j) maps input j to its part of output i.

        Phi_ij = C_i Lambda_i ... Lambda_{j+1} B_j  (j < i),   Phi_ii = C_i B_i + D_i,   else 0

    It is not the Jacobian unless the system is time invariant: the input has its say in Lambda, B
    and C too. A mixer with biases adds ``to_dynamics(mixer, u).offset()``.

    Shape:
        u ``[B, T, D]`` -> ``[B, T, T, D, D]``.

    Raises:
        ValueError: see :func:`to_dynamics`.
    """
    return to_dynamics(mixer, u).phi()


def apply_phi(blocks: Tensor, u: Tensor) -> Tensor:
    """``Phi u``: blocks ``[B, T, T, D, D]`` and inputs ``[B, T, D]`` give ``[B, T, D]``."""
    return torch.einsum("bijde,bje->bid", blocks, u.to(blocks.dtype))
