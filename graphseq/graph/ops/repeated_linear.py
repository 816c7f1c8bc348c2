"""A linear layer on many copies of one row, each with its own dropout.

    out[r] = W dropout_r(relu(row)) + b

Where sums are empty, all that a layer sees is its predecessor's bias, under as many dropout masks
as there are rows. With ``c = relu(row) / (1 - p)`` and the set ``D_r`` of the columns that mask r
drops::

    out[r] = (W c + b) - sum of c_d W_d over d in D_r           W_d: column d of W

costs a few columns a row instead of a matrix product. Backward, with ``g_r`` the gradient of row r,
``S = sum of g_r`` and ``S_d = sum of g_r over the rows whose mask drops d``::

    dW_d = c_d (S - S_d),    drow_d = W_d . (S - S_d) / (1 - p) where row_d > 0,    db = S
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from graphseq.graph.ops.dropout import draw_seed, dropout, hash_of, mask_numbers, scale_of
from graphseq.graph.ops.spmm import Backend, use_numba
from graphseq.kernels import array, kernel, prange

_FEW = 0.25  # up to this p the columns dropped cost less than the product
_CHUNK = 64  # rows that share a list of hashes
_WIDTH = 64  # output columns that one thread adds up


def repeated_linear(
    row: Tensor,
    size: int,
    weight: Tensor,
    bias: Tensor,
    p: float = 0.0,
    training: bool = True,
    *,
    seed: int | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """Computes ``linear(dropout(relu(row repeated size times)))``.

    Args:
        row: floating ``[D]``.
        size: number R of copies.
        weight: ``[H, D]``.
        bias: ``[H]``.
        p: probability in ``[0, 1]`` of dropping a value while training.
        training: False switches dropout off.
        seed: of the mask, that of ``[R, D]`` in :func:`~graphseq.graph.ops.dropout.dropout`.
        backend: "numba" or "torch"; "auto" takes numba on the CPU outside ``torch.compile`` and
            autocast, for small ``p``.

    Returns:
        ``[R, H]``; without dropout a view of one row.

    Raises:
        ValueError: if ``p`` is not a probability.
    """
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"repeated_linear: p is {p}; pass a probability between 0 and 1")
    if not training or p == 0.0:
        return F.linear(row.relu(), weight, bias).expand(size, -1)
    fits = use_numba(backend, row) and row.dtype == weight.dtype == bias.dtype
    few = p <= _FEW or (backend == "numba" and p < 1.0)
    if few and fits and not torch.is_autocast_enabled(row.device.type):
        seed = draw_seed() if seed is None else seed
        return _RepeatedLinear.apply(row, size, weight, bias, p, seed)
    copies = row.relu().repeat(size, 1)
    return F.linear(dropout(copies, p, seed=seed, backend=backend), weight, bias)


class _RepeatedLinear(torch.autograd.Function):
    """Saves its inputs; the mask is hashed again."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, row: Tensor, size: int, weight: Tensor, bias: Tensor, p: float, seed: int
    ) -> Tensor:
        ctx.save_for_backward(row, weight)
        ctx.settings = p, seed
        scaled = scale_of(p) * row.relu()  # [D]
        active = (row > 0).nonzero().squeeze(1)  # the columns whose loss changes anything
        columns = weight.t()[active] * scaled[active].unsqueeze(1)  # [A, H]
        out = torch.addmv(bias, weight, scaled).repeat(size, 1)
        _subtract(
            array(columns), array(active), row.numel(), *mask_numbers(p, seed), out.numpy(),
            work=_work(size, row, out, p),
        )  # fmt: skip
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        row, weight = ctx.saved_tensors
        p, seed = ctx.settings
        active = (row > 0).nonzero().squeeze(1)
        dropped = grad.new_zeros(len(active), grad.size(1))  # [A, H], S_d
        _add_dropped(
            array(grad), array(active), row.numel(), *mask_numbers(p, seed), dropped.numpy(),
            work=_work(grad.size(0), row, grad, p),
        )  # fmt: skip
        total = grad.sum(0)
        kept = total - dropped
        scale = scale_of(p)
        grad_weight, grad_row = torch.zeros_like(weight), torch.zeros_like(row)
        grad_weight[:, active] = (kept * (scale * row[active]).unsqueeze(1)).t()
        grad_row[active] = scale * torch.einsum("ah,ha->a", kept, weight[:, active])
        return grad_row, None, grad_weight, total, None, None


def _work(size: int, row: Tensor, out: Tensor, p: float) -> int:
    return int(size * row.numel() * (4 + p * out.size(1)))


@kernel()
def _dropped(
    begin: int, active: Any, a: Any, b: Any, threshold: Any, hashes: Any, found: Any
) -> int:
    """Lists the places in ``active`` of the columns that a row dropped; hashes come in vectors."""
    count = 0
    # The high half of a position changes at most once in a row.
    low, high = np.uint32(begin), begin >> 32
    for k in range(active.shape[0]):
        position = np.uint32(low + np.uint32(active[k]))
        carry = np.uint32(position < low)
        rest = np.uint32(np.uint32(b + np.uint32(high)) + carry)
        hashes[k] = hash_of(position, a, rest)
    for k in range(active.shape[0]):
        if hashes[k] < threshold:
            found[count] = k
            count += 1
    return count


@kernel(parallel=True)
def _subtract(
    columns: Any, active: Any, width: int, a: Any, b: Any, threshold: Any, out: Any
) -> None:
    for chunk in prange((out.shape[0] + _CHUNK - 1) // _CHUNK):
        hashes, found = np.empty(len(active), np.uint32), np.empty(len(active), np.int32)
        for r in range(chunk * _CHUNK, min((chunk + 1) * _CHUNK, out.shape[0])):
            row = out[r]
            for place in range(_dropped(r * width, active, a, b, threshold, hashes, found)):
                column = columns[found[place]]
                for j in range(row.shape[0]):
                    row[j] -= column[j]


@kernel(parallel=True)
def _add_dropped(
    grad: Any, active: Any, width: int, a: Any, b: Any, threshold: Any, out: Any
) -> None:
    """Threads share out columns of the gradient, so that the order of every sum is fixed."""
    for strip in prange((grad.shape[1] + _WIDTH - 1) // _WIDTH):
        begin, end = strip * _WIDTH, min((strip + 1) * _WIDTH, grad.shape[1])
        hashes, found = np.empty(len(active), np.uint32), np.empty(len(active), np.int32)
        for r in range(grad.shape[0]):
            row = grad[r, begin:end]
            for place in range(_dropped(r * width, active, a, b, threshold, hashes, found)):
                target = out[found[place], begin:end]
                for j in range(row.shape[0]):
                    target[j] += row[j]
