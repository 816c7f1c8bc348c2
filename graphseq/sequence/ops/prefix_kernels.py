"""The compiled forward pass of prefix softmax, and what it shares with the backward pass.

:mod:`graphseq.sequence.ops.prefix_softmax` has the equations. A task is one segment of time of one
sequence, with all its heads: a step's heads lie side by side in memory, so every array is streamed
from end to end. (Splitting heads over tasks leaves gaps that the hardware does not prefetch over,
which costs a factor of three.) A batch with fewer sequences than threads is cut into segments: a
first sweep finds the state that each segment starts from, a second one runs them side by side.

Time is also cut into blocks, of which segments consist, and the state before each block is kept.
From there the backward pass runs once more through the block, because reading the outputs would
take longer, and because differences of rounded outputs would cost digits.

Sums are float64 whatever the inputs are: the time goes into moving the arrays, which stay as they
are. No exponential is computed for a maximum that stays.
"""

from typing import Any

import numpy as np

from graphseq.kernels import kernel, prange


@kernel(parallel=True)
def forward_pass(
    scores: Any, values: Any, block: int, top: Any, total: Any, weighted: Any,
    out: Any, tops: Any, totals: Any, weighteds: Any,
) -> None:  # fmt: skip
    """Fills ``out``, and with the states before the N blocks ``tops, totals, weighteds``.

    ``top, total`` ``[B, S, H]`` and ``weighted`` ``[B, S, H, D]`` hold the state, at first in
    segment 0; in the end they hold those after each of the S segments. The states before blocks
    are ``[B, N, H], [B, N, H], [B, N, H, D]``.
    """
    batch, segments, heads = top.shape
    time, blocks = scores.shape[1], tops.shape[1]
    if segments > 1:
        for task in prange(batch * (segments - 1)):
            b, i = task // (segments - 1), task % (segments - 1)
            begin, end = i * blocks // segments * block, (i + 1) * blocks // segments * block
            _sum_up(
                scores[b, begin:end], values[b, begin:end],
                top[b, i + 1], total[b, i + 1], weighted[b, i + 1],
            )  # fmt: skip
        for b in range(batch):
            for i in range(segments - 1):
                for h in range(heads):
                    decay, weight = weigh(top[b, i + 1, h], top[b, i, h])
                    top[b, i + 1, h] = max(top[b, i + 1, h], top[b, i, h])
                    total[b, i + 1, h] = weight * total[b, i + 1, h] + decay * total[b, i, h]
                    mix(weighted[b, i + 1, h], weight, decay, weighted[b, i, h])
    for task in prange(batch * segments):
        b, i = task // segments, task % segments
        first, last = i * blocks // segments, (i + 1) * blocks // segments
        begin, end = first * block, min(last * block, time)
        _run(
            scores[b, begin:end], values[b, begin:end], block, top[b, i], total[b, i],
            weighted[b, i], out[b, begin:end], tops[b, first:last], totals[b, first:last],
            weighteds[b, first:last],
        )  # fmt: skip


@kernel()
def weigh(score: Any, top: Any) -> tuple[Any, Any]:
    """Factors of what was summed before, relative to ``top``, and of what comes with ``score``."""
    if score > top:
        weight = 1.0 if score < np.inf else np.nan  # as infinity minus infinity
        return np.exp(np.float64(top) - np.float64(score)), weight
    if score == -np.inf:
        return 1.0, 0.0
    return 1.0, np.exp(np.float64(score) - np.float64(top))


@kernel()
def _sum_up(scores: Any, values: Any, top: Any, total: Any, weighted: Any) -> None:
    """The state after some steps, without outputs."""
    for t in range(scores.shape[0]):
        for h in range(scores.shape[1]):
            if scores[t, h] == -np.inf:
                continue
            decay, weight = weigh(scores[t, h], top[h])
            top[h] = max(top[h], scores[t, h])
            total[h] = decay * total[h] + weight
            mix(weighted[h], decay, weight, values[t, h])


@kernel()
def _run(
    scores: Any, values: Any, block: int, top: Any, total: Any, weighted: Any,
    out: Any, tops: Any, totals: Any, weighteds: Any,
) -> None:  # fmt: skip
    """The recurrence, with outputs."""
    for t in range(scores.shape[0]):
        for h in range(scores.shape[1]):
            if t % block == 0:
                tops[t // block, h], totals[t // block, h] = top[h], total[h]
                scale(weighted[h], 1.0, weighteds[t // block, h])
            if scores[t, h] == -np.inf:
                scale(weighted[h], inverse_of(total[h]), out[t, h])
            else:
                decay, weight = weigh(scores[t, h], top[h])
                top[h] = max(top[h], scores[t, h])
                total[h] = decay * total[h] + weight
                _mix_and_scale(
                    weighted[h], decay, weight, values[t, h], inverse_of(total[h]), out[t, h]
                )


@kernel()
def inverse_of(total: Any) -> Any:
    """1 / total; 0 where nothing took part, so that the output there is 0 and constant."""
    return 1.0 / total if total != 0 else 0.0


# Loops over channels. A loop with so many arrays that it takes more than eight comparisons to see
# that none overlaps with one that is written is not vectorised: hence two or three loops in a row.


@kernel()
def scale(x: Any, factor: Any, out: Any) -> None:
    """``out = factor * x``."""
    for d in range(x.shape[0]):
        out[d] = factor * x[d]


@kernel()
def mix(x: Any, x_factor: Any, y_factor: Any, y: Any) -> None:
    """``x = x_factor * x + y_factor * y``."""
    for d in range(x.shape[0]):
        x[d] = x_factor * x[d] + y_factor * y[d]


@kernel()
def _mix_and_scale(x: Any, x_factor: Any, y_factor: Any, y: Any, factor: Any, out: Any) -> None:
    for d in range(x.shape[0]):
        x[d] = x_factor * x[d] + y_factor * y[d]
        out[d] = factor * x[d]
