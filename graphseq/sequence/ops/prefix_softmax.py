"""wip"""
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from graphseq.kernels import array
from graphseq.sequence.ops.prefix_kernels import backward_pass, forward_pass


class PrefixState(NamedTuple):
    max: Tensor
    sum: Tensor
    weighted: Tensor


def merge_prefix(first: PrefixState, second: PrefixState) -> PrefixState:
    m = torch.maximum(first.max, second.max)
    safe = m.masked_fill(m == -torch.inf, 0.0)
    a, b = (first.max - safe).exp(), (second.max - safe).exp()
    return PrefixState(
        m, a * first.sum + b * second.sum, a[..., None] * first.weighted + b[..., None] * second.weighted
    )

def empty_prefix(batch, heads, channels, dtype=torch.float32, device=None):
    zeros = torch.zeros(batch, heads, channels + 1, dtype=dtype, device=device)
    return PrefixState(torch.full((batch, heads), -torch.inf, dtype=dtype, device=device), zeros[..., -1], zeros[..., :-1])


def prefix_softmax(scores, values, state=None, *, mask=None, backend="auto"):
    if mask is not None:
        scores = scores.masked_fill(~mask[:, :, None], -torch.inf)
    B, _, H, D = values.shape
    if state is None: state = empty_prefix(B, H, D, values.dtype)
    out, *state = _Compiled.apply(scores, values, *state)
    return out, PrefixState(*state)


class _Compiled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, scores, values, top, total, weighted):
        scores, values = scores.detach().contiguous(), values.detach().contiguous()
        out, tops, totals = torch.empty_like(values), torch.empty_like(scores), torch.empty_like(scores)
        last = [torch.clone(top.detach())] + [x.detach().double().clone() for x in (total, weighted)]
        groups = _groups(values)
        forward_pass(
            array(scores), array(values), groups, *map(array, last), out.numpy(), tops.numpy(), totals.numpy(), work=values.numel()
        )
        ctx.save_for_backward(scores, values, top, out, tops, totals)
        ctx.mark_non_differentiable(last[0])
        return out, *(x.to(values.dtype) for x in last)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad, _, grad_total, grad_weighted):
        scores, values, top, out, tops, totals = ctx.saved_tensors
        grad_scores, grad_values = torch.empty_like(scores), torch.empty_like(values)
        gt, gw = grad_total.double().clone(), grad_weighted.double().clone()
        backward_pass(
            array(scores), array(values), _groups(values), array(top), array(out), array(tops), array(totals), array(grad),
            gt.numpy(), gw.numpy(), grad_scores.numpy(), grad_values.numpy(), work=values.numel()
        )
        return grad_scores, grad_values, None, gt.to(scores.dtype), gw.to(scores.dtype)


def _groups(values):
    batch, _, heads, channels = values.shape
    return max(1, min(heads, max(-(-2*torch.get_num_threads() // max(batch, 1)), -(-heads * channels // 2048))))
