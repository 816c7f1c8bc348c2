"""Compiled CPU loops for softmax and logsumexp over groups, and the exponential they share.

Groups and arguments are those of ``reduce_kernels``.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphseq.graph.ops.reduce_kernels import start_of
from graphseq.kernels import kernel, prange

Array = NDArray[Any]

LN_2 = math.log(2)
LOG2_E = 1 / LN_2
TAYLOR = tuple(1 / math.factorial(k) for k in range(13, -1, -1))


@kernel()
def exp(x: float) -> float:
    """e^x to one unit in the last place of float64, in operations that vectorise.

    x = n ln 2 + r with |r| <= ln 2 / 2, so e^x = 2^n e^r. The Taylor series of e^r ends within
    r^14 / 14! < 5e-18, and 2^n is a float whose exponent bits hold n. numpy's exp is a library
    call for each entry: 3.0 against 0.8 ns.
    """
    n = np.floor(x * LOG2_E + 0.5)
    r = x - n * LN_2
    series = 0.0
    for coefficient in TAYLOR:
        series = series * r + coefficient
    power = np.int64((np.int64(n) + 1023) << 52).view(np.float64)
    if x < -708:  # 2^n is no normal float any more
        return 0.0
    return np.inf if x > 709 else series * power


@kernel()
def find_shift(src: Array, ptr: Array, order: Array, i: int, shift: Array) -> None:
    """The group's maximum, or 0 where that is infinite and x - max would be NaN."""
    shift[:] = -np.inf
    for k in range(ptr[i], ptr[i + 1]):
        row = src[order[k]]
        for f in range(row.shape[0]):
            shift[f] = row[f] if row[f] > shift[f] else shift[f]
    for f in range(shift.shape[0]):
        shift[f] = 0 if abs(shift[f]) == np.inf else shift[f]


@kernel(parallel=True)
def softmax_groups(src: Array, ptr: Array, order: Array, parts: int, out: Array) -> None:
    """out_e = exp(src_e - max) / sum of exp(src - max); 0 in a group of nothing but -inf."""
    for part in prange(parts):
        shift = np.empty(src.shape[1], src.dtype)
        total = np.empty(src.shape[1], src.dtype)
        for i in range(start_of(part, parts, ptr), start_of(part + 1, parts, ptr)):
            find_shift(src, ptr, order, i, shift)
            total[:] = 0
            for k in range(ptr[i], ptr[i + 1]):
                row, target = src[order[k]], out[order[k]]
                for f in range(row.shape[0]):
                    target[f] = exp(row[f] - shift[f])
                    total[f] += target[f]
            for f in range(total.shape[0]):
                total[f] = 1 if total[f] == 0 else total[f]
            for k in range(ptr[i], ptr[i + 1]):
                target = out[order[k]]
                for f in range(target.shape[0]):
                    target[f] /= total[f]


@kernel(parallel=True)
def softmax_gradient(
    grad: Array, prob: Array, ptr: Array, order: Array, parts: int, out: Array
) -> None:
    """prob_e (grad_e - sum over the group of grad prob)."""
    for part in prange(parts):
        mean = np.empty(prob.shape[1], prob.dtype)
        for i in range(start_of(part, parts, ptr), start_of(part + 1, parts, ptr)):
            mean[:] = 0
            for k in range(ptr[i], ptr[i + 1]):
                row, p = grad[order[k]], prob[order[k]]
                for f in range(row.shape[0]):
                    mean[f] += row[f] * p[f]
            for k in range(ptr[i], ptr[i + 1]):
                row, p, target = grad[order[k]], prob[order[k]], out[order[k]]
                for f in range(row.shape[0]):
                    target[f] = p[f] * (row[f] - mean[f])


@kernel(parallel=True)
def logsumexp_groups(src: Array, ptr: Array, order: Array, parts: int, out: Array) -> None:
    """out_i = max + log(sum of exp(src - max)), -inf where the group is empty."""
    for part in prange(parts):
        shift = np.empty(src.shape[1], src.dtype)
        for i in range(start_of(part, parts, ptr), start_of(part + 1, parts, ptr)):
            find_shift(src, ptr, order, i, shift)
            total = out[i]
            total[:] = 0
            for k in range(ptr[i], ptr[i + 1]):
                row = src[order[k]]
                for f in range(row.shape[0]):
                    total[f] += exp(row[f] - shift[f])
            for f in range(total.shape[0]):
                total[f] = shift[f] + np.log(total[f])


@kernel(parallel=True)
def logsumexp_gradient(grad: Array, src: Array, index: Array, result: Array, out: Array) -> None:
    """grad_i exp(src_e - out_i), the softmax; 0 in a group of nothing but -inf."""
    for e in prange(index.shape[0]):
        row, target = src[e], out[e]
        part, lse = grad[index[e]], result[index[e]]
        for f in range(row.shape[0]):
            target[f] = 0 if lse[f] == -np.inf else part[f] * exp(row[f] - lse[f])
