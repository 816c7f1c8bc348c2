"""Accuracy against scikit-learn and OGB's evaluator."""

import sys
import warnings

import pytest
import torch
from sklearn.metrics import accuracy_score

from graphseq.graph.metrics import accuracy


def test_equals_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(57, 4, generator=generator)
    y = torch.randint(4, (57,), generator=generator)
    assert accuracy(logits, y) == accuracy_score(y.numpy(), logits.argmax(1).numpy())


def test_equals_ogbs_evaluator(monkeypatch: pytest.MonkeyPatch) -> None:
    # Without this module, ogb does not start a thread that asks the network for news.
    monkeypatch.setitem(sys.modules, "outdated", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas and pkg_resources, inside of ogb
        from ogb.nodeproppred import Evaluator

        evaluator = Evaluator("ogbn-arxiv")
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(301, 40, generator=generator)
    y = torch.randint(40, (301,), generator=generator)
    logits[torch.arange(301), y] += 2.0  # right more often than one time in 40
    answer = {"y_true": y[:, None], "y_pred": logits.argmax(dim=1, keepdim=True)}
    assert 0.1 < accuracy(logits, y) < 0.9
    assert accuracy(logits, y) == evaluator.eval(answer)["acc"]


@pytest.mark.parametrize(("rows", "labels"), [(0, 0), (3, 2)])
def test_refuses_rows_that_do_not_match(rows: int, labels: int) -> None:
    with pytest.raises(ValueError, match="same number of rows, at least one"):
        accuracy(torch.zeros(rows, 2), torch.zeros(labels, dtype=torch.long))
