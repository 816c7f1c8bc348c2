"""The compiled passes of the selective scan.

:mod:`graphseq.sequence.ops.selective_scan` derives them.

A task takes 16 neighbouring channels of one sequence through time, in blocks of 64 steps. Within a
block one of the N states after the other runs along time, so that everything the loop touches
stays in the first cache: a scratch of a few rows of 16 channels for each step.

The compiler makes vector code of a loop over the channels if it can see that what the loop writes
is not what it reads elsewhere. So all rows lie in one array at distances that are constants; what
is carried along time moves from a step's row to the next one's; and steps that count down are held
at 0 and above by ``max``, lest an index might wrap around.
"""

from typing import Any

import numpy as np

from graphseq.kernels import kernel, prange
from graphseq.sequence.ops.exponential import exponential

BLOCK = 64
"""Steps between two states that are kept for the backward pass."""
LANES = 16
"""Channels of a task: one vector register of float32, or two or four of them."""

# Where the rows of a step begin in the scratch, and how long a step is: forward ...
_DELTA, _X, _Y, _H, _FORWARD = 0, LANES, 2 * LANES, 3 * LANES, 4 * LANES
# ... and backward, where _Y holds the gradient of y.
_GRAD_X, _GRAD_LOG, _DECAY, _BACKWARD = 4 * LANES, 5 * LANES, 6 * LANES, 7 * LANES


@kernel(parallel=True)
def forward_pass(
    u: Any, delta: Any, a: Any, b: Any, c: Any, mask: Any, single: tuple[int, ...],
    states: Any, y: Any,
) -> None:  # fmt: skip
    """Fills ``y`` [B, T, D], and ``states`` [S, B, N, D] from the one in ``states[0]``.

    ``a`` is [N, D], ``b`` and ``c`` are [B, N, T]. Slot k holds the state before block k; with one
    slot only the last state remains.
    """
    batch, time, channels = u.shape
    tasks, depth = (channels + LANES - 1) // LANES, states.shape[0]
    for task in prange(batch * tasks):
        i, first = task // tasks, task % tasks * LANES
        last = min(first + LANES, channels)
        s, rate = np.empty((BLOCK + 1) * _FORWARD, u.dtype), np.empty(LANES, u.dtype)
        for k in range((time + BLOCK - 1) // BLOCK):
            begin, end = k * BLOCK, min(k * BLOCK + BLOCK, time)
            for t in range(begin, end):
                p = (t - begin) * _FORWARD
                upto = first if _skips(mask, i, t) else last
                _load_inputs(delta[i, t, first:upto], u[i, t, first:upto], s, p)
                _clear(s, p + _Y)
            for n in range(a.shape[0]):
                _load(a[n, first:last], rate, 0)
                _load(states[k % depth, i, n, first:last], s, _H)
                _run(s, rate, b[i, n, begin:end], c[i, n, begin:end], single)
                _store(s, (end - begin) * _FORWARD + _H, states[(k + 1) % depth, i, n, first:last])
            for t in range(begin, end):
                if _skips(mask, i, t):
                    _clear(s, (t - begin) * _FORWARD + _Y)
                _store(s, (t - begin) * _FORWARD + _Y, y[i, t, first:last])


@kernel(parallel=True)
def backward_pass(
    u: Any, delta: Any, a: Any, b: Any, c: Any, mask: Any, single: tuple[int, ...], states: Any,
    grad_y: Any, grad_h: Any, grad_u: Any, grad_delta: Any, grad_a: Any, grad_b: Any, grad_c: Any,
) -> None:  # fmt: skip
    """Fills the gradients, block by block from the last one.

    ``grad_h`` [B, N, D] goes from the gradient of the last state to that of the first. Tasks come
    in groups, each of which adds up its own ``grad_b`` and ``grad_c`` [G, B, N, T], which begin
    with 0 as does ``grad_a`` [B, N, D].
    """
    batch, time, channels = u.shape
    tasks, groups = (channels + LANES - 1) // LANES, grad_b.shape[0]
    size = (tasks + groups - 1) // groups
    for unit in prange(batch * groups):
        i, group = unit // groups, unit % groups
        s, rate = np.empty((BLOCK + 2) * _BACKWARD, u.dtype), np.empty(LANES, u.dtype)
        for task in range(group * size, min(group * size + size, tasks)):
            first, last = task * LANES, min(task * LANES + LANES, channels)
            for k in range((time + BLOCK - 1) // BLOCK - 1, -1, -1):
                begin, end = k * BLOCK, min(k * BLOCK + BLOCK, time)
                stop = (end - begin) * _BACKWARD
                for t in range(begin, end):
                    p = (t - begin) * _BACKWARD
                    upto = first if _skips(mask, i, t) else last
                    _load_inputs(delta[i, t, first:upto], u[i, t, first:upto], s, p)
                    _load(grad_y[i, t, first:upto], s, p + _Y)
                    _clear(s, p + _GRAD_X)
                    _clear(s, p + _GRAD_LOG)
                for n in range(a.shape[0]):
                    _load(a[n, first:last], rate, 0)
                    _load(states[k, i, n, first:last], s, _H)
                    _run_again(s, rate, b[i, n, begin:end], single)
                    _load(grad_h[i, n, first:last], s, stop + _DECAY)
                    _clear(s, stop + _BACKWARD + _H)
                    _run_back(
                        s, rate, b[i, n, begin:end], c[i, n, begin:end],
                        grad_b[group, i, n, begin:end], grad_c[group, i, n, begin:end],
                    )  # fmt: skip
                    _store(s, _DECAY, grad_h[i, n, first:last])
                    for d in range(last - first):
                        grad_a[i, n, first + d] += s[_BACKWARD + _H + d]
                for t in range(begin, end):
                    p = (t - begin) * _BACKWARD
                    if _skips(mask, i, t):
                        _clear(s, p + _GRAD_X)
                        _clear(s, p + _GRAD_LOG)
                    else:
                        _load(u[i, t, first:last], s, p + _X)
                    _finish_inputs(s, p)
                    _store(s, p + _GRAD_X, grad_u[i, t, first:last])
                    _store(s, p + _GRAD_LOG, grad_delta[i, t, first:last])


@kernel()
def _run(s: Any, rate: Any, b: Any, c: Any, single: tuple[int, ...]) -> None:
    """One state of each channel along a block, and its share of y."""
    for t in range(b.shape[0]):
        p = t * _FORWARD
        for d in range(LANES):
            h = (
                exponential(s[p + _DELTA + d] * rate[d], single) * s[p + _H + d]
                + s[p + _X + d] * b[t]
            )
            s[p + _FORWARD + _H + d] = h
            s[p + _Y + d] += h * c[t]


@kernel()
def _run_again(s: Any, rate: Any, b: Any, single: tuple[int, ...]) -> None:
    """The same for the backward pass: step t's decay, and the state before it, stay in its rows."""
    for t in range(b.shape[0]):
        p = t * _BACKWARD
        for d in range(LANES):
            decay = exponential(s[p + _DELTA + d] * rate[d], single)
            s[p + _DECAY + d] = decay
            s[p + _BACKWARD + _H + d] = decay * s[p + _H + d] + s[p + _X + d] * b[t]


@kernel()
def _run_back(s: Any, rate: Any, b: Any, c: Any, grad_b: Any, grad_c: Any) -> None:
    """From the block's end to its beginning.

    The gradient by the state before a step takes the place of the step's decay, and the sum that
    makes the gradient of a takes the place of the state after the step; both are read no more.
    """
    for back in range(b.shape[0]):
        t = max(b.shape[0] - 1 - back, 0)
        p = t * _BACKWARD
        sum_b, sum_c = s.dtype.type(0), s.dtype.type(0)
        for d in range(LANES):
            grad = s[p + _BACKWARD + _DECAY + d] + s[p + _Y + d] * c[t]
            sum_b += grad * s[p + _X + d]
            sum_c += s[p + _Y + d] * s[p + _BACKWARD + _H + d]
            s[p + _GRAD_X + d] += grad * b[t]
            grad *= s[p + _DECAY + d]
            log = grad * s[p + _H + d]  # the gradient by delta_t a
            s[p + _GRAD_LOG + d] += log * rate[d]
            s[p + _BACKWARD + _H + d] = s[p + 2 * _BACKWARD + _H + d] + log * s[p + _DELTA + d]
            s[p + _DECAY + d] = grad
        grad_b[t] += sum_b
        grad_c[t] += sum_c


@kernel()
def _load_inputs(delta: Any, u: Any, s: Any, p: int) -> None:
    """A step's delta and delta u."""
    _load(delta, s, p + _DELTA)
    _load(u, s, p + _X)
    for d in range(LANES):
        s[p + _X + d] *= s[p + _DELTA + d]


@kernel()
def _finish_inputs(s: Any, p: int) -> None:
    """From the rows of sums to the gradients of u and delta; u is in the row of delta u."""
    for d in range(LANES):
        s[p + _GRAD_LOG + d] += s[p + _GRAD_X + d] * s[p + _X + d]
        s[p + _GRAD_X + d] *= s[p + _DELTA + d]


@kernel()
def _load(row: Any, s: Any, p: int) -> None:
    """A row of at most 16 channels, with 0 for those it lacks."""
    if row.shape[0] == LANES:
        for d in range(LANES):
            s[p + d] = row[d]
    else:
        for d in range(LANES):
            s[p + d] = row[d] if d < row.shape[0] else 0


@kernel()
def _store(s: Any, p: int, row: Any) -> None:
    if row.shape[0] == LANES:
        for d in range(LANES):
            row[d] = s[p + d]
    else:
        for d in range(row.shape[0]):
            row[d] = s[p + d]


@kernel()
def _clear(s: Any, p: int) -> None:
    for d in range(LANES):
        s[p + d] = 0


@kernel()
def _skips(mask: Any, i: int, t: int) -> Any:
    """Whether step t of sequence i counts for nothing; a mask without rows skips nothing."""
    return mask.shape[0] > 0 and not mask[i, t]
