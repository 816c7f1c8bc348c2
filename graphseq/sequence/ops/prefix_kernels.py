"""The compiled passes of prefix softmax; :mod:`graphseq.sequence.ops.prefix_softmax` derives them.

A task is one segment of time of one sequence, with all its heads: a step's heads lie side by side
in memory, so every array is streamed from end to end. (Splitting heads over tasks leaves gaps that
the hardware does not prefetch over, which costs the forward pass a factor of three.) A batch with
fewer sequences than threads is cut into segments: a first sweep finds the state that each segment
starts from, a second one runs them side by side.

Sums are float64 whatever the inputs are: the time goes into moving the arrays, which stay as they
are. No exponential is computed for a maximum that stays.
"""

from typing import Any

import numpy as np

from graphseq.kernels import kernel, prange


@kernel(parallel=True)
def forward_pass(
    scores: Any, values: Any, top: Any, total: Any, weighted: Any, out: Any, tops: Any, totals: Any
) -> None:
    """Fills ``out``, and ``tops, totals``, the maximum and sum at every step.

    ``top, total`` ``[B, S, H]`` and ``weighted`` ``[B, S, H, D]`` hold the state, at first in
    segment 0; in the end they hold those after each of the S segments.
    """
    batch, segments, heads = top.shape
    time = scores.shape[1]
    if segments > 1:
        for task in prange(batch * (segments - 1)):
            b, i = task // (segments - 1), task % (segments - 1)
            begin, end = i * time // segments, (i + 1) * time // segments
            _sum_up(
                scores[b, begin:end], values[b, begin:end],
                top[b, i + 1], total[b, i + 1], weighted[b, i + 1],
            )  # fmt: skip
        for b in range(batch):
            for i in range(segments - 1):
                for h in range(heads):
                    decay, weight = _weigh(top[b, i + 1, h], top[b, i, h])
                    top[b, i + 1, h] = max(top[b, i + 1, h], top[b, i, h])
                    total[b, i + 1, h] = weight * total[b, i + 1, h] + decay * total[b, i, h]
                    _mix(weighted[b, i + 1, h], weight, decay, weighted[b, i, h])
    for task in prange(batch * segments):
        b, i = task // segments, task % segments
        begin, end = i * time // segments, (i + 1) * time // segments
        _run(
            scores[b, begin:end], values[b, begin:end], top[b, i], total[b, i], weighted[b, i],
            out[b, begin:end], tops[b, begin:end], totals[b, begin:end],
        )  # fmt: skip


@kernel()
def _weigh(score: Any, top: Any) -> tuple[Any, Any]:
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
            decay, weight = _weigh(scores[t, h], top[h])
            top[h] = max(top[h], scores[t, h])
            total[h] = decay * total[h] + weight
            _mix(weighted[h], decay, weight, values[t, h])


@kernel()
def _run(
    scores: Any, values: Any, top: Any, total: Any, weighted: Any, out: Any, tops: Any, totals: Any
) -> None:
    """The recurrence, with outputs."""
    for t in range(scores.shape[0]):
        for h in range(scores.shape[1]):
            if scores[t, h] == -np.inf:
                _scale(weighted[h], _inverse(total[h]), out[t, h])
            else:
                decay, weight = _weigh(scores[t, h], top[h])
                top[h] = max(top[h], scores[t, h])
                total[h] = decay * total[h] + weight
                _mix_and_divide(
                    weighted[h], decay, weight, values[t, h], _inverse(total[h]), out[t, h]
                )
            tops[t, h] = top[h]
            totals[t, h] = total[h]


@kernel(parallel=True)
def backward_pass(
    scores: Any, values: Any, out: Any, tops: Any, totals: Any, grad: Any,
    grad_total: Any, grad_weighted: Any, along: Any, grad_scores: Any, grad_values: Any,
) -> None:  # fmt: skip
    """Fills ``grad_scores, grad_values``, and the gradient of the state after the first step.

    ``grad_total`` ``[B, S, H]`` and ``grad_weighted`` ``[B, S, K + 1, H, D]`` hold the gradient of
    the last state, at first in (the first slot of) the last segment; in the end they hold those of
    the states after the first step of each segment. K is the number of steps that are handled
    together; ``along`` ``[B, S, K, H]`` is memory to work with.
    """
    batch, segments, heads = grad_total.shape
    time = scores.shape[1]
    if segments > 1:
        for task in prange(batch * (segments - 1)):
            b, i = task // (segments - 1), task % (segments - 1) + 1
            begin, end = i * time // segments, (i + 1) * time // segments
            _sum_up_back(
                out[b, begin:end], tops[b, begin - 1 : end], totals[b, begin:end],
                grad[b, begin:end], grad_total[b, i - 1], grad_weighted[b, i - 1, 0],
            )  # fmt: skip
        for b in range(batch):
            for i in range(segments - 1, 0, -1):
                before, end = i * time // segments - 1, (i + 1) * time // segments - 1
                for h in range(heads):
                    decay = _decay(tops[b, before, h], tops[b, end, h])
                    grad_total[b, i - 1, h] += decay * grad_total[b, i, h]
                    _mix(grad_weighted[b, i - 1, 0, h], 1.0, decay, grad_weighted[b, i, 0, h])
    for task in prange(batch * segments):
        b, i = task // segments, task % segments
        begin, end = i * time // segments, (i + 1) * time // segments
        _run_back(
            scores[b, begin:end], values[b, begin:end], out[b, begin:end], tops[b, begin:end],
            totals[b, begin:end], grad[b, begin:end], grad_total[b, i], grad_weighted[b, i],
            along[b, i], grad_scores[b, begin:end], grad_values[b, begin:end],
        )  # fmt: skip


@kernel()
def _sum_up_back(
    out: Any, tops: Any, totals: Any, grad: Any, grad_total: Any, grad_weighted: Any
) -> None:
    """What some steps give to the gradient of the state before them, whose maxima tops[0] are."""
    for t in range(out.shape[0]):
        for h in range(out.shape[1]):
            weight = _decay(tops[0, h], tops[t + 1, h]) * _inverse(np.float64(totals[t, h]))
            grad_total[h] -= weight * _dot(grad[t, h], out[t, h])
            _mix(grad_weighted[h], 1.0, weight, grad[t, h])


@kernel()
def _run_back(
    scores: Any, values: Any, out: Any, tops: Any, totals: Any, grad: Any, grad_total: Any,
    grad_weighted: Any, along: Any, grad_scores: Any, grad_values: Any,
) -> None:  # fmt: skip
    """The recurrence back in time, K steps at a time.

    Only the middle sweep, over what the first left in the cache, really goes backwards: the others
    visit memory in the order in which the hardware prefetches it.
    """
    time, heads = scores.shape
    block = along.shape[0]
    for end in range(time, 0, -block):
        begin = max(end - block, 0)
        for t in range(begin, end):
            for h in range(heads):
                along[t - begin, h] = _dot(grad[t, h], out[t, h])
        for h in range(heads):
            _scale(grad_weighted[0, h], 1.0, grad_weighted[end - begin, h])
        for t in range(end - 1, begin - 1, -1):
            for h in range(heads):
                k, inverse = t - begin, _inverse(np.float64(totals[t, h]))
                decay = _decay(tops[t, h], tops[min(t + 1, time - 1), h])
                grad_total[h] = decay * grad_total[h] - inverse * along[k, h]
                along[k, h] = grad_total[h]
                _sum_of_two(
                    grad_weighted[k, h], decay, grad_weighted[k + 1, h], inverse, grad[t, h]
                )
        for t in range(begin, end):
            for h in range(heads):
                _, weight = _weigh(scores[t, h], tops[t, h])
                across = _dot_and_scale(
                    grad_weighted[t - begin, h], values[t, h], weight, grad_values[t, h]
                )
                across += along[t - begin, h]
                grad_scores[t, h] = weight * across if weight != 0 else 0.0


@kernel()
def _decay(before: Any, after: Any) -> Any:
    return 1.0 if before == after else np.exp(np.float64(before) - np.float64(after))


@kernel()
def _inverse(total: Any) -> Any:
    """1 / total; 0 where nothing took part, so that the output there is 0 and constant."""
    return 1.0 / total if total != 0 else 0.0


# Loops over channels, each with few arrays: before a vectorised loop, machine code checks that what
# it writes overlaps with nothing else, and with too many pairs to check it is not vectorised.


@kernel()
def _mix(x: Any, x_factor: Any, y_factor: Any, y: Any) -> None:
    for d in range(x.shape[0]):
        x[d] = x_factor * x[d] + y_factor * y[d]


@kernel()
def _mix_and_divide(x: Any, x_factor: Any, y_factor: Any, y: Any, inverse: Any, ratio: Any) -> None:
    for d in range(x.shape[0]):
        x[d] = x_factor * x[d] + y_factor * y[d]
        ratio[d] = x[d] * inverse


@kernel()
def _sum_of_two(out: Any, x_factor: Any, x: Any, y_factor: Any, y: Any) -> None:
    for d in range(x.shape[0]):
        out[d] = x_factor * x[d] + y_factor * y[d]


@kernel()
def _scale(x: Any, factor: Any, out: Any) -> None:
    for d in range(x.shape[0]):
        out[d] = factor * x[d]


@kernel()
def _dot(x: Any, y: Any) -> Any:
    total = 0.0
    for d in range(x.shape[0]):
        total += np.float64(x[d]) * y[d]
    return total


@kernel()
def _dot_and_scale(x: Any, y: Any, factor: Any, scaled: Any) -> Any:
    total = 0.0
    for d in range(x.shape[0]):
        total += x[d] * y[d]
        scaled[d] = factor * x[d]
    return total
