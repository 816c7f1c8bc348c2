"""What the compiled passes of the outer-product scan do with one chunk's tiles.

A tile's rows and columns are filled up with zeros to a multiple of 4, so that products need no
special cases. Everything here stays in the cache.
"""

from typing import Any

from graphseq.kernels import kernel

# What a product may skip: nothing; a left factor's zeros above or below its diagonal; the part of
# the result above its diagonal, which nobody wants.
FULL, LOWER, UPPER, RESULT = 0, 1, 2, 3


@kernel()
def product(a: Any, b: Any, part: int, c: Any) -> None:
    """``c = a @ b``, but for what ``part`` skips."""
    for i in range(c.shape[0]):
        for j in range(c.shape[1]):
            c[i, j] = 0
    add_product(a, b, part, c)


@kernel()
def add_product(a: Any, b: Any, part: int, c: Any) -> None:
    """``c += a @ b``, 4 rows and 2 terms at a time, but for what ``part`` skips."""
    for i in range(0, c.shape[0], 4):
        first, end, width = 0, a.shape[1], c.shape[1]
        if part == LOWER:
            end = i + 4
        elif part == UPPER:
            first = i
        elif part == RESULT:
            width = min(width, i // 16 * 16 + 16)  # whole vector registers
        for k in range(first, end, 2):
            p0, p1, p2, p3 = a[i, k], a[i + 1, k], a[i + 2, k], a[i + 3, k]
            s0, s1, s2, s3 = a[i, k + 1], a[i + 1, k + 1], a[i + 2, k + 1], a[i + 3, k + 1]
            for j in range(width):
                x, y = b[k, j], b[k + 1, j]
                c[i, j] = (c[i, j] + p0 * x) + s0 * y
                c[i + 1, j] = (c[i + 1, j] + p1 * x) + s1 * y
                c[i + 2, j] = (c[i + 2, j] + p2 * x) + s2 * y
                c[i + 3, j] = (c[i + 3, j] + p3 * x) + s3 * y


@kernel()
def inside(mask: Any, b: int, t: int, time: int) -> Any:
    """Whether a step counts; a mask without rows masks nothing."""
    return t < time and (mask.shape[0] == 0 or mask[b, t])


@kernel()
def load(x: Any, mask: Any, b: int, t: int, h: int, tile: Any) -> None:
    """Rows from step t on; zeros where a step does not count."""
    for i in range(tile.shape[0]):
        if inside(mask, b, t + i, x.shape[1]):
            for j in range(x.shape[3]):
                tile[i, j] = x[b, t + i, h, j]
        else:
            for j in range(x.shape[3]):
                tile[i, j] = 0


@kernel()
def store(tile: Any, b: int, t: int, h: int, x: Any) -> None:
    """Rows to step t and on, without what fills the tile up."""
    for i in range(min(tile.shape[0], x.shape[1] - t)):
        for j in range(x.shape[3]):
            x[b, t + i, h, j] = tile[i, j]


@kernel()
def weigh(
    decay: Any, mask: Any, b: int, t: int, h: int, weights: Any, start: Any, end: Any
) -> None:
    """Products of decays: after step j up to i, from the chunk's start to i, after j to its end.

    Without decays all are 1; a step that does not count has decay 1.
    """
    one = start.dtype.type(1)
    size, so_far = start.shape[0], one
    for i in range(size):
        step = one
        if decay.shape[0] > 0 and inside(mask, b, t + i, decay.shape[1]):
            step = decay[b, t + i, h]
        so_far *= step
        start[i] = so_far
        for j in range(i):
            weights[i, j] = weights[i - 1, j] * step
        weights[i, i] = one
    for j in range(size):
        end[j] = weights[size - 1, j]


@kernel()
def multiply(weights: Any, tile: Any) -> None:
    """``tile *= weights`` up to the diagonal, 0 above it, whatever stood there."""
    zero = tile.dtype.type(0)
    for i in range(tile.shape[0]):
        for j in range(tile.shape[1]):
            tile[i, j] = tile[i, j] * weights[i, j] if j <= i else zero


@kernel()
def transpose(tile: Any, out: Any) -> None:
    """``out = tile.T``, whose rows then lie in one piece."""
    for i in range(tile.shape[0]):
        for j in range(tile.shape[1]):
            out[j, i] = tile[i, j]


@kernel()
def scale_rows(factors: Any, tile: Any) -> None:
    """Row i times factor i."""
    for i in range(tile.shape[0]):
        for j in range(tile.shape[1]):
            tile[i, j] *= factors[i]


@kernel()
def scale(tile: Any, factor: Any, out: Any) -> None:
    """``out = factor * tile``; the two may be one."""
    for i in range(tile.shape[0]):
        for j in range(tile.shape[1]):
            out[i, j] = factor * tile[i, j]


@kernel()
def dot(x: Any, y: Any) -> Any:
    """Sum of products of two rows."""
    total = x.dtype.type(0)
    for j in range(x.shape[0]):
        total += x[j] * y[j]
    return total


@kernel()
def add_crossings(scores: Any, grads: Any, below: Any, out: Any) -> None:
    """Adds to ``out[t]`` what crosses t: ``scores[i, j] * grads[i, j]`` over all i >= t > j.

    Nothing is subtracted, so what crosses a decay of 0 is 0 exactly. ``below`` is a row of memory.
    """
    size = out.shape[0]
    for j in range(size):
        below[j] = 0
    for t in range(size - 1, 0, -1):
        total = out.dtype.type(0)
        for j in range(t):
            below[j] += scores[t, j] * grads[t, j]
            total += below[j]
        out[t] += total


@kernel()
def clear(row: Any) -> None:
    """``row = 0``."""
    for i in range(row.shape[0]):
        row[i] = 0


@kernel()
def add_leaving(ks: Any, sums: Any, steps: Any) -> None:
    """What steps before t put into the chunk's last state decays at t."""
    total = steps.dtype.type(0)
    for t in range(steps.shape[0]):
        steps[t] += total
        total += dot(ks[t], sums[t])


@kernel()
def add_entering(qs: Any, sums: Any, steps: Any) -> None:
    """What steps from t on read from the state before the chunk decays at t."""
    total = steps.dtype.type(0)
    for t in range(steps.shape[0] - 1, -1, -1):
        total += dot(qs[t], sums[t])
        steps[t] += total


@kernel()
def add_passing(before: Any, state: Any, factor: Any, steps: Any) -> None:
    """What passes from the state before the chunk to the one after it decays at every step."""
    total = steps.dtype.type(0)
    for n in range(before.shape[0]):
        total += dot(before[n], state[n])
    for t in range(steps.shape[0]):
        steps[t] += factor * total


@kernel()
def store_steps(steps: Any, mask: Any, b: int, t: int, h: int, x: Any) -> None:
    """Numbers to step t and on; 0 to steps that do not count."""
    for i in range(min(steps.shape[0], x.shape[1] - t)):
        x[b, t + i, h] = steps[i] if inside(mask, b, t + i, x.shape[1]) else 0
