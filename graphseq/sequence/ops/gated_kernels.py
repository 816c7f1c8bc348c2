"""The compiled passes of the gated scan; :mod:`graphseq.sequence.ops.gated_scan` derives them.

One task per sequence and group of channels goes along time once. The channels of a step lie side by
side in memory, so the arrays are streamed while the running rows stay in the cache. A decay that
does not depend on the sequence or on time has size 1 there: index modulo size finds its row.
"""

from typing import Any

import numpy as np

from graphseq.kernels import kernel, prange


@kernel(parallel=True)
def forward_pass(
    decay: Any, value: Any, mask: Any, groups: int, before: Any, out: Any, last: Any, total: Any
) -> None:
    """Fills ``out`` and ``last``, multiplies ``total`` by all decays; ``before`` is the start."""
    batch, time, channels = value.shape
    for task in prange(batch * groups):
        b, group = task // groups, task % groups
        first, end = group * channels // groups, (group + 1) * channels // groups
        state = before[b, first:end]
        for t in range(time):
            here = out[b, t, first:end]
            if _inside(mask, b, t):
                row = decay[b % decay.shape[0], t % decay.shape[1], first:end]
                _advance(row, state, value[b, t, first:end], here)
                _multiply(row, total[b, first:end])
                state = here
            else:
                _clear(here)
        _copy(state, last[b, first:end])


@kernel(parallel=True)
def backward_pass(
    decay: Any, out: Any, before: Any, mask: Any, groups: int, grad: Any, grad_last: Any,
    grad_decay: Any, grad_value: Any, grad_before: Any,
) -> None:  # fmt: skip
    """Fills the last three, but to a ``grad_decay`` ``[B, 1, D]`` it adds."""
    batch, time, channels = out.shape
    adds = grad_decay.shape[1] == 1
    for task in prange(batch * groups):
        b, group = task // groups, task % groups
        first, end = group * channels // groups, (group + 1) * channels // groups
        carry = grad_before[b, first:end]
        _copy(grad_last[b, first:end], carry)
        following = time  # the step after t that counts; none yet
        for t in range(time - 1, -1, -1):
            here = grad_value[b, t, first:end]
            row_decay = grad_decay[b, t % grad_decay.shape[1], first:end]
            if _inside(mask, b, t):
                if following == time:
                    _add(grad[b, t, first:end], carry, here)
                else:
                    row = decay[b % decay.shape[0], following % decay.shape[1], first:end]
                    later = grad_value[b, following, first:end]
                    _advance_back(row, later, grad[b, t, first:end], here)
                past = t - 1  # the outputs of masked steps are 0, not the state
                while past >= 0 and not _inside(mask, b, past):
                    past -= 1
                state = out[b, past, first:end] if past >= 0 else before[b, first:end]
                if adds:
                    _add_product(here, state, row_decay)
                else:
                    _product(here, state, row_decay)
                following = t
            else:
                _clear(here)
                if not adds:
                    _clear(row_decay)
        if following < time:
            row = decay[b % decay.shape[0], following % decay.shape[1], first:end]
            _product(grad_value[b, following, first:end], row, carry)


@kernel()
def _inside(mask: Any, b: int, t: int) -> Any:
    """Whether a step counts; a mask without rows masks nothing."""
    return mask.shape[0] == 0 or mask[b, t]


@kernel()
def _clear(out: Any) -> None:
    for d in range(out.shape[0]):
        out[d] = 0


@kernel()
def _copy(x: Any, out: Any) -> None:
    for d in range(out.shape[0]):
        out[d] = x[d]


@kernel()
def _add(x: Any, y: Any, out: Any) -> None:
    for d in range(out.shape[0]):
        out[d] = x[d] + y[d]


@kernel()
def _multiply(x: Any, out: Any) -> None:
    for d in range(out.shape[0]):
        out[d] *= x[d]


# Rows are written one at a time: with more, LLVM would have to compare too many pointers before it
# may use vector registers, and gives up.


@kernel()
def _advance(decay: Any, state: Any, value: Any, out: Any) -> None:
    for d in range(out.shape[0]):
        out[d] = decay[d] * state[d] + value[d]


@kernel()
def _advance_back(decay: Any, later: Any, grad: Any, out: Any) -> None:
    for d in range(out.shape[0]):
        out[d] = np.conj(decay[d]) * later[d] + grad[d]


@kernel()
def _product(grad: Any, x: Any, out: Any) -> None:
    for d in range(out.shape[0]):
        out[d] = grad[d] * np.conj(x[d])


@kernel()
def _add_product(grad: Any, x: Any, out: Any) -> None:
    for d in range(out.shape[0]):
        out[d] += grad[d] * np.conj(x[d])
