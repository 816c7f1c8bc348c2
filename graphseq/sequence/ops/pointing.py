"""Additive attention scores, of every query for every key.

Neural Machine Translation by Jointly Learning to Align and Translate (D. Bahdanau, K. Cho and
Y. Bengio, 2015), used as pointers by Pointer Networks (O. Vinyals, M. Fortunato and N. Jaitly,
2015). With g_ij the gradient of the loss by a score and t = tanh(k_j + q_i)::

    u_ij = v . t_ij
    dv = sum_ij g_ij t_ij,   s_ij = g_ij v * (1 - t_ij^2),   dk_j = sum_i s_ij,   dq_i = sum_j s_ij

The terms t of all pairs would be ``B M N H`` numbers. They are computed again in the backward pass
instead of being kept, on the CPU one pair at a time, elsewhere a block of queries at a time.

On the CPU most of the time would go into tanh. With a_j = exp(2 k_j) and b_i = exp(2 q_i), which
are few, ::

    tanh(k_j + q_i) = (a_j b_i - 1) / (a_j b_i + 1),   1 - tanh^2 = 4 r (1 - r),   r = 1 / (1 + a b)

so that a term costs a division. The product a b fits into a float32 as long as no entry of k or q
is beyond 20 in size; where one is, tanh itself is taken.

======  ========  =============
symbol  variable  shape
======  ========  =============
q       queries   ``[B, M, H]``
k       keys      ``[B, N, H]``
v       v         ``[H]``
u       out       ``[B, M, N]``
======  ========  =============
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from graphseq.kernels import array
from graphseq.sequence.ops.backend import Backend, compute_dtype, use_numba
from graphseq.sequence.ops.checks import check_shapes
from graphseq.sequence.ops.pointing_kernels import backward_pass, forward_pass

_LIMIT = 20.0
# Terms of one block of the torch path: on the CPU they should stay in its caches.
_BLOCK_CPU, _BLOCK_DEVICE = 2**19, 2**25


def pointer_scores(
    queries: Tensor, keys: Tensor, v: Tensor, *, backend: Backend = "auto"
) -> Tensor:
    """``u_ij = v . tanh(k_j + q_i)``, differentiable in all three.

    Args:
        queries: q; the scores have its dtype, half precision is computed in float32.
        keys: k.
        v: the weights of the sum over channels.
        backend: "numba" or "torch"; "auto" takes numba on the CPU outside ``torch.compile``.

    Shape:
        ``[B, M, H]``, ``[B, N, H]`` and ``[H]`` -> ``[B, M, N]``.

    Raises:
        ValueError: shapes or devices do not fit, or the backend is unknown or cannot serve.
        TypeError: an argument is not floating point.
    """
    where = "pointer_scores"
    check_shapes(where, {"queries": (queries, "B M H"), "keys": (keys, "B N H"), "v": (v, "H")})
    for name, tensor in (("queries", queries), ("keys", keys), ("v", v)):
        if tensor.is_complex():
            raise TypeError(f"{where}: {name} has dtype {tensor.dtype}; pass a real one")
    dtype = compute_dtype(queries, keys, v)
    compiled = use_numba(where, backend, queries)
    with torch.autocast(queries.device.type, enabled=False):
        parts = queries.to(dtype), keys.to(dtype), v.to(dtype)
        if compiled and _small(parts[0]) and _small(parts[1]):
            return _Compiled.apply(*parts).to(queries.dtype)
        return _Blocked.apply(*parts).to(queries.dtype)


def _small(x: Tensor) -> bool:
    """Whether all are at most 20 in size; NaN is not."""
    return x.numel() == 0 or bool(x.detach().abs().amax() <= _LIMIT)


class _Compiled(torch.autograd.Function):
    """By compiled loops over the exponentials."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, v: Tensor) -> Tensor:  # type: ignore[override]
        b, a = (2.0 * queries).exp().contiguous(), (2.0 * keys).exp().contiguous()
        out = queries.new_empty(queries.shape[0], queries.shape[1], keys.shape[1])
        forward_pass(
            array(b), array(a), array(v), _parts(out, 8), out.numpy(), work=out.numel() * len(v)
        )
        ctx.save_for_backward(b, a, v)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        b, a, v = ctx.saved_tensors
        # Parts of the queries side by side add to gradients of the keys of their own.
        parts = _parts(grad, 2)
        shape = len(b) * parts, len(v)
        grad_b, grad_a = torch.zeros_like(b), a.new_zeros(len(b), parts, *a.shape[1:])
        grad_v, row = a.new_zeros(shape), a.new_empty(shape)
        backward_pass(
            array(b), array(a), array(grad), row.numpy(), grad_b.numpy(), grad_a.numpy(),
            grad_v.numpy(), work=2 * grad.numel() * len(v),
        )  # fmt: skip
        scale = 4.0 * v
        return grad_b * scale, grad_a.sum(1) * scale, grad.sum() - 2.0 * grad_v.sum(0)


def _parts(scores: Tensor, tasks: int) -> int:
    """Parts to cut the queries of a sequence into, for some tasks per thread."""
    batch, rows = scores.shape[:2]
    wanted = math.ceil(tasks * torch.get_num_threads() / max(batch, 1))
    return max(1, min(wanted, rows))


class _Blocked(torch.autograd.Function):
    """By torch, some queries at a time."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, v: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(queries, keys, v)
        out = queries.new_empty(queries.shape[0], queries.shape[1], keys.shape[1])
        for part, q in _blocks(queries, keys):
            out[:, part] = _terms(q, keys) @ v
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        queries, keys, v = ctx.saved_tensors
        grad_q, grad_k = torch.empty_like(queries), torch.zeros_like(keys)
        grad_v = torch.zeros_like(v)
        for part, q in _blocks(queries, keys):
            g, t = grad[:, part], _terms(q, keys)
            grad_v += t.flatten(0, 2).t() @ g.flatten()
            slopes = g[..., None] * (1.0 - t * t)  # [B, block, N, H]
            grad_k += slopes.sum(1)
            grad_q[:, part] = slopes.sum(2)
        return grad_q * v, grad_k * v, grad_v


def _blocks(queries: Tensor, keys: Tensor) -> list[tuple[slice, Tensor]]:
    """Queries a few at a time, and where they stand."""
    budget = _BLOCK_CPU if queries.device.type == "cpu" else _BLOCK_DEVICE
    size = max(1, budget // max(1, keys.numel()))
    starts = range(0, queries.shape[1], size)
    return [(slice(i, i + size), queries[:, i : i + size]) for i in starts]


def _terms(queries: Tensor, keys: Tensor) -> Tensor:
    """tanh(k_j + q_i), ``[B, block, N, H]``."""
    return torch.tanh_(keys[:, None] + queries[:, :, None])
