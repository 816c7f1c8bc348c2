"""The gated scan in torch operations; :mod:`graphseq.sequence.ops.gated_scan` derives it.

Time is cut into T // C blocks, which advance in lockstep: C steps from nothing give every block's
end and product of decays, T // C steps carry the state from block to block, and C more steps take
all blocks from their true starts. With C near the root of T that is 3 sqrt(T) operations. What
remains of T is stepped through at the end.
"""

import math

import torch
from torch import Tensor


def lockstep(decay: Tensor, value: Tensor, before: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """All states, the last one, and the product of all decays.

    Shape:
        decay ``[B or 1, T or 1, D]``, value ``[B, T, D]``, before ``[B, D]`` ->
        ``[B, T, D]``, ``[B, D]``, ``[B, D]``
    """
    time = value.shape[1]
    size = math.isqrt(time)
    blocks = time // max(size, 1)
    starts, products = [before], [torch.ones_like(before)]
    ends, spans = _block_ends(decay, value, size, blocks)
    for end, span in zip(ends, spans, strict=True):
        starts.append(_advance(span, starts[-1], end))
        products.append(products[-1] * span)
    h, rows = torch.stack(starts[:-1] or [before], 1)[:, :blocks], []
    for a, b in zip(*_steps(decay, value, size, blocks), strict=True):
        h = torch.addcmul(b, a, h)  # [B, blocks, D]
        rows.append(h)
    out = [torch.stack(rows, 2).flatten(1, 2)] if rows else []
    last, total = h[:, -1] if rows else before, products[-1]
    for t in range(blocks * size, time):
        a = decay[:, t % decay.shape[1]]
        last, total = torch.addcmul(value[:, t], a, last), total * a
        out.append(last[:, None])
    return torch.cat(out, 1) if out else value.clone(), last, total


def lockstep_gradients(
    decay: Tensor, out: Tensor, before: Tensor, grad: Tensor, grad_last: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of decay, value and before: the same recurrence, back in time."""
    if out.shape[1] == 0:
        return torch.zeros_like(decay), torch.zeros_like(out), grad_last.clone()
    back = decay.conj().resolve_conj()
    grad = torch.cat([grad[:, :-1], grad[:, -1:] + grad_last[:, None]], 1)
    following = back
    if decay.shape[1] > 1:  # of each step the decay of the next; nothing follows the last
        following = torch.cat([back[:, 1:], torch.ones_like(back[:, :1])], 1)
    grad_value, _, _ = lockstep(following.flip(1), grad.flip(1), torch.zeros_like(before))
    grad_value = grad_value.flip(1)
    previous = torch.cat([before[:, None], out[:, :-1]], 1)
    grad_decay = (grad_value * previous.conj()).sum_to_size(decay.shape)
    return grad_decay, grad_value, back[:, 0] * grad_value[:, 0]


def _steps(
    decay: Tensor, value: Tensor, size: int, blocks: int
) -> tuple[list[Tensor], list[Tensor]]:
    """Step i of all blocks at once, for each i: ``[B, blocks or 1, D]``."""
    if size == 0:
        return [], []
    decays, values = (
        list(x[:, : size * blocks].unflatten(1, (blocks, size)).unbind(2))
        if x.shape[1] > 1
        else [x] * size
        for x in (decay, value)
    )
    return decays, values


def _block_ends(
    decay: Tensor, value: Tensor, size: int, blocks: int
) -> tuple[list[Tensor], list[Tensor]]:
    """For each block where it ends when it starts from nothing, and its product of decays."""
    end: Tensor | None = None
    span: Tensor | None = None
    for a, b in zip(*_steps(decay, value, size, blocks), strict=True):
        end = b if end is None else torch.addcmul(b, a, end)
        span = a if span is None else span * a
    if end is None or span is None:
        return [], []
    return list(end.unbind(1)), list(span.expand(-1, blocks, -1).unbind(1))


def _advance(decay: Tensor, state: Tensor, value: Tensor) -> Tensor:
    """A state that is 0 stays 0 also where the product of many large decays is infinite."""
    return value + torch.where(state == 0, 0.0, decay * state)
