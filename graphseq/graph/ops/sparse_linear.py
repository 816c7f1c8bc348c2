"""A linear layer on sparse features, with dropout on the stored values.

Bag-of-words features are about 1 % dense, so ``x @ weight + bias`` costs 1 % of the dense product.
Dropping a zero changes nothing: dropout on the stored values is dropout on the dense matrix.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from graphseq.graph.csr import CSR
from graphseq.graph.ops.dropout import apply_mask, draw_seed, dropout
from graphseq.graph.ops.spmm import (
    Backend,
    check_dense,
    compute_dtype,
    product,
    restore_dtype,
    spmm,
    transposed_values,
    use_numba,
)
from graphseq.kernels import array, kernel, prange


def sparse_linear(
    x: CSR,
    weight: Tensor,
    bias: Tensor | None = None,
    p: float = 0.0,
    training: bool = True,
    seed: int | None = None,
    *,
    backend: Backend = "auto",
) -> Tensor:
    """``dropout(x, p) @ weight + bias``, differentiable in ``weight`` and ``bias`` (not in ``x``).

    Args:
        x: sparse features ``[N, F]``.
        weight: ``[F, H]`` (inputs x outputs, so that a feature's weights lie side by side).
        bias: ``[H]`` or None.
        p: dropout probability of each stored value.
        training: False switches dropout off.
        seed: of the mask over the stored entries, see :func:`dropout`; None draws one.
        backend: "numba" or "torch"; "auto" takes numba on the CPU outside ``torch.compile``.

    Shape:
        x ``[N, F]``, weight ``[F, H]`` -> ``[N, H]``.

    Returns:
        The layer's output in ``weight``'s dtype.

    Raises:
        ValueError: if shapes or devices do not fit, or ``p`` is not a probability.
        TypeError: if ``weight`` is not floating.
    """
    check_dense("sparse_linear", "weight", weight, x.shape[1], x.device)
    if weight.dim() != 2 or (bias is not None and bias.shape != weight.shape[1:]):
        got = tuple(weight.shape), None if bias is None else tuple(bias.shape)
        raise ValueError(
            f"sparse_linear: weight and bias have shapes {got[0]} and {got[1]}; "
            "pass weight [F, H] and bias [H]"
        )
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"sparse_linear: p is {p}; pass a probability between 0 and 1")
    p = p if training else 0.0
    dtype = compute_dtype(weight)
    if use_numba(backend, weight):
        seed = draw_seed() if seed is None and p > 0.0 else seed or 0
        out = _SparseLinear.apply(x, weight.to(dtype), p, seed)
    else:
        value = dropout(x.values(dtype), p, seed=seed, backend=backend) if p > 0.0 else None
        out = spmm(x, weight.to(dtype), value, backend=backend)
    out = out if bias is None else out + bias
    return restore_dtype(out, weight)


class _SparseLinear(torch.autograd.Function):
    """The mask is computed again in the backward pass, from the same stored positions."""

    @staticmethod
    def forward(ctx: Any, x: CSR, weight: Tensor, p: float, seed: int) -> Tensor:  # type: ignore[override]
        ctx.settings = x, p, seed
        value = x.values(weight.dtype)
        if p > 0.0:
            value = apply_mask(value, p, seed)
        return _sparse_product(x, value, weight.detach(), p)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, None, None]:  # type: ignore[override]
        x, p, seed = ctx.settings
        value = transposed_values(x, None, grad.dtype)
        if p > 0.0:
            value = apply_mask(value, p, seed, position=x.transpose_order)
        return None, _sparse_product(x.transpose(), value, grad, p), None, None


def _sparse_product(matrix: CSR, value: Tensor, dense: Tensor, p: float) -> Tensor:
    """``M(value) @ dense``, in time proportional to the values that were not dropped."""
    if p == 0.0:
        return product(matrix, dense, value)
    dense = dense.contiguous()
    out = dense.new_empty(matrix.shape[0], dense.size(1))
    _kept_rows(
        *matrix.arrays(), array(value), dense.numpy(), out.numpy(),
        work=round(matrix.nnz * dense.size(1) * (1.0 - p)),
    )  # fmt: skip
    return out


@kernel(parallel=True)
def _kept_rows(groups: Any, rowptr: Any, col: Any, value: Any, dense: Any, out: Any) -> None:
    """Rows of the product, over non-zero values only: which ones those are stays in a buffer."""
    for group in prange(groups.shape[0] - 1):
        longest = 0
        for i in range(groups[group], groups[group + 1]):
            longest = max(longest, rowptr[i + 1] - rowptr[i])
        kept = np.empty(longest + 1, np.int64)
        for i in range(groups[group], groups[group + 1]):
            count = 0
            for e in range(rowptr[i], rowptr[i + 1]):  # no branch: dropout is hard to predict
                kept[count] = e
                count += value[e] != 0
            for d in range(out.shape[1]):
                out[i, d] = 0
            for k in range(0, count - 1, 2):  # two at a time: half the loads and stores of out
                scale, source = value[kept[k]], dense[np.uint32(col[kept[k]])]
                scale2, source2 = value[kept[k + 1]], dense[np.uint32(col[kept[k + 1]])]
                for d in range(out.shape[1]):
                    out[i, d] += scale * source[d] + scale2 * source2[d]
            if count % 2 == 1:
                scale, source = value[kept[count - 1]], dense[np.uint32(col[kept[count - 1]])]
                for d in range(out.shape[1]):
                    out[i, d] += scale * source[d]
