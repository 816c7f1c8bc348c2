"""Scores of tours and of tokens: the same as read one by one."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from graphseq.sequence.metrics import (
    accuracy,
    loop_lengths,
    mean_per_sequence,
    sequence_accuracy,
    standard_error,
    token_accuracy,
    tour_scores,
    valid_tours,
)

SQUARE = torch.tensor([[0.0, 0.0], [3.0, 0.0], [3.0, 4.0], [0.0, 4.0]])


@given(st.lists(st.lists(st.integers(0, 5), min_size=6, max_size=6), min_size=1, max_size=8))
def test_validity_and_length(lists):
    points = SQUARE.expand(len(lists), -1, -1)
    predicted = torch.tensor(lists)
    for row, valid, length in zip(
        lists, valid_tours(points, predicted), loop_lengths(points, predicted), strict=True
    ):
        loop = row[: row.index(0)] if 0 in row else row
        closed = loop[:-1] if len(loop) > 1 and loop[0] == loop[-1] else loop
        assert bool(valid) == (sorted(closed) == [1, 2, 3, 4])
        places = [SQUARE[min(city, 4) - 1].tolist() for city in closed]
        steps = zip(places, places[1:] + places[:1], strict=True)
        assert length.item() == pytest.approx(sum(math.dist(a, b) for a, b in steps))


def test_fewer_cities():
    points, lengths = SQUARE.expand(3, -1, -1), torch.tensor([3, 3, 4])
    predicted = torch.tensor([[2, 3, 1, 2, 0], [1, 2, 4, 1, 0], [1, 2, 3, 0, 0]])
    assert valid_tours(points, predicted, lengths).tolist() == [True, False, False]


def test_scores():
    points, target = SQUARE.expand(4, -1, -1), torch.tensor([[1, 2, 3, 4, 1, 0]] * 4)
    predicted = torch.tensor(
        [[2, 3, 4, 1, 2, 0], [1, 3, 2, 4, 1, 0], [1, 2, 1, 4, 3, 0], [1, 4, 3, 2, 0, -100]]
    )
    found = tour_scores(points, predicted, target)
    assert found.valid == 0.75
    assert found.reference == pytest.approx(14)
    assert found.length == pytest.approx((14 + 5 + 4 + 5 + 4 + 14) / 3)
    assert found.gap == pytest.approx((18 / 14 - 1) / 3)
    none = tour_scores(points, torch.zeros(4, 1).long(), target)
    assert none.valid == 0
    assert math.isnan(none.length)
    assert math.isnan(none.gap)
    with pytest.raises(ValueError, match="tour_scores: target 2 is no tour"):
        tour_scores(points, target, predicted)


def test_tokens_and_sequences():
    target = torch.tensor([[1, 2, 0, -100], [3, 1, 2, 0]])
    predicted = torch.tensor([[1, 2, 0, 7], [3, 2, 2, 0]])
    assert token_accuracy(predicted, target) == pytest.approx(6 / 7)
    assert sequence_accuracy(predicted, target) == 0.5
    assert token_accuracy(predicted[:, :2], target) == pytest.approx(3 / 7)
    assert sequence_accuracy(predicted[:, :3], target) == 0.5
    assert sequence_accuracy(predicted[:, :2], target) == 0
    longer = torch.nn.functional.pad(predicted, (0, 3))
    assert sequence_accuracy(longer, target) == 0.5
    with pytest.raises(ValueError, match="token_accuracy: predicted has 1 rows, target has 2"):
        token_accuracy(predicted[:1], target)


def test_means():
    assert accuracy(torch.tensor([1, 2]), torch.tensor([1, 3])) == 0.5
    assert mean_per_sequence(torch.tensor([1, 0, 1]), torch.tensor([4, 4, 7])) == 0.75
    assert standard_error(torch.tensor([0.0, 1.0])) == pytest.approx(0.5)
    assert math.isnan(standard_error(torch.tensor([1.0])))
