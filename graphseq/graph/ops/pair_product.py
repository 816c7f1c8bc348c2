"""Elementwise product of the rows of two nodes, for many pairs: ``out[b] = x[i_b] * x[j_b]``."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from graphseq.graph.ops.spmm import Backend, use_numba
from graphseq.kernels import array, kernel, prange

_KERNEL_DTYPES = (torch.float32, torch.float64)


def pair_product(x: Tensor, pairs: Tensor, *, backend: Backend = "auto") -> Tensor:
    """Multiplies the rows of the two nodes of each pair; differentiable in ``x``.

    Args:
        x: floating ``[N, D]``.
        pairs: int64 ``[2, B]``, nodes of ``x``, which the caller has checked.
        backend: "numba" or "torch"; "auto" takes numba on the CPU outside ``torch.compile``.

    Shape:
        x ``[N, D]``, pairs ``[2, B]`` -> ``[B, D]``.
    """
    if use_numba(backend, x) and x.dtype in _KERNEL_DTYPES:
        return _PairProduct.apply(x, pairs)
    return x[pairs[0]] * x[pairs[1]]


class _PairProduct(torch.autograd.Function):
    """Saves its inputs; torch's operations would keep both gathered halves as well."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, pairs: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(x, pairs)
        out = x.new_empty(pairs.size(1), x.size(1))
        _multiply(array(x), *array(pairs), out.numpy(), work=out.numel())
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        x, pairs = ctx.saved_tensors
        grad_x = torch.zeros(x.shape, dtype=x.dtype)
        # Long strips of columns, one per thread: columns do not depend on each other.
        width = -(-x.size(1) // torch.get_num_threads())
        _scatter(array(x), *array(pairs), array(grad), width, grad_x.numpy(), work=2 * grad.numel())
        return grad_x, None


@kernel(parallel=True)
def _multiply(x: Any, left: Any, right: Any, out: Any) -> None:
    for b in prange(out.shape[0]):
        u, v = x[left[b]], x[right[b]]
        for d in range(out.shape[1]):
            out[b, d] = u[d] * v[d]


@kernel(parallel=True)
def _scatter(x: Any, left: Any, right: Any, grad: Any, width: int, out: Any) -> None:
    """Threads share out columns, so that no two add to one number and the order is fixed."""
    for strip in prange((out.shape[1] + width - 1) // width):
        begin = strip * width
        end = min(begin + width, out.shape[1])
        for b in range(left.shape[0]):
            i, j = left[b], right[b]
            g, u, v = grad[b, begin:end], x[i, begin:end], x[j, begin:end]
            first, second = out[i, begin:end], out[j, begin:end]
            for d in range(end - begin):
                first[d] += g[d] * v[d]
            for d in range(end - begin):
                second[d] += g[d] * u[d]
