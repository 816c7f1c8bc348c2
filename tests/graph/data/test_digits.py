"""The digits graph: against scikit-learn's neighbours, the same everywhere, no network."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestNeighbors

from graphseq.graph.data import digits

pytestmark = pytest.mark.usefixtures("generators_untouched")


def test_sizes_labels_and_scale():
    data = digits()
    pixels, labels = load_digits(return_X_y=True)
    assert data.dims == {"in_channels": 64, "out_channels": 10}
    np.testing.assert_array_equal(data.y.numpy(), labels)
    np.testing.assert_array_equal(data.x.numpy() * 16, pixels)
    assert torch.bincount(data.y[data.train]).tolist() == [20] * 10
    assert torch.bincount(data.y[data.val]).tolist() == [30] * 10
    assert data.test.numel() == 1797 - 500
    assert data.fingerprint == digits().fingerprint


@pytest.mark.parametrize("neighbors", [1, 10])
def test_neighbours_are_scikit_learns_up_to_ties(neighbors):
    data = digits(neighbors=neighbors)
    assert data.adjacency.is_symmetric
    assert not (data.adjacency.edge_index[0] == data.adjacency.edge_index[1]).any()
    pixels, _ = load_digits(return_X_y=True)
    model = NearestNeighbors(n_neighbors=neighbors, algorithm="kd_tree").fit(pixels)
    radius = model.kneighbors()[0][:, -1]  # distance of each image's farthest neighbour, exactly
    source, target = data.adjacency.edge_index.numpy()
    length = np.linalg.norm(pixels[source] - pixels[target], axis=1)
    assert (length <= np.maximum(radius[source], radius[target]) + 1e-9).all()
    joined = data.adjacency.csr.to_dense().numpy() > 0
    for node, distance in enumerate(radius):
        nearer = np.linalg.norm(pixels - pixels[node], axis=1) < distance - 1e-9
        nearer[node] = False
        assert joined[node][nearer].all()
    assert data.adjacency.degree.min() >= neighbors


@pytest.mark.parametrize("neighbors", [0, 1797])
def test_impossible_neighbours(neighbors):
    with pytest.raises(
        ValueError, match=f"digits: neighbors must be in 1 .. 1796, got {neighbors}"
    ):
        digits(neighbors=neighbors)
