"""Handwritten digits as a graph, from the images that come with scikit-learn: no network needed."""

from __future__ import annotations

import numpy as np
import torch

from graphseq.graph.adjacency import Adjacency
from graphseq.graph.data.edges import simple_edges
from graphseq.graph.data.node_data import NodeData
from graphseq.graph.data.splits import split_per_class

_SPLIT_SEED = 0


def digits(*, neighbors: int = 3) -> NodeData:
    """1,797 images of 8 x 8 pixels, each joined with those that look most alike.

    Two images are neighbours if one is among the ``neighbors`` closest ones (Euclidean distance of
    the pixels) of the other. The split is the same for every seed: 20 images of each digit to
    train, 30 to validate, the other 1,297 to test.

    Args:
        neighbors: Closest images that each one is joined with. Of 3, 4, 5, 6, 8, 10, 12, 16 and 24,
            3 gave DAGNN the lowest validation loss.

    Returns:
        A graph of 1,797 nodes, 64 features in ``0 .. 1`` (dense) and 10 classes.

    Raises:
        ValueError: ``neighbors`` is not in ``1 .. 1796``.
    """
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)  # [1797, 64] whole numbers 0 .. 16, [1797]
    if not 1 <= neighbors < len(pixels):
        raise ValueError(f"digits: neighbors must be in 1 .. {len(pixels) - 1}, got {neighbors}")
    y = torch.from_numpy(labels.astype(np.int64))
    edge_index = _nearest(pixels, neighbors)
    return NodeData(
        x=torch.from_numpy(pixels / 16.0).float(),
        adjacency=Adjacency.from_edge_index(edge_index, num_nodes=len(pixels)),
        y=y,
        **split_per_class(y, seed=_SPLIT_SEED)._asdict(),
        num_classes=10,
        name="digits",
    )


def _nearest(points: np.ndarray, neighbors: int) -> torch.Tensor:
    """``edge_index`` of the symmetric nearest-neighbour graph of points ``[N, D]``."""
    norms = (points**2).sum(axis=1)
    # Whole numbers, hence exact: ties are real, and a stable sort breaks them alike everywhere.
    distances = norms[:, None] + norms[None, :] - 2 * points @ points.T  # [N, N], squared
    np.fill_diagonal(distances, np.inf)
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :neighbors]
    source = np.repeat(np.arange(len(points)), neighbors)
    return simple_edges(source, nearest.reshape(-1), len(points))
