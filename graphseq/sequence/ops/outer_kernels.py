"""Compiled passes of the outer-product scan; :mod:`graphseq.sequence.ops.outer_scan` derives them.

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
    add_entering,
    add_leaving,
    add_passing,
    add_product,
    clear,
    load,
    multiply,
    product,
    scale,
    scale_rows,
    store,
    store_steps,
    transpose,
    weigh,
)


@kernel(parallel=True)
def forward_pass(
    q: Any, k: Any, v: Any, decay: Any, mask: Any, states: Any, y: Any, tiles: Any
) -> None:
    """Fills ``y``, and from the first on ``states`` ``[B, H, slots, N, P]``, all or a ring of two.

    ``tiles`` hold zeros, by worker: square ``[C, C]``, wide ``[C, N]``, high ``[C, P]``, the two
    transposed, a state transposed, and rows ``[C]``.
    """
    square, wide, high, wide_turned, _, _, rows = tiles
    chunk, workers, slots = square.shape[2], square.shape[0], states.shape[2]
    time, heads, pairs = q.shape[1], q.shape[2], q.shape[0] * q.shape[2]
    for w in prange(workers):
        weights, scores, start, end = square[w, 0], square[w, 1], rows[w, 0], rows[w, 1]
        qs, ks, vs, ys, k_turned = wide[w, 0], wide[w, 1], high[w, 0], high[w, 1], wide_turned[w]
        for pair in range(w * pairs // workers, (w + 1) * pairs // workers):
            b, h = pair // heads, pair % heads
            for c in range((time + chunk - 1) // chunk):
                t, before, after = c * chunk, states[b, h, c % slots], states[b, h, (c + 1) % slots]
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


@kernel(parallel=True)
def backward_pass(
    q: Any, k: Any, v: Any, decay: Any, mask: Any, states: Any, grad: Any, grad_state: Any,
    grad_q: Any, grad_k: Any, grad_v: Any, grad_decay: Any, tiles: Any,
) -> None:  # fmt: skip
    """Fills the gradients of q, k, v and, if there are decays, of their logarithms.

    ``grad_state`` ``[B, H, N, P]``, in and out, is the gradient of the last, then the first state.
    """
    square, wide, high, wide_turned, high_turned, state_turned, rows = tiles
    chunk, workers, decayed = square.shape[2], square.shape[0], decay.shape[0] > 0
    time, heads, pairs = q.shape[1], q.shape[2], q.shape[0] * q.shape[2]
    for w in prange(workers):
        weights, scores, grads = square[w, 0], square[w, 1], square[w, 2]
        qs, ks, sums, k_turned = wide[w, 0], wide[w, 1], wide[w, 2], wide_turned[w]
        vs, gs, high_sums, v_turned = high[w, 0], high[w, 1], high[w, 2], high_turned[w]
        start, end, steps, spare = rows[w, 0], rows[w, 1], rows[w, 2], rows[w, 3]
        turned = state_turned[w]
        for pair in range(w * pairs // workers, (w + 1) * pairs // workers):
            b, h = pair // heads, pair % heads
            state = grad_state[b, h]
            for c in range((time + chunk - 1) // chunk - 1, -1, -1):
                t, before = c * chunk, states[b, h, c]
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
                if decayed:  # before the weights go into the second factor, too
                    clear(steps)
                    add_crossings(scores, grads, spare, steps)
                multiply(weights, grads)

                transpose(state, turned)
                product(vs, turned, FULL, sums)
                scale_rows(end, sums)
                if decayed:
                    add_leaving(ks, sums, steps)
                add_product(grads.T, qs, UPPER, sums)
                store(sums, b, t, h, grad_k)

                transpose(before, turned)
                product(gs, turned, FULL, sums)
                scale_rows(start, sums)
                if decayed:
                    add_entering(qs, sums, steps)
                    add_passing(before, state, start[chunk - 1], steps)
                    store_steps(steps, mask, b, t, h, grad_decay)
                add_product(grads, ks, LOWER, sums)
                store(sums, b, t, h, grad_q)

                scale_rows(start, qs)
                scale(state, start[chunk - 1], state)
                add_product(qs.T, gs, FULL, state)
