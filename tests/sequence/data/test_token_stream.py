"""TokenStream: every pair of neighbours is met once, whatever the number of streams."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from graphseq.sequence.data import TokenStream

TEXT = torch.tensor([0, 1, 2, 0, 1])


def make(**changes):
    parts = {"train": TEXT, "val": TEXT[:4], "test": TEXT[:2], "vocabulary": ("a", "b", "c")}
    return TokenStream(**{**parts, "name": "abc", **changes})


def distinct(length):
    """A text in which every token occurs once: its pairs can be told apart."""
    text = torch.arange(length)
    words = tuple(map(str, range(length)))
    return TokenStream(train=text, val=text, test=text, vocabulary=words)


@given(length=st.integers(2, 40), num_streams=st.integers(1, 39))
def test_each_pair_occurs_once(length, num_streams):
    if num_streams > length - 1:
        return
    data = distinct(length)
    for split in ("train", "val", "test"):
        inputs, targets = data.streams(split, num_streams)
        assert inputs.shape == targets.shape
        assert len(inputs) == num_streams
        asked = targets != -100
        assert torch.equal(targets[asked], inputs[asked] + 1)  # the next token of the text
        lost = (length - 1) % num_streams if split == "train" else 0
        assert inputs[asked].tolist() == list(range(length - 1 - lost))  # in the text's order
        assert split != "train" or bool(asked.all())
        assert not inputs[~asked].any()


def test_one_stream_is_the_text():
    inputs, targets = make().streams("val", 1)
    assert inputs.tolist() == [[0, 1, 2]]
    assert targets.tolist() == [[1, 2, 0]]


def test_padding_only_where_one_scores():
    data = distinct(6)
    assert data.streams("train", 2)[0].tolist() == [[0, 1], [2, 3]]
    assert data.streams("test", 2)[0].tolist() == [[0, 1, 2], [3, 4, 0]]
    assert data.streams("test", 2)[1].tolist() == [[1, 2, 3], [4, 5, -100]]


def test_dims_summary_and_device():
    data = make()
    assert data.dims == {"in_channels": None, "num_tokens": 3, "out_channels": 3}
    summary = data.summary()
    assert len(summary.pop("fingerprint")) == 64
    assert summary == {"name": "abc", "num_tokens": 3, "train": 5, "val": 4, "test": 2}
    assert data.to("cpu") is data
    if torch.cuda.is_available():
        assert data.to("cuda").streams("train", 2)[1].is_cuda
        assert data.to("cuda").fingerprint == data.fingerprint


def test_fingerprint_is_of_the_content():
    others = [
        make(train=TEXT.flip(0)),
        make(train=TEXT[:4], val=TEXT),
        make(vocabulary=("a", "b", "d")),
        make(vocabulary=("a", "b", "c", "d")),
    ]
    assert len({make().fingerprint, *(data.fingerprint for data in others)}) == 5
    assert make(name="other").fingerprint == make().fingerprint


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"train": TEXT + 1}, ValueError, "train must lie in 0 .. 2, got 1 .. 3"),
        ({"val": TEXT[:1]}, ValueError, "val has one token"),
        ({"val": TEXT[:0]}, ValueError, "val must be [L] and not empty"),
        ({"test": TEXT[None]}, ValueError, "test must be [L]"),
        ({"test": TEXT.int()}, TypeError, "test must be int64"),
        ({"vocabulary": ["a", "b", "c"]}, TypeError, "vocabulary must be a tuple"),
        ({"vocabulary": ("a", "b", 3)}, TypeError, "vocabulary must be a tuple of strings"),
        ({"vocabulary": ("a", "b", "a")}, ValueError, "vocabulary repeats a word"),
    ],
)
def test_wrong_arguments_are_named(changes, error, words):
    with pytest.raises(error, match=r"^abc: ") as caught:
        make(**changes)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("num_streams", "error", "words"),
    [
        (0, ValueError, "num_streams is 0"),
        (5, ValueError, "num_streams is 5, but train has 4 tokens to predict"),
        (2.0, TypeError, "num_streams must be an int"),
    ],
)
def test_wrong_numbers_of_streams(num_streams, error, words):
    with pytest.raises(error, match="abc: streams: ") as caught:
        make().streams("train", num_streams)
    assert words in str(caught.value)
    with pytest.raises(ValueError, match="split is 'valid'; pass train, val, test"):
        make().streams("valid", 1)
