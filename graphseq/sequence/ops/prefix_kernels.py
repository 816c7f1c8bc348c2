"""The compiled passes of prefix softmax; :mod:`graphseq.sequence.ops.prefix_softmax` derives them.

One pass over time per sequence, all heads of a group abreast: a step's heads lie side by side in
memory, so each array is streamed once from end to end, and the sums of a group stay in the cache.
Sums are float64 whatever the inputs: the time goes into moving the arrays, which stay as they are.
The exponential of a maximum that did not change is not computed.
"""

from typing import Any

import numpy as np

from graphseq.kernels import kernel, prange


@kernel(parallel=True)
def forward_pass(
    scores: Any, values: Any, groups: int, top: Any, total: Any, weighted: Any,
    out: Any, tops: Any, totals: Any,
) -> None:  # fmt: skip
    """Fills ``out``, ``tops``, ``totals``; ``top, total, weighted`` are the state, in and out."""
    batch, time, heads = scores.shape
    for task in prange(batch * groups):
        b, first, last = _span(task, groups, heads)
        for t in range(time):
            for h in range(first, last):
                s = scores[b, t, h]
                if s == -np.inf:
                    _normalise(weighted[b, h], _inverse(total[b, h]), out[b, t, h])
                elif s > top[b, h]:
                    decay = np.exp(np.float64(top[b, h]) - np.float64(s))
                    weight = 1.0 if s < np.inf else np.nan  # infinity minus infinity
                    total[b, h] = decay * total[b, h] + weight
                    top[b, h] = s
                    _rescale_and_add(
                        weighted[b, h], decay, weight, values[b, t, h],
                        _inverse(total[b, h]), out[b, t, h],
                    )  # fmt: skip
                else:
                    weight = np.exp(np.float64(s) - np.float64(top[b, h]))
                    total[b, h] += weight
                    _add(
                        weighted[b, h], weight, values[b, t, h],
                        _inverse(total[b, h]), out[b, t, h],
                    )  # fmt: skip
                tops[b, t, h] = top[b, h]
                totals[b, t, h] = total[b, h]


@kernel(parallel=True)
def backward_pass(
    scores: Any, values: Any, groups: int, top: Any, out: Any, tops: Any, totals: Any,
    grad: Any, grad_total: Any, grad_weighted: Any, grad_scores: Any, grad_values: Any,
) -> None:  # fmt: skip
    """Fills the last two; ``grad_total, grad_weighted`` are those of the state, in and out."""
    batch, time, heads = scores.shape
    for task in prange(batch * groups):
        b, first, last = _span(task, groups, heads)
        for t in range(time - 1, -1, -1):
            for h in range(first, last):
                inverse = _inverse(np.float64(totals[b, t, h]))
                if scores[b, t, h] == -np.inf:
                    grad_scores[b, t, h] = 0
                    grad_total[b, h] -= inverse * _pass_by(
                        grad_weighted[b, h], inverse, grad[b, t, h], out[b, t, h],
                        grad_values[b, t, h],
                    )  # fmt: skip
                else:
                    weight = np.exp(np.float64(scores[b, t, h]) - np.float64(tops[b, t, h]))
                    along, across = _pass_back(
                        grad_weighted[b, h], inverse, weight, grad[b, t, h], out[b, t, h],
                        values[b, t, h], grad_values[b, t, h],
                    )  # fmt: skip
                    grad_total[b, h] -= inverse * along
                    grad_scores[b, t, h] = weight * (across + grad_total[b, h])
                before = tops[b, t - 1, h] if t > 0 else top[b, h]
                if before != tops[b, t, h]:
                    decay = np.exp(np.float64(before) - np.float64(tops[b, t, h]))
                    grad_total[b, h] *= decay
                    _scale(grad_weighted[b, h], decay)


@kernel()
def _span(task: int, groups: int, heads: int) -> tuple[int, int, int]:
    """Sequence and range of heads of a task."""
    group = task % groups
    return task // groups, group * heads // groups, (group + 1) * heads // groups


@kernel()
def _inverse(total: Any) -> Any:
    """1 / total; 0 where nothing took part, so that the output there is 0 and constant."""
    return 1.0 / total if total != 0 else 0.0


@kernel()
def _normalise(weighted: Any, inverse: Any, out: Any) -> None:
    for d in range(out.shape[0]):
        out[d] = weighted[d] * inverse


@kernel()
def _add(weighted: Any, weight: Any, value: Any, inverse: Any, out: Any) -> None:
    for d in range(out.shape[0]):
        weighted[d] += weight * value[d]
        out[d] = weighted[d] * inverse


@kernel()
def _rescale_and_add(
    weighted: Any, decay: Any, weight: Any, value: Any, inverse: Any, out: Any
) -> None:
    for d in range(out.shape[0]):
        weighted[d] = decay * weighted[d] + weight * value[d]
        out[d] = weighted[d] * inverse


@kernel()
def _pass_by(weighted: Any, inverse: Any, grad: Any, out: Any, grad_value: Any) -> Any:
    """A step that took no part: its output has a gradient, its value has none."""
    along = 0.0
    for d in range(out.shape[0]):
        weighted[d] += inverse * grad[d]
        along += np.float64(grad[d]) * out[d]
        grad_value[d] = 0
    return along


@kernel()
def _pass_back(
    weighted: Any, inverse: Any, weight: Any, grad: Any, out: Any, value: Any, grad_value: Any
) -> tuple[Any, Any]:
    """One step back in time: ``<grad, out>`` and ``<d loss / d weighted, value>``."""
    along, across = 0.0, 0.0
    for d in range(out.shape[0]):
        weighted[d] += inverse * grad[d]
        along += np.float64(grad[d]) * out[d]
    for d in range(out.shape[0]):
        across += weighted[d] * value[d]
        grad_value[d] = weight * weighted[d]
    return along, across


@kernel()
def _scale(weighted: Any, factor: Any) -> None:
    for d in range(weighted.shape[0]):
        weighted[d] *= factor
