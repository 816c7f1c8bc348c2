"""Softmax attention of every prefix, in linear time (Feng et al., 2024, "Attention as an RNN").

With scores s_t and values v_t, step t gives the softmax-weighted mean of v_1 .. v_t (arXiv
2405.13956). As a recurrence, with the running maximum m so that no exponent is ever positive::

    m_t = max(m_{t-1}, s_t)
    u_t = exp(m_{t-1} - m_t) u_{t-1} + exp(s_t - m_t)
    w_t = exp(m_{t-1} - m_t) w_{t-1} + exp(s_t - m_t) v_t,      out_t = w_t / u_t

(m, u, w) is the state; it begins with (-inf, 0, 0). With G_t = d loss / d out_t and the gradients
U_t, W_t of u_t, w_t, the backward pass is the same recurrence in reverse::

    W_t = exp(m_t - m_{t+1}) W_{t+1} + G_t / u_t
    U_t = exp(m_t - m_{t+1}) U_{t+1} - <G_t, out_t> / u_t
    d v_t = exp(s_t - m_t) W_t,      d s_t = exp(s_t - m_t) (<W_t, v_t> + U_t)

It needs the inputs, the outputs, and m and u of each step and head. (m + log u instead of both
would lose digits where scores are large.)

**For differentiation the maximum is a constant.** It is a mere reference: (m, u, w) and
(m + c, u exp(-c), w exp(-c)) are the same state. What depends on the state but not on the
reference has its exact gradient: ``weighted / sum``, ``max + log(sum)``, later outputs, outputs of
merged states. ``sum`` and ``weighted`` taken alone are differentiated as sum_i exp(s_i - m) and
sum_i exp(s_i - m) v_i with m held fixed, which for the score that is the maximum differs from the
derivative of the number that ``sum`` is.

========  ==============  ================
symbol    variable        shape
========  ==============  ================
s         scores          ``[B, T, H]``
v         values          ``[B, T, H, D]``
m         top, tops       ``[B, (T,) H]``
u         total, totals   ``[B, (T,) H]``
w         weighted        ``[B, H, D]``
========  ==============  ================
"""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from graphseq import kernels
from graphseq.kernels import array
from graphseq.sequence.ops.checks import check_shapes
from graphseq.sequence.ops.prefix_blocks import blockwise_prefix
from graphseq.sequence.ops.prefix_kernels import backward_pass, forward_pass
from graphseq.sequence.ops.prefix_state import PrefixState as PrefixState
from graphseq.sequence.ops.prefix_state import empty_prefix as empty_prefix
from graphseq.sequence.ops.prefix_state import merge_prefix as merge_prefix
from graphseq.sequence.ops.prefix_state import state_shapes

Backend = Literal["auto", "numba", "torch"]

# Float64 entries of all heads that the backward pass handles together: 128 KiB stay in the cache.
_BLOCK_ENTRIES = 16_384


def prefix_softmax(
    scores: Tensor,
    values: Tensor,
    state: PrefixState | None = None,
    *,
    mask: Tensor | None = None,
    backend: Backend = "auto",
) -> tuple[Tensor, PrefixState]:
    """Softmax-weighted mean of the values up to each step, and the state after the last.

    Time and memory are linear in T. Differentiable once, in ``scores``, ``values``, ``state.sum``
    and ``state.weighted``, through ``out`` and through the returned state; the maximum is a
    constant (see the module). Half precision is computed in float32.

    Steps that the mask excludes, and scores of -inf, take no part: outputs there are those of the
    step before, and 0 where no step has taken part yet. A score of NaN or +inf makes NaN of the
    outputs and states from there on, as in ``torch.softmax`` (on the torch path perhaps of earlier
    ones too). It is no error: looking for it would cost a pass, and the training loop stops at a
    loss that is not finite.

    Args:
        scores: floating ``[B, T, H]``; T may be 0.
        values: floating ``[B, T, H, D]``; the output has its dtype.
        state: what came before; nothing if left out.
        mask: bool ``[B, T]``, true where a step takes part.
        backend: "numba" or "torch"; "auto" takes numba on the CPU outside ``torch.compile``.

    Shape:
        scores ``[B, T, H]``, values ``[B, T, H, D]`` -> out ``[B, T, H, D]``, state ``[B, H]``,
        ``[B, H]``, ``[B, H, D]`` in float32 or float64.

    Raises:
        ValueError: shapes or devices do not fit, or the backend cannot serve.
        TypeError: a dtype does not fit, or ``state`` is no PrefixState.
    """
    sizes = _check(scores, values, state, mask)
    use_numba = _use_numba(backend, values)
    dtype = torch.promote_types(torch.promote_types(scores.dtype, values.dtype), torch.float32)
    if state is None:
        state = empty_prefix(sizes["B"], sizes["H"], sizes["D"], dtype, values.device)
    parts = state.max.detach().to(dtype), state.sum.to(dtype), state.weighted.to(dtype)
    if sizes["T"] == 0:
        return values, PrefixState(*parts)
    if mask is not None:
        scores = scores.masked_fill(~mask[:, :, None], -torch.inf)
    run = _Compiled.apply if use_numba else blockwise_prefix
    out, *last = run(scores.to(dtype), values.to(dtype), *parts)
    return out.to(values.dtype), PrefixState(*last)


def _check(
    scores: Tensor, values: Tensor, state: PrefixState | None, mask: Tensor | None
) -> dict[str, int]:
    where = "prefix_softmax"
    expected = {"values": (values, "B T H D"), "scores": (scores, "B T H")}
    if state is not None:
        expected |= state_shapes(where, state, "state")
    sizes = check_shapes(where, expected)
    for name, (tensor, _) in expected.items():
        if tensor.is_complex():
            raise TypeError(f"{where}: {name} has dtype {tensor.dtype}; pass real numbers")
    if mask is not None and mask.dtype != torch.bool:
        raise TypeError(f"{where}: mask has dtype {mask.dtype}; pass bool, true for what counts")
    if mask is not None and (mask.shape != values.shape[:2] or mask.device != values.device):
        raise ValueError(
            f"{where}: mask has shape {tuple(mask.shape)} on {mask.device}, expected "
            f"{tuple(values.shape[:2])} on {values.device}"
        )
    return sizes


def _use_numba(backend: Backend, values: Tensor) -> bool:
    on_cpu = values.device.type == "cpu"
    if backend == "auto":
        return on_cpu and not torch.compiler.is_compiling()
    if backend not in ("numba", "torch"):
        raise ValueError(f'prefix_softmax: backend is {backend!r}; use "auto", "numba" or "torch"')
    if backend == "numba" and not on_cpu:
        raise ValueError(
            f'prefix_softmax: backend is "numba" but values are on {values.device}; use "torch"'
        )
    return backend == "numba"


class _Compiled(torch.autograd.Function):
    """The compiled passes."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, scores: Tensor, values: Tensor, top: Tensor, total: Tensor, weighted: Tensor
    ) -> tuple[Tensor, ...]:
        scores, values = scores.detach().contiguous(), values.detach().contiguous()
        out = torch.empty_like(values)
        tops, totals = torch.empty_like(scores), torch.empty_like(scores)
        segments = _segments(values)
        state = (
            _slots(top, segments, -torch.inf),
            _slots(total.double(), segments, 0.0),
            _slots(weighted.double(), segments, 0.0),
        )
        arrays = [array(x) for x in (scores, values, *state, out, tops, totals)]
        forward_pass(*arrays, work=values.numel())
        ctx.save_for_backward(scores, values, out, tops, totals, top)
        last = [part[:, -1].to(values.dtype) for part in state]
        ctx.mark_non_differentiable(last[0])
        return out, *last

    @staticmethod
    @once_differentiable
    def backward(  # type: ignore[override]
        ctx: Any, grad: Tensor, _: Tensor, grad_total: Tensor, grad_weighted: Tensor
    ) -> tuple[Tensor | None, ...]:
        *saved, top = ctx.saved_tensors
        scores, values, _, tops, _ = saved
        batch, _, heads, channels = values.shape
        segments = _segments(values)
        block = min(max(_BLOCK_ENTRIES // max(heads * channels, 1), 4), 64)
        total = grad_total.new_zeros(batch, segments, heads, dtype=torch.float64)
        weighted = total.new_zeros(batch, segments, block + 1, heads, channels)
        total[:, -1], weighted[:, -1, 0] = grad_total, grad_weighted
        along = total.new_empty(batch, segments, block, heads)
        grad_scores, grad_values = torch.empty_like(scores), torch.empty_like(values)
        arrays = [array(x) for x in (*saved, grad, total, weighted, along)]
        backward_pass(*arrays, grad_scores.numpy(), grad_values.numpy(), work=2 * values.numel())
        decay = (top.double() - tops[:, 0]).exp().masked_fill(top == -torch.inf, 0.0)
        grad_total = (decay * total[:, 0]).to(values.dtype)
        grad_weighted = (decay[..., None] * weighted[:, 0, 0]).to(values.dtype)
        return grad_scores, grad_values, None, grad_total, grad_weighted


def _segments(values: Tensor) -> int:
    """Into how many segments time is cut: more than one where threads would have no sequence."""
    batch, time = values.shape[:2]
    if values.numel() < kernels.SERIAL_WORK:
        return 1
    return max(min(-(-torch.get_num_threads() // max(batch, 1)), time), 1)


def _slots(part: Tensor, segments: int, rest: float) -> Tensor:
    """``[B, ...]`` -> contiguous ``[B, segments, ...]``: the part, and behind it ``rest``."""
    slots = part.new_full((part.shape[0], segments, *part.shape[1:]), rest)
    slots[:, 0] = part
    return slots
