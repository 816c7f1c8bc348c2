"""Scores of predicted classes."""

from torch import Tensor


def accuracy(logits: Tensor, y: Tensor) -> float:
    """Fraction of rows whose largest score is at the true class.

    Args:
        logits: class scores.
        y: true classes, integers.

    Shape:
        - logits: ``[B, C]``
        - y: ``[B]``

    Raises:
        ValueError: if there are no rows, or the numbers of rows differ.
    """
    if logits.shape[0] != y.shape[0] or not y.numel():
        raise ValueError(
            f"accuracy: logits and y need the same number of rows, at least one; got "
            f"{tuple(logits.shape)} and {tuple(y.shape)}"
        )
    return float((logits.argmax(dim=-1) == y).sum()) / y.numel()
