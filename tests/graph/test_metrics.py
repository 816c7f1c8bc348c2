"""Accuracy against scikit-learn and OGB's evaluator."""

import pytest
import torch
from sklearn.metrics import accuracy_score

from graphseq.graph.metrics import accuracy


def test_equals_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(57, 4, generator=generator)
    y = torch.randint(4, (57,), generator=generator)
    assert accuracy(logits, y) == accuracy_score(y.numpy(), logits.argmax(1).numpy())


@pytest.mark.parametrize(("rows", "labels"), [(0, 0), (3, 2)])
def test_refuses_rows_that_do_not_match(rows: int, labels: int) -> None:
    with pytest.raises(ValueError, match="same number of rows, at least one"):
        accuracy(torch.zeros(rows, 2), torch.zeros(labels, dtype=torch.long))
