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

It needs m, u, w and out again. The compiled path computes them once more from states that it kept
every 16 to 64 steps, the torch path keeps out and u. Nothing else is kept but the inputs. (Keeping
m + log u instead of m and u would lose digits where scores are large.)

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
from graphseq.sequence.ops.prefix_backward import backward_pass
from graphseq.sequence.ops.prefix_blocks import blockwise_prefix
from graphseq.sequence.ops.prefix_kernels import forward_pass
from graphseq.sequence.ops.prefix_state import PrefixState as PrefixState
from graphseq.sequence.ops.prefix_state import empty_prefix as empty_prefix
from graphseq.sequence.ops.prefix_state import merge_prefix as merge_prefix
from graphseq.sequence.ops.prefix_state import state_shapes

Backend = Literal["auto", "numba", "torch"]

# Entries of all heads that the backward pass handles together: 128 KiB an array stay in the cache.
_BLOCK_ENTRIES = 32_768


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
        block, blocks, segments = _cuts(values)
        parts = (top, -torch.inf), (total.double(), 0.0), (weighted.double(), 0.0)
        state = [_slots(part, segments, rest) for part, rest in parts]
        kept = [part.new_empty(part.shape[0], blocks, *part.shape[2:]) for part in state]
        out = torch.empty_like(values)
        arrays = [array(x) for x in (*state, out, *kept)]
        forward_pass(array(scores), array(values), block, *arrays, work=values.numel())
        ctx.save_for_backward(scores, values, top, *kept)
        last = [part[:, -1].to(values.dtype) for part in state]
        ctx.mark_non_differentiable(last[0])
        return out, *last

    @staticmethod
    @once_differentiable
    def backward(  # type: ignore[override]
        ctx: Any, grad: Tensor, grad_top: Tensor, grad_total: Tensor, grad_weighted: Tensor
    ) -> tuple[Tensor | None, ...]:
        scores, values, top, *kept = ctx.saved_tensors
        block, _, segments = _cuts(values)
        total = _slots(grad_total.double(), segments, 0.0, -1)
        weighted = _slots(grad_weighted.double(), segments, 0.0, -1)
        state = [part.new_empty(part.shape[0], segments, *part.shape[2:]) for part in kept]
        decay = torch.ones_like(total)
        work = total.new_empty(*total.shape[:2], 4, block + 1, total.shape[2])
        grads = torch.empty_like(scores), torch.empty_like(values)
        arrays = [array(x) for x in (*kept, grad, total, weighted, *state, decay, work, *grads)]
        backward_pass(array(scores), array(values), block, *arrays, work=2 * values.numel())
        empty = top == -torch.inf
        grad_total = total[:, 0].masked_fill(empty, 0.0).to(values.dtype)
        grad_weighted = weighted[:, 0].masked_fill(empty[..., None], 0.0).to(values.dtype)
        return *grads, None, grad_total, grad_weighted


def _cuts(values: Tensor) -> tuple[int, int, int]:
    """Steps in a block, number of blocks, number of segments (see the kernels)."""
    batch, time, heads, channels = values.shape
    block = min(max(_BLOCK_ENTRIES // max(heads * channels, 1), 16), 64)
    blocks = -(-time // block)
    if values.numel() < kernels.SERIAL_WORK:
        return block, blocks, 1
    return block, blocks, max(min(-(-torch.get_num_threads() // max(batch, 1)), blocks), 1)


def _slots(part: Tensor, segments: int, rest: float, slot: int = 0) -> Tensor:
    """``[B, ...]`` -> contiguous ``[B, segments, ...]``, with the part in one slot."""
    slots = part.new_full((part.shape[0], segments, *part.shape[1:]), rest)
    slots[:, slot] = part
    return slots
