"""The compiled passes of graph attention; :mod:`graphseq.graph.ops.graph_attention` derives them.

Exponentials come in loops of their own over a row's entries and heads, which lie side by side, so
that they fill vector registers. All heads of a neighbour are read together: one jump in memory.
"""

from typing import Any

import numpy as np

from graphseq.graph.ops.softmax_kernels import exp
from graphseq.kernels import kernel, prange


@kernel(parallel=True)
def forward_rows(
    groups: Any, rowptr: Any, col: Any, h: Any, source: Any, target: Any, negative_slope: float,
    lse: Any, out: Any,
) -> None:  # fmt: skip
    """Fills ``lse`` [R, heads] (-inf for an empty row) and ``out`` [R, heads, D]."""
    heads = h.shape[1]
    for group in prange(groups.shape[0] - 1):
        longest = 1
        for i in range(groups[group], groups[group + 1]):
            longest = max(longest, rowptr[i + 1] - rowptr[i])
        score, weight = np.empty((longest, heads)), np.empty((longest, heads), h.dtype)
        for i in range(groups[group], groups[group + 1]):
            begin, size = rowptr[i], rowptr[i + 1] - rowptr[i]
            for k in range(size):
                j = np.uint32(col[begin + k])
                for a in range(heads):
                    score[k, a] = _score(source[j, a], target[i, a], negative_slope)
            _normalise(score[:size], weight[:size], lse[i])
            out[i] = 0
            for k in range(0, size - 1, 2):
                j, j2 = np.uint32(col[begin + k]), np.uint32(col[begin + k + 1])
                _add_two(weight[k], h[j], weight[k + 1], h[j2], out[i])
            if size % 2 == 1:
                _add_one(weight[size - 1], h[np.uint32(col[begin + size - 1])], out[i])


@kernel(parallel=True)
def row_gradients(
    groups: Any, rowptr: Any, col: Any, h: Any, source: Any, target: Any, negative_slope: float,
    lse: Any, out: Any, grad: Any, both: Any, grad_target: Any,
) -> None:  # fmt: skip
    """Fills ``both`` [nnz, 2, heads], alpha and ds of each entry, and ``grad_target``."""
    heads = h.shape[1]
    for group in prange(groups.shape[0] - 1):
        longest = 1
        for i in range(groups[group], groups[group + 1]):
            longest = max(longest, rowptr[i + 1] - rowptr[i])
        weight = np.empty((longest, heads))
        mean, dot = np.empty(heads, h.dtype), np.empty(heads, h.dtype)
        for i in range(groups[group], groups[group + 1]):
            begin, end = rowptr[i], rowptr[i + 1]
            for e in range(begin, end):
                j = np.uint32(col[e])
                for a in range(heads):
                    score = _score(source[j, a], target[i, a], negative_slope)
                    weight[e - begin, a] = score - lse[i, a]
            _exponentials(weight[: end - begin])
            _dots(grad[i], out[i], mean)
            grad_target[i] = 0
            for e in range(begin, end):
                j = np.uint32(col[e])
                _dots(grad[i], h[j], dot)
                for a in range(heads):
                    alpha = weight[e - begin, a]
                    ds = alpha * (dot[a] - mean[a])
                    ds = ds if source[j, a] + target[i, a] > 0 else negative_slope * ds
                    both[e, 0, a], both[e, 1, a] = alpha, ds
                    grad_target[i, a] += ds


@kernel(parallel=True)
def column_gradients(
    groups: Any, rowptr: Any, col: Any, order: Any, both: Any, grad: Any, grad_h: Any,
    grad_source: Any,
) -> None:  # fmt: skip
    """Rows of the transpose: its entry ``t`` is entry ``order[t]`` of the graph."""
    for group in prange(groups.shape[0] - 1):
        for j in range(groups[group], groups[group + 1]):
            begin, end = rowptr[j], rowptr[j + 1]
            grad_h[j], grad_source[j] = 0, 0
            for t in range(begin, end - 1, 2):
                entry, entry2 = both[order[t]], both[order[t + 1]]
                i, i2 = np.uint32(col[t]), np.uint32(col[t + 1])
                _add_two(entry[0], grad[i], entry2[0], grad[i2], grad_h[j])
                for a in range(entry.shape[1]):
                    grad_source[j, a] += entry[1, a] + entry2[1, a]
            if (end - begin) % 2 == 1:
                entry = both[order[end - 1]]
                _add_one(entry[0], grad[np.uint32(col[end - 1])], grad_h[j])
                for a in range(entry.shape[1]):
                    grad_source[j, a] += entry[1, a]


@kernel()
def _score(source: Any, target: Any, negative_slope: float) -> float:
    """In float64: exp makes an error of 1e-4, float32's at 1,000, one of 1e-4 in the weight."""
    x = np.float64(source) + np.float64(target)
    return x if x > 0 else negative_slope * x


@kernel()
def _normalise(score: Any, weight: Any, lse: Any) -> None:
    """weight[k] = softmax of score[k] over k, per head; lse its logsumexp."""
    lse[:] = -np.inf
    for k in range(score.shape[0]):
        for a in range(score.shape[1]):
            lse[a] = score[k, a] if score[k, a] > lse[a] else lse[a]
    for k in range(score.shape[0]):
        for a in range(score.shape[1]):
            score[k, a] -= lse[a]
    _exponentials(score)
    for a in range(score.shape[1]):
        total = 0.0
        for k in range(score.shape[0]):
            total += score[k, a]
        for k in range(score.shape[0]):
            weight[k, a] = score[k, a] / total
        lse[a] += np.log(total)


@kernel()
def _exponentials(x: Any) -> None:
    """x = e^x in place, as one long loop: few heads alone would leave registers empty."""
    flat = x.reshape(x.size)
    for k in range(flat.shape[0]):
        flat[k] = exp(flat[k])


@kernel()
def _dots(a: Any, b: Any, out: Any) -> None:
    """out[head] = <a[head], b[head]>."""
    for head in range(out.shape[0]):
        total = out.dtype.type(0)
        for d in range(a.shape[1]):
            total += a[head, d] * b[head, d]
        out[head] = total


@kernel()
def _add_one(weight: Any, x: Any, out: Any) -> None:
    """out[head] += weight[head] x[head]."""
    for head in range(out.shape[0]):
        scale = weight[head]
        for d in range(out.shape[1]):
            out[head, d] += scale * x[head, d]


@kernel()
def _add_two(weight: Any, x: Any, weight2: Any, x2: Any, out: Any) -> None:
    """Two at a time: half the loads and stores of out."""
    for head in range(out.shape[0]):
        scale, scale2 = weight[head], weight2[head]
        for d in range(out.shape[1]):
            out[head, d] += scale * x[head, d] + scale2 * x2[head, d]
