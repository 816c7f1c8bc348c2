"""The recurrence with a matrix state: linear attention, and with scalar decays SSD (Mamba-2).

Equations, for each sequence and head, with l_t the logarithm of the decay::

    S_t = exp(l_t) S_{t-1} + k_t v_t^T,      y_t = S_t^T q_t,      t = 1..T

Step by step that moves the whole state T times, and autograd keeps all T of them. In chunks of C
steps, with L_ij the product of the decays of steps j+1 .. i and S the state before the chunk::

    y_i = sum_{j <= i} L_ij (q_i . k_j) v_j + L_i0 S^T q_i,      S' = L_C0 S + sum_j L_Cj k_j v_j^T

which are products of matrices. Backwards, with G the gradient of S' and g_i that of y_i::

    d v_j = sum_{i >= j} L_ij (q_i . k_j) g_i + L_Cj G^T k_j
    d k_j = sum_{i >= j} L_ij (g_i . v_j) q_i + L_Cj G v_j
    d q_i = sum_{j <= i} L_ij (g_i . v_j) k_j + L_i0 S g_i
    d S   = L_C0 G + sum_i L_i0 q_i g_i^T

    d l_t = what is read at i >= t and was written at j < t
          = sum_{i >= t > j} L_ij (q_i . k_j) (g_i . v_j) + sum_{i >= t} L_i0 q_i . S g_i
            + sum_{j < t} L_Cj k_j . G v_j + L_C0 <G, S>

Kept are q, k, v, the decays and the states between chunks, T/C of them; the rest is computed anew.

Source: Katharopoulos et al., "Transformers are RNNs", 2020, arXiv:2006.16236; Dao and Gu,
"Transformers are SSMs", 2024, arXiv:2405.21060.

========  ===========  ==================
symbol    variable     shape
========  ===========  ==================
q, k      q, k         ``[B, T, H, N]``
v, y      v, y         ``[B, T, H, P]``
l         log_decay    ``[B, T, H]``
S         state        ``[B, H, N, P]``
========  ===========  ==================
"""

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
from graphseq.sequence.ops.outer_blocks import CHUNK, OuterBlocks
from graphseq.sequence.ops.outer_kernels import backward_pass, forward_pass


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
    """``S_t = exp(log_decay_t) S_{t-1} + k_t v_t^T`` and ``y_t = S_t^T q_t``.

    Differentiable in ``q``, ``k``, ``v``, ``log_decay`` and ``state.value``, through all y and the
    last state.

    Args:
        q: what is read with.
        k: where it is written to.
        v: what is written. Its dtype is that of the outputs; half precision is computed in float32.
        log_decay: logarithms of the decays, at most 0 as a rule: -inf forgets all that came before
            (and has gradient 0), None and 0 add up. Positive ones let the state grow, in the end
            beyond what the numbers hold.
        state: what came before; nothing if left out.
        mask: where false a step is skipped: the state stays as it is and the output is 0.
        backend: "numba" or "torch"; "auto" takes numba on the CPU outside ``torch.compile``.

    Shape:
        - q, k: ``[B, T, H, N]``
        - v: ``[B, T, H, P]``
        - log_decay: ``[B, T, H]``
        - state: decay ``[B, H]``, value ``[B, H, N, P]``
        - mask: boolean ``[B, T]``

    Returns:
        y ``[B, T, H, P]``, and the state after the last step, in float32 or more.

    Raises:
        ValueError: shapes or devices do not fit.
        TypeError: an argument is not real floating point, the mask is not boolean, or the state is
            no ``AffineState``.
    """
    where = "outer_scan"
    arguments = {"q": (q, "B T H N"), "k": (k, "B T H N"), "v": (v, "B T H P")}
    if log_decay is not None:
        arguments["log_decay"] = log_decay, "B T H"
    sizes = check_shapes(where, arguments)
    for name, (tensor, _) in arguments.items():
        if tensor.is_complex():
            raise TypeError(f"{where}: {name} has dtype {tensor.dtype}; pass real numbers")
    batch, time, heads, wide, high = sizes.values()
    check_mask(where, mask, batch, time, q)
    dtype = compute_dtype(*(tensor for tensor, _ in arguments.values()))
    shapes = (batch, heads), (batch, heads, wide, high)
    before = check_state(where, state, *shapes, dtype, q.device)
    q, k, wide_v = q.to(dtype), k.to(dtype), v.to(dtype)
    log_decay = None if log_decay is None else log_decay.to(dtype)
    compiled = use_numba(where, backend, q)
    with torch.autocast(q.device.type, enabled=False):
        if compiled:
            # Inside an autograd.Function, parameters ask for gradients where nothing is recorded.
            keep = torch.is_grad_enabled()
            y, last = _Compiled.apply(q, k, wide_v, log_decay, before.value, mask, keep)
        else:
            parts = (x if mask is None else _masked(x, mask) for x in (q, k, wide_v, log_decay))
            y, last = OuterBlocks.apply(*parts, before.value)
    return y.to(v.dtype), AffineState(_total_decay(before.decay, log_decay, mask), last)


def _masked(x: Tensor | None, mask: Tensor) -> Tensor | None:
    """Zeros where the mask is false: nothing is read or written, and the logarithm of 1."""
    if x is None:
        return None
    return x.masked_fill(~mask.reshape(mask.shape + (1,) * (x.dim() - 2)), 0.0)


def _total_decay(before: Tensor, log_decay: Tensor | None, mask: Tensor | None) -> Tensor:
    if log_decay is None:
        return before
    log_decay = log_decay.detach()
    if mask is not None:
        log_decay = log_decay.masked_fill(~mask[:, :, None], 0.0)
    return before * log_decay.sum(1).exp()


class _Compiled(torch.autograd.Function):
    """The compiled passes."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        log_decay: Tensor | None,
        before: Tensor,
        mask: Tensor | None,
        keep: bool,
    ) -> tuple[Tensor, Tensor]:
        q, k, v = plain(q), plain(k), plain(v)
        decay = None if log_decay is None else plain(log_decay).exp()
        keep = keep and any(ctx.needs_input_grad)
        (batch, time, heads, wide), high = q.shape, v.shape[3]
        slots = _num_chunks(time) + 1 if keep else 2
        # Rows and columns in fours, see the tiles; what fills them up stays 0.
        states = q.new_empty(batch, heads, slots, _fours(wide), _fours(high))
        states[:, :, 0] = 0
        states[:, :, 0, :wide, :high] = before
        y = torch.empty_like(v)
        forward_pass(
            *_arrays(q, k, v, decay, mask), states.numpy(), y.numpy(), _tiles(q, states),
            work=_work(q, v),
        )  # fmt: skip
        if keep:
            ctx.save_for_backward(q, k, v, decay, mask, states)
        last = states[:, :, _num_chunks(time) % slots, :wide, :high].clone()
        return y, last

    @staticmethod
    @once_differentiable
    def backward(  # type: ignore[override]
        ctx: Any, grad: Tensor, grad_last: Tensor
    ) -> tuple[Tensor | None, ...]:
        q, k, v, decay, mask, states = ctx.saved_tensors
        wide, high = q.shape[3], v.shape[3]
        grad_state = states.new_zeros(states[:, :, 0].shape)
        grad_state[..., :wide, :high] = grad_last
        grads = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        grad_decay = q.new_empty(0, 0, 0) if decay is None else torch.empty_like(decay)
        backward_pass(
            *_arrays(q, k, v, decay, mask), states.numpy(), array(plain(grad)),
            grad_state.numpy(), *(x.numpy() for x in (*grads, grad_decay)), _tiles(q, states),
            work=2 * _work(q, v),
        )  # fmt: skip
        log_decay = None if decay is None else grad_decay
        return *grads, log_decay, grad_state[..., :wide, :high], None, None


def _arrays(
    q: Tensor, k: Tensor, v: Tensor, decay: Tensor | None, mask: Tensor | None
) -> tuple[Any, ...]:
    """The arguments that both passes begin with; without rows there are no decays, no mask."""
    decay = q.new_empty(0, 0, 0) if decay is None else decay
    return array(q), array(k), array(v), array(decay), array(mask_or_nothing(mask))


def _tiles(q: Tensor, states: Tensor) -> tuple[Any, ...]:
    """What each worker keeps of a chunk, zeros."""
    pairs, time = q.shape[0] * q.shape[2], q.shape[1]
    workers = max(1, min(torch.get_num_threads(), pairs))
    size = _fours(-(-time // max(1, _num_chunks(time))))  # chunks of equal length
    wide, high = states.shape[3:]
    shapes = (
        (3, size, size), (3, size, wide), (3, size, high), (wide, size), (high, size),
        (high, wide), (4, size),
    )  # fmt: skip
    return tuple(q.new_zeros(workers, *shape).numpy() for shape in shapes)


def _num_chunks(time: int) -> int:
    return -(-time // CHUNK)


def _fours(size: int) -> int:
    return max(4, -(-size // 4) * 4)


def _work(q: Tensor, v: Tensor) -> int:
    """Multiply-adds of the forward pass."""
    wide, high = q.shape[3], v.shape[3]
    return q.shape[0] * q.shape[1] * q.shape[2] * (CHUNK * (wide + high) + 2 * wide * high)
