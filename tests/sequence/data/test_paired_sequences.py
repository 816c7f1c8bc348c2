"""PairedSequences and the reversal problem."""

import dataclasses

import pytest
import torch

from graphseq.sequence.data import PairedSequences, reversal

SOURCE = torch.tensor([[1, 2, 3], [3, 0, 0], [2, 2, 0]])
TARGET = torch.tensor([[3, 2, 1, 0], [3, 0, -100, -100], [0, -100, -100, -100]])


def make(**changes):
    parts = {
        "source": SOURCE,
        "target": TARGET,
        "train": torch.tensor([0]),
        "val": torch.tensor([2]),
        "test": torch.tensor([1]),
        "num_tokens": 4,
        "source_lengths": torch.tensor([3, 1, 2]),
        "name": "pairs",
    }
    return PairedSequences(**{**parts, **changes})


def test_sizes_and_summary():
    data = make()
    assert data.target_lengths.tolist() == [4, 2, 1]
    assert data.dims == {"num_tokens": 4}
    summary = data.summary()
    assert len(summary.pop("fingerprint")) == 64
    assert summary == {
        "name": "pairs",
        "num_pairs": 3,
        "max_source_length": 3,
        "max_target_length": 4,
        "num_tokens": 4,
        "train": 1,
        "val": 1,
        "test": 1,
    }
    assert data.to("cpu") is data
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.name = "other"


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"source": SOURCE.float()}, TypeError, "source must be int64"),
        ({"source": SOURCE[0]}, ValueError, "source must be [N, S]"),
        ({"source": SOURCE - 1}, ValueError, "source must lie in 0 .. 3"),
        ({"target": TARGET[:2]}, ValueError, "target has 2 rows, source has 3"),
        ({"target": TARGET.tolist()}, TypeError, "target is a list"),
        ({"num_tokens": 3}, ValueError, "source must lie in 0 .. 2, got 0 .. 3"),
        ({"num_tokens": 3, "source": SOURCE % 3}, ValueError, "target must hold tokens 0 .. 2"),
        ({"num_tokens": 1}, ValueError, "num_tokens is 1"),
        ({"target": TARGET.clamp(min=-1)}, ValueError, "target must hold tokens"),
        ({"target": TARGET.flip(1)}, ValueError, "only behind them"),
        ({"target": TARGET[:, :3]}, ValueError, "target 0 must have the end symbol 0"),
        ({"target": TARGET.clamp(min=0)}, ValueError, "target 1 must have the end symbol 0"),
        ({"target": TARGET.masked_fill(TARGET == 0, -100)}, ValueError, "target 0 must have"),
        ({"source_lengths": torch.tensor([3, 0, 2])}, ValueError, "source_lengths must lie in 1"),
        ({"source_lengths": torch.tensor([3, 1])}, ValueError, "source_lengths has 2 entries"),
        ({"val": torch.tensor([0])}, ValueError, "val repeats a sequence or shares one"),
    ],
)
def test_wrong_arguments_are_named(changes, error, words):
    with pytest.raises(error, match=r"^pairs: ") as caught:
        make(**changes)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_fingerprint_is_of_the_content():
    others = [
        make(source_lengths=None),
        make(source=SOURCE.flip(0)),
        make(target=TARGET.flip(0)),
        make(val=torch.tensor([1]), test=torch.tensor([2])),
        make(num_tokens=5),
    ]
    assert len({make().fingerprint, *(data.fingerprint for data in others)}) == 6


@pytest.mark.usefixtures("generators_untouched")
@pytest.mark.parametrize("min_length", [None, 1, 6])
def test_reversal(min_length):
    sizes = {"num_train": 300, "num_val": 50, "num_test": 20}
    data = reversal(length=6, min_length=min_length, num_symbols=5, **sizes)
    assert data.dims == {"num_tokens": 6}
    assert [len(rows) for rows in data.splits.values()] == [300, 50, 20]
    assert (data.source_lengths is None) == (min_length != 1)
    lengths = [6] * 370 if data.source_lengths is None else data.source_lengths.tolist()
    assert set(lengths) == set(range(min_length or 6, 7))
    assert data.target_lengths.tolist() == [length + 1 for length in lengths]
    for source, target, length in zip(
        data.source.tolist(), data.target.tolist(), lengths, strict=True
    ):
        assert set(source[:length]) <= {1, 2, 3, 4, 5}
        assert not any(source[length:])
        assert target == [*source[:length][::-1], 0, *[-100] * (6 - length)]
    assert set(data.source.unique().tolist()) >= {1, 2, 3, 4, 5}


def test_reversal_follows_the_seed():
    sizes = {"num_train": 20, "num_val": 5, "num_test": 5}
    first, again, other = (reversal(seed=seed, **sizes) for seed in (0, 0, 1))
    assert first.fingerprint == again.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"length": 0}, "min_length is 0"),
        ({"length": 3, "min_length": 4}, "length is 3; pass 4 or more"),
        ({"min_length": 0}, "min_length is 0"),
        ({"num_symbols": 0}, "num_symbols is 0"),
        ({"num_val": 0}, "num_val is 0"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_impossible_reversals(changes, words):
    with pytest.raises(ValueError, match=r"^reversal: ") as caught:
        reversal(**changes)
    assert words in str(caught.value)
