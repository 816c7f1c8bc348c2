"""Scores of sequences that no library defines for us."""

import math

import torch
from torch import Tensor


def accuracy(predicted: Tensor, target: Tensor) -> float:
    """Share of equal entries; both ``[M]``."""
    return float((predicted == target).double().mean())


def mean_per_sequence(values: Tensor, sequence: Tensor) -> float:
    """The mean over sequences of each one's mean, as associative recall is scored.

    Args:
        values: ``[M]``, one per asked position.
        sequence: ``[M]``, which sequence each position is of.
    """
    _, index = sequence.unique(return_inverse=True)
    total = torch.zeros(int(index.max()) + 1, dtype=torch.float64, device=values.device)
    count = torch.zeros_like(total)
    total.index_add_(0, index, values.double())
    count.index_add_(0, index, torch.ones_like(values, dtype=torch.float64))
    return float((total / count).mean())


def perplexity(nll: Tensor) -> float:
    """``exp`` of the mean negative log likelihood (natural logarithm) per token."""
    mean = float(nll.double().mean())
    return math.exp(mean) if mean < 700 else math.inf
