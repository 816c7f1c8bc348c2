"""The outer-product scan in torch operations; :mod:`graphseq.sequence.ops.outer_scan` derives it.

All chunks of all heads at once, as batched matrix products ``[n, B, H, C, ...]``; only the states
between chunks are stepped through. Decays inside a chunk are sums of logarithms that start anew at
each step j, not differences of running sums, which are not a number after a decay of 0.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK = 64


class Decays(NamedTuple):
    """Products of decays: after step j up to i, from the start to i, after j to the end, of all.

    Shape:
        ``[..., C (j), C (i)]``, ``[..., C, 1]``, ``[..., C, 1]``, ``[..., 1, 1]``
    """

    within: Tensor
    start: Tensor
    end: Tensor
    total: Tensor


class OuterBlocks(torch.autograd.Function):
    """Outputs ``[B, T, H, P]`` and the last state ``[B, H, N, P]``."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor | None, before: Tensor
    ) -> tuple[Tensor, Tensor]:
        time = q.shape[1]
        q, k, v = to_chunks(q), to_chunks(k), to_chunks(v)
        if log_decay is not None:
            log_decay = to_chunks(log_decay)
        decays = _decays(log_decay)
        added = _scaled(k, decays, "end").mT @ v  # [n, B, H, N, P]
        states = _carry(added, decays, before)
        y = _scaled(q @ states[:-1], decays, "start") + _weighed(k @ q.mT, decays).mT @ v
        ctx.save_for_backward(q, k, v, log_decay, states)
        ctx.time = time
        return from_chunks(y, time), states[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(  # type: ignore[override]
        ctx: Any, grad: Tensor, grad_last: Tensor
    ) -> tuple[Tensor | None, ...]:
        q, k, v, log_decay, states = ctx.saved_tensors
        with torch.autocast(q.device.type, enabled=False):
            decays, grad = _decays(log_decay), to_chunks(grad)
            added = _scaled(q, decays, "start").mT @ grad
            ahead = _carry(added.flip(0), _flipped(decays), grad_last).flip(0)
            after = ahead[1:]
            read = _scaled(grad @ states[:-1].mT, decays, "start")  # from the state before a chunk
            written = _scaled(v @ after.mT, decays, "end")  # to the state after it
            scores, plain_grads = _weighed(k @ q.mT, decays), v @ grad.mT
            grads = _weighed(plain_grads, decays)
            grad_v = scores @ grad + _scaled(k @ after, decays, "end")
            grad_k = grads @ q + written
            grad_q = grads.mT @ k + read
            grad_decay = None
            if decays is not None:
                through = decays.total * (after * states[:-1]).sum((-1, -2), keepdim=True)
                grad_decay = _crossings(
                    scores * plain_grads, (q * read).sum(-1), (k * written).sum(-1), through[..., 0]
                )
                grad_decay = from_chunks(grad_decay, ctx.time)
            grads_out = (from_chunks(x, ctx.time) for x in (grad_q, grad_k, grad_v))
            return *grads_out, grad_decay, ahead[0]


def to_chunks(x: Tensor) -> Tensor:
    """``[B, T, H, ...]`` -> ``[n, B, H, C, ...]``, filled up with zeros."""
    size = max(1, min(CHUNK, x.shape[1]))
    missing = -x.shape[1] % size
    if missing:
        x = F.pad(x, (0, 0) * (x.dim() - 2) + (0, missing))
    x = x.unflatten(1, (x.shape[1] // size, size))
    return x.permute(1, 0, 3, 2, *range(4, x.dim())).contiguous()


def from_chunks(x: Tensor, time: int) -> Tensor:
    """``[n, B, H, C, ...]`` -> ``[B, T, H, ...]``."""
    x = x.permute(1, 0, 3, 2, *range(4, x.dim())).flatten(1, 2)
    return x[:, :time].contiguous()


def _decays(log_decay: Tensor | None) -> Decays | None:
    """From ``[..., C]``; entries of ``within`` that lead back in time are 0."""
    if log_decay is None:
        return None
    size = log_decay.shape[-1]
    later = log_decay[..., None, :].expand(*log_decay.shape, size).triu(1)  # [..., j, i > j]
    within = later.cumsum(-1).exp().triu()
    start = log_decay.cumsum(-1).exp()[..., None]
    return Decays(within, start, within[..., -1:], start[..., -1:, :])


def _flipped(decays: Decays | None) -> Decays | None:
    return None if decays is None else decays._replace(total=decays.total.flip(0))


def _weighed(scores: Tensor, decays: Decays | None) -> Tensor:
    """Scores ``[..., j, i]`` with what lies between j and i decayed, 0 where j > i."""
    return scores.triu() if decays is None else scores * decays.within


def _scaled(x: Tensor, decays: Decays | None, name: str) -> Tensor:
    return x if decays is None else x * getattr(decays, name)


def _carry(added: Tensor, decays: Decays | None, first: Tensor) -> Tensor:
    """``s_c = total_c s_{c-1} + added_c``; all of them, with the first: ``[n + 1, ...]``."""
    states = [first]
    for c in range(added.shape[0]):
        if decays is None:
            states.append(states[-1] + added[c])
        else:
            states.append(torch.addcmul(added[c], decays.total[c], states[-1]))
    return torch.stack(states)


def _crossings(pairs: Tensor, read: Tensor, written: Tensor, through: Tensor) -> Tensor:
    """What a decay at t scales: all that is read at i >= t and was written at j < t.

    Nothing is subtracted, so at a decay of 0 this is 0.

    Shape:
        pairs ``[..., j, i]``, read ``[..., i]``, written ``[..., j]``, through ``[..., 1]``
    """
    inside = _sums_from(pairs).triu(1).sum(-2)
    return inside + _sums_from(read) + F.pad(written, (1, -1)).cumsum(-1) + through


def _sums_from(x: Tensor) -> Tensor:
    return x.flip(-1).cumsum(-1).flip(-1)
