"""The compiled passes of the outer-product scan; :mod:`graphseq.sequence.ops.outer_scan` derives them.

Each worker takes its share of the pairs of sequence and head and walks along their chunks, with
tiles of its own that stay in the cache: nothing of size T x C reaches memory.

Decays enter as products of themselves, never as differences of their logarithms, so that a decay of
0 is no special case: the weights of row i are those of row i - 1 times the decay of step i.
"""

from typing import Any

from graphseq.kernels import kernel, prange
from graphseq.sequence.ops.outer_tiles import (
    FULL,
    LOWER,
    RESULT,
    UPPER,
    add_crossings,
    add_product,
    dot,
    inside,
    load,
    multiply,
    product,
    scale,
    scale_rows,
    store,
    transpose,
    weigh,
)


@kernel(parallel=True)
def forward_pass(
    q: Any, k: Any, v: Any, decay: Any, mask: Any, states: Any, y: Any, tiles: Any
) -> None:
    """Fills ``y``, and from the first on ``states`` ``[B, H, slots, N, P]``, all or a ring of two.

    ``tiles`` hold zeros, by worker: square, wide, its transpose, high, its transpose, the state's
    transpose, and rows; wide is ``[C, N]``, high ``[C, P]``.
    """
    for worker in prange(tiles[0].shape[0]):
        _forward(worker, q, k, v, decay, mask, states, y, tiles)


@kernel(parallel=True)
def backward_pass(
    q: Any, k: Any, v: Any, decay: Any, mask: Any, states: Any, grad: Any, grad_state: Any,
    grad_q: Any, grad_k: Any, grad_v: Any, grad_decay: Any, tiles: Any,
) -> None:  # fmt: skip
    """Fills the gradients of q, k, v and, if there are decays, of their logarithms.

    ``grad_state`` ``[B, H, N, P]``, in and out, is the gradient of the last, then the first state.
    """
    for worker in prange(tiles[0].shape[0]):
        _backward(
            worker, q, k, v, decay, mask, states, grad, grad_state,
            grad_q, grad_k, grad_v, grad_decay, tiles,
        )  # fmt: skip


@kernel()
def _forward(
    worker: int, q: Any, k: Any, v: Any, decay: Any, mask: Any, states: Any, y: Any, tiles: Any
) -> None:
    """One worker's share."""
    square, wide, high = tiles[0][worker], tiles[1][worker], tiles[3][worker]
    weights, scores = square[0], square[1]
    qs, ks, vs, ys = wide[0], wide[1], high[0], high[1]
    k_turned, start, end = tiles[2][worker], tiles[6][worker, 0], tiles[6][worker, 1]
    chunk, heads, slots, workers = start.shape[0], q.shape[2], states.shape[2], tiles[0].shape[0]
    pairs = q.shape[0] * heads
    for c in range((q.shape[1] + chunk - 1) // chunk):
        t = c * chunk
        for pair in range(worker * pairs // workers, (worker + 1) * pairs // workers):
            b, h = pair // heads, pair % heads
            before, after = states[b, h, c % slots], states[b, h, (c + 1) % slots]
            weigh(decay, mask, b, t, h, weights, start, end)
            load(q, mask, b, t, h, qs)
            load(k, mask, b, t, h, ks)
            load(v, mask, b, t, h, vs)
            transpose(ks, k_turned)
            product(qs, k_turned, RESULT, scores)
            multiply(weights, scores)
            product(qs, before, FULL, ys)
            scale_rows(start, ys)
            add_product(scores, vs, LOWER, ys)
            store(ys, b, t, h, y)
            scale(before, start[chunk - 1], after)
            scale_rows(end, ks)
            add_product(ks.T, vs, FULL, after)


@kernel()
def _backward(
    worker: int, q: Any, k: Any, v: Any, decay: Any, mask: Any, states: Any, grad: Any,
    grad_state: Any, grad_q: Any, grad_k: Any, grad_v: Any, grad_decay: Any, tiles: Any,
) -> None:  # fmt: skip
    """One worker's share."""
    square, wide, high = tiles[0][worker], tiles[1][worker], tiles[3][worker]
    weights, scores, grads = square[0], square[1], square[2]
    qs, ks, sums, vs, gs, high_sums = wide[0], wide[1], wide[2], high[0], high[1], high[2]
    k_turned, v_turned, turned = tiles[2][worker], tiles[4][worker], tiles[5][worker]
    rows = tiles[6][worker]
    start, end, steps, spare = rows[0], rows[1], rows[2], rows[3]
    chunk, decayed = start.shape[0], decay.shape[0] > 0
    heads, workers = q.shape[2], tiles[0].shape[0]
    pairs = q.shape[0] * heads
    for c in range((q.shape[1] + chunk - 1) // chunk - 1, -1, -1):
        t = c * chunk
        for pair in range(worker * pairs // workers, (worker + 1) * pairs // workers):
            b, h = pair // heads, pair % heads
            before, state = states[b, h, c], grad_state[b, h]
            weigh(decay, mask, b, t, h, weights, start, end)
            load(q, mask, b, t, h, qs)
            load(k, mask, b, t, h, ks)
            load(v, mask, b, t, h, vs)
            load(grad, mask, b, t, h, gs)
            transpose(ks, k_turned)
            product(qs, k_turned, RESULT, scores)
            multiply(weights, scores)
            product(ks, state, FULL, high_sums)
            scale_rows(end, high_sums)
            add_product(scores.T, gs, UPPER, high_sums)
            store(high_sums, b, t, h, grad_v)

            transpose(vs, v_turned)
            product(gs, v_turned, RESULT, grads)
            if decayed:  # before the weights go into both factors
                _clear(steps)
                add_crossings(scores, grads, spare, steps)
            multiply(weights, grads)

            transpose(state, turned)
            product(vs, turned, FULL, sums)
            scale_rows(end, sums)
            if decayed:
                _add_leaving(ks, sums, steps)
            add_product(grads.T, qs, UPPER, sums)
            store(sums, b, t, h, grad_k)

            transpose(before, turned)
            product(gs, turned, FULL, sums)
            scale_rows(start, sums)
            if decayed:
                _add_entering(qs, sums, steps)
                _add_passing(before, state, start[chunk - 1], steps)
                _store_steps(steps, mask, b, t, h, grad_decay)
            add_product(grads, ks, LOWER, sums)
            store(sums, b, t, h, grad_q)

            scale_rows(start, qs)
            scale(state, start[chunk - 1], state)
            add_product(qs.T, gs, FULL, state)


@kernel()
def _clear(row: Any) -> None:
    for i in range(row.shape[0]):
        row[i] = 0


@kernel()
def _add_leaving(ks: Any, sums: Any, steps: Any) -> None:
    """What steps before t put into the chunk's last state decays at t."""
    total = steps.dtype.type(0)
    for t in range(steps.shape[0]):
        steps[t] += total
        total += dot(ks[t], sums[t])


@kernel()
def _add_entering(qs: Any, sums: Any, steps: Any) -> None:
    """What steps from t on read from the state before the chunk decays at t."""
    total = steps.dtype.type(0)
    for t in range(steps.shape[0] - 1, -1, -1):
        total += dot(qs[t], sums[t])
        steps[t] += total


@kernel()
def _add_passing(before: Any, state: Any, factor: Any, steps: Any) -> None:
    """What passes from the state before the chunk to the one after it decays at every step."""
    total = steps.dtype.type(0)
    for n in range(before.shape[0]):
        total += dot(before[n], state[n])
    for t in range(steps.shape[0]):
        steps[t] += factor * total


@kernel()
def _store_steps(steps: Any, mask: Any, b: int, t: int, h: int, x: Any) -> None:
    for i in range(min(steps.shape[0], x.shape[1] - t)):
        x[b, t + i, h] = steps[i] if inside(mask, b, t + i, x.shape[1]) else 0
