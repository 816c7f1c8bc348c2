"""The exponential of compiled loops against NumPy's in double precision."""

from typing import Any

import numpy as np

from graphseq.kernels import kernel
from graphseq.sequence.ops.exponential import exponential


@kernel()
def fill(x: Any, single: tuple[int, ...], out: Any) -> None:
    for i in range(x.shape[0]):
        out[i] = exponential(x[i], single)


def computed(x: Any) -> Any:
    out = np.empty_like(x)
    fill(x, (0,) if x.dtype == np.float32 else (), out)
    return out


def relative_error(x: Any) -> float:
    return float(np.abs(computed(x) / np.exp(x.astype(np.float64)) - 1).max())


def test_relative_error_is_a_rounding() -> None:
    near_zero = np.concatenate([np.logspace(-12, 0, 100_000), -np.logspace(-12, 0, 100_000)])
    assert relative_error(near_zero.astype(np.float32)) <= 1e-7
    assert relative_error(np.linspace(-86.9, 88.7, 1_000_000).astype(np.float32)) <= 1e-7
    assert relative_error(np.linspace(-700, 700, 10_000)) <= 1e-15


def test_no_factor_is_below_zero_or_grows_for_a_negative_argument() -> None:
    values = computed(-np.logspace(-12, 38, 1_000_000).astype(np.float32))
    assert values.min() >= 0
    assert values.max() <= 1


def test_limits_are_exact() -> None:
    inf, nan = np.inf, np.nan
    for dtype in (np.float32, np.float64):
        x = np.array([0.0, -0.0, -1e-30, -inf, -1e30, -1000.0, inf, 1e30, 1000.0, nan], dtype)
        expected = np.array([1, 1, 1, 0, 0, 0, inf, inf, inf, nan], dtype)
        np.testing.assert_array_equal(computed(x), expected)


def test_the_largest_and_the_smallest_floats() -> None:
    x = np.array([88.6, 88.72, 88.73, 89.6, 90.5, -86.9, -87.4, -88.0, -100.0], np.float32)
    values = computed(x)
    assert np.isfinite(values[:2]).all()
    assert (values[2:5] == np.inf).all()
    assert values[5] > 0
    assert (values[6:] == 0).all()
