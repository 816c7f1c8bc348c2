"""The ops along time in plain torch under autograd, as one would write each formulation with care.

Loops take their steps from ``unbind``: indexing ``x[:, t]`` would make a backward pass of O(T^2).
Shapes are those of :mod:`graphseq.sequence.ops`; all start from an empty state.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def doubling_softmax(scores: Tensor, values: Tensor) -> Tensor:
    """Prefix softmax by a Hillis-Steele scan: round r joins each step with the one 2^r before it.

    A pair (m, z) stands for a window of time, m its largest score (which needs no gradient) and z
    the sums of ``exp(s - m) [v, 1]`` in it, side by side.
    """
    top = scores.detach()
    sums = torch.exp(scores - top)[..., None] * F.pad(values, (0, 1), value=1.0)  # [B, T, H, D + 1]
    step = 1
    while step < scores.shape[1]:
        joined = torch.maximum(top[:, :-step], top[:, step:])
        old, new = torch.exp(top[:, :-step] - joined), torch.exp(top[:, step:] - joined)
        late = torch.addcmul(new[..., None] * sums[:, step:], old[..., None], sums[:, :-step])
        top = torch.cat([top[:, :step], joined], 1)
        sums = torch.cat([sums[:, :step], late], 1)
        step *= 2
    return sums[..., :-1] / sums[..., -1:]


def cumulative_softmax(scores: Tensor, values: Tensor) -> Tensor:
    """Prefix softmax from two running sums with one zero of the exponent for all of time.

    Right only where scores keep close to their maximum: what lies far below it underflows, to 0 / 0
    where nothing larger came before.
    """
    weights = torch.exp(scores - scores.detach().amax(1, keepdim=True))
    total = weights.cumsum(1)
    return (weights[..., None] * values).cumsum(1) / total[..., None]


def summed_scores(query: Tensor, keys: Tensor) -> Tensor:
    """``q . k / sqrt(D)`` for one query per head, ``[H, D], [B, T, H, D] -> [B, T, H]``.

    Multiplied and summed: several times faster than a batch of products of a matrix with a vector.
    """
    return (keys * (query / query.shape[-1] ** 0.5)).sum(-1)


def broadcast_attention(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """The same by causal attention: each step asks with the same query, written out.

    A query of stride 0 would take the slow path of the fused attention.
    """
    batch, time, heads, width = keys.shape
    q = query[:, None].expand(batch, heads, time, width).contiguous()
    k, v = keys.transpose(1, 2), values.transpose(1, 2)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)


def outer_steps(q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor | None = None) -> Tensor:
    """Linear attention, with a decay or without, a step at a time; the best of several loops."""
    batch, time, heads, _ = q.shape
    q, k, v = (x.transpose(1, 2).flatten(0, 1) for x in (q, k, v))  # [BH, T, N or P]
    state = k.new_zeros(k.shape[0], k.shape[2], v.shape[2])
    outputs = []
    steps = q[:, :, None].unbind(1), k[..., None].unbind(1), v[:, :, None].unbind(1)
    if log_decay is None:
        for q_t, k_t, v_t in zip(*steps, strict=True):
            state = torch.baddbmm(state, k_t, v_t)
            outputs.append(torch.bmm(q_t, state))
    else:
        decay = log_decay.exp().transpose(1, 2).reshape(batch * heads, time, 1, 1)
        for q_t, k_t, v_t, decay_t in zip(*steps, decay.unbind(1), strict=True):
            state = torch.baddbmm(decay_t * state, k_t, v_t)
            outputs.append(torch.bmm(q_t, state))
    return torch.cat(outputs, 1).unflatten(0, (batch, heads)).transpose(1, 2)


def masked_product(q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor | None = None) -> Tensor:
    """The same as one product with the T x T matrix of all weights."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))  # [B, H, T, N or P]
    weights = q @ k.transpose(2, 3)  # [B, H, T, T]
    if log_decay is None:
        weights = weights.tril()
    else:
        total = log_decay.cumsum(1).transpose(1, 2)  # [B, H, T]
        time = torch.arange(total.shape[2], device=total.device)
        between = total[..., None] - total[:, :, None]
        weights = weights * between.masked_fill(time > time[:, None], -torch.inf).exp()
    return (weights @ v).transpose(1, 2)


def selective_steps(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """S6 a step at a time; the best of several loops, and without a tensor of all states."""
    h = u.new_zeros(u.shape[0], *a.shape)
    outputs = []
    inputs = (delta * u)[..., None]
    for x_t, delta_t, b_t, c_t in zip(
        inputs.unbind(1), delta[..., None].unbind(1), b[:, :, None].unbind(1),
        c[..., None].unbind(1), strict=True,
    ):  # fmt: skip
        h = torch.addcmul(x_t * b_t, torch.exp(delta_t * a), h)  # [B, D, N]
        outputs.append(torch.bmm(h, c_t))
    return torch.cat(outputs, 2).transpose(1, 2)


def selective_doubling(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """S6 by a Hillis-Steele scan over all T x D x N states."""
    decay = torch.exp(delta[..., None] * a)  # [B, T, D, N]
    h = (delta * u)[..., None] * b[:, :, None]
    step, time = 1, u.shape[1]
    while step < time:
        late = torch.addcmul(h[:, step:], decay[:, step:], h[:, :-step])
        h = torch.cat([h[:, :step], late], 1)
        if 2 * step < time:
            decay = torch.cat([decay[:, :step], decay[:, step:] * decay[:, :-step]], 1)
        step *= 2
    return torch.einsum("btdn,btn->btd", h, c)
