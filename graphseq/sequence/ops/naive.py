"""The slow twins: each op as its equation, step by step, differentiable by autograd.

Tests compare values and gradients of the fast paths with these; benchmarks refuse to print a speed
while they differ.
"""

import torch
from torch import Tensor

from graphseq.sequence.ops.affine_state import AffineState


def prefix_softmax(
    scores: Tensor, values: Tensor, before: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """Softmax attention of every prefix, from the definition: ``[B, T, H], [B, T, H, D]``.

    ``before`` are the scores ``[B, S, H]`` and values ``[B, S, H, D]`` of an earlier segment. A
    prefix without a score above -inf gives 0.
    """
    start = 0
    if before is not None:
        start = before[0].shape[1]
        scores, values = torch.cat([before[0], scores], 1), torch.cat([before[1], values], 1)
    outputs = []
    for t in range(start, scores.shape[1]):
        s = scores[:, : t + 1]
        empty = (s == -torch.inf).all(1, keepdim=True)
        weights = torch.softmax(s.masked_fill(empty, 0.0), 1).masked_fill(empty, 0.0)  # [B, t+1, H]
        outputs.append(torch.einsum("bth,bthd->bhd", weights, values[:, : t + 1]))
    return torch.stack(outputs, 1) if outputs else values[:, start:]


def gated_scan(
    decay: Tensor, value: Tensor, initial: Tensor | None = None
) -> tuple[Tensor, AffineState]:
    """``h_t = decay_t * h_{t-1} + value_t`` for ``[B, T, D]``; all h and the last state."""
    h = torch.zeros_like(value[:, 0]) if initial is None else initial
    outputs = []
    for a, b in zip(decay.unbind(1), value.unbind(1), strict=True):
        h = a * h + b
        outputs.append(h)
    return torch.stack(outputs, 1), AffineState(decay.prod(1), h)


def outer_scan(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, initial: Tensor | None = None
) -> tuple[Tensor, AffineState]:
    """``S_t = exp(log_decay_t) S_{t-1} + k_t v_t^T`` and ``y_t = S_t^T q_t``.

    ``[B, T, H, N], [B, T, H, N], [B, T, H, P], [B, T, H]`` give ``[B, T, H, P]`` and the last
    state, whose value is ``[B, H, N, P]``.
    """
    state = k[:, 0, :, :, None] * v[:, 0, :, None] * 0 if initial is None else initial
    outputs = []
    for q_t, k_t, v_t, decay in zip(
        q.unbind(1), k.unbind(1), v.unbind(1), log_decay.exp().unbind(1), strict=True
    ):
        state = decay[..., None, None] * state + k_t[..., None] * v_t[..., None, :]
        outputs.append(torch.einsum("bhn,bhnp->bhp", q_t, state))
    return torch.stack(outputs, 1), AffineState(log_decay.sum(1).exp(), state)


def selective_scan(
    u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, initial: Tensor | None = None
) -> tuple[Tensor, AffineState]:
    """``h_t = exp(delta_t a) * h_{t-1} + delta_t u_t b_t``, ``y_t = h_t c_t``, by channel.

    ``u, delta [B, T, D]``, ``a [D, N]``, ``b, c [B, T, N]`` give ``[B, T, D]`` and the last state,
    whose value is ``[B, D, N]``.
    """
    h = u.new_zeros(u.shape[0], *a.shape) if initial is None else initial
    outputs = []
    for u_t, d_t, b_t, c_t in zip(
        u.unbind(1), delta.unbind(1), b.unbind(1), c.unbind(1), strict=True
    ):
        h = torch.exp(d_t[..., None] * a) * h + (d_t * u_t)[..., None] * b_t[:, None]
        outputs.append((h * c_t[:, None]).sum(-1))
    return torch.stack(outputs, 1), AffineState((delta.sum(1)[..., None] * a).exp(), h)
