"""Scores of classes, tokens and sequences of tokens."""

import math

import torch
from torch import Tensor

_IGNORED = -100  # the label of padding


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


def standard_error(values: Tensor) -> float:
    """Standard error of the mean of ``[M]`` values, NaN of fewer than two."""
    values = values.double()
    return float(values.std() / math.sqrt(len(values))) if len(values) > 1 else math.nan


def token_accuracy(predicted: Tensor, target: Tensor) -> float:
    """Share of the target's tokens that stand at the same place of the prediction.

    Args:
        predicted: ``[N, L]``, int64; where it is shorter than the target, what is missing is wrong.
        target: ``[N, M]``, int64, -100 behind the stop symbol.

    Raises:
        ValueError: The numbers of rows differ.
    """
    asked = target != _IGNORED
    return float((_equal("token_accuracy", predicted, target) & asked).sum() / asked.sum())


def sequence_accuracy(predicted: Tensor, target: Tensor) -> float:
    """Share of the predictions that agree with the target up to and with its stop symbol.

    Args:
        predicted: ``[N, L]``, int64; what follows the target's stop symbol does not count.
        target: ``[N, M]``, int64, -100 behind the stop symbol.

    Raises:
        ValueError: The numbers of rows differ.
    """
    right = _equal("sequence_accuracy", predicted, target) | (target == _IGNORED)
    return float(right.all(1).double().mean())


def _equal(where: str, predicted: Tensor, target: Tensor) -> Tensor:
    """Which of the target's tokens are predicted ``[N, M]``."""
    if len(predicted) != len(target):
        raise ValueError(
            f"{where}: predicted has {len(predicted)} rows, target has {len(target)}; give one each"
        )
    missing = max(0, target.shape[1] - predicted.shape[1])
    filled = torch.nn.functional.pad(predicted, (0, missing), value=_IGNORED - 1)
    return filled[:, : target.shape[1]] == target
