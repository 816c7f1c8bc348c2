import pytest
import torch

from graphseq.bench import loop


@pytest.mark.parametrize("case", loop.CASES)
def test_the_loop_costs_little_on_top_of_plain_torch(case: str) -> None:
    threads = torch.get_num_threads()
    (row,) = loop.rows(case, seconds=1.0)
    assert torch.get_num_threads() == threads
    assert {"op", "case", "ours_ms", "reference", "reference_ms", "ratio", "max_error"} <= set(row)
    assert row["max_error"] == 0.0
    assert row["overhead_ms"] == pytest.approx(row["ours_ms"] - row["reference_ms"])
    assert row["overhead_ms"] < 0.6  # the promise is 0.3 ms on a machine that does nothing else


@pytest.mark.parametrize("weight", [1.0, float("nan")])
def test_no_speed_is_reported_for_another_result(
    weight: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "reference", lambda *_: ([torch.zeros(1)], [0.0, 1.0]))
    monkeypatch.setattr(loop, "ours", lambda *_: ([torch.full((1,), weight)], [0.0, 1.0]))
    with pytest.raises(ValueError, match=r"weights differ by .*; no speed is reported"):
        loop.rows("full-batch")


def test_an_error_that_is_nan_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "max_error", lambda *_: float("nan"))
    with pytest.raises(ValueError, match=r"weights differ by nan; no speed is reported"):
        loop.rows("full-batch")


def test_an_unknown_case_is_named() -> None:
    with pytest.raises(ValueError, match="no case 'tiny'; there are full-batch"):
        loop.rows("tiny")
