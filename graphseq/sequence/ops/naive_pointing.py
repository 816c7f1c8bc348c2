"""The slow twin of :mod:`graphseq.sequence.ops.pointing`: its equation, by autograd."""

import torch
from torch import Tensor


def pointer_scores(queries: Tensor, keys: Tensor, v: Tensor) -> Tensor:
    """``u_ij = v . tanh(k_j + q_i)`` with all ``B M N H`` terms: ``[B, M, H], [B, N, H], [H]``."""
    return torch.tanh(keys[:, None] + queries[:, :, None]) @ v
