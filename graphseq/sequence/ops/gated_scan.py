"""The gated linear recurrence: a state per channel, decayed and added to at every step.

Equations, for each sequence and channel, from h_0 = the state's value::

    h_t = a_t h_{t-1} + b_t,   t = 1..T

With g_t the gradient of the loss by output h_t, the backward pass is the same recurrence from the
end to the beginning, starts with the gradient of the last state, and needs nothing but a and h::

    d b_t = g_t + conj(a_{t+1}) d b_{t+1},   d a_t = d b_t conj(h_{t-1}),   d h_0 = conj(a_1) d b_1

On the CPU a compiled loop goes along time once, see :mod:`graphseq.sequence.ops.gated_kernels`;
elsewhere blocks of time advance in lockstep, see :mod:`graphseq.sequence.ops.gated_blocks`.

========  =========  =================================================
symbol    variable   shape
========  =========  =================================================
a         decay      ``[B, T, D]``, ``[B or 1, T or 1, D]`` or ``[D]``
b         value      ``[B, T, D]``
h         out        ``[B, T, D]``
========  =========  =================================================
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from graphseq.kernels import array
from graphseq.sequence.ops.affine_state import AffineState, check_state
from graphseq.sequence.ops.backend import (
    Backend,
    check_mask,
    compute_dtype,
    mask_or_nothing,
    plain,
    use_numba,
)
from graphseq.sequence.ops.checks import check_shapes
from graphseq.sequence.ops.gated_blocks import lockstep, lockstep_gradients
from graphseq.sequence.ops.gated_kernels import backward_pass, forward_pass


def gated_scan(
    decay: Tensor,
    value: Tensor,
    state: AffineState | None = None,
    *,
    mask: Tensor | None = None,
    backend: Backend = "auto",
) -> tuple[Tensor, AffineState]:
    """``h_t = decay_t * h_{t-1} + value_t``, channel by channel.

    Differentiable in ``decay``, ``value`` and ``state.value``, through all h and the last one.
    Decays are any numbers: 0 forgets, 1 adds up, negative ones alternate, larger ones grow.

    Args:
        decay: a, real or complex. Pass one that does not depend on time or sequence as it is:
            neither it nor its gradient is expanded then.
        value: b, real or complex. The outputs have its dtype (they are complex if the decay is);
            half precision is computed in float32.
        state: what came before; nothing if left out.
        mask: where false a step is skipped: the state stays as it is and the output is 0.
        backend: "numba" or "torch"; "auto" takes numba on the CPU outside ``torch.compile``.

    Shape:
        - decay: ``[B, T, D]``, with 1 for B or T where it does not depend on them, or ``[D]``
        - value: ``[B, T, D]``
        - state: decay ``[B, D]``, value ``[B, D]``
        - mask: boolean ``[B, T]``

    Returns:
        All h ``[B, T, D]``, and the state after the last step, in float32 or more.

    Raises:
        ValueError: shapes or devices do not fit.
        TypeError: decay or value are neither floating point nor complex, the mask is not boolean,
            or the state is no ``AffineState``.
    """
    where = "gated_scan"
    batch, time, channels = check_shapes(where, {"value": (value, "B T D")}).values()
    decay = _check_decay(decay, value)
    check_mask(where, mask, batch, time, value)
    dtype, shape = compute_dtype(decay, value), (batch, channels)
    before = check_state(where, state, shape, shape, dtype, value.device)
    parts = decay.to(dtype), value.to(dtype), before.value, before.decay
    if use_numba(where, backend, value):
        out, last, product = _Scan.apply(*parts, mask, True)
    else:
        out, last, product = _masked(*parts, mask)
    if value.is_complex() or not dtype.is_complex:
        out = out.to(value.dtype)
    return out, AffineState(product, last)


def _check_decay(decay: Tensor, value: Tensor) -> Tensor:
    """The decay as ``[B or 1, T or 1, D]``."""
    batch, time, channels = value.shape
    if not (decay.is_floating_point() or decay.is_complex()):
        raise TypeError(
            f"gated_scan: decay has dtype {decay.dtype}; pass a floating point or complex one"
        )
    wide = decay[None, None] if decay.dim() == 1 else decay
    fits = wide.dim() == 3 and wide.shape[0] in (1, batch) and wide.shape[1] in (1, time)
    if not fits or wide.shape[2] != channels:
        raise ValueError(
            f"gated_scan: decay has shape {tuple(decay.shape)}, expected [{batch}, {time}, "
            f"{channels}], with 1 for the first two if it does not depend on them, or [{channels}]"
        )
    if decay.device != value.device:
        raise ValueError(
            f"gated_scan: decay is on {decay.device}, value on {value.device}; "
            "move them to one device"
        )
    return wide


def _masked(
    decay: Tensor, value: Tensor, before: Tensor, product: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The torch path: a masked step has decay 1 and value 0, and its output is replaced by 0."""
    if mask is None:
        return _Scan.apply(decay, value, before, product, None, False)
    outside = ~mask[:, :, None]
    decay, value = torch.where(outside, 1.0, decay), value.masked_fill(outside, 0.0)
    out, last, product = _Scan.apply(decay, value, before, product, None, False)
    return out.masked_fill(outside, 0.0), last, product


class _Scan(torch.autograd.Function):
    """The recurrence and its reverse, by compiled loops or in blocks."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        decay: Tensor,
        value: Tensor,
        before: Tensor,
        product: Tensor,
        mask: Tensor | None,
        compiled: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        if compiled:
            value, start = plain(value), plain(before)
            out, last, total = map(torch.empty_like, (value, start, start))
            total.copy_(product)
            forward_pass(
                array(plain(decay)), array(value), array(mask_or_nothing(mask)), _groups(value),
                array(start), out.numpy(), last.numpy(), total.numpy(), work=value.numel(),
            )  # fmt: skip
        else:
            out, last, total = lockstep(decay, value, before)
            total = product * total
        ctx.mark_non_differentiable(total)
        ctx.save_for_backward(decay, out, before, mask)
        ctx.compiled = compiled
        return out, last, total

    @staticmethod
    @once_differentiable
    def backward(  # type: ignore[override]
        ctx: Any, grad: Tensor, grad_last: Tensor, _: Any
    ) -> tuple[Tensor | None, ...]:
        decay, out, before, mask = ctx.saved_tensors
        if not ctx.compiled:
            return *lockstep_gradients(decay, out, before, grad, grad_last), None, None, None
        decay, before, grad, grad_last = map(plain, (decay, before, grad, grad_last))
        shape = out.shape[0], decay.shape[1], out.shape[2]
        grad_decay = out.new_zeros(shape) if shape[1] == 1 else out.new_empty(shape)
        grad_value, grad_before = torch.empty_like(out), torch.empty_like(before)
        backward_pass(
            array(decay), array(out), array(before), array(mask_or_nothing(mask)), _groups(out),
            array(grad), array(grad_last), grad_decay.numpy(), grad_value.numpy(),
            grad_before.numpy(), work=2 * out.numel(),
        )  # fmt: skip
        return grad_decay.sum_to_size(decay.shape), grad_value, grad_before, None, None, None


def _groups(x: Tensor) -> int:
    """Groups of channels, for two tasks per thread and rows that stay in the first cache."""
    batch, _, channels = x.shape
    tasks = 2 * torch.get_num_threads() / max(batch, 1)
    return max(1, min(math.ceil(max(tasks, channels / 2048)), channels // 16))
