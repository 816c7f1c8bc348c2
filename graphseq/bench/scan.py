"""Ops along time, forward and backward, against plain torch under autograd.

``prefix_softmax`` (4 sequences of 2048 steps, 8 heads of 64): with the scores given, ``paper`` is
the doubling scan of the publication, and ``cumsum`` the two running sums that are right only for
moderate scores; with the scores' computation included, ``strong`` is fused causal attention whose
query is written out. ``linear`` and ``ssd`` are the same sizes without and with a decay: ``paper``
goes step by step, ``strong`` is the product with the T x T matrix. ``s6`` (256 channels of 16
states) has the step loop as ``paper`` and a doubling scan as ``strong``, at several lengths.
``growth`` has the milliseconds per step of prefix softmax as one sequence gets longer, and
``memory`` is in :mod:`graphseq.bench.scan_memory`.

No speed is reported unless values and gradients of all sides agree with the naive twin in float64.
Where the twin of prefix softmax would take O(T^2), it is asked on a short sequence, and on the long
one a pair of running sums in float64, which the twin has confirmed there, takes its place.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from torch import Tensor

from graphseq.bench import scan_memory
from graphseq.bench.scan_inputs import (
    BATCH,
    CHANNELS,
    HEADS,
    STATES,
    TIME,
    WIDTH,
    Function,
    both,
    exact,
    naive_outer,
    naive_selective,
    normal,
    outer,
    outer_inputs,
    prefix,
    prefix_inputs,
    s6_inputs,
    scored_prefix,
    selective,
)
from graphseq.bench.scan_reference import (
    broadcast_attention,
    cumulative_softmax,
    doubling_softmax,
    masked_product,
    outer_steps,
    selective_doubling,
    selective_steps,
    summed_scores,
)
from graphseq.bench.timing import (
    Row,
    compare,
    interleaved,
    lone_row,
    max_error,
    refuse_disagreement,
)
from graphseq.sequence.ops import naive

S6_TIMES = (128, 256, 512, 1024, 2048)
GROWTH_TIMES = (1024, 2048, 4096, 8192, 16_384, 32_768, 65_536)
SHORT = 96
"""Steps at which prefix softmax is compared with its O(T^2) twin."""
TOLERANCE = 1e-4  # float32 sums over all steps, relative to the largest result


def rows(case: str | None = None, seconds: float = 5.0, shrink: int = 1) -> list[Row]:
    """Times one case or all, with so many seconds for each comparison.

    Args:
        case: ``prefix_softmax``, ``growth``, ``linear``, ``ssd``, ``s6`` or ``memory``.
        seconds: for each comparison.
        shrink: divides the lengths of the sequences.

    Raises:
        ValueError: if there is no such case, or results disagree.
    """
    if case is not None and case not in CASES:
        raise ValueError(f"bench scan: no case {case!r}; there are {', '.join(CASES)}")
    return [row for name in ([case] if case else CASES) for row in CASES[name](seconds, shrink)]


def _prefix(seconds: float, shrink: int) -> list[Row]:
    time = TIME // shrink
    scores, values = prefix_inputs(BATCH, time)
    query, keys = normal(2, HEADS, WIDTH), normal(3, *values.shape)
    case, short = f"B={BATCH} H={HEADS} D={WIDTH} T={time}", _short_error()
    return [
        *_compare(
            "prefix_softmax", case, prefix,
            {"paper": doubling_softmax, "cumsum": cumulative_softmax},
            cumulative_softmax, (scores, values), seconds, short,
        ),
        *_compare(
            "prefix_softmax with scores", case, scored_prefix, {"strong": broadcast_attention},
            lambda q, k, v: cumulative_softmax(summed_scores(q, k), v),
            (query, keys, values), seconds, short,
        ),
    ]  # fmt: skip


def _growth(seconds: float, shrink: int) -> list[Row]:
    """One sequence, longer and longer, compared with itself alone."""
    op, short = "prefix_softmax growth", _short_error()
    calls, errors = {}, {}
    for time in (length // shrink for length in GROWTH_TIMES):
        case, inputs = f"T={time}", prefix_inputs(1, time)
        grad = normal(9, *inputs[1].shape)
        calls[case] = partial(both, prefix, inputs, grad)
        expected = exact(cumulative_softmax, inputs, grad)
        errors[case] = max(short, max_error(calls[case](), expected))
        refuse_disagreement(op, case, errors[case], TOLERANCE)
    found = []
    for case, spent in interleaved(calls, seconds).items():
        steps = int(case.removeprefix("T="))
        found.append(lone_row(op, case, spent, errors[case], ms_per_step=spent / steps))
    return found


def _outer(op: str, seconds: float, shrink: int) -> list[Row]:
    time = TIME // shrink
    return _compare(
        op, f"B={BATCH} H={HEADS} N=P={WIDTH} T={time}", outer,
        {"paper": outer_steps, "strong": masked_product}, naive_outer,
        outer_inputs(BATCH, time, decaying=op == "ssd"), seconds,
    )  # fmt: skip


def _s6(seconds: float, shrink: int) -> list[Row]:
    found = []
    for time in (length // shrink for length in S6_TIMES):
        found += _compare(
            "s6", f"B={BATCH} d={CHANNELS} n={STATES} T={time}", selective,
            {"paper": selective_steps, "strong": selective_doubling}, naive_selective,
            s6_inputs(BATCH, time), seconds,
        )  # fmt: skip
    return found


CASES: dict[str, Callable[[float, int], list[Row]]] = {
    "prefix_softmax": _prefix,
    "growth": _growth,
    "linear": partial(_outer, "linear"),
    "ssd": partial(_outer, "ssd"),
    "s6": _s6,
    "memory": lambda seconds, shrink: scan_memory.rows(shrink),
}


def _compare(
    op: str,
    case: str,
    ours: Function,
    references: Mapping[str, Function],
    twin: Function,
    inputs: Sequence[Tensor],
    seconds: float,
    error: float = 0.0,
) -> list[Row]:
    """Rows of forward and backward; ``error`` is that of an earlier check."""
    grad = normal(9, *ours(*inputs).shape)
    expected = exact(twin, inputs, grad)
    calls = {"ours": partial(both, ours, inputs, grad)}
    calls |= {name: partial(both, function, inputs, grad) for name, function in references.items()}
    error = max(error, *(max_error(call(), expected) for call in calls.values()))
    return compare(
        op, case, calls.pop("ours"), calls, error=error, tolerance=TOLERANCE, seconds=seconds
    )


def _short_error() -> float:
    """Disagreement of prefix softmax, and of what stands in for its twin, with the twin itself."""
    inputs = prefix_inputs(BATCH, SHORT)
    grad = normal(9, *inputs[1].shape)
    expected = exact(naive.prefix_softmax, inputs, grad)
    found = both(prefix, inputs, grad), exact(cumulative_softmax, inputs, grad)
    return max(max_error(each, expected) for each in found)
