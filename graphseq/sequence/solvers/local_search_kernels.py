"""The compiled loops of the two local searches; :mod:`local_search` describes them."""

from typing import Any

from graphseq.kernels import kernel, prange


@kernel(parallel=True)
def all_two_opt(distances: Any, least: Any, orders: Any) -> None:
    """Improves ``orders`` [B, n] in place until no exchange of two edges gains ``least`` [B]."""
    for i in prange(distances.shape[0]):
        while _two_opt_pass(distances[i], least[i], orders[i]):
            pass


@kernel()
def _two_opt_pass(d: Any, least: Any, order: Any) -> Any:
    """Tries all pairs of edges once and makes each exchange that gains."""
    cities, found = order.shape[0], False
    for i in range(cities - 2):
        for j in range(i + 2, cities):
            a, b = order[i], order[i + 1]
            c, e = order[j], order[(j + 1) % cities]
            # j = n - 1 with i = 0 are neighbouring edges, for which the gain is exactly 0
            if d[a, b] + d[c, e] - d[a, c] - d[b, e] > least:
                _reverse(order, i + 1, j)
                found = True
    return found


@kernel()
def _reverse(order: Any, i: Any, j: Any) -> None:
    while i < j:
        order[i], order[j] = order[j], order[i]
        i += 1
        j -= 1


@kernel(parallel=True)
def all_or_opt(distances: Any, least: Any, longest: Any, orders: Any, scratch: Any) -> None:
    """Improves ``orders`` [B, n] in place until no segment gains ``least`` [B] by moving."""
    cities = orders.shape[1]
    for i in prange(distances.shape[0]):
        found = True
        while found:
            found = False
            for length in range(1, min(longest, cities - 2) + 1):
                for place in range(cities):
                    if _move_segment(distances[i], least[i], orders[i], place, length, scratch[i]):
                        found = True


@kernel()
def _move_segment(d: Any, least: Any, order: Any, place: Any, length: Any, scratch: Any) -> Any:
    """Moves the segment that begins at ``place`` to where it gains most, turned if that is better.

    Places count on over the end of ``order`` and begin again at its beginning.
    """
    cities = order.shape[0]
    head, tail = order[place], order[(place + length - 1) % cities]
    before, after = order[place - 1], order[(place + length) % cities]
    gap = d[before, head] + d[tail, after] - d[before, after]
    best, shift, turn = least, 0, False
    for k in range(1, cities - length):  # into the edge k cities further on
        p, q = order[(place + length + k - 1) % cities], order[(place + length + k) % cities]
        straight = gap + d[p, q] - (d[p, head] + d[tail, q])
        turned = gap + d[p, q] - (d[p, tail] + d[head, q])
        if straight > best:
            best, shift, turn = straight, k, False
        if turned > best:
            best, shift, turn = turned, k, True
    if shift > 0:
        _shift(order, place, length, shift, turn, scratch)
    return shift > 0


@kernel()
def _shift(order: Any, place: Any, length: Any, shift: Any, turn: Any, scratch: Any) -> None:
    cities = order.shape[0]
    for t in range(length):
        scratch[t] = order[(place + (length - 1 - t if turn else t)) % cities]
    for t in range(shift):
        order[(place + t) % cities] = order[(place + length + t) % cities]
    for t in range(length):
        order[(place + shift + t) % cities] = scratch[t]
