"""Batch norm, ReLU, dropout and a linear layer in one step that keeps none of what lies between.

    u = gamma (h - mean) / sqrt(var + eps) + beta        statistics over the N rows of h
    z = dropout(relu(u)) W^T + b

One after the other these keep two activations as large as ``h`` for the backward pass, and pass
over several more. Here blocks of rows go through the whole chain while they lie in the cache; the
backward pass starts again from ``h``, drawing the same counter-based dropout mask.

Limits: the blocks need the CPU, float32 or float64 without autocast, an affine ``BatchNorm1d`` with
running statistics and a plain ``Linear``, neither with hooks. All else calls the modules one by
one: the same result, in their time and memory. The blocks have first derivatives only, neither
double backward nor forward mode. Their backward pass needs ``h`` as it was; autograd raises an
error if ``h`` was changed in place meanwhile.

The gradient of batch norm, with ``g`` the gradient of ``u`` and ``x = (h - mean) / std``::

    dbeta = sum g,   dgamma = sum g x,   dh = gamma / std (g - dbeta / N - x dgamma / N)
"""

from collections.abc import Iterator
from typing import Any

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

_ELEMENTS = 2**19  # of a block: 2 MiB of float32, and above SERIAL_WORK, so all threads share it
_CHUNK = 64  # rows that one thread adds up
_MIN_ROWS = 4 * _CHUNK  # of a block, so that a few threads have a chunk however wide the rows are


def norm_linear(
    h: Tensor,
    norm: nn.BatchNorm1d,
    linear: nn.Linear,
    p: float = 0.0,
    *,
    seed: int | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """Computes ``linear(dropout(relu(norm(h))))``; ``norm.training`` tells how.

    Args:
        h: floating ``[N, H]``.
        norm: batch norm over H channels; training updates its running statistics.
        linear: from H to C channels.
        p: probability in ``[0, 1]`` of dropping a hidden value while training.
        seed: of the dropout mask, see :func:`~graphseq.graph.ops.dropout.dropout`.
        backend: "numba" or "torch"; "auto" takes the blocks on the CPU outside autocast and
            ``torch.compile`` where ``norm`` is an affine ``BatchNorm1d`` and neither layer has
            hooks, which fire only where the layers are called.

    Shape:
        h ``[N, H]`` -> ``[N, C]``.

    Raises:
        ValueError: if ``p`` is not a probability, widths differ, or training sees fewer than 2
            rows.
    """
    widths = tuple(h.shape[1:]), norm.num_features, linear.in_features
    if widths != ((norm.num_features,), norm.num_features, norm.num_features):
        raise ValueError(
            f"norm_linear: h has shape {tuple(h.shape)}, norm {norm.num_features} channels and "
            f"linear {linear.in_features} inputs; pass h [N, H] and layers of the same width H"
        )
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"norm_linear: p is {p}; pass a probability between 0 and 1")
    if norm.training and h.size(0) < 2:
        raise ValueError(
            f"norm_linear: h has {h.size(0)} rows, and batch norm needs 2 or more while training; "
            "give it more rows, or call norm.eval()"
        )
    if not _fits_blocks(h, norm, linear, backend):
        hidden = dropout(norm(h), p, norm.training, seed, relu=True, backend=backend)
        return linear(hidden)
    h = h.contiguous()
    p = p if norm.training else 0.0
    seed = draw_seed() if seed is None and p > 0.0 else seed or 0
    mean, rstd = _statistics(h.detach(), norm)
    bias = linear.weight.new_zeros(linear.out_features) if linear.bias is None else linear.bias
    parameters = norm.weight, norm.bias, linear.weight, bias
    return _NormLinear.apply(h, *parameters, mean, rstd, p, seed, norm.training)


def _fits_blocks(h: Tensor, norm: nn.Module, linear: nn.Linear, backend: Backend) -> bool:
    """Whether the compiled path computes the same as calling the modules."""
    simple = type(norm) is nn.BatchNorm1d and type(linear) is nn.Linear
    return (
        simple
        and bool(norm.affine)
        and bool(norm.track_running_stats)
        and h.dim() == 2
        and h.dtype == linear.weight.dtype == norm.weight.dtype
        and h.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled(h.device.type)
        and not has_hooks(norm, linear)
        and use_numba(backend, h)
    )


def _statistics(h: Tensor, norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Mean and 1 / std per channel: of the rows while training, else the running ones."""
    running = norm.running_mean, norm.running_var
    counter = norm.num_batches_tracked
    assert running[0] is not None
    assert running[1] is not None
    assert counter is not None
    if not norm.training:
        return running[0], (running[1] + norm.eps).rsqrt()
    counter.add_(1)
    momentum = 1.0 / float(counter) if norm.momentum is None else norm.momentum
    mean, var = torch.batch_norm_update_stats(h, *running, momentum)
    return mean, (var + norm.eps).rsqrt()


class _NormLinear(torch.autograd.Function):
    """Saves ``h`` and vectors; the backward pass makes one array of the size of ``h``."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, h: Tensor, gamma: Tensor, beta: Tensor, weight: Tensor, bias: Tensor,
        mean: Tensor, rstd: Tensor, p: float, seed: int, batch_statistics: bool,
    ) -> Tensor:  # fmt: skip
        slope = gamma * rstd
        affine = slope, beta - mean * slope  # u = slope h + shift
        ctx.save_for_backward(h, *affine, weight, mean, rstd)
        ctx.settings = p, seed, batch_statistics
        out = h.new_empty(h.size(0), weight.size(0))
        for rows, hidden in _hidden_blocks(h, *affine, p, seed):
            torch.addmm(bias, hidden, weight.t(), out=out[rows])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        h, slope, shift, weight, mean, rstd = ctx.saved_tensors
        p, seed, batch_statistics = ctx.settings
        num_rows, num_channels = h.shape
        grad_h, grad_weight = torch.empty_like(h), torch.zeros_like(weight)
        num_chunks = rows_of_block(num_channels) // _CHUNK
        sums = torch.zeros(num_chunks, 2, num_channels, dtype=torch.float64)
        for rows, hidden in _hidden_blocks(h, slope, shift, p, seed):
            grad_weight.addmm_(grad[rows].t(), hidden)
            torch.mm(grad[rows], weight, out=grad_h[rows])
            arrays = (array(t) for t in (hidden, h[rows], mean, rstd))
            _through_relu(
                *arrays, hidden.numpy().dtype.type(scale_of(p)), grad_h[rows].numpy(), sums.numpy(),
                work=hidden.numel(),
            )  # fmt: skip
        grad_beta, grad_gamma = sums.sum(0)
        if batch_statistics:
            means = ((g / num_rows).to(h.dtype) for g in (grad_beta, grad_gamma))
            _through_norm(
                *(array(t) for t in (h, mean, rstd, slope, *means)), grad_h.numpy(),
                work=h.numel(),
            )  # fmt: skip
        else:
            grad_h *= slope
        grads = grad_h, grad_gamma.to(h.dtype), grad_beta.to(h.dtype), grad_weight, grad.sum(0)
        return *grads, None, None, None, None, None


def rows_of_block(num_channels: int) -> int:
    """Rows that are computed at a time, a multiple of the chunk."""
    rows = _ELEMENTS // max(num_channels, 1)
    return max(rows - rows % _CHUNK, _MIN_ROWS)


def _hidden_blocks(
    h: Tensor, slope: Tensor, shift: Tensor, p: float, seed: int
) -> Iterator[tuple[slice, Tensor]]:
    """Blocks of ``dropout(relu(slope h + shift))``, all in the same memory."""
    step = rows_of_block(h.size(1))
    buffer = h.new_empty(min(step, h.size(0)), h.size(1))
    numbers = mask_numbers(p, seed)
    vectors = array(slope), array(shift)
    for begin in range(0, h.size(0), step):
        rows = slice(begin, min(begin + step, h.size(0)))
        hidden = buffer[: rows.stop - begin]
        scale = hidden.numpy().dtype.type(scale_of(p))
        _hidden(
            array(h[rows]), *vectors, begin * h.size(1), *numbers, scale, hidden.numpy(),
            work=hidden.numel(),
        )  # fmt: skip
        yield rows, hidden


@kernel(parallel=True)
def _hidden(
    h: Any, slope: Any, shift: Any, first: int, a: Any, b: Any, threshold: Any, scale: Any, out: Any
) -> None:
    """out = dropout(relu(slope h + shift)); position ``first`` is that of h[0, 0]."""
    width = h.shape[1]
    for i in prange(h.shape[0]):
        row = out[i]
        for j in range(width):
            row[j] = slope[j] * h[i, j] + shift[j]
        relu_and_drop(row, first + i * width, a, b, threshold, scale)


@kernel(parallel=True)
def _through_relu(
    hidden: Any, h: Any, mean: Any, rstd: Any, scale: Any, grad: Any, sums: Any
) -> None:
    """Gradient of ``hidden`` to gradient of u, in place; adds its column sums to ``sums``."""
    zero = grad.dtype.type(0)
    for chunk in prange((h.shape[0] + _CHUNK - 1) // _CHUNK):
        total, product = sums[chunk, 0], sums[chunk, 1]
        for i in range(chunk * _CHUNK, min((chunk + 1) * _CHUNK, h.shape[0])):
            for j in range(h.shape[1]):
                g = grad[i, j] * scale if hidden[i, j] != zero else zero
                grad[i, j] = g
                total[j] += g
                product[j] += g * (h[i, j] - mean[j]) * rstd[j]


@kernel(parallel=True)
def _through_norm(
    h: Any, mean: Any, rstd: Any, slope: Any, mean_grad: Any, mean_product: Any, grad: Any
) -> None:
    """Gradient of u to gradient of h, in place."""
    for i in prange(h.shape[0]):
        for j in range(h.shape[1]):
            x = (h[i, j] - mean[j]) * rstd[j]
            grad[i, j] = slope[j] * (grad[i, j] - mean_grad[j] - x * mean_product[j])
