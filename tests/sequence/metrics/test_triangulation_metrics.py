"""Scores of triangulations: the same as with Python's sets."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from graphseq.sequence.metrics import (
    triangle_counts,
    triangle_coverage,
    triangulation_accuracy,
)


def triangles(row):
    stop = next((i for i, pointer in enumerate(row) if pointer <= 0), len(row))
    return {tuple(sorted(row[i : i + 3])) for i in range(0, stop - stop % 3, 3)}


pointers = st.lists(st.integers(-1, 4), min_size=7, max_size=7)


@given(st.lists(st.tuples(pointers, pointers), min_size=1, max_size=6))
def test_counts(pairs):
    pairs = [*pairs, ([1, 2, 3, 0, 0, 0, 0], [3, 2, 1, 0, 0, 0, 0])]
    ours, true = ([triangles(row) for row in side] for side in zip(*pairs, strict=True))
    counts = triangle_counts(*(torch.tensor(side) for side in zip(*pairs, strict=True)))
    assert counts.common.tolist() == [len(a & b) for a, b in zip(ours, true, strict=True)]
    assert counts.predicted.tolist() == list(map(len, ours))
    assert counts.target.tolist() == list(map(len, true))


def test_scores():
    target = torch.tensor([[1, 2, 4, 2, 3, 4, 0]] * 5)
    predicted = torch.tensor(
        [
            [4, 3, 2, 1, 4, 2, 0],  # in another order
            [1, 2, 4, 1, 2, 4, 0],  # one twice
            [1, 2, 4, 2, 3, 0, 0],  # one incomplete
            [1, 2, 4, 2, 3, 4, 1],  # an incomplete one more
            [0, 1, 2, 4, 2, 3, 4],
        ]
    )
    assert triangulation_accuracy(predicted, target) == 0.4
    assert triangle_coverage(predicted, target) == pytest.approx((1 + 0.5 + 0.5 + 1) / 5)


def test_one_too_many_is_wrong():
    target = torch.tensor([[1, 2, 3, 0]])
    predicted = torch.tensor([[1, 2, 3, 1, 2, 4, 0]])
    assert triangulation_accuracy(predicted, target) == 0
    assert triangle_coverage(predicted, target) == 1
    assert triangulation_accuracy(predicted[:, :2], target) == 0


def test_refuses():
    with pytest.raises(ValueError, match="1 rows with pointers up to 3000000 are too many"):
        triangle_counts(torch.tensor([[3_000_000]]), torch.tensor([[1]]))
    with pytest.raises(ValueError, match="predicted has 1 rows, target has 2"):
        triangle_counts(torch.ones(1, 3).long(), torch.ones(2, 3).long())
    with pytest.raises(ValueError, match=r"predicted must be \[N, M\]"):
        triangle_counts(torch.ones(3).long(), torch.ones(3, 3).long())
