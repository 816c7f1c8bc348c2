import pytest
from torch import Tensor

from graphseq.bench import spmm
from graphseq.bench.graphs import random_graph
from graphseq.graph.csr import CSR


@pytest.mark.parametrize("shrink", [8, 20])
def test_rows(shrink: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """At an eighth of ogbn-arxiv's size the dense twin no longer serves."""
    monkeypatch.setattr(spmm, "load", lambda name: random_graph(name, shrink=shrink))
    rows = spmm.rows("arxiv" if shrink == 8 else "cora", seconds=0.0)
    keys = {"op", "case", "ours_ms", "reference", "reference_ms", "ratio", "max_error"}
    assert all(set(row) == keys for row in rows)
    assert all(row["max_error"] <= spmm.TOLERANCE for row in rows)
    assert [(row["op"], row["reference"]) for row in rows] == [
        ("spmm forward", "paper"),
        ("spmm forward", "strong"),
        ("spmm forward + backward", "paper"),
        ("spmm forward + backward", "strong"),
    ]


@pytest.mark.parametrize("wrong", ["value", "gradient"])
def test_no_speed_is_reported_for_another_result(
    wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = spmm.spmm

    def product(matrix: CSR, x: Tensor) -> Tensor:
        out = right(matrix, x)
        return out * 1.01 if wrong == "value" else out.detach() + 0 * out

    monkeypatch.setattr(spmm, "load", lambda name: random_graph(name, shrink=20))
    monkeypatch.setattr(spmm, "spmm", product)
    with pytest.raises(ValueError, match=r"spmm forward .*no speed is reported"):
        spmm.rows("cora", seconds=0.0)


def test_an_unknown_case_is_named() -> None:
    with pytest.raises(ValueError, match="no case 'tiny'; there are cora, arxiv"):
        spmm.rows("tiny")
