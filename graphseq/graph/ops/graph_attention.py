"""Additive graph attention (GAT; Velickovic et al., ICLR 2018), without messages in memory.

Equations, per attention head, where j runs over the stored entries of row i::

    s_ij = leaky_relu(source_j + target_i),   L_i = log sum_j exp(s_ij)
    alpha_ij = exp(s_ij - L_i),               out_i = sum_j alpha_ij h_j

Gathered messages and what autograd keeps of them would take nnz heads D numbers. Here the forward
pass keeps L and out. The backward pass computes alpha again. With g the gradient of out, and
because ``sum_j alpha_ij <g_i, h_j> = <g_i, out_i>``, one pass over the rows gives the gradients of
the scores and of target, and one over the columns those of h and source::

    ds_ij = alpha_ij (<g_i, h_j> - <g_i, out_i>) leaky_relu'(source_j + target_i)
    dtarget_i = sum_j ds_ij,   dsource_j = sum_i ds_ij,   dh_j = sum_i alpha_ij g_i

========  ===============  ====================
symbol    variable         shape
========  ===============  ====================
h         h                ``[S, heads, D]``
source    source           ``[S, heads]``
target    target           ``[R, heads]``
L         lse              ``[R, heads]``
alpha     both[:, 0]       ``[nnz, heads]``
ds        both[:, 1]       ``[nnz, heads]``
========  ===============  ====================
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from graphseq.graph.csr import CSR
from graphseq.graph.ops.attention_kernels import column_gradients, forward_rows, row_gradients
from graphseq.graph.ops.spmm import Backend, check_dense, compute_dtype, restore_dtype, use_numba
from graphseq.kernels import array


def graph_attention(
    graph: CSR,
    h: Tensor,
    source: Tensor,
    target: Tensor,
    negative_slope: float = 0.2,
    *,
    backend: Backend = "auto",
) -> Tensor:
    """Averages neighbours' features, weighted by a softmax over each row's stored entries.

    Differentiable in ``h``, ``source`` and ``target``. Entries that are stored repeatedly count
    each time; a row without entries gives 0.

    Args:
        graph: sparse ``[R, S]``: an entry (i, j) is an edge from j to i. Values are not read.
        h: features, floating ``[S, heads, D]``; its dtype decides, half precision is computed in
            float32.
        source: the senders' part of the scores ``[S, heads]``.
        target: the receivers' part ``[R, heads]``.
        negative_slope: of the leaky ReLU on scores.
        backend: "numba" or "torch"; "auto" takes numba on the CPU outside ``torch.compile``.

    Shape:
        h ``[S, heads, D]``, source ``[S, heads]``, target ``[R, heads]`` -> ``[R, heads, D]``.

    Returns:
        The averages in ``h``'s dtype (float32 for half precision under autocast).

    Raises:
        ValueError: if shapes or devices do not fit.
        TypeError: if one of the three is not floating.
    """
    _check(graph, h, source, target)
    dtype = compute_dtype(h)
    parts = h.to(dtype), source.to(dtype), target.to(dtype)
    if use_numba(backend, h):
        out = _Attention.apply(graph, *parts, float(negative_slope))
    else:
        with torch.autocast(h.device.type, enabled=False):
            out = _gathered(graph, *parts, negative_slope)
    return restore_dtype(out, h)


def _check(graph: CSR, h: Tensor, source: Tensor, target: Tensor) -> None:
    where = "graph_attention"
    check_dense(where, "h", h, graph.shape[1], graph.device)
    check_dense(where, "source", source, graph.shape[1], graph.device)
    check_dense(where, "target", target, graph.shape[0], graph.device)
    fits = h.dim() == 3 and source.shape == h.shape[:2] and target.shape[1:] == h.shape[1:2]
    if not fits:
        raise ValueError(
            f"{where}: h, source and target have shapes {tuple(h.shape)}, {tuple(source.shape)} "
            f"and {tuple(target.shape)}; pass h [S, heads, D], source [S, heads], target [R, heads]"
        )


class _Attention(torch.autograd.Function):
    """The compiled passes; between them only logsumexp and the output are kept."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, graph: CSR, h: Tensor, source: Tensor, target: Tensor, negative_slope: float
    ) -> Tensor:
        ctx.graph, ctx.negative_slope = graph, negative_slope
        out = h.new_empty(graph.shape[0], *h.shape[1:])
        # In float64, or alpha = exp(s - L) would lose its digits where scores are large.
        lse = torch.empty(target.shape, dtype=torch.float64)
        forward_rows(
            *graph.arrays(), array(h), array(source), array(target), negative_slope,
            lse.numpy(), out.numpy(), work=_work(graph, h),
        )  # fmt: skip
        ctx.save_for_backward(h, source, target, lse, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        h, source, target, lse, out = ctx.saved_tensors
        graph: CSR = ctx.graph
        grad = grad.contiguous()
        # alpha and ds side by side: the columns jump to each entry, once.
        both = h.new_empty(graph.nnz, 2, h.size(1))
        grad_h, grad_source, grad_target = (
            torch.empty(part.shape, dtype=h.dtype) for part in (h, source, target)
        )
        row_gradients(
            *graph.arrays(), array(h), array(source), array(target), ctx.negative_slope,
            array(lse), array(out), array(grad), both.numpy(), grad_target.numpy(),
            work=_work(graph, h),
        )  # fmt: skip
        column_gradients(
            *graph.transpose().arrays(), array(graph.transpose_order), both.numpy(),
            array(grad), grad_h.numpy(), grad_source.numpy(), work=_work(graph, h),
        )  # fmt: skip
        return None, grad_h, grad_source, grad_target, None


def _work(graph: CSR, h: Tensor) -> int:
    return (graph.nnz + graph.shape[0]) * h.size(1) * (h.size(2) + 8)  # an exp costs about 8


def _gathered(
    graph: CSR, h: Tensor, source: Tensor, target: Tensor, negative_slope: float
) -> Tensor:
    """Gather, softmax and add; differentiable by autograd, traceable by ``torch.compile``."""
    row, col, num_rows = graph.row, graph.col.long(), graph.shape[0]
    score = F.leaky_relu(source[col] + target[row], negative_slope)  # [nnz, heads]
    lowest = score.new_full(target.shape, -torch.inf)
    shift = lowest.scatter_reduce(0, row.unsqueeze(1).expand_as(score), score.detach(), "amax")
    weight = torch.exp(score - shift[row])
    total = weight.new_zeros(target.shape).index_add(0, row, weight)  # [R, heads]
    messages = (weight / total[row]).unsqueeze(2) * h[col]  # [nnz, heads, D]
    return h.new_zeros(num_rows, *h.shape[1:]).index_add(0, row, messages)
