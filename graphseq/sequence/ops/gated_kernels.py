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
    decay: Any, value: Any, mask: Any, groups: int, last: Any, total: Any, out: Any
) -> None:
    """Fills ``out``; ``last`` and ``total``, state and product of decays, are in and out."""
    batch, time, channels = value.shape
    for task in prange(batch * groups):
        b, group = task // groups, task % groups
        first, end = group * channels // groups, (group + 1) * channels // groups
        for t in range(time):
            if _inside(mask, b, t):
                row = decay[b % decay.shape[0], t % decay.shape[1]]
                _advance(row, value[b, t], first, end, last[b], total[b], out[b, t])
            else:
                _clear(first, end, out[b, t])


@kernel(parallel=True)
def backward_pass(
    decay: Any, out: Any, before: Any, mask: Any, groups: int, grad: Any, carry: Any,
    grad_decay: Any, grad_value: Any,
) -> None:  # fmt: skip
    """Fills ``grad_value`` and ``grad_decay`` ``[B, T, D]``; to one ``[B, 1, D]`` it adds.

    ``before`` is the state at the start; ``carry``, in and out, is the gradient of the state.
    """
    batch, time, channels = out.shape
    adds = grad_decay.shape[1] == 1
    for task in prange(batch * groups):
        b, group = task // groups, task % groups
        first, end = group * channels // groups, (group + 1) * channels // groups
        for t in range(time - 1, -1, -1):
            row_decay, row_value = grad_decay[b, t % grad_decay.shape[1]], grad_value[b, t]
            if _inside(mask, b, t):
                past = t - 1  # the outputs of masked steps are 0, not the state
                while past >= 0 and not _inside(mask, b, past):
                    past -= 1
                here = decay[b % decay.shape[0], t % decay.shape[1]]
                _go_back(here, grad[b, t], first, end, carry[b], row_value)
                previous = out[b, past] if past >= 0 else before[b]
                _multiply(row_value, previous, first, end, adds, row_decay)
            else:
                _clear(first, end, row_value)
                if not adds:
                    _clear(first, end, row_decay)


@kernel()
def _inside(mask: Any, b: int, t: int) -> Any:
    """Whether a step counts; a mask without rows masks nothing."""
    return mask.shape[0] == 0 or mask[b, t]


@kernel()
def _clear(first: int, end: int, out: Any) -> None:
    for d in range(first, end):
        out[d] = 0


@kernel()
def _advance(decay: Any, value: Any, first: int, end: int, last: Any, total: Any, out: Any) -> None:
    for d in range(first, end):
        last[d] = decay[d] * last[d] + value[d]
        out[d] = last[d]
        total[d] *= decay[d]


@kernel()
def _go_back(decay: Any, grad: Any, first: int, end: int, carry: Any, out: Any) -> None:
    for d in range(first, end):
        out[d] = carry[d] + grad[d]
        carry[d] = out[d] * np.conj(decay[d])


@kernel()
def _multiply(grad: Any, previous: Any, first: int, end: int, adds: bool, out: Any) -> None:
    if adds:
        for d in range(first, end):
            out[d] += grad[d] * np.conj(previous[d])
    else:
        for d in range(first, end):
            out[d] = grad[d] * np.conj(previous[d])
