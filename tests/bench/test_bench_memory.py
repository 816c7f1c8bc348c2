"""The peak of a call counts what the call touches, and not what it was given."""

import operator
import sys
from functools import partial

import pytest

from graphseq.bench.memory import peak_megabytes

MIB = 1 << 20
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak")


def test_peak_is_what_the_call_touches() -> None:
    # partial(mul, b"x", 50 MiB) is the call: it makes, and fills, a string of that many bytes.
    assert peak_megabytes(partial, operator.mul, b"x", 50 * MIB) == pytest.approx(50.0, abs=5.0)


def test_input_is_not_counted() -> None:
    assert -5.0 < peak_megabytes(partial, len, b"x" * (50 * MIB)) < 5.0
