"""The exponential for compiled loops, in a form that becomes vector code.

A call into the C library takes one number at a time: 5 to 10 ns each, more than all else that a
step of a recurrence does to a state. In float32 the same by plain arithmetic takes 0.3 ns::

    k = x / ln 2, rounded,   r = x - k ln 2,   exp(x) = 2^k exp(r),   |r| <= ln(2) / 2

2^k is written into a float's exponent; exp(r) is 1 + r + r^2 q(r) with the q of degree 4 that makes
the largest relative error smallest (3e-9; rounding makes it 8e-8 in all).
"""

import math
from typing import Any

import numpy as np

from graphseq.kernels import kernel


@kernel()
def exponential(x: Any, single: tuple[int, ...]) -> Any:
    """e^x in the type of x; ``single`` has an element for float32 and none for float64.

    Exact at 0 and at both infinities; NaN stays NaN. In float32 what lies below 2^-125.5 is 0:
    the smallest normal numbers are given up, as subnormal ones are slow anyway.
    """
    return _single(np.float32(x)) if len(single) > 0 else math.exp(x)


@kernel()
def _single(x: Any) -> Any:
    low, high = np.float32(-87.0), np.float32(89.5)  # k from -126 to 129: 0 and infinity
    x = low if x < low else x  # comparisons that leave NaN as it is
    x = high if x > high else x
    # Beside 1.5 * 2^23 a float has no bits for fractions: the sum's last bits are k + 126. They are
    # read as an integer, for a subtraction would be cancelled against the sum by reordering.
    shifted = np.float32(x * np.float32(1.4426950408889634) + np.float32(12582912.0 + 126.0))
    bits = shifted.view(np.int32)
    k = np.float32(np.int32(bits - np.int32(0x4B400000 + 126)))
    power = np.int32(bits << np.int32(23))
    half_scale = power.view(np.float32)  # 2^(k-1): 2^k with k = 128 is no float, yet e^88.6 is one
    # ln 2 in two parts, of which the first has few enough digits for k times it to be exact. The
    # limit between them is never reached; it forbids to join the parts into one rounded ln 2.
    r = x - k * np.float32(0.693359375)
    r = np.float32(4.0) if r > np.float32(4.0) else r
    r = r - k * np.float32(-2.12194440e-4)
    q = np.float32(2 * 0.0083687808368) + r * np.float32(2 * 0.0013814467237)
    q = np.float32(2 * 0.0416683927178) + r * q
    q = np.float32(2 * 0.1666651964188) + r * q
    q = np.float32(2 * 0.4999999403954) + r * q
    return (np.float32(2) + r * (np.float32(2) + r * q)) * half_scale
