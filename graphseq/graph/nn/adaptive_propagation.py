"""Adaptive propagation: K hops, each gated per node. The second half of DAGNN.

    H_0 = Z,   H_k = A H_{k-1},   s_{v,k} = sigmoid(<H_{k,v}, w> + b)
    out_v = sum_k s_{v,k} H_{k,v}

The retainment scores s are gates, not attention: they are not normalised over the hops, and the
projection w is shared by all hops and nodes.
"""

import math

import torch
from torch import Tensor, nn

from graphseq.graph.csr import CSR
from graphseq.graph.ops import adaptive_propagation


class AdaptivePropagation(nn.Module):
    """Sums the hops of a node, each weighted by its own retainment score.

    Training memory does not grow with ``num_hops`` once the hops would exceed a fixed size; see
    :func:`graphseq.graph.ops.adaptive_propagation`.

    Args:
        channels: width C of the propagated representation.
        num_hops: K, the number of propagation steps; 0 leaves a gated identity.

    Shape:
        - z: ``[N, C]``
        - matrix: :class:`~graphseq.graph.csr.CSR` ``[N, N]``, usually a normalised adjacency
        - output: ``[N, C]``, and the retainment scores ``[N, K + 1]`` where asked for
    """

    def __init__(self, channels: int, num_hops: int) -> None:
        super().__init__()
        if num_hops < 0:
            raise ValueError(f"AdaptivePropagation: num_hops must be at least 0, got {num_hops}")
        self.channels = channels
        self.num_hops = num_hops
        self.weight = nn.Parameter(torch.empty(channels))
        self.bias = nn.Parameter(torch.empty(1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws w and b from U(-1/sqrt(C), 1/sqrt(C)), as a linear layer to one output does."""
        bound = 1.0 / math.sqrt(self.channels)
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(
        self, z: Tensor, matrix: CSR, return_retainment_scores: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        return adaptive_propagation(
            matrix,
            z,
            self.weight,
            self.bias,
            self.num_hops,
            return_scores=return_retainment_scores,
        )

    def extra_repr(self) -> str:
        return f"{self.channels}, num_hops={self.num_hops}"
