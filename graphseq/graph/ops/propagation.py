"""Adaptive propagation (DAGNN; Liu, Gao and Ji, KDD 2020), streamed.

Equations, per node and with one gate (w, b) for all hops::

    H_0 = Z,   H_k = M H_{k-1},   s_k = sigmoid(H_k w + b),   out = sum_k s_k * H_k,   k = 0..K

Stacking the hops, as published, keeps N (K + 1) C numbers, autograd twice that. Here the forward
pass keeps two hops at a time and accumulates ``out`` while each row is at hand. The backward pass
is exact and needs two sweeps. With G = d loss / d out:

1. stream the hops again; keep per hop only the vectors s_k and q_k = <G, H_k> s_k (1 - s_k), and
   add up d w = sum_k H_k^T q_k and d b = sum q_k;
2. Horner's rule from the last hop: g = s_K * G + q_K w^T, then g <- M^T g + s_k * G + q_k w^T
   for k = K-1 .. 0; d Z = g.

That is 3 K products and O(N C + N K) memory. Where N (K + 1) C is small the forward pass keeps the
hops and the first sweep reads them: 2 K products.

========  ==========  ===============
symbol    variable    shape
========  ==========  ===============
M         matrix      ``[N, N]``
Z         z           ``[N, C]``
w, b      weight      ``[C]``, ``[1]``
H_k       hops[k]     ``[N, C]``
s, q      score, q    ``[K + 1, N]``
========  ==========  ===============
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from graphseq.graph.csr import CSR
from graphseq.graph.ops.spmm import (
    Backend,
    check_dense,
    compute_dtype,
    restore_dtype,
    spmm,
    use_numba,
)
from graphseq.kernels import array, kernel, prange

# Up to here memory is no concern and K products fewer are: 64 MiB of hops.
_STORE_BYTES = 64 * 2**20
# Rows are summed in this many groups whatever the number of threads, so that sums repeat exactly.
_GROUPS = 64


def adaptive_propagation(
    matrix: CSR,
    z: Tensor,
    weight: Tensor,
    bias: Tensor,
    num_hops: int,
    store_hops: bool | None = None,
    return_scores: bool = False,
    *,
    backend: Backend = "auto",
) -> Tensor | tuple[Tensor, Tensor]:
    """``sum_k sigmoid(M^k z w + b) * M^k z`` for k = 0 .. ``num_hops``.

    Differentiable in ``z``, ``weight`` and ``bias``; the matrix is a constant and the returned
    scores carry no gradient.

    Args:
        matrix: sparse ``[N, N]``, for DAGNN ``adjacency.normalized("sym")``; need not be symmetric.
        z: floating ``[N, C]``; its dtype decides, half precision is computed in float32.
        weight: the gate's w ``[C]``, shared by all hops and nodes.
        bias: the gate's b ``[1]``.
        num_hops: K >= 0.
        store_hops: True keeps all hops for the backward pass (2K products), False streams them
            again (3K products, memory independent of K); None stores up to 64 MiB.
        return_scores: also return the retainment scores.
        backend: "numba" or "torch"; "auto" takes numba on the CPU outside ``torch.compile``.

    Shape:
        z ``[N, C]`` -> out ``[N, C]``, scores ``[N, K + 1]``.

    Returns:
        ``out``, or ``(out, scores)``.

    Raises:
        ValueError: if shapes, devices or ``num_hops`` do not fit.
        TypeError: if ``z`` is not floating.
    """
    _check(matrix, z, weight, bias, num_hops)
    dtype = compute_dtype(z)
    parts = z.to(dtype), weight.to(dtype), bias.to(dtype)
    if store_hops is None:
        store_hops = z.numel() * (num_hops + 1) * dtype.itemsize <= _STORE_BYTES
    if use_numba(backend, z):
        out, scores = _Propagation.apply(matrix, *parts, num_hops, store_hops, return_scores)
    elif store_hops or torch.compiler.is_compiling():
        out, scores = _stacked(matrix, *parts, num_hops)
    else:
        out, scores = _StreamedTorch.apply(matrix, *parts, num_hops)
    out = restore_dtype(out, z)
    return (out, scores) if return_scores else out


def _check(matrix: CSR, z: Tensor, weight: Tensor, bias: Tensor, num_hops: int) -> None:
    where = "adaptive_propagation"
    if matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"{where}: matrix has shape {matrix.shape}; hops need a square matrix")
    check_dense(where, "z", z, matrix.shape[0], matrix.device)
    if z.dim() != 2 or weight.shape != z.shape[1:] or bias.shape != (1,):
        raise ValueError(
            f"{where}: z, weight and bias have shapes {tuple(z.shape)}, {tuple(weight.shape)} and "
            f"{tuple(bias.shape)}; pass z [N, C], weight [C] and bias [1]"
        )
    if num_hops < 0:
        raise ValueError(f"{where}: num_hops is {num_hops}; pass 0 or more")


class _Propagation(torch.autograd.Function):
    """The compiled passes."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        matrix: CSR,
        z: Tensor,
        weight: Tensor,
        bias: Tensor,
        num_hops: int,
        store_hops: bool,
        return_scores: bool,
    ) -> tuple[Tensor, Tensor | None]:
        keep = store_hops and any(ctx.needs_input_grad)
        z = z.detach().contiguous()
        hops = z.new_empty(num_hops + 1 if keep else 2, *z.shape)
        scores = z.new_empty(num_hops + 1 if return_scores else 0, z.size(0))
        out = torch.empty_like(z)
        _forward_hops(
            *_arrays(matrix, z.dtype), z.numpy(), array(weight), array(bias), num_hops,
            hops.numpy(), out.numpy(), scores.numpy(), work=_work(matrix, z),
        )  # fmt: skip
        ctx.save_for_backward(z, weight, bias, hops if keep else None)
        ctx.matrix, ctx.num_hops = matrix, num_hops
        table = scores.t() if return_scores else None
        if table is not None:
            ctx.mark_non_differentiable(table)
        return out, table

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Any) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        z, weight, bias, hops = ctx.saved_tensors
        matrix, num_hops, grad = ctx.matrix, ctx.num_hops, grad.contiguous()
        stored = hops is not None
        hops = hops if stored else z.new_empty(2, *z.shape)
        score, q = z.new_empty(2, num_hops + 1, z.size(0))
        sums = z.new_zeros(_GROUPS, z.size(1) + 1)
        gate = array(weight), array(bias)
        work = _work(matrix, z)
        _backward_gate(
            *_arrays(matrix, z.dtype), z.numpy(), *gate, num_hops, stored, hops.numpy(),
            array(grad), score.numpy(), q.numpy(), sums.numpy(), work=work,
        )  # fmt: skip
        ring = z.new_empty(2, *z.shape)
        _backward_hops(
            *_arrays(matrix.transpose(), z.dtype), gate[0], num_hops, array(grad),
            score.numpy(), q.numpy(), ring.numpy(), work=work,
        )  # fmt: skip
        total = sums.sum(0)
        return None, ring[0], total[:-1], total[-1:], None, None, None


def _arrays(matrix: CSR, dtype: torch.dtype) -> tuple[Any, Any, Any]:
    return *matrix.arrays(), array(matrix.values(dtype))


def _work(matrix: CSR, z: Tensor) -> int:
    return (matrix.nnz + matrix.shape[0]) * z.size(1)


@kernel()
def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


@kernel(parallel=True)
def _forward_hops(
    rowptr: Any, col: Any, value: Any, z: Any, weight: Any, bias: Any, num_hops: int,
    hops: Any, out: Any, scores: Any,
) -> None:  # fmt: skip
    """Fills ``hops`` (a ring of any depth >= 2, or of one slot per hop), ``out``, ``scores``."""
    n, width = z.shape
    depth = hops.shape[0]
    for k in range(num_hops + 1):
        here, before = hops[k % depth], hops[(k - 1) % depth]
        for i in prange(n):
            gate = bias[0]
            if k == 0:
                here[i, :] = z[i, :]
                out[i, :] = 0
            else:
                here[i, :] = 0
                for e in range(rowptr[i], rowptr[i + 1]):
                    for c in range(width):
                        here[i, c] += value[e] * before[col[e], c]
            for c in range(width):
                gate += here[i, c] * weight[c]
            score = _sigmoid(gate)
            for c in range(width):
                out[i, c] += score * here[i, c]
            if scores.shape[0] > 0:
                scores[k, i] = score


@kernel(parallel=True)
def _backward_gate(
    rowptr: Any, col: Any, value: Any, z: Any, weight: Any, bias: Any, num_hops: int, stored: bool,
    hops: Any, grad: Any, score: Any, q: Any, sums: Any,
) -> None:  # fmt: skip
    """First sweep: ``score`` and ``q`` [K + 1, N], and per group of rows the sums for d w, d b."""
    n, width = z.shape
    depth, groups = hops.shape[0], sums.shape[0]
    for k in range(num_hops + 1):
        here, before = hops[k % depth], hops[(k - 1) % depth]
        for group in prange(groups):
            for i in range(n * group // groups, n * (group + 1) // groups):
                if not stored and k == 0:
                    here[i, :] = z[i, :]
                elif not stored:
                    here[i, :] = 0
                    for e in range(rowptr[i], rowptr[i + 1]):
                        for c in range(width):
                            here[i, c] += value[e] * before[col[e], c]
                gate, slope = bias[0], bias[0] * 0
                for c in range(width):
                    gate += here[i, c] * weight[c]
                    slope += here[i, c] * grad[i, c]
                score[k, i] = _sigmoid(gate)
                q[k, i] = slope * score[k, i] * (1 - score[k, i])
                for c in range(width):
                    sums[group, c] += here[i, c] * q[k, i]
                sums[group, width] += q[k, i]


@kernel(parallel=True)
def _backward_hops(
    rowptr: Any, col: Any, value: Any, weight: Any, num_hops: int, grad: Any,
    score: Any, q: Any, ring: Any,
) -> None:  # fmt: skip
    """Second sweep, Horner's rule with the transpose; ends with d Z in ``ring[0]``."""
    n, width = grad.shape
    for k in range(num_hops, -1, -1):
        here, before = ring[k % 2], ring[(k + 1) % 2]
        for i in prange(n):
            for c in range(width):
                here[i, c] = score[k, i] * grad[i, c] + q[k, i] * weight[c]
            if k < num_hops:
                for e in range(rowptr[i], rowptr[i + 1]):
                    for c in range(width):
                        here[i, c] += value[e] * before[col[e], c]


def _stacked(
    matrix: CSR, z: Tensor, weight: Tensor, bias: Tensor, num_hops: int
) -> tuple[Tensor, Tensor]:
    """The published form in torch operations, hop by hop; autograd keeps the hops."""
    hop, out, scores = z, torch.zeros_like(z), []
    for k in range(num_hops + 1):
        hop = hop if k == 0 else spmm(matrix, hop, backend="torch")
        scores.append(torch.sigmoid(hop @ weight + bias))
        out = out + scores[-1].unsqueeze(1) * hop
    return out, torch.stack(scores, dim=1).detach()


class _StreamedTorch(torch.autograd.Function):
    """The two sweeps in torch operations, for other devices."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, matrix: CSR, z: Tensor, weight: Tensor, bias: Tensor, num_hops: int
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(z, weight, bias)
        ctx.matrix, ctx.num_hops = matrix, num_hops
        out, scores = _stacked(matrix, z, weight, bias, num_hops)
        ctx.mark_non_differentiable(scores)
        return out, scores

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Any) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        z, weight, bias = ctx.saved_tensors
        hop, score, q = z, [], []
        grad_weight = torch.zeros_like(weight)
        for k in range(ctx.num_hops + 1):
            hop = hop if k == 0 else spmm(ctx.matrix, hop, backend="torch")
            score.append(torch.sigmoid(hop @ weight + bias))
            q.append((grad * hop).sum(1) * score[k] * (1 - score[k]))
            grad_weight += hop.t() @ q[k]
        g = torch.zeros_like(z)
        for k in range(ctx.num_hops, -1, -1):
            g = spmm(ctx.matrix.transpose(), g, backend="torch") if k < ctx.num_hops else g
            g = g + score[k].unsqueeze(1) * grad + torch.outer(q[k], weight)
        grad_bias = torch.stack(q).sum().view(1)
        return None, g, grad_weight, grad_bias, None
