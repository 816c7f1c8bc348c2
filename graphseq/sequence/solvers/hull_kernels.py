"""The compiled loop of the convex hulls; :mod:`hull` describes it."""

from typing import Any

from graphseq.kernels import kernel, prange

# Twice the rounding of the difference of two products of differences, relative to their sizes, and
# what can get lost where the products are too small for a full mantissa.
_RELATIVE, _ABSOLUTE = 1e-15, 1e-290


@kernel(parallel=True)
def hulls(points: Any, lengths: Any, order: Any, corners: Any, sizes: Any, doubtful: Any) -> None:
    """Fills ``corners`` [B, n + 1], of which the first ``sizes`` [B] count, and ``doubtful`` [B].

    ``order`` [B, n] is scratch. Doubtful hulls need exact arithmetic: a turn was too flat.
    """
    for i in prange(points.shape[0]):
        count = _sort(points[i], lengths[i], order[i])
        doubtful[i] = 0
        lower = _chain(points[i], order[i], 0, count - 1, 1, 0, corners[i], doubtful[i : i + 1])
        if count == 1:
            sizes[i] = 1
            continue
        # The upper chain begins where the lower one ends, and ends where that began.
        upper = _chain(
            points[i], order[i], count - 1, 0, -1, lower - 1, corners[i], doubtful[i : i + 1]
        )
        sizes[i] = upper - 1
        _rotate(corners[i], sizes[i], order[i])


@kernel()
def _sort(points: Any, length: Any, order: Any) -> Any:
    """Sorts points by x, y and index (Shell's sort), drops repeated ones; how many are left."""
    for i in range(length):
        order[i] = i
    gap = 1
    while gap < length:
        gap = 3 * gap + 1
    while gap > 1:
        gap //= 3
        for i in range(gap, length):
            here, j = order[i], i
            while j >= gap and _before(points, here, order[j - gap]):
                order[j] = order[j - gap]
                j -= gap
            order[j] = here
    count = 1
    for i in range(1, length):
        a, b = order[i], order[count - 1]
        if points[a, 0] != points[b, 0] or points[a, 1] != points[b, 1]:
            order[count] = a
            count += 1
    return count


@kernel()
def _before(points: Any, a: Any, b: Any) -> Any:
    if points[a, 0] != points[b, 0]:
        return points[a, 0] < points[b, 0]
    if points[a, 1] != points[b, 1]:
        return points[a, 1] < points[b, 1]
    return a < b


@kernel()
def _chain(
    points: Any, order: Any, first: Any, last: Any, step: Any, bottom: Any, corners: Any,
    doubtful: Any,
) -> Any:  # fmt: skip
    """Puts on ``corners`` from place ``bottom`` on what turns left; where it ends."""
    top = bottom
    at = first
    while True:
        c = order[at]
        while top - bottom > 1:
            a, b = corners[top - 2], corners[top - 1]
            left = (points[b, 0] - points[a, 0]) * (points[c, 1] - points[a, 1])
            right = (points[b, 1] - points[a, 1]) * (points[c, 0] - points[a, 0])
            if abs(left - right) <= _RELATIVE * (abs(left) + abs(right)) + _ABSOLUTE:
                doubtful[0] = 1
            if left > right:
                break
            top -= 1
        corners[top] = c
        top += 1
        if at == last:
            return top
        at += step


@kernel()
def _rotate(corners: Any, size: Any, scratch: Any) -> None:
    """Lets the corners begin with the lowest index."""
    lowest = 0
    for i in range(size):
        scratch[i] = corners[i]
        if corners[i] < corners[lowest]:
            lowest = i
    for i in range(size):
        corners[i] = scratch[(lowest + i) % size]
