"""The slow twins: each op as its equation, in a few lines of torch, differentiable by autograd.

Tests compare values and gradients of the fast paths with these; benchmarks refuse to print a speed
while they differ.
"""

import torch
from torch import Tensor, nn

from graphseq.graph.csr import CSR


def spmm(matrix: CSR, x: Tensor, value: Tensor | None = None) -> Tensor:
    """The dense product."""
    return dense(matrix, matrix.values(x.dtype) if value is None else value) @ x


def dense(matrix: CSR, value: Tensor) -> Tensor:
    """The matrix ``[R, C]`` with the given stored values; repeated entries are added up."""
    index = matrix.row, matrix.col.long()
    return torch.zeros(matrix.shape, dtype=value.dtype).index_put(index, value, accumulate=True)


def dropout(x: Tensor, p: float, mask: Tensor, relu: bool = False) -> Tensor:
    """Dropout with a given boolean mask of kept elements."""
    x = torch.relu(x) if relu else x
    return x * mask / (1 - p) if p < 1 else x * 0


def sparse_linear(
    x: CSR, weight: Tensor, bias: Tensor | None = None, p: float = 0.0, mask: Tensor | None = None
) -> Tensor:
    """The dense layer after dropout of the stored values with a given mask ``[nnz]``."""
    value = x.values(weight.dtype)
    value = value if mask is None else dropout(value, p, mask)
    out = dense(x, value) @ weight
    return out if bias is None else out + bias


def norm_linear(
    h: Tensor, norm: nn.BatchNorm1d, linear: nn.Linear, p: float, mask: Tensor
) -> Tensor:
    """Batch norm, ReLU, dropout with a given mask ``[N, H]`` and a linear layer, as equations."""
    mean, var = norm.running_mean, norm.running_var
    if norm.training or mean is None or var is None:
        mean, var = h.mean(0), h.var(0, correction=0)
    if norm.training and norm.running_mean is not None and norm.running_var is not None:
        assert norm.momentum is not None  # a cumulative mean is not written out here
        norm.running_mean.lerp_(mean.detach(), norm.momentum)
        norm.running_var.lerp_(h.detach().var(0), norm.momentum)  # unbiased, unlike var
    u = (h - mean) / torch.sqrt(var + norm.eps)
    u = u * norm.weight + norm.bias if norm.affine else u
    hidden = dropout(u, p, mask, relu=True) if norm.training else torch.relu(u)
    out = hidden @ linear.weight.t()
    return out if linear.bias is None else out + linear.bias


def adaptive_propagation(
    matrix: CSR, z: Tensor, weight: Tensor, bias: Tensor, num_hops: int
) -> tuple[Tensor, Tensor]:
    """All hops stacked ``[N, K + 1, C]``, as published; returns (out, scores)."""
    hops = [z]
    for _ in range(num_hops):
        hops.append(spmm(matrix, hops[-1]))
    stack = torch.stack(hops, dim=1)  # [N, K + 1, C]
    scores = torch.sigmoid(stack @ weight + bias)  # [N, K + 1]
    return (scores.unsqueeze(1) @ stack).squeeze(1), scores
