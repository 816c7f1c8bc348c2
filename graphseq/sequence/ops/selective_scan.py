"""The selective scan: the recurrence of S6 (Mamba), whose decay depends on channel, state and step.

Equations, for each sequence, channel d and state n, from h_0 = the given state's value::

    h_t = w_t h_{t-1} + delta_t u_t b_t,   w_t = exp(delta_t a)      (delta, u: d;  b: n;  a: d, n)
    y_t = sum_n h_t c_t                                              (c: n)

As the decay differs from state to state there is no product of small matrices to fall back on, and
to lay out all B T D N states takes more time and memory than to compute them. So they are computed
block by block, with the states between blocks of 64 steps kept, and once more for the gradients.
With p_t the gradient of y_t and g_t that of h_t, from the end to the beginning::

    g_t = p_t c_t + w_{t+1} g_{t+1},   l_t = g_t w_t h_{t-1}         (the gradient by delta_t a)
    d u_t = delta_t sum_n g_t b_t,     d delta_t = sum_n (l_t a + g_t u_t b_t)
    d b_t = sum_d g_t delta_t u_t,     d c_t = sum_d p_t h_t
    d a = sum_t l_t delta_t,           d h_0 = w_1 g_1

On the CPU compiled loops do it, see :mod:`graphseq.sequence.ops.selective_kernels`; elsewhere
torch operations, see :mod:`graphseq.sequence.ops.selective_blocks`.

Source: Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", 2023,
arXiv:2312.00752.

========  ==========  ======================================
symbol    variable    shape
========  ==========  ======================================
u, delta  u, delta    ``[B, T, D]``
a         a           ``[D, N]``
b, c      b, c        ``[B, T, N]``
y         y           ``[B, T, D]``
h         states      ``[S, B, N, D]``, one per block; torch path ``[S, B, D, N]``
========  ==========  ======================================
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from graphseq.kernels import array
from graphseq.sequence.ops.affine_state import AffineState, check_state
from graphseq.sequence.ops.backend import Backend, check_mask, compute_dtype, use_numba
from graphseq.sequence.ops.checks import check_shapes
from graphseq.sequence.ops.selective_blocks import Inputs, blocked, blocked_gradients
from graphseq.sequence.ops.selective_kernels import BLOCK, LANES, backward_pass, forward_pass

# A group of tasks has its own sums for the gradients of b and c: few groups save memory, many keep
# all cores busy. The number depends on shapes alone, so that results do not on the cores.
_UNITS, _GROUP = 16, 4

# Multiply-adds for a state and step, with its exponential.
_STATE_WORK = 20


def selective_scan(
    u: Tensor,
    delta: Tensor,
    a: Tensor,
    b: Tensor,
    c: Tensor,
    state: AffineState | None = None,
    *,
    mask: Tensor | None = None,
    backend: Backend = "auto",
) -> tuple[Tensor, AffineState]:
    """``h_t = exp(delta_t a) * h_{t-1} + delta_t u_t b_t`` and ``y_t = sum_n h_t c_t``.

    Differentiable in all five inputs and in ``state.value``, through y and the last state's value.
    Memory for the gradients is B D N for every 64 steps.

    Args:
        u: the input. The outputs have its dtype; half precision is computed in float32.
        delta: the step sizes, usually positive; at 0 the state stays as it is.
        a: the rates, finite; negative ones decay, positive ones grow.
        b: how much of the input each state takes.
        c: how much of each state the output takes.
        state: what came before; nothing if left out.
        mask: where false a step is skipped: the state stays as it is and the output is 0.
        backend: "numba" or "torch"; "auto" takes numba on the CPU outside ``torch.compile``.

    Shape:
        - u, delta: ``[B, T, D]``
        - a: ``[D, N]``
        - b, c: ``[B, T, N]``
        - state: decay ``[B, D, N]``, value ``[B, D, N]``
        - mask: boolean ``[B, T]``

    Returns:
        y ``[B, T, D]``, and the state after the last step, in float32 or float64.

    Raises:
        ValueError: shapes or devices do not fit.
        TypeError: an input is not real floating point, the mask is not boolean, or the state is no
            ``AffineState``.
    """
    where = "selective_scan"
    named = {
        "u": (u, "B T D"), "delta": (delta, "B T D"), "a": (a, "D N"),
        "b": (b, "B T N"), "c": (c, "B T N"),
    }  # fmt: skip
    sizes = check_shapes(where, named)
    for name, (tensor, _) in named.items():
        if tensor.is_complex():
            raise TypeError(f"{where}: {name} has dtype {tensor.dtype}; pass real numbers")
    check_mask(where, mask, sizes["B"], sizes["T"], u)
    dtype, shape = compute_dtype(u, delta, a, b, c), (sizes["B"], sizes["D"], sizes["N"])
    before = check_state(where, state, shape, shape, dtype, u.device)
    inputs = u.to(dtype), delta.to(dtype), a.to(dtype), b.to(dtype), c.to(dtype)
    with torch.autocast(u.device.type, enabled=False):
        compiled = use_numba(where, backend, u)
        y, last = (_compiled if compiled else _plain)(inputs, before.value, mask)
        decay = before.decay * _total_decay(inputs[1].detach(), inputs[2].detach(), mask)
    return y.to(u.dtype), AffineState(decay, last)


def _total_decay(delta: Tensor, a: Tensor, mask: Tensor | None) -> Tensor:
    """The product of all decays ``[B, D, N]``."""
    if mask is not None:
        delta = delta.masked_fill(~mask[:, :, None], 0.0)
    return torch.exp(delta.sum(1)[..., None] * a)


def _compiled(inputs: Inputs, before: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    # Inside an autograd.Function, parameters ask for gradients even where nothing is recorded.
    y, last = _CompiledScan.apply(*inputs, before, mask, torch.is_grad_enabled())
    return y, last


def _plain(inputs: Inputs, before: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """The torch path: what a masked step holds is replaced by 0, its output too."""
    if mask is None:
        y, last = _BlockedScan.apply(*inputs, before)
        return y, last
    outside = ~mask[:, :, None]
    u, delta, a, b, c = inputs
    u, delta, b, c = (x.masked_fill(outside, 0.0) for x in (u, delta, b, c))
    y, last = _BlockedScan.apply(u, delta, a, b, c, before)
    return y.masked_fill(outside, 0.0), last


class _CompiledScan(torch.autograd.Function):
    """The compiled passes; rows of channels are contiguous in all they read and write."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        u: Tensor,
        delta: Tensor,
        a: Tensor,
        b: Tensor,
        c: Tensor,
        before: Tensor,
        mask: Tensor | None,
        recorded: bool,
    ) -> tuple[Tensor, Tensor]:
        keep = recorded and any(ctx.needs_input_grad)
        batch, time, channels = u.shape
        slots = -(-time // BLOCK) + 1 if keep else 1
        states = u.new_empty(slots, batch, a.shape[1], channels)
        states[0] = before.transpose(1, 2)
        y = u.new_empty(u.shape)
        forward_pass(
            *_arguments(u, delta, a, b, c, mask), states.numpy(), y.numpy(), work=_work(u, a)
        )
        ctx.save_for_backward(u, delta, a, b, c, mask, states if keep else None)
        return y, states[-1].transpose(1, 2).clone(memory_format=torch.contiguous_format)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor, grad_last: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        u, delta, a, b, c, mask, states = ctx.saved_tensors
        grad_h = grad_last.transpose(1, 2).clone(memory_format=torch.contiguous_format)
        grad_u, grad_delta = u.new_empty(u.shape), u.new_empty(u.shape)
        grad_a = torch.zeros_like(grad_h, dtype=torch.float64)
        grad_b, grad_c = u.new_zeros(2, _groups(u), u.shape[0], a.shape[1], u.shape[1])
        backward_pass(
            *_arguments(u, delta, a, b, c, mask), array(states), array(grad_y), grad_h.numpy(),
            grad_u.numpy(), grad_delta.numpy(), grad_a.numpy(), grad_b.numpy(), grad_c.numpy(),
            work=2 * _work(u, a),
        )  # fmt: skip
        grad_b, grad_c = (_filled(x.sum(0).transpose(1, 2), mask) for x in (grad_b, grad_c))
        grad_a = grad_a.sum(0).t().to(a.dtype)
        return grad_u, grad_delta, grad_a, grad_b, grad_c, grad_h.transpose(1, 2), None, None


class _BlockedScan(torch.autograd.Function):
    """The torch operations."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, before: Tensor
    ) -> tuple[Tensor, Tensor]:
        y, states, last = blocked((u, delta, a, b, c), before, BLOCK)
        ctx.save_for_backward(u, delta, a, b, c, states)
        return y, last.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor, grad_last: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        u, delta, a, b, c, states = ctx.saved_tensors
        return blocked_gradients((u, delta, a, b, c), states, BLOCK, grad_y, grad_last)


def _arguments(
    u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, mask: Tensor | None
) -> tuple[Any, ...]:
    """What both compiled passes begin with; a mask without rows masks nothing."""
    b, c = (_filled(x, mask).transpose(1, 2) for x in (b, c))
    rows = torch.ones(0, 0, dtype=torch.bool) if mask is None else mask
    single = (0,) if u.dtype == torch.float32 else ()
    return array(u), array(delta), array(a.t()), array(b), array(c), array(rows), single


def _filled(x: Tensor, mask: Tensor | None) -> Tensor:
    """0 at masked steps, also where NaN was."""
    return x if mask is None else x.masked_fill(~mask[:, :, None], 0.0)


def _groups(u: Tensor) -> int:
    tasks = -(-u.shape[2] // LANES)
    wanted = max(-(-tasks // _GROUP), -(-_UNITS // max(u.shape[0], 1)))
    return max(1, -(-tasks // max(1, tasks // wanted)))


def _work(u: Tensor, a: Tensor) -> int:
    return u.numel() * a.shape[1] * _STATE_WORK
