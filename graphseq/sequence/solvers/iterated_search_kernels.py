"""The compiled loops of the iterated local search; :mod:`best_tour` describes it.

A tour is ``order`` (city at each place) and ``place`` (place of each city), both cyclic. ``queue``
is a ring of cities whose surroundings changed, ``waiting`` says which cities it holds.
"""

from typing import Any

from graphseq.kernels import kernel


@kernel()
def iterate(
    d: Any, near: Any, least: Any, draws: Any, order: Any, place: Any, kept: Any, queue: Any,
    waiting: Any,
) -> None:  # fmt: skip
    """Improves ``order`` in place: descends, then kicks, descends and keeps what is not longer."""
    cities = order.shape[0]
    for c in range(cities):
        place[order[c]] = c
        queue[c] = order[c]
        waiting[c] = 1
    _descend(d, near, least, order, place, queue, waiting, cities)
    kept[:] = order
    length = _length(d, order)
    for k in range(draws.shape[0]):
        held = _kick(draws[k], order, place, queue, waiting)
        _descend(d, near, least, order, place, queue, waiting, held)
        now = _length(d, order)
        if now <= length:
            length = now
            kept[:] = order
        else:
            for c in range(cities):
                order[c] = kept[c]
                place[kept[c]] = c


@kernel()
def _length(d: Any, order: Any) -> Any:
    total = d[order[-1], order[0]]
    for c in range(order.shape[0] - 1):
        total += d[order[c], order[c + 1]]
    return total


@kernel()
def _kick(draw: Any, order: Any, place: Any, queue: Any, waiting: Any) -> Any:
    """Swaps two neighbouring short segments, a double bridge that 2-opt cannot undo at once."""
    cities = order.shape[0]
    most = min(cities // 2 - 1, 50)
    begin, one, two = draw[0] % cities, 1 + draw[1] % most, 1 + draw[2] % most
    _swap(order, place, begin, one, two)
    held = 0
    for at in (begin - 1, begin, begin + two - 1, begin + two, begin + one + two - 1,
               begin + one + two):  # fmt: skip
        held = _call(order[at % cities], queue, waiting, 0, held)
    return held


@kernel()
def _swap(order: Any, place: Any, begin: Any, one: Any, two: Any) -> None:
    """Swaps the segment of ``one`` cities at ``begin`` with the ``two`` behind it, by reversals."""
    _turn(order, place, begin, one)
    _turn(order, place, begin + one, two)
    _turn(order, place, begin, one + two)


@kernel()
def _turn(order: Any, place: Any, begin: Any, count: Any) -> None:
    """Turns round ``count`` cities from ``begin`` on, or all others: the same cyclic tour."""
    cities = order.shape[0]
    if 2 * count > cities:
        begin, count = begin + count, cities - count
    i, j = begin % cities, (begin + count - 1) % cities
    for _ in range(count // 2):
        a, b = order[i], order[j]
        order[i], order[j] = b, a
        place[b], place[a] = i, j
        i = i + 1 if i + 1 < cities else 0
        j = j - 1 if j > 0 else cities - 1


@kernel()
def _call(city: Any, queue: Any, waiting: Any, first: Any, held: Any) -> Any:
    """Puts a city at the end of the queue, unless it waits already; how many wait then."""
    if waiting[city] == 1:
        return held
    waiting[city] = 1
    queue[(first + held) % queue.shape[0]] = city
    return held + 1


@kernel()
def _descend(
    d: Any, near: Any, least: Any, order: Any, place: Any, queue: Any, waiting: Any, held: Any
) -> None:
    """Makes moves that gain, around the ``held`` cities of the queue, until it is empty."""
    first, cities = 0, order.shape[0]
    # The queue begins at its first place; a move calls the cities at the ends of its edges.
    while held > 0:
        city = queue[first]
        first = first + 1 if first + 1 < cities else 0
        held -= 1
        waiting[city] = 0
        for way in (1, -1):
            gain, c, f, length = _best_move(d, near, order, place, city, way)
            while gain > least:
                held = _make(order, place, queue, waiting, first, held, city, way, c, f, length)
                gain, c, f, length = _best_move(d, near, order, place, city, way)


@kernel()
def _next(order: Any, place: Any, city: Any, way: Any) -> Any:
    """The city ``way`` places further on, for ``way`` between -n and n."""
    cities, at = order.shape[0], place[city] + way
    return order[at - cities if at >= cities else at + cities if at < 0 else at]


@kernel()
def _best_move(d: Any, near: Any, order: Any, place: Any, a: Any, way: Any) -> Any:
    """The best move that replaces edge (a, b) by one from a to a near city c; b lies on ``way``.

    Length 0: the edge (c, f) goes too and (b, f) comes, with f on the same way from c. Length
    L > 0: the L cities that end in a move between c and its neighbour f, with a next to c.
    """
    b = _next(order, place, a, way)
    gain, city, far, length = 0.0, -1, -1, 0
    for t in range(near.shape[1]):
        c = near[a, t]
        short = d[a, b] - d[a, c]
        if short <= 0:
            break
        f = _next(order, place, c, way)
        if short + d[c, f] - d[b, f] > gain:
            gain, city, far, length = short + d[c, f] - d[b, f], c, f, 0
        inside = (place[a] - place[c]) * way % order.shape[0]  # places from c back to a
        for count in range(1, min(3, inside) + 1):  # c is none of the count cities
            end = _next(order, place, a, way * (1 - count))
            before = _next(order, place, a, -way * count)
            closed = short + d[end, before] - d[before, b]
            for side in (1, -1):
                f = _next(order, place, c, side)
                # (c, f) must be an edge of what is left when the cities are taken out
                if f == a or f == end:
                    continue
                if closed + d[c, f] - d[end, f] > gain:
                    gain, city, far, length = closed + d[c, f] - d[end, f], c, f, count
    return gain, city, far, length


@kernel()
def _make(
    order: Any, place: Any, queue: Any, waiting: Any, first: Any, held: Any, a: Any, way: Any,
    c: Any, f: Any, length: Any,
) -> Any:  # fmt: skip
    """Makes a move of :func:`_best_move` and calls the ends of its edges; how many wait then."""
    cities, b = order.shape[0], _next(order, place, a, way)
    if length == 0:
        end, before = b, f
        begin = b if way == 1 else a
        last = c if way == 1 else f
        _turn(order, place, place[begin], (place[last] - place[begin]) % cities + 1)
    else:
        end = _next(order, place, a, way * (1 - length))
        before = _next(order, place, a, -way * length)
        ahead = _next(order, place, c, 1) == f  # whether f follows c
        begin = place[a] if way == -1 else place[end]
        behind = (place[f if ahead else c] - begin - length) % cities
        # It keeps its direction if a is its first city and c lies before the new place, or
        # neither is so.
        _carry(order, place, begin, length, behind, ahead == (way == -1))
    for city in (a, b, c, f, end, before):
        held = _call(city, queue, waiting, first, held)
    return held


@kernel()
def _carry(order: Any, place: Any, begin: Any, length: Any, behind: Any, keep: Any) -> None:
    """Moves ``length`` cities from ``begin`` over ``behind`` cities, or the other way round.

    Of the two ways to the same gap, the shorter one: only the last turn may be so long that
    :func:`_turn` turns the rest of the tour instead, which would mirror all places.
    """
    cities = order.shape[0]
    if keep:
        _turn(order, place, begin, length)
    if 2 * behind <= cities - length:
        _turn(order, place, begin + length, behind)
        _turn(order, place, begin, length + behind)
    else:
        ahead = cities - length - behind
        _turn(order, place, begin - ahead, ahead)
        _turn(order, place, begin - ahead, length + ahead)
