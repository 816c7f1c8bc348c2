"""Layer norm, dropout and ReLU in one pass over each row, and back in one pass.

    u = gamma (x - mean) / sqrt(var + eps) + beta        statistics over the D columns of a row
    out = relu(dropout(u))

One after the other these read and write an activation four times forward and four times back; a
row of a few hundred numbers stays in the cache while all of it happens. The backward pass finds the
dropout mask in the zeros of the output. Its gradient, with ``g`` that of ``u`` and
``n = (x - mean) / std``::

    dx = (gamma g - mean(gamma g) - n mean(gamma g n)) / std,   dgamma = sum g n,   dbeta = sum g
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from graphseq.graph.ops.dropout import (
    draw_seed,
    dropout,
    mask_numbers,
    relu_and_drop,
    scale_of,
)
from graphseq.graph.ops.hooks import has_hooks
from graphseq.graph.ops.spmm import Backend, use_numba
from graphseq.kernels import array, kernel, prange

_CHUNK = 64  # rows that one thread adds up
_STEPS = 6  # multiply-adds that an element's work amounts to


def norm_relu(
    x: Tensor,
    norm: nn.LayerNorm | None,
    p: float = 0.0,
    training: bool = True,
    *,
    seed: int | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """Computes ``relu(dropout(norm(x)))``.

    Args:
        x: floating ``[R, D]``; half precision is computed in float32.
        norm: layer norm over the D columns; None leaves it out.
        p: probability in ``[0, 1]`` of dropping a value while training.
        training: False switches dropout off.
        seed: of the mask, see :func:`~graphseq.graph.ops.dropout.dropout`.
        backend: "numba" or "torch"; "auto" takes numba on the CPU outside ``torch.compile`` where
            ``norm`` has weight and bias and no hooks.

    Returns:
        ``[R, D]``, of ``x``'s dtype (float32 for half precision under autocast).

    Raises:
        ValueError: if ``p`` is not a probability.
        TypeError: if ``x`` is not floating.
    """
    if norm is None or not _fits(x, norm, backend):
        hidden = x if norm is None else norm(x)
        return dropout(hidden, p, training, seed, relu=True, backend=backend)
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"norm_relu: p is {p}; pass a probability between 0 and 1")
    p = p if training else 0.0
    seed = draw_seed() if seed is None and p > 0.0 else seed or 0
    dense = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
    return _NormRelu.apply(dense, norm.weight, norm.bias, norm.eps, p, seed)


def _fits(x: Tensor, norm: nn.LayerNorm, backend: Backend) -> bool:
    """Whether the compiled path computes the same as calling the modules."""
    half = x.dtype in (torch.bfloat16, torch.float16) and torch.is_autocast_enabled(x.device.type)
    return (
        type(norm) is nn.LayerNorm
        and norm.bias is not None
        and x.dim() == 2
        and norm.normalized_shape == (x.size(1),)
        and (x.dtype == norm.weight.dtype or (half and norm.weight.dtype == torch.float32))
        and norm.weight.dtype in (torch.float32, torch.float64)
        and not has_hooks(norm)
        and use_numba(backend, x)
    )


class _NormRelu(torch.autograd.Function):
    """Saves input, output and two numbers per row."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, eps: float, p: float, seed: int
    ) -> Tensor:
        x = x.contiguous()
        out, statistics = torch.empty_like(x), x.new_empty(2, x.size(0))
        numbers = mask_numbers(p, seed)
        kind = out.numpy().dtype.type
        _forward(
            array(x), array(gamma), array(beta), kind(eps), *numbers, kind(scale_of(p)),
            out.numpy(), *statistics.numpy(), work=_STEPS * x.numel(),
        )  # fmt: skip
        ctx.save_for_backward(x, out, statistics, gamma)
        ctx.p = p
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, out, statistics, gamma = ctx.saved_tensors
        grad_x = torch.empty_like(x)
        sums = x.new_zeros((x.size(0) + _CHUNK - 1) // _CHUNK, 2, x.size(1))
        scale = out.numpy().dtype.type(scale_of(ctx.p))
        _backward(
            array(grad), array(x), array(out), array(gamma), *statistics.numpy(), scale,
            grad_x.numpy(), sums.numpy(), work=_STEPS * x.numel(),
        )  # fmt: skip
        grad_gamma, grad_beta = sums.sum(0)
        return grad_x, grad_gamma, grad_beta, None, None, None


@kernel(parallel=True)
def _forward(
    x: Any, gamma: Any, beta: Any, eps: Any, a: Any, b: Any, threshold: Any, scale: Any, out: Any,
    mean: Any, rstd: Any,
) -> None:  # fmt: skip
    zero, width = out.dtype.type(0), x.shape[1]
    one = out.dtype.type(1)
    for i in prange(x.shape[0]):
        row, target = x[i], out[i]
        total = zero
        for j in range(width):
            total += row[j]
        center = total / width
        spread = zero
        for j in range(width):
            spread += (row[j] - center) * (row[j] - center)
        inverse = one / np.sqrt(out.dtype.type(spread / width) + eps)
        center = out.dtype.type(center)
        mean[i], rstd[i] = center, inverse
        for j in range(width):
            target[j] = gamma[j] * ((row[j] - center) * inverse) + beta[j]
        relu_and_drop(target, i * width, a, b, threshold, scale)


@kernel(parallel=True)
def _backward(
    grad: Any, x: Any, out: Any, gamma: Any, mean: Any, rstd: Any, scale: Any, grad_x: Any,
    sums: Any,
) -> None:  # fmt: skip
    zero, width = grad_x.dtype.type(0), x.shape[1]
    for chunk in prange(sums.shape[0]):
        grad_gamma, grad_beta = sums[chunk, 0], sums[chunk, 1]
        for i in range(chunk * _CHUNK, min((chunk + 1) * _CHUNK, x.shape[0])):
            row, target, center, inverse = x[i], grad_x[i], mean[i], rstd[i]
            first, second = zero, zero
            for j in range(width):
                g = grad[i, j] * scale if out[i, j] != zero else zero
                n = (row[j] - center) * inverse
                grad_gamma[j] += g * n
                grad_beta[j] += g
                g *= gamma[j]
                first += g
                second += g * n
                target[j] = g
            first, second = grad_x.dtype.type(first / width), grad_x.dtype.type(second / width)
            for j in range(width):
                n = (row[j] - center) * inverse
                target[j] = inverse * (target[j] - first - n * second)
