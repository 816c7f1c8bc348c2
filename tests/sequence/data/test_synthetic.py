"""The drawn problems: what is asked follows from what is shown."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from graphseq.sequence.data import adding_problem, copy_memory, parity

pytestmark = pytest.mark.usefixtures("generators_untouched")

SIZES = {"num_train": 3000, "num_val": 200, "num_test": 100}
PROBLEMS = [adding_problem, copy_memory, parity]


@pytest.mark.parametrize("problem", PROBLEMS)
def test_sizes_and_seeds(problem):
    first, again, other = (problem(seed=seed, **SIZES) for seed in (0, 0, 1))
    assert [rows.numel() for rows in first.splits.values()] == [3000, 200, 100]
    assert first.fingerprint == again.fingerprint != other.fingerprint
    fewer = problem(num_train=10, num_val=20, num_test=100)
    assert torch.equal(fewer.x[fewer.test], first.x[first.test])
    assert torch.equal(fewer.y[fewer.test], first.y[first.test])
    assert not torch.equal(first.x[:100], first.x[first.test])


@pytest.mark.parametrize("length", [2, 3, 51])
def test_adding(length):
    data = adding_problem(length=length, **SIZES)
    assert data.kind == "values"
    assert data.dims == {"in_channels": 2, "num_tokens": None, "out_channels": 1}
    numbers, marks = data.x[:, :, 0].numpy(), data.x[:, :, 1].numpy()
    assert data.x.dtype == data.y.dtype == torch.float32
    assert 0 <= numbers.min() < numbers.max() < 1
    assert set(np.unique(marks)) <= {0, 1}
    half = length // 2
    assert (marks[:, :half].sum(axis=1) == 1).all()
    assert (marks[:, half:].sum(axis=1) == 1).all()
    for row, y in enumerate(data.y.tolist()):
        assert y == pytest.approx(sum(numbers[row, marks[row] == 1].tolist()), abs=1e-6)
    for part, size in ((marks[:, :half], half), (marks[:, half:], length - half)):
        assert size == 1 or stats.chisquare(part.sum(axis=0)).pvalue > 1e-4


def test_adding_without_looking():
    """The mean squared error of answering 1 is that of a sum of two uniform numbers, 1/6."""
    errors = (adding_problem(length=10).y - 1).square().double()
    margin = 4 * float(errors.std()) / math.sqrt(len(errors))
    assert float(errors.mean()) == pytest.approx(1 / 6, abs=margin)


@pytest.mark.parametrize(("delay", "copy_length"), [(1, 1), (1, 5), (20, 3)])
def test_copying(delay, copy_length):
    data = copy_memory(delay=delay, num_symbols=4, copy_length=copy_length, **SIZES)
    assert data.kind == "labels"
    assert data.dims == {"in_channels": None, "num_tokens": 6, "out_channels": 4}
    assert data.x.shape == (3300, delay + 2 * copy_length)
    symbols = data.x[:, :copy_length]
    assert stats.chisquare(torch.bincount(symbols.reshape(-1))).pvalue > 1e-4
    behind = [4] * (delay - 1) + [5] + [4] * copy_length  # blanks, the signal, blanks
    assert (data.x[:, copy_length:] == torch.tensor(behind)).all()
    assert torch.equal(data.y[:, -copy_length:], symbols)
    assert (data.y[:, :-copy_length] == -100).all()


@pytest.mark.parametrize(
    ("arguments", "ranges"),
    [
        ({"length": 12}, ((12, 12), (12, 12))),
        ({"length": 12, "min_length": 5}, ((5, 12), (5, 12))),
        ({"length": 12, "test_length": 20}, ((12, 12), (20, 20))),
        ({"length": 12, "min_length": 5, "test_length": 20}, ((5, 12), (20, 20))),
        ({"length": 12, "test_length": 3}, ((12, 12), (3, 3))),
        ({"length": 1}, ((1, 1), (1, 1))),
    ],
)
def test_parity(arguments, ranges):
    data = parity(**arguments, **SIZES)
    assert data.kind == "labels"
    assert data.dims == {"in_channels": None, "num_tokens": 2, "out_channels": 2}
    longest = max(high for _, high in ranges)
    assert data.max_length == longest
    equal = all(low == longest for low, _ in ranges)
    assert (data.lengths is None) == equal
    lengths = torch.full((3300,), longest) if equal else data.lengths
    for split, (low, high) in zip(data.splits, (ranges[0], ranges[0], ranges[1]), strict=True):
        found = lengths[data.splits[split]]
        assert (int(found.min()), int(found.max())) == (low, high)
    for bits, labels, length in zip(
        data.x.tolist(), data.y.tolist(), lengths.tolist(), strict=True
    ):
        assert labels[:length] == [sum(bits[: t + 1]) % 2 for t in range(length)]
        assert labels[length:] == [-100] * (longest - length)
        assert not any(bits[length:])
    ones = int(data.x.sum())
    assert stats.binomtest(ones, int(lengths.sum())).pvalue > 1e-4


@pytest.mark.parametrize(
    ("problem", "changes", "words"),
    [
        (adding_problem, {"length": 1}, "length is 1; pass 2 or more"),
        (adding_problem, {"num_test": 0}, "num_test is 0"),
        (copy_memory, {"delay": 0}, "delay is 0"),
        (copy_memory, {"num_symbols": 1}, "num_symbols is 1; pass 2 or more"),
        (copy_memory, {"copy_length": 0}, "copy_length is 0"),
        (copy_memory, {"seed": -3}, "seed is -3"),
        (parity, {"length": 0}, "min_length is 0"),
        (parity, {"length": 4, "min_length": 5}, "length is 4; pass 5 or more"),
        (parity, {"test_length": 0}, "test_length is 0"),
    ],
)
def test_impossible_arguments(problem, changes, words):
    with pytest.raises(ValueError, match=f"^{problem.__name__}: ") as caught:
        problem(**changes)
    assert words in str(caught.value)
