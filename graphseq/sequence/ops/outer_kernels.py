"""The compiled passes of the outer-product scan; :mod:`graphseq.sequence.ops.outer_scan` derives them.

One task per sequence and head walks along its chunks. A chunk is copied into tiles whose rows and
columns are filled up with zeros to a multiple of 4, so that the products need no special cases. All
that a chunk needs stays in the cache, and nothing of size T x C reaches memory. What is 0 because a
later step cannot reach an earlier one is skipped, 4 rows at a time.

Decays enter as products of themselves, never as differences of their logarithms, so that a decay of
0 is no special case: the weights of row i are those of row i - 1 times the decay of step i.
"""

from typing import Any

import numpy as np

from graphseq.kernels import kernel, prange

# Of a product: nothing is known to be 0; the left factor is 0 above or below its diagonal; only
# the result's part up to its diagonal is wanted.
FULL, LOWER, UPPER, RESULT = 0, 1, 2, 3


@kernel(parallel=True)
def forward_pass(
    q: Any, k: Any, v: Any, decay: Any, mask: Any, chunk: int, states: Any, y: Any
) -> None:
    """Fills ``y`` and, after the first, ``states`` ``[B, H, depth, N, P]``, all or a ring of them."""
    time, heads, depth = q.shape[1], q.shape[2], states.shape[2]
    wide, high, kind = states.shape[3], states.shape[4], q.dtype
    for task in prange(q.shape[0] * heads):
        b, h = task // heads, task % heads
        qs, ks, keys = np.zeros((chunk, wide), kind), np.zeros((chunk, wide), kind), np.zeros((wide, chunk), kind)
        vs, ys = np.zeros((chunk, high), kind), np.zeros((chunk, high), kind)
        scores, weights = np.zeros((chunk, chunk), kind), np.zeros((chunk, chunk), kind)
        start, end = np.ones(chunk, kind), np.ones(chunk, kind)
        for c in range((time + chunk - 1) // chunk):
            t = c * chunk
            before, after = states[b, h, c % depth], states[b, h, (c + 1) % depth]
            _load(q, mask, b, t, h, qs)
            _load(k, mask, b, t, h, ks)
            _load(v, mask, b, t, h, vs)
            _weigh(decay, mask, b, t, h, start, weights, end)
            _transpose(ks, keys)
            _fill(scores)
            _add_product(qs, keys, scores, RESULT)
            _multiply(weights, scores)
            _fill(ys)
            _add_product(qs, before, ys, FULL)
            _scale_rows(start, ys)
            _add_product(scores, vs, ys, LOWER)
            _store(ys, mask, b, t, h, y)
            _scale_rows(end, ks)
            _copy_scaled(before, start[chunk - 1], after)
            _add_product(ks.T, vs, after, FULL)


@kernel(parallel=True)
def backward_pass(
    q: Any, k: Any, v: Any, decay: Any, mask: Any, chunk: int, states: Any, grad: Any,
    grad_state: Any, grad_q: Any, grad_k: Any, grad_v: Any, grad_decay: Any,
) -> None:  # fmt: skip
    """Fills the last four; ``grad_state`` ``[B, H, N, P]`` is that of the last, then the first state.

    ``grad_decay`` is that of the decay's logarithm.
    """
    time, heads = q.shape[1], q.shape[2]
    wide, high, kind = states.shape[3], states.shape[4], q.dtype
    for task in prange(q.shape[0] * heads):
        b, h = task // heads, task % heads
        qs, ks, keys = np.zeros((chunk, wide), kind), np.zeros((chunk, wide), kind), np.zeros((wide, chunk), kind)
        vs, gs, values = np.zeros((chunk, high), kind), np.zeros((chunk, high), kind), np.zeros((high, chunk), kind)
        scores, grads, weights = np.zeros((chunk, chunk), kind), np.zeros((chunk, chunk), kind), np.zeros((chunk, chunk), kind)
        start, end = np.ones(chunk, kind), np.ones(chunk, kind)
        dqk, dv, turned = np.zeros((chunk, wide), kind), np.zeros((chunk, high), kind), np.zeros((high, wide), kind)
        cross, after = np.zeros(chunk, kind), np.zeros(chunk, kind)
        state = grad_state[b, h]
        for c in range((time + chunk - 1) // chunk - 1, -1, -1):
            t = c * chunk
            before = states[b, h, c]
            _load(q, mask, b, t, h, qs)
            _load(k, mask, b, t, h, ks)
            _load(v, mask, b, t, h, vs)
            _load(grad, mask, b, t, h, gs)
            _weigh(decay, mask, b, t, h, start, weights, end)
            _transpose(ks, keys)
            _transpose(vs, values)
            _fill(scores)
            _fill(grads)
            _add_product(qs, keys, scores, RESULT)
            _add_product(gs, values, grads, RESULT)
            _multiply(weights, scores)
            if decay.shape[0] > 0:
                _crossing(scores, grads, cross)
            _multiply(weights, grads)

            _fill(dv)
            _add_product(ks, state, dv, FULL)
            _scale_rows(end, dv)
            _add_product(scores.T, gs, dv, UPPER)
            _store(dv, mask, b, t, h, grad_v)

            _fill(dqk)
            _transpose(state, turned)
            _add_product(vs, turned, dqk, FULL)
            _scale_rows(end, dqk)
            if decay.shape[0] > 0:
                _dots(ks, dqk, after)
            _add_product(grads.T, qs, dqk, UPPER)
            _store(dqk, mask, b, t, h, grad_k)

            _fill(dqk)
            _transpose(before, turned)
            _add_product(gs, turned, dqk, FULL)
            _scale_rows(start, dqk)
            if decay.shape[0] > 0:
                carry = start[chunk - 1] * _dot_all(state, before)
                _add_through(carry, after, qs, dqk, cross)
                _store_scalar(cross, mask, b, t, h, grad_decay)
            _add_product(grads, ks, dqk, LOWER)
            _store(dqk, mask, b, t, h, grad_q)

            _scale_rows(start, qs)
            _copy_scaled(state, start[chunk - 1], state)
            _add_product(qs.T, gs, state, FULL)


@kernel()
def _add_product(a: Any, b: Any, c: Any, part: int) -> None:
    """``c += a @ b``, 4 rows and 2 terms at a time."""
    for i in range(0, c.shape[0], 4):
        low, high, width = 0, a.shape[1], c.shape[1]
        if part == UPPER:
            low = i
        elif part == LOWER:
            high = i + 4
        elif part == RESULT:
            width = min(width, i // 16 * 16 + 16)
        for k in range(low, high, 2):
            p0, p1, p2, p3 = a[i, k], a[i + 1, k], a[i + 2, k], a[i + 3, k]
            s0, s1, s2, s3 = a[i, k + 1], a[i + 1, k + 1], a[i + 2, k + 1], a[i + 3, k + 1]
            for j in range(width):
                x, y = b[k, j], b[k + 1, j]
                c[i, j] += p0 * x + s0 * y
                c[i + 1, j] += p1 * x + s1 * y
                c[i + 2, j] += p2 * x + s2 * y
                c[i + 3, j] += p3 * x + s3 * y


@kernel()
def _inside(mask: Any, b: int, t: int, time: int) -> Any:
    return t < time and (mask.shape[0] == 0 or mask[b, t])


@kernel()
def _load(x: Any, mask: Any, b: int, t: int, h: int, tile: Any) -> None:
    for i in range(tile.shape[0]):
        if _inside(mask, b, t + i, x.shape[1]):
            for j in range(x.shape[3]):
                tile[i, j] = x[b, t + i, h, j]
        else:
            for j in range(x.shape[3]):
                tile[i, j] = 0


@kernel()
def _store(tile: Any, mask: Any, b: int, t: int, h: int, x: Any) -> None:
    for i in range(min(tile.shape[0], x.shape[1] - t)):
        for j in range(x.shape[3]):
            x[b, t + i, h, j] = tile[i, j]


@kernel()
def _store_scalar(tile: Any, mask: Any, b: int, t: int, h: int, x: Any) -> None:
    for i in range(min(tile.shape[0], x.shape[1] - t)):
        x[b, t + i, h] = tile[i] if _inside(mask, b, t + i, x.shape[1]) else 0


@kernel()
def _weigh(decay: Any, mask: Any, b: int, t: int, h: int, start: Any, weights: Any, end: Any) -> None:
    one = start.dtype.type(1)
    run = one
    for i in range(start.shape[0]):
        step = one
        if decay.shape[0] > 0 and _inside(mask, b, t + i, decay.shape[1]):
            step = decay[b, t + i, h]
        run *= step
        start[i] = run
        for j in range(i):
            weights[i, j] = weights[i - 1, j] * step
        weights[i, i] = one
    for j in range(end.shape[0]):
        end[j] = weights[end.shape[0] - 1, j]


@kernel()
def _transpose(tile: Any, out: Any) -> None:
    for i in range(tile.shape[0]):
        for j in range(tile.shape[1]):
            out[j, i] = tile[i, j]


@kernel()
def _fill(tile: Any) -> None:
    for i in range(tile.shape[0]):
        for j in range(tile.shape[1]):
            tile[i, j] = 0


@kernel()
def _multiply(weights: Any, tile: Any) -> None:
    for i in range(tile.shape[0]):
        for j in range(i + 1):
            tile[i, j] *= weights[i, j]
        for j in range(i + 1, tile.shape[1]):
            tile[i, j] = 0


@kernel()
def _scale_rows(factor: Any, tile: Any) -> None:
    for i in range(tile.shape[0]):
        for j in range(tile.shape[1]):
            tile[i, j] *= factor[i]


@kernel()
def _copy_scaled(tile: Any, factor: Any, out: Any) -> None:
    for i in range(tile.shape[0]):
        for j in range(tile.shape[1]):
            out[i, j] = factor * tile[i, j]


@kernel()
def _crossing(scores: Any, grads: Any, cross: Any) -> None:
    """cross[t] = sum over i >= t > j of scores[i, j] * grads[i, j]."""
    size = cross.shape[0]
    total = scores[0]  # its row 0 is used last
    for i in range(size - 1, 0, -1):
        here = cross.dtype.type(0)
        for j in range(i):
            scores_ij = scores[i, j] * grads[i, j]
            here += scores_ij
        cross[i] = here
    cross[0] = 0


@kernel()
def _dots(x: Any, y: Any, out: Any) -> None:
    for i in range(x.shape[0]):
        out[i] = 0
        for j in range(x.shape[1]):
            out[i] += x[i, j] * y[i, j]


@kernel()
def _dot_all(x: Any, y: Any) -> Any:
    total = x.dtype.type(0)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            total += x[i, j] * y[i, j]
    return total


@kernel()
def _add_through(carry: Any, after: Any, qs: Any, dq: Any, cross: Any) -> None:
    pass
