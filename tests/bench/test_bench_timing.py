"""A wrong result has no speed, and a right one is timed."""

import math

import pytest
import torch

from graphseq.bench.timing import compare, gradients, interleaved, max_error

NAN, INF = float("nan"), float("inf")
SIDES = ("result", "expected")


def test_error_is_relative_to_the_largest_expected_value() -> None:
    expected = torch.tensor([1.0, -4.0, 0.0])
    assert max_error(expected, expected) == 0.0
    assert max_error(expected + torch.tensor([0.0, 0.0, 1.0]), expected) == 0.25
    assert max_error([expected, expected + 2], [expected, expected]) == 0.5
    assert max_error(torch.zeros(0), torch.zeros(0)) == 0.0


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize("where", ["result", "expected", "both"])
def test_nan_and_infinity_are_infinite_errors(bad: float, where: str) -> None:
    good, broken = torch.ones(3), torch.tensor([1.0, bad, 1.0])
    result, expected = (broken if where in (side, "both") else good for side in SIDES)
    assert max_error(result, expected) == INF
    # Wherever it stands in a sequence: Python's max keeps what it saw first beside a NaN.
    assert max_error([result, good], [expected, good]) == INF
    assert max_error([good, result], [good, expected]) == INF


def test_other_shapes_are_no_result() -> None:
    with pytest.raises(ValueError, match=r"shapes differ, \(1, 3\) and \(3, 1\)"):
        max_error(torch.ones(1, 3), torch.ones(3, 1))
    with pytest.raises(ValueError, match="longer"):
        max_error([torch.ones(1)], [torch.ones(1), torch.ones(1)])


@pytest.mark.parametrize("error", [0.2, INF, NAN])
def test_compare_refuses_disagreement_before_it_times(error: float) -> None:
    def never() -> None:
        pytest.fail("timed a wrong result")

    with pytest.raises(ValueError, match=r"bench op case: error .* exceeds 1\.0e-01; no speed"):
        compare("op", "case", never, {"slow": never}, error=error, tolerance=0.1)


def test_compare_gives_one_row_per_reference() -> None:
    def work(size: int) -> None:
        sum(range(size))

    references = {"same": lambda: work(20_000), "slow": lambda: work(400_000)}
    ours = lambda: work(20_000)  # noqa: E731
    same, slow = compare("op", "case", ours, references, error=0.0, tolerance=0.0, seconds=0.2)
    assert (same["reference"], slow["reference"]) == ("same", "slow")
    for row in (same, slow):
        assert (row["op"], row["case"], row["max_error"]) == ("op", "case", 0.0)
        assert row["ratio"] == row["reference_ms"] / row["ours_ms"]
    assert same["ours_ms"] == slow["ours_ms"]
    assert slow["ratio"] > 4.0  # 20 where nothing else runs


def test_interleaved_returns_positive_medians_of_alternating_calls() -> None:
    calls: list[str] = []
    times = interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 0.0)
    assert list(times) == ["a", "b"]
    assert all(0.0 < value < math.inf for value in times.values())
    assert calls == ["a"] * 2 + ["b"] * 2 + ["a", "b"] * 3  # warm-up, then three rounds


def test_gradients_are_the_same_each_time_and_touch_no_global_state() -> None:
    x = torch.arange(3.0, requires_grad=True)
    state = torch.get_rng_state()
    first, second = gradients(x**2, [x]), gradients(x**2, [x])
    assert torch.equal(torch.get_rng_state(), state)
    assert max_error(first, second) == 0.0
    assert torch.equal(first[0], x.detach() ** 2)
    cotangent = torch.randn(3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(first[1], 2 * x.detach() * cotangent.float())
