"""Handwritten digits read as sequences, from the images that come with scikit-learn."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from graphseq.sequence.data.sequence_data import SequenceData
from graphseq.sequence.data.splits import split_stratified


def sequential_digits(
    *, order: Literal["pixels", "rows"] = "pixels", seed: int = 0
) -> SequenceData:
    """1,797 images of 8 x 8 pixels, read pixel by pixel or row by row: which digit is it?

    A small relative of sequential MNIST that needs no network. 60 percent of each digit's images
    are to train, 20 to validate and 20 to test.

    Args:
        order: ``"pixels"`` shows the 64 pixels row after row, one at a step; ``"rows"`` the 8 rows.
        seed: Seed of the split.

    Returns:
        ``x [1797, 64, 1]`` or ``[1797, 8, 8]``, float32 in ``0 .. 1``, and 10 classes.

    Raises:
        TypeError: The seed is no whole number.
        ValueError: The order is unknown, or the seed is negative.
    """
    if order not in ("pixels", "rows"):
        raise ValueError(f"sequential_digits: order is {order!r}; pass pixels or rows")
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)  # [1797, 64] whole numbers 0 .. 16, [1797]
    x = torch.from_numpy(pixels / 16.0).float()
    y = torch.from_numpy(labels.astype(np.int64))
    return SequenceData(
        x=x[:, :, None] if order == "pixels" else x.reshape(-1, 8, 8),
        y=y,
        **split_stratified("sequential_digits", y, seed=seed)._asdict(),
        num_classes=10,
        name=f"sequential_digits({order})",
    )
