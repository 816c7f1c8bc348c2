"""The recurrence of linear attention and SSD: a decaying sum of outer products, read by queries.

    S_t = exp(l_t) S_{t-1} + k_t v_t^T,     y_t = S_t^T q_t

In chunks of C steps (Dao and Gu 2024, arXiv 2405.21060), with L the sums of l inside a chunk, this
is three products of matrices and a short loop over chunks::

    Y = ((Q K^T) * exp(L_i - L_j)[i >= j]) V + exp(L_i) (Q S_before)
    S_after = exp(L_C) S_before + sum_j exp(L_C - L_j) k_j v_j^T

The backward pass is the same with the roles exchanged, from the last chunk to the first. It keeps
the inputs and the states at chunk boundaries and forms the products inside a chunk again. The decay
needs no products of its own: d loss / d L_i = <q_i, d q_i> - <k_i, d k_i>, and d l_t is the sum of
those from t on, plus <d S_T, S_T> for the state that is returned.

========  ===========  ================
symbol    variable     shape
========  ===========  ================
q, k      q, k         ``[B, T, H, N]``
v         v            ``[B, T, H, P]``
l         log_decay    ``[B, T, H]``
S         state.value  ``[B, H, N, P]``
========  ===========  ================
"""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from graphseq.sequence.ops.affine_state import AffineState
from graphseq.sequence.ops.backend import check_mask, compute_dtype
from graphseq.sequence.ops.checks import check_shapes

Backend = Literal["auto", "torch"]

CHUNK = 64
# exp is 0 from there on, in float64 too, and sums of such numbers keep their digits.
_ZERO = -800.0


def outer_scan(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_decay: Tensor | None = None,
    state: AffineState | None = None,
    *,
    mask: Tensor | None = None,
    backend: Backend = "auto",
) -> tuple[Tensor, AffineState]:
    """All ``y_t``, and the state after the last step, differentiable once.

    Args:
        q: queries ``[B, T, H, N]``.
        k: keys ``[B, T, H, N]``.
        v: values ``[B, T, H, P]``; its dtype is that of the result. Half precision is computed in
            float32.
        log_decay: logarithms of the decays ``[B, T, H]``; -inf forgets everything, positive ones
            may overflow; None for no decay.
        state: what came before; nothing if left out.
        mask: boolean ``[B, T]``; steps where it is false leave the state, and give 0.
        backend: there is one path, of torch's own matrix products; "auto" and "torch" take it.

    Returns:
        ``[B, T, H, P]``, and the state, whose decay ``[B, H]`` carries no gradient.

    Raises:
        TypeError: an argument is not floating point.
        ValueError: shapes or devices do not fit, or the backend has no such name.
    """
    shapes = {"q": (q, "B T H N"), "k": (k, "B T H N"), "v": (v, "B T H P")}
    if log_decay is not None:
        shapes["log_decay"] = (log_decay, "B T H")
    if state is not None:
        shapes |= {"state.value": (state.value, "B H N P"), "state.decay": (state.decay, "B H")}
    check_shapes("outer_scan", shapes)
    if backend not in ("auto", "torch"):
        raise ValueError(f"outer_scan: backend is {backend!r}; pass auto or torch")
    check_mask("outer_scan", mask, q.shape[0], q.shape[1], like=q)
    dtype = compute_dtype(q, k, v)
    with torch.autocast(v.device.type, enabled=False):
        q, k, wide = q.to(dtype), k.to(dtype), v.to(dtype)
        if state is None:
            ones = wide.new_ones(q.shape[0], q.shape[2])
            state = AffineState(ones, wide.new_zeros(*ones.shape, q.shape[3], v.shape[3]))
        if log_decay is not None:
            log_decay = log_decay.to(dtype)
        if mask is not None:
            k = k.masked_fill(~mask[:, :, None, None], 0.0)
            if log_decay is not None:
                log_decay = log_decay.masked_fill(~mask[:, :, None], 0.0)
        if q.shape[1] == 0:
            return wide.to(v.dtype), state
        y, last = _OuterScan.apply(q, k, wide, log_decay, state.value.to(dtype))
        if mask is not None:
            y = y.masked_fill(~mask[:, :, None, None], 0.0)
        decay = state.decay.to(dtype)
        if log_decay is not None:
            decay = decay * log_decay.detach().sum(1).exp()
        return y.to(v.dtype), AffineState(decay, last)


class _OuterScan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor | None, initial: Tensor
    ) -> tuple[Tensor, Tensor]:
        decays = None if log_decay is None else _Decays(log_decay)
        qc, kc, vc = _chunks(q), _chunks(k), _chunks(v)  # [B, H, K, C, ...]
        scores = qc @ kc.mT  # [B, H, K, C, C]
        scores = scores.tril_() if decays is None else scores.mul_(decays.within)
        added = (kc if decays is None else kc * decays.leave).mT @ vc  # [B, H, K, N, P]
        starts = _run(added, initial, decays)  # [B, H, K + 1, N, P]
        read = qc if decays is None else qc * decays.enter
        y = _joined(scores @ vc + read @ starts[:, :, :-1], q.shape[1])
        ctx.save_for_backward(q, k, v, log_decay, starts)
        return y, starts[:, :, -1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, dlast: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, log_decay, starts = ctx.saved_tensors
        decays = None if log_decay is None else _Decays(log_decay)
        qc, kc, vc, dyc = _chunks(q), _chunks(k), _chunks(v), _chunks(dy)
        read = qc if decays is None else qc * decays.enter
        left = kc if decays is None else kc * decays.leave
        ends = _run(read.mT @ dyc, dlast, decays, reverse=True)  # [B, H, K + 1, N, P]
        after, before = ends[:, :, 1:], starts[:, :, :-1]

        scores, dscores = qc @ kc.mT, dyc @ vc.mT
        scores = scores.tril_() if decays is None else scores.mul_(decays.within)
        dscores = dscores.tril_() if decays is None else dscores.mul_(decays.within)
        dv = scores.mT @ dyc + left @ after
        outside_q, outside_k = dyc @ before.mT, vc @ after.mT
        if decays is not None:
            outside_q, outside_k = outside_q * decays.enter, outside_k * decays.leave
        time = q.shape[1]
        dq = _joined(dscores @ kc + outside_q, time)
        dk = _joined(dscores.mT @ qc + outside_k, time)
        dlog = None
        if log_decay is not None and ctx.needs_input_grad[3]:
            end = (dlast * starts[:, :, -1]).sum((-2, -1)).double()  # [B, H]
            each = ((q * dq).sum(-1) - (k * dk).sum(-1)).double()  # [B, T, H]
            dlog = (each.flip(1).cumsum(1).flip(1) + end[:, None]).to(q.dtype)
            dlog = dlog.masked_fill(log_decay <= _ZERO, 0.0)
        return dq, dk, _joined(dv, time), dlog, ends[:, :, 0]


class _Decays:
    """Factors between the steps of a chunk, from its start, and to its end; none above 1 if l <= 0.

    Sums are formed in float64: differences of float32 sums would lose the digits of small decays.
    """

    def __init__(self, log_decay: Tensor) -> None:
        logs = _chunks(log_decay.double().clamp(min=_ZERO)[..., None])  # [B, H, K, C, 1]
        sums = logs.cumsum(3)
        total = sums[:, :, :, -1:]
        future = torch.ones(sums.shape[3], sums.shape[3], device=sums.device).triu_(1).bool()
        between = (sums - sums.mT).to(log_decay.dtype).masked_fill(future, -torch.inf)
        self.within = between.exp_()  # [B, H, K, C, C]
        self.enter = sums.exp().to(log_decay.dtype)  # [B, H, K, C, 1]
        self.leave = (total - sums).exp().to(log_decay.dtype)  # [B, H, K, C, 1]
        self.whole = total.exp().to(log_decay.dtype)  # [B, H, K, 1, 1]


def _run(added: Tensor, first: Tensor, decays: _Decays | None, reverse: bool = False) -> Tensor:
    """The states before every chunk and after the last; reversed, from the last chunk back."""
    count = added.shape[2]
    states = [first]
    order = range(count - 1, -1, -1) if reverse else range(count)
    for i in order:
        carried = states[-1] if decays is None else states[-1] * decays.whole[:, :, i]
        states.append(carried + added[:, :, i])
    return torch.stack(states[::-1] if reverse else states, 2)


def _chunks(x: Tensor) -> Tensor:
    """``[B, T, H, W] -> [B, H, K, C, W]``, with zeros behind the end."""
    size = min(CHUNK, x.shape[1])
    x = F.pad(x, (0, 0, 0, 0, 0, -x.shape[1] % size))
    return x.transpose(1, 2).unflatten(2, (-1, size))


def _joined(x: Tensor, time: int) -> Tensor:
    """Back from :func:`_chunks`."""
    return x.flatten(2, 3)[:, :, :time].transpose(1, 2)
