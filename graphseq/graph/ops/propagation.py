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

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from graphseq.graph.csr import CSR
from graphseq.graph.ops.propagation_kernels import backward_gate, backward_hops, forward_hops
from graphseq.graph.ops.spmm import (
    Backend,
    check_dense,
    compute_dtype,
    lanes,
    restore_dtype,
    spmm,
    use_numba,
)
from graphseq.kernels import array

# Up to here memory is no concern and K products fewer are: 64 MiB of hops.
_STORE_BYTES = 64 * 2**20


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
    # Inside an autograd.Function, parameters ask for gradients even where nothing is recorded.
    store_hops = store_hops and torch.is_grad_enabled()
    if use_numba(backend, z):
        parts = _padded(parts[0]), _padded(parts[1]), parts[2]
        out, scores = _Propagation.apply(matrix, *parts, num_hops, store_hops, return_scores)
        out = out if out.shape == z.shape else out[:, : z.size(1)]
    else:
        stream = not store_hops and not torch.compiler.is_compiling()
        run = _StreamedTorch.apply if stream else _stacked
        with torch.autocast(z.device.type, enabled=False):  # or the gates drop to half precision
            out, scores = run(matrix, *parts, num_hops)
    out = restore_dtype(out, z)
    return (out, scores) if return_scores else out


def _padded(part: Tensor) -> Tensor:
    """Adds columns of zeros up to a multiple of 8, which change nothing and fill the registers.

    The remainder of a row costs more than the registers it would fill: 10 columns take 1.5 times as
    long as 16. Up to 8 columns are unrolled instead, see :func:`lanes`.
    """
    width = part.size(-1)
    return part if width <= 8 or width % 8 == 0 else F.pad(part, (0, -width % 8))


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
        z = z.detach()
        hops = z.new_empty(num_hops + 1 if keep else 2, *z.shape)
        hops[0] = z
        scores = z.new_empty(num_hops + 1 if return_scores else 1, z.size(0))
        out = z.new_zeros(z.shape)
        forward_hops(
            *_shared(matrix, z), array(weight), array(bias), num_hops,
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
        stored, gate, work = hops is not None, array(weight), _work(matrix, z)
        ring = z.new_empty(2, *z.shape)  # of hops in the first sweep, of gradients in the second
        ring[0] = z
        score, q = z.new_empty(2, num_hops + 1, z.size(0))
        sums = z.new_zeros(len(matrix.arrays()[0]) - 1, z.size(1) + 1, dtype=torch.float64)
        backward_gate(
            *_shared(matrix, z), gate, array(bias), num_hops, array(grad), stored,
            array(hops if stored else ring), score.numpy(), q.numpy(), sums.numpy(), work=work,
        )  # fmt: skip
        total = sums.sum(0).to(z.dtype)
        if not ctx.needs_input_grad[1]:
            return None, None, total[:-1], total[-1:], None, None, None
        ring[num_hops % 2] = 0
        backward_hops(
            *_shared(matrix.transpose(), z), gate, num_hops, array(grad),
            score.numpy(), q.numpy(), ring.numpy(), work=work,
        )  # fmt: skip
        return None, ring[0], total[:-1], total[-1:], None, None, None


def _shared(matrix: CSR, z: Tensor) -> tuple[Any, ...]:
    """The arguments that all passes begin with."""
    return *matrix.arrays(), array(matrix.values(z.dtype)), lanes(z.size(1))


def _work(matrix: CSR, z: Tensor) -> int:
    return (matrix.nnz + matrix.shape[0]) * z.size(1)


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
