"""Sequential digits: scikit-learn's images, split alike in every class."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from graphseq.sequence.data import sequential_digits

pytestmark = pytest.mark.usefixtures("generators_untouched")


@pytest.mark.parametrize(("order", "shape"), [("pixels", (64, 1)), ("rows", (8, 8))])
def test_sizes_labels_and_scale(order, shape):
    data = sequential_digits(order=order)
    images = load_digits()
    assert data.kind == "classes"
    assert data.dims == {"in_channels": shape[1], "num_tokens": None, "out_channels": 10}
    assert data.x.dtype == torch.float32
    np.testing.assert_array_equal(data.x.numpy() * 16, images.images.reshape(-1, *shape))
    np.testing.assert_array_equal(data.y.numpy(), images.target)


def test_splits_are_stratified_and_cover_everything():
    data = sequential_digits()
    assert sorted(torch.cat(list(data.splits.values())).tolist()) == list(range(1797))
    every = torch.bincount(data.y)
    for split, share in (("train", 0.6), ("val", 0.2), ("test", 0.2)):
        rows = data.splits[split]
        assert torch.equal(rows, rows.sort().values)
        assert ((torch.bincount(data.y[rows]) - share * every).abs() <= 1).all()


def test_splits_follow_the_seed():
    first, again, other = (sequential_digits(seed=seed) for seed in (0, 0, 1))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert torch.equal(first.x, other.x)


def test_impossible_arguments():
    with pytest.raises(ValueError, match="sequential_digits: order is 'columns'; pass pixels or"):
        sequential_digits(order="columns")
    with pytest.raises(ValueError, match="sequential_digits: seed is -1"):
        sequential_digits(seed=-1)
