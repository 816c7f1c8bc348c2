"""The compiled sweeps of adaptive propagation; :mod:`graphseq.graph.ops.propagation` derives them.

A hop's product, gate and sum are fused: a group of rows stays in the cache while all three are
done. The gates of a group are computed between two loops of their own, because a call of ``exp`` in
the middle of a row would push the row out of its registers.
"""

from typing import Any

import numpy as np

from graphseq.graph.ops.spmm import gather_row
from graphseq.kernels import kernel, prange


@kernel(parallel=True)
def forward_hops(
    groups: Any, rowptr: Any, col: Any, value: Any, lanes: tuple[int, ...], weight: Any, bias: Any,
    num_hops: int, hops: Any, out: Any, scores: Any,
) -> None:  # fmt: skip
    """Fills ``hops`` from hops[0] = Z (a ring of two, or one slot per hop), ``out``, ``scores``."""
    depth = hops.shape[0]
    for k in range(num_hops + 1):
        here, before = hops[k % depth], hops[(k - 1) % depth]
        score = scores[k % scores.shape[0]]
        for group in prange(groups.shape[0] - 1):
            begin, end = groups[group], groups[group + 1]
            for i in range(begin, end):
                if k > 0:
                    gather_row(i, rowptr, col, value, before, lanes, here[i])
                score[i] = _dot(here[i], weight, lanes) + bias[0]
            for i in range(begin, end):
                score[i] = _sigmoid(score[i])
            for i in range(begin, end):
                _add_scaled(here[i], score[i], lanes, out[i])


@kernel(parallel=True)
def backward_gate(
    groups: Any, rowptr: Any, col: Any, value: Any, lanes: tuple[int, ...], weight: Any, bias: Any,
    num_hops: int, grad: Any, stored: bool, hops: Any, score: Any, q: Any, sums: Any,
) -> None:  # fmt: skip
    """First sweep: ``score`` and ``q`` [K + 1, N], and per group of rows the sums for d w, d b."""
    depth, width, one = hops.shape[0], grad.shape[1], grad.dtype.type(1)
    for k in range(num_hops + 1):
        here, before = hops[k % depth], hops[(k - 1) % depth]
        for group in prange(groups.shape[0] - 1):
            begin, end = groups[group], groups[group + 1]
            for i in range(begin, end):
                if k > 0 and not stored:
                    gather_row(i, rowptr, col, value, before, lanes, here[i])
                score[k, i] = _dot(here[i], weight, lanes) + bias[0]
                q[k, i] = _dot(here[i], grad[i], lanes)
            for i in range(begin, end):
                score[k, i] = _sigmoid(score[k, i])
                q[k, i] *= score[k, i] * (one - score[k, i])
            for i in range(begin, end):
                _add_scaled(here[i], q[k, i], lanes, sums[group])
                sums[group, width] += q[k, i]


@kernel(parallel=True)
def backward_hops(
    groups: Any, rowptr: Any, col: Any, value: Any, lanes: tuple[int, ...], weight: Any,
    num_hops: int, grad: Any, score: Any, q: Any, ring: Any,
) -> None:  # fmt: skip
    """Second sweep, Horner's rule with the transpose, from zeros to d Z in ``ring[0]``."""
    for k in range(num_hops, -1, -1):
        here, before = ring[k % 2], ring[(k + 1) % 2]
        for group in prange(groups.shape[0] - 1):
            for i in range(groups[group], groups[group + 1]):
                if k < num_hops:
                    gather_row(i, rowptr, col, value, before, lanes, here[i])
                _add_scaled(grad[i], score[k, i], lanes, here[i])
                _add_scaled(weight, q[k, i], lanes, here[i])


@kernel()
def _dot(a: Any, b: Any, lanes: tuple[int, ...]) -> Any:
    total = a.dtype.type(0)
    for c in range(len(lanes) if len(lanes) > 0 else a.shape[0]):
        total += a[c] * b[c]
    return total


@kernel()
def _add_scaled(x: Any, scale: Any, lanes: tuple[int, ...], out: Any) -> None:
    for c in range(len(lanes) if len(lanes) > 0 else x.shape[0]):
        out[c] += scale * x[c]


@kernel()
def _sigmoid(x: Any) -> Any:
    one = np.float32(1)  # the smallest float: a 1 would turn float32 into float64
    return one / (one + np.exp(-x))
