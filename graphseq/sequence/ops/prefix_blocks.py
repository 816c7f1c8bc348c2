"""Prefix softmax in matrix products, for any device and for ``torch.compile``.

:mod:`graphseq.sequence.ops.prefix_softmax` has the recurrence. Here time is cut into n blocks of C
steps. Per head, with m_0 the maximum before the first step and M_c the one at the end of block c
(M_0 = m_0), and for the steps k of block c::

    m_k = max(m_0, s_1 .. s_k)
    A_k0 = exp(M_{c-1} - m_k)
    A_ki = exp(s_i - m_k)                       for steps i <= k of the block, else 0
    L_c = sum_i A_ki [v_i, 1]                   k the last step: what the block itself gives
    S_c = sum_{j <= c} exp(M_j - M_c) L_j       [w, u] at the end of block c; L_0 = the first state
    [w_k, u_k] = A_k0 S_{c-1} + sum_i A_ki [v_i, 1]

and backwards, with Y_k = [G_k, -<G_k, out_k>] / u_k, the same products transposed::

    Z_{c-1} = sum_k A_k0 Y_k                    Z_n = gradient of the last state
    R_c = sum_{j >= c} exp(M_c - M_j) Z_j       gradient of S_c, which Y of the last step of block c
                                                takes up: that step's w_k and u_k are S_c
    [d v_i, q_i] = sum_k A_ki Y_k,              d s_i = <d v_i, v_i> + q_i

d s_i is a small difference of large numbers where one score rules, so that v_i = out_k. Therefore
values and outputs are taken relative to the last output c of their block: v_i - c for v_i, and
out_k - c for out_k in Y; and R's last entry is computed in float64, then made relative to c by
adding <its others, c>.

No exponent is positive, whatever the scores. A long sequence is run in stretches of some blocks,
one after another, so that A never covers all of it.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_BLOCK = 32
# Blocks in a stretch: on the CPU so few that intermediate results stay in the cache, elsewhere and
# for a compiler, which fuses them, so many that launches do not count.
_BLOCKS_CPU, _BLOCKS = 8, 64


def blockwise_prefix(
    scores: Tensor, values: Tensor, top: Tensor, total: Tensor, weighted: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``out`` and the last maximum, sum and weighted sum, from checked arguments of one dtype."""
    state = torch.cat([weighted, total[..., None]], -1)
    out, top, state = _Blockwise.apply(scores, values, top, state)
    return out, top, state[..., -1], state[..., :-1]


class _Blockwise(torch.autograd.Function):
    """All stretches, and their backward pass; the state is [w, u] ``[B, H, D + 1]``."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, scores: Tensor, values: Tensor, top: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        out, totals, tops = torch.empty_like(values), torch.empty_like(scores), []
        with torch.autocast(values.device.type, enabled=False):
            for steps, size in _stretches(scores):
                s = _split(scores[:, steps], size)
                tops.append(top)
                a, between, top = _weights(s, top)
                x = _with_first_row(_split(values[:, steps], size), s == -torch.inf)
                alone = a[..., 1:]
                last = torch.cat(
                    [alone[..., -1:, :] @ x[..., 1:, :], alone[..., -1:, :].sum(-1, True)], -1
                )
                states = between @ torch.cat([state[:, :, None], last.squeeze(3)], 2)
                x[..., 0, :] = states[:, :, :-1, :-1]
                u = a[..., 0] * states[:, :, :-1, -1:] + alone.sum(-1)
                out[:, steps] = _join(a.mul_(_inverse(u)[..., None]) @ x)
                totals[:, steps] = _join(u)
                state = states[:, :, -1].contiguous()
        ctx.save_for_backward(scores, values, out, totals, torch.stack(tops))
        ctx.mark_non_differentiable(top)
        return out, top, state

    @staticmethod
    @once_differentiable
    def backward(  # type: ignore[override]
        ctx: Any, grad: Tensor, _: Tensor, grad_state: Tensor
    ) -> tuple[Tensor | None, ...]:
        scores, values, out, totals, tops = ctx.saved_tensors
        grad_scores, grad_values = torch.empty_like(scores), torch.empty_like(values)
        stretches = list(zip(_stretches(scores), tops.unbind(), strict=True))
        with torch.autocast(values.device.type, enabled=False):
            for (steps, size), top in reversed(stretches):
                s, g, o, v = (x[:, steps] for x in (scores, grad, out, values))
                a, between, _ = _weights(_split(s, size), top)
                centers = o[:, size - 1 :: size]  # [B, n, H, D]
                o, v = (x - centers.repeat_interleave(size, 1) for x in (o, v))
                y = torch.cat([g, -(g * o).sum(-1, keepdim=True)], -1)
                y = _split(y * _inverse(totals[:, steps])[..., None], size)
                z = (a[..., :1].mT @ y).squeeze(3)
                r, grad_state = _across_blocks(between, z, centers.transpose(1, 2), grad_state)
                y[..., -1, :] += r
                dx = _join(a[..., 1:].mT @ y)
                grad_values[:, steps] = dx[..., :-1]
                grad_s = (dx[..., :-1] * v).sum(-1) + dx[..., -1]
                grad_scores[:, steps] = grad_s.masked_fill(s == -torch.inf, 0.0)
        return grad_scores, grad_values, None, grad_state.to(values.dtype)


def _stretches(scores: Tensor) -> Iterator[tuple[slice, int]]:
    """Steps and block size: whole blocks, and what is left as a block of its own."""
    time, whole = scores.shape[1], scores.shape[1] // _BLOCK * _BLOCK
    on_cpu = scores.device.type == "cpu" and not torch.compiler.is_compiling()
    length = _BLOCK * (_BLOCKS_CPU if on_cpu else _BLOCKS)
    for begin in range(0, whole, length):
        yield slice(begin, min(begin + length, whole)), _BLOCK
    if whole < time:
        yield slice(whole, time), time - whole


def _split(part: Tensor, size: int) -> Tensor:
    """``[B, n C, H, ...]`` -> ``[B, H, n, C, ...]``."""
    return part.unflatten(1, (-1, size)).movedim(3, 1)


def _join(part: Tensor) -> Tensor:
    """The inverse of :func:`_split`."""
    return part.movedim(1, 3).flatten(1, 2)


def _with_first_row(values: Tensor, left_out: Tensor) -> Tensor:
    """``[..., C, D]`` -> ``[..., C + 1, D]``; steps that take no part are 0, even where NaN."""
    x = torch.cat([values[..., :1, :], values], -2)
    x[..., 1:, :].masked_fill_(left_out[..., None], 0.0)
    return x


def _weights(s: Tensor, top: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A ``[B, H, n, C, C + 1]``, exp(M_j - M_c) ``[B, H, n + 1, n + 1]`` and M_n ``[B, H]``."""
    m = torch.maximum(s.flatten(2).cummax(-1).values, top[..., None]).view(s.shape)
    ends = torch.cat([top[..., None], m[..., -1]], 2)
    a = _causal_exp(torch.cat([ends[..., :-1, None], s], 3), m)
    return a, _causal_exp(ends, ends), ends[..., -1].contiguous()


def _across_blocks(
    between: Tensor, z: Tensor, centers: Tensor, last: Tensor
) -> tuple[Tensor, Tensor]:
    """R_1 .. R_n ``[B, H, n, D + 1]``, relative to centers like Z, and R_0 ``[B, H, D + 1]``."""
    wide = z.dtype if z.device.type == "mps" else torch.float64  # which that device lacks
    between, z, centers, last = (x.to(wide) for x in (between, z, centers, last))
    absolute = z[..., -1:] - (z[..., :-1] * centers).sum(-1, keepdim=True)
    z = torch.cat([z[..., :-1], absolute], -1)
    r = between.mT @ torch.cat([z, last[:, :, None]], 2)
    first, r = r[:, :, 0], r[:, :, 1:]
    relative = r[..., -1:] + (r[..., :-1] * centers).sum(-1, keepdim=True)
    return torch.cat([r[..., :-1], relative], -1), first


def _causal_exp(x: Tensor, reference: Tensor) -> Tensor:
    """``exp(x_j - reference_i)``, 0 where j is later: ``[..., m], [..., n] -> [..., n, m]``.

    The last x and the last reference belong together. A reference of -inf gives 0.
    """
    reference = reference.masked_fill(reference == -torch.inf, 0.0)
    n, m = reference.shape[-1], x.shape[-1]
    later = torch.ones(n, m, dtype=torch.bool, device=x.device).triu(1 + m - n)
    return (x[..., None, :] - reference[..., :, None]).masked_fill_(later, -torch.inf).exp_()


def _inverse(total: Tensor) -> Tensor:
    """1 / total; 0 where nothing took part, so that the output there is 0 and constant."""
    return total.reciprocal().masked_fill(total == 0, 0.0)
