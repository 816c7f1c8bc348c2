"""SequenceData refuses what does not fit together, and says what a model needs to know."""

import dataclasses

import pytest
import torch

from graphseq.sequence.data import SequenceData

FEATURES = torch.arange(24.0).reshape(4, 3, 2)
TOKENS = torch.tensor([[1, 2, 0], [4, 0, 0], [3, 3, 3], [0, 1, 2]])
CLASSES = torch.tensor([0, 1, 1, 0])
LABELS = torch.tensor([[-100, 1, -100], [0, -100, -100], [0, 1, 1], [-100, -100, 0]])
LENGTHS = torch.tensor([3, 1, 3, 3])


def make(**changes):
    parts = {
        "x": TOKENS,
        "y": CLASSES,
        "train": torch.tensor([3, 0]),
        "val": torch.tensor([1]),
        "test": torch.tensor([2]),
        "lengths": LENGTHS,
        "num_tokens": 5,
        "num_classes": 2,
        "name": "words",
    }
    return SequenceData(**{**parts, **changes})


def features(**changes):
    return make(**{"x": FEATURES, "num_tokens": None, **changes})


def labels(**changes):
    return make(**{"y": LABELS, **changes})


def values(**changes):
    return make(**{"y": torch.rand(4), "num_classes": None, **changes})


@pytest.mark.parametrize(
    ("data", "kind", "dims"),
    [
        (make, "classes", (None, 5, 2)),
        (features, "classes", (2, None, 2)),
        (labels, "labels", (None, 5, 2)),
        (values, "values", (None, 5, 1)),
        (lambda: values(y=torch.rand(4, 3).double()), "values", (None, 5, 3)),
        (lambda: features(y=LABELS, lengths=None), "labels", (2, None, 2)),
    ],
)
def test_kinds_and_dims(data, kind, dims):
    made = data()
    assert made.kind == kind
    assert made.dims == dict(zip(("in_channels", "num_tokens", "out_channels"), dims, strict=True))


def test_summary():
    summary = make().summary()
    assert len(summary.pop("fingerprint")) == 64
    assert summary == {
        "name": "words",
        "kind": "classes",
        "num_sequences": 4,
        "max_length": 3,
        "num_features": None,
        "num_tokens": 5,
        "num_outputs": 2,
        "train": 2,
        "val": 1,
        "test": 1,
    }
    with pytest.raises(dataclasses.FrozenInstanceError):
        make().name = "other"


@pytest.mark.parametrize(
    ("build", "changes", "words"),
    [
        (make, {"x": TOKENS[0]}, "x must be [N, T]"),
        (make, {"x": TOKENS[:, :0]}, "not empty"),
        (make, {"x": TOKENS - 1}, "x must lie in 0 .. 4, got -1 .. 3"),
        (make, {"num_tokens": 4}, "x must lie in 0 .. 3, got 0 .. 4"),
        (make, {"num_tokens": 0}, "num_tokens is 0"),
        (make, {"num_tokens": None}, "pass num_tokens"),
        (features, {"num_tokens": 5}, "num_tokens is 5, but x holds features"),
        (features, {"x": FEATURES[0]}, "x must be [N, T, F]"),
        (features, {"x": FEATURES[:, :, :0]}, "x must be [N, T, F] and not empty"),
        (features, {"x": FEATURES / 0}, "x holds NaN or infinity"),
        (make, {"y": CLASSES[:3]}, "y has 3 rows, but x has 4"),
        (make, {"y": torch.tensor([0, 1, 2, 0])}, "y must lie in 0 .. 1, got 0 .. 2"),
        (make, {"y": torch.tensor([0, 1, -1, 0])}, "y must lie in 0 .. 1, got -1 .. 1"),
        (make, {"y": torch.zeros(4, 3, 1).long()}, "y must be [N]"),
        (make, {"num_classes": None}, "pass num_classes"),
        (values, {"num_classes": 2}, "num_classes is 2, but y holds numbers"),
        (values, {"y": torch.full((4,), torch.nan)}, "y holds NaN"),
        (values, {"y": torch.zeros(4, 3, 1)}, "y must be [N] or [N, K]"),
        (labels, {"y": LABELS[:, :2]}, "y must be [4, 3]"),
        (labels, {"y": LABELS + 1}, "y must lie in 0 .. 1 or be -100"),
        (labels, {"num_classes": 1}, "y must lie in 0 .. 0 or be -100"),
        (labels, {"y": LABELS.roll(1, 0), "lengths": None, "x": TOKENS[:3]}, "y has 4 rows"),
        (labels, {"y": LABELS.clamp(max=-100)}, "sequence 0 has no label"),
        (labels, {"lengths": torch.tensor([3, 1, 2, 3])}, "labels behind the length"),
        (make, {"lengths": LENGTHS[:3]}, "lengths has 3 entries for 4 sequences"),
        (make, {"lengths": LENGTHS - 1}, "lengths must lie in 1 .. 3, got 0 .. 2"),
        (make, {"lengths": LENGTHS + 1}, "lengths must lie in 1 .. 3, got 2 .. 4"),
        (make, {"train": torch.tensor([], dtype=torch.long)}, "train is empty"),
        (make, {"val": torch.tensor([4])}, "val must lie in 0 .. 3, got 4 .. 4"),
        (make, {"val": torch.tensor([1, 1])}, "val repeats a sequence"),
        (make, {"test": torch.tensor([3])}, "shares one with another split"),
    ],
)
def test_wrong_values_are_named(build, changes, words):
    with pytest.raises(ValueError, match=r"^words: ") as caught:
        build(**changes)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("build", "changes", "words"),
    [
        (make, {"x": TOKENS.numpy()}, "x is a ndarray; pass a tensor, torch.from_numpy(x)"),
        (make, {"x": TOKENS.int()}, "x must be int64"),
        (features, {"x": FEATURES.half()}, "x must be float32 or float64"),
        (make, {"y": CLASSES.bool()}, "y must be int64"),
        (make, {"y": [0, 1, 1, 0]}, "y is a list"),
        (make, {"num_tokens": 5.0}, "num_tokens must be an int"),
        (make, {"lengths": LENGTHS.float()}, "lengths must be int64"),
        (make, {"train": torch.tensor([True, False, False, False])}, "turn a mask into positions"),
        (make, {"train": torch.tensor([[0, 3]])}, "train must be a vector"),
    ],
)
def test_wrong_types_are_named(build, changes, words):
    with pytest.raises(TypeError, match=r"^words: ") as caught:
        build(**changes)
    assert words in str(caught.value)


def test_large_finite_numbers_pass():
    assert features(x=torch.full((4, 3, 2), 3e38)).kind == "classes"


def test_fingerprint_is_of_the_content():
    first = make()
    assert first.fingerprint == make(name="other").fingerprint
    others = [
        make(x=TOKENS.flip(0)),
        make(y=1 - CLASSES),
        make(lengths=None),
        make(train=torch.tensor([0, 3])),
        make(val=torch.tensor([2]), test=torch.tensor([1])),
        make(num_tokens=6),
        make(num_classes=3),
        features(),
        features(x=FEATURES.double()),
        labels(),
        labels(lengths=None),
    ]
    assert len({first.fingerprint, *(data.fingerprint for data in others)}) == len(others) + 1


def test_to_moves_every_tensor():
    data = make()
    assert data.to("cpu") is data
    if torch.cuda.is_available():
        moved = labels().to("cuda")
        for field in dataclasses.fields(moved):
            value = getattr(moved, field.name)
            assert not isinstance(value, torch.Tensor) or value.is_cuda
        assert moved.fingerprint == labels().fingerprint
