"""The compiled backward pass of prefix softmax; tasks and blocks are those of the forward pass."""

from typing import Any

from graphseq.kernels import kernel, prange
from graphseq.sequence.ops.prefix_kernels import inverse_of, mix, scale, weigh


@kernel(parallel=True)
def backward_pass(
    scores: Any, values: Any, block: int, tops: Any, totals: Any, weighteds: Any, grad: Any,
    grad_total: Any, grad_weighted: Any, top: Any, total: Any, weighted: Any, decay: Any, work: Any,
    grad_scores: Any, grad_values: Any,
) -> None:  # fmt: skip
    """Fills ``grad_scores, grad_values``, and the gradient of the state before the first step.

    ``tops, totals, weighteds`` are the states before blocks, which the forward pass kept.
    ``grad_total`` ``[B, S, H]`` and ``grad_weighted`` ``[B, S, H, D]`` hold the gradient of the
    last state, at first in the last segment; in the end they hold those of the states before each
    segment. ``top, total, weighted, decay`` (ones) and ``work`` ``[B, S, 4, block + 1, H]`` are
    memory to work with.
    """
    batch, segments, heads = grad_total.shape
    time, blocks = scores.shape[1], tops.shape[1]
    if segments > 1:
        for task in prange(batch * (segments - 1)):
            b, i = task // (segments - 1), task % (segments - 1) + 1
            first, last = i * blocks // segments, (i + 1) * blocks // segments
            begin, end = first * block, min(last * block, time)
            _recall(
                tops[b, first],
                totals[b, first],
                weighteds[b, first],
                top[b, i],
                total[b, i],
                weighted[b, i],
            )
            _sum_up_back(
                scores[b, begin:end], values[b, begin:end], grad[b, begin:end], top[b, i],
                total[b, i], weighted[b, i], decay[b, i], grad_total[b, i - 1],
                grad_weighted[b, i - 1],
            )  # fmt: skip
        for b in range(batch):
            for i in range(segments - 1, 0, -1):
                for h in range(heads):
                    grad_total[b, i - 1, h] += decay[b, i, h] * grad_total[b, i, h]
                    mix(grad_weighted[b, i - 1, h], 1.0, decay[b, i, h], grad_weighted[b, i, h])
    for task in prange(batch * segments):
        b, i = task // segments, task % segments
        first, last = i * blocks // segments, (i + 1) * blocks // segments
        work[b, i, 3, 0] = 1.0  # no maximum changes behind the last step
        for n in range(last - 1, first - 1, -1):
            begin, end = n * block, min((n + 1) * block, time)
            _recall(
                tops[b, n], totals[b, n], weighteds[b, n], top[b, i], total[b, i], weighted[b, i]
            )
            _run_again(
                scores[b, begin:end], values[b, begin:end], grad[b, begin:end], top[b, i],
                total[b, i], weighted[b, i], work[b, i], grad_values[b, begin:end],
            )  # fmt: skip
            _run_back(
                values[b, begin:end], grad[b, begin:end], work[b, i], grad_total[b, i],
                grad_weighted[b, i], grad_scores[b, begin:end], grad_values[b, begin:end],
            )  # fmt: skip
        for h in range(heads):
            grad_total[b, i, h] *= work[b, i, 3, 0, h]
            scale(grad_weighted[b, i, h], work[b, i, 3, 0, h], grad_weighted[b, i, h])


@kernel()
def _recall(tops: Any, totals: Any, weighteds: Any, top: Any, total: Any, weighted: Any) -> None:
    for h in range(top.shape[0]):
        top[h], total[h] = tops[h], totals[h]
        scale(weighteds[h], 1.0, weighted[h])


@kernel()
def _sum_up_back(
    scores: Any, values: Any, grad: Any, top: Any, total: Any, weighted: Any, decay: Any,
    grad_total: Any, grad_weighted: Any,
) -> None:  # fmt: skip
    """What some steps give to the gradient of the state before them, and their decay together."""
    for t in range(scores.shape[0]):
        for h in range(scores.shape[1]):
            change, weight = weigh(scores[t, h], top[h])
            top[h] = max(top[h], scores[t, h])
            total[h] = change * total[h] + weight
            if weight != 0:
                mix(weighted[h], change, weight, values[t, h])
            decay[h] *= change
            inverse = inverse_of(total[h])
            along = _dot(weighted[h], grad[t, h])
            grad_total[h] -= decay[h] * inverse * (inverse * along)
            mix(grad_weighted[h], 1.0, decay[h] * inverse, grad[t, h])


@kernel()
def _run_again(
    scores: Any, values: Any, grad: Any, top: Any, total: Any, weighted: Any, work: Any,
    grad_values: Any,
) -> None:  # fmt: skip
    """The recurrence through a block, for what only it knows.

    Hardware prefetches memory forwards: this sweep brings into the cache what the one backwards
    needs, ``grad_values`` too, by setting them to zero.
    """
    weights, inverses, along, decays = work[0], work[1], work[2], work[3]
    for h in range(scores.shape[1]):
        decays[scores.shape[0], h] = decays[0, h]  # of the block behind this one
    for t in range(scores.shape[0]):
        for h in range(scores.shape[1]):
            decay, weight = weigh(scores[t, h], top[h])
            top[h] = max(top[h], scores[t, h])
            total[h] = decay * total[h] + weight
            if weight != 0:
                mix(weighted[h], decay, weight, values[t, h])
            decays[t, h], weights[t, h], inverses[t, h] = decay, weight, inverse_of(total[h])
            along[t, h] = _dot(weighted[h], grad[t, h])
            _clear(grad_values[t, h])


@kernel()
def _run_back(
    values: Any, grad: Any, work: Any, grad_total: Any, grad_weighted: Any, grad_scores: Any,
    grad_values: Any,
) -> None:  # fmt: skip
    """The gradient's recurrence back through a block."""
    weights, inverses, along, decays = work[0], work[1], work[2], work[3]
    for t in range(values.shape[0] - 1, -1, -1):
        for h in range(values.shape[1]):
            decay, weight, inverse = decays[t + 1, h], weights[t, h], inverses[t, h]
            grad_total[h] = decay * grad_total[h] - inverse * (inverse * along[t, h])
            grad_scores[t, h] = 0
            if weight == 0:
                mix(grad_weighted[h], decay, inverse, grad[t, h])
            else:
                across = _mix_dot_and_scale(
                    grad_weighted[h], decay, inverse, grad[t, h], values[t, h], weight,
                    grad_values[t, h],
                )  # fmt: skip
                grad_scores[t, h] = weight * (across + grad_total[h])


@kernel()
def _clear(x: Any) -> None:
    for d in range(x.shape[0]):
        x[d] = 0


@kernel()
def _dot(x: Any, y: Any) -> Any:
    total = 0.0
    for d in range(x.shape[0]):
        total += x[d] * y[d]
    return total


@kernel()
def _mix_dot_and_scale(
    x: Any, x_factor: Any, y_factor: Any, y: Any, z: Any, factor: Any, out: Any
) -> Any:
    total = 0.0
    for d in range(x.shape[0]):
        x[d] = x_factor * x[d] + y_factor * y[d]
        total += x[d] * z[d]
        out[d] = factor * x[d]
    return total
