from collections.abc import Callable

import pytest
from torch import Tensor

from graphseq.bench import reduce
from graphseq.bench.graphs import random_graph


@pytest.fixture(autouse=True)
def _small_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reduce, "load", lambda name: random_graph(name, shrink=20))


def test_rows() -> None:
    rows = reduce.rows("cora", seconds=0.0)
    keys = {"op", "case", "ours_ms", "reference", "reference_ms", "ratio", "max_error"}
    assert all(set(row) == keys for row in rows)
    assert all(row["max_error"] <= reduce.TOLERANCE for row in rows)
    measured = {(row["op"], row["reference"]) for row in rows}
    for op, reference in (
        ("scatter sum forward", "index_add"),
        ("scatter max forward + backward", "scatter_reduce"),
        ("scatter softmax forward", "PyG softmax"),
        ("segment sum forward + backward", "torch.segment_reduce"),
        ("segment softmax forward", "PyG softmax"),
    ):
        assert (op, reference) in measured


@pytest.mark.parametrize("wrong", ["value", "gradient"])
def test_no_speed_is_reported_for_another_result(
    wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right: Callable[..., Tensor] = reduce.scatter

    def scatter(src: Tensor, **arguments: object) -> Tensor:
        out = right(src, **arguments)
        return out * 1.01 if wrong == "value" else out.detach() + 0 * out

    monkeypatch.setattr(reduce, "scatter", scatter)
    with pytest.raises(ValueError, match=r"scatter sum forward .*no speed is reported"):
        reduce.rows("cora", seconds=0.0)


def test_an_unknown_case_is_named() -> None:
    with pytest.raises(ValueError, match="no case 'tiny'; there are cora, arxiv"):
        reduce.rows("tiny")
