"""Products of two dense matrices' rows at the stored entries of a sparse one.

    out[e] = <left[row e], right[col e]>

The dense product would take R C numbers, gathered rows nnz D. Both gradients are sparse products
with the gradient g of out as values: ``dleft = P(g) right`` and ``dright = P(g)^T left``.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from graphseq.graph.csr import CSR
from graphseq.graph.ops.spmm import (
    Backend,
    check_dense,
    compute_dtype,
    product,
    restore_dtype,
    sampled,
    transposed_values,
    use_numba,
)


def sampled_product(
    pattern: CSR, left: Tensor, right: Tensor, *, backend: Backend = "auto"
) -> Tensor:
    """Inner products of the rows that the stored entries pair; differentiable in both.

    Args:
        pattern: sparse ``[R, C]``. Values are not read.
        left: floating ``[R, D]``; its dtype decides, half precision is computed in float32.
        right: ``[C, D]``, possibly the same tensor.
        backend: "numba" or "torch"; "auto" takes numba on the CPU outside ``torch.compile``.

    Shape:
        left ``[R, D]``, right ``[C, D]`` -> ``[nnz]``.

    Returns:
        One product per stored entry, in the pattern's stored order and ``left``'s dtype (float32
        for half precision under autocast).

    Raises:
        ValueError: if shapes or devices do not fit.
        TypeError: if ``left`` or ``right`` is not floating.
    """
    where = "sampled_product"
    check_dense(where, "left", left, pattern.shape[0], pattern.device)
    check_dense(where, "right", right, pattern.shape[1], pattern.device)
    if left.dim() != 2 or left.shape[1:] != right.shape[1:]:
        raise ValueError(
            f"{where}: left and right have shapes {tuple(left.shape)} and {tuple(right.shape)}; "
            "pass left [R, D] and right [C, D]"
        )
    parts = left.to(compute_dtype(left)), right.to(compute_dtype(left))
    if use_numba(backend, left):
        out = _SampledProduct.apply(pattern, *parts)
    else:
        with torch.autocast(left.device.type, enabled=False):
            out = _gathered(pattern, *parts)
    return restore_dtype(out, left)


class _SampledProduct(torch.autograd.Function):
    """The compiled passes; saves its inputs."""

    @staticmethod
    def forward(ctx: Any, pattern: CSR, left: Tensor, right: Tensor) -> Tensor:  # type: ignore[override]
        ctx.pattern = pattern
        ctx.save_for_backward(left, right)
        return sampled(pattern, left.detach(), right.detach())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor | None, Tensor | None]:  # type: ignore[override]
        left, right = ctx.saved_tensors
        pattern: CSR = ctx.pattern
        grad_left = grad_right = None
        if ctx.needs_input_grad[1]:
            grad_left = product(pattern, right, grad)
        if ctx.needs_input_grad[2]:
            value = transposed_values(pattern, grad, grad.dtype)
            grad_right = product(pattern.transpose(), left, value)
        return None, grad_left, grad_right


def _gathered(pattern: CSR, left: Tensor, right: Tensor) -> Tensor:
    """Gather and add; differentiable by autograd, traceable by ``torch.compile``."""
    return (left[pattern.row] * right[pattern.col.long()]).sum(1)
