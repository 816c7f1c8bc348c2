"""Scores of link predictors: how high true links (positives) stand among other pairs (negatives).

All follow from two counts per positive: how many negatives score higher, and how many score at
least as high. Ties are counted, so that a model which scores everything alike gains nothing. The
negatives are one list for all positives (as in ogbl-collab, -ppa and -ddi) or a list for each (as
in ogbl-citation2 and HeaRT). OGB's evaluator (Hu et al. 2020, arXiv 2005.00687) gives the same
numbers wherever it has the metric.

Shape:
    - positive: ``[P]``
    - negative: ``[M]``, shared by all positives, or ``[P, K]``, row p for positive p
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor


def hits(positive: Tensor, negative: Tensor, k: int) -> float:
    """Hits@k: the fraction of positives among the best k.

    With shared negatives, a positive is a hit if it scores strictly higher than the k-th best of
    them; with fewer than k negatives, all are. With negatives of its own, it is a hit if its rank
    ``1 + (number higher + number at least as high) / 2`` is at most k.

    Args:
        positive: Scores of the true links ``[P]``.
        negative: Scores of other pairs, ``[M]`` or ``[P, K]``.
        k: How many places count, at least 1.

    Raises:
        ValueError: There are no positives or no negatives, shapes do not fit, a score is NaN, or k
            is below 1.
    """
    if k < 1:
        raise ValueError(f"hits: k must be at least 1, got {k}")
    higher, at_least = _counts("hits", positive, negative)
    hit = at_least < k if negative.dim() == 1 else higher + at_least <= 2 * (k - 1)
    return float(hit.sum()) / positive.numel()


def mrr(positive: Tensor, negative: Tensor) -> float:
    """Mean reciprocal rank; a positive's rank is ``1 + (number higher + at least as high) / 2``.

    Args:
        positive: Scores of the true links ``[P]``.
        negative: Scores of other pairs, ``[M]`` or ``[P, K]``.

    Raises:
        ValueError: There are no positives or no negatives, shapes do not fit, or a score is NaN.
    """
    higher, at_least = _counts("mrr", positive, negative)
    return float((2.0 / (2 + higher + at_least).double()).mean())


def auc(positive: Tensor, negative: Tensor) -> float:
    """Area under the ROC curve: how often a positive beats a negative, a tie counting half.

    Args:
        positive: Scores of the true links ``[P]``.
        negative: Scores of other pairs, ``[M]`` or ``[P, K]``; in the second form the mean over
            positives of the area against their own negatives.

    Raises:
        ValueError: There are no positives or no negatives, shapes do not fit, or a score is NaN.
    """
    higher, at_least = _counts("auc", positive, negative)
    beaten = 2 * negative.shape[-1] - (higher + at_least).double()
    return float(beaten.mean()) / (2 * negative.shape[-1])


def ranking_metric(name: str) -> Callable[[Tensor, Tensor], float]:
    """The function ``(positive, negative) -> float`` that a name means.

    Args:
        name: ``"hits@K"`` for a whole number K, ``"mrr"`` or ``"auc"``.

    Raises:
        ValueError: It is none of them.
    """
    kind, at, k = name.partition("@")
    if kind == "hits" and k.isdecimal() and int(k) > 0:
        return partial(hits, k=int(k))
    if at or kind not in ("mrr", "auc"):
        raise ValueError(f"metric must be 'hits@K' such as 'hits@50', 'mrr' or 'auc', got {name!r}")
    return mrr if kind == "mrr" else auc


def _counts(where: str, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    """Per positive, how many negatives score higher and how many at least as high, int64 [P]."""
    _check(where, positive, negative)
    positive, negative = positive.detach(), negative.detach()
    if negative.dim() == 2:
        own = positive[:, None]
        return (negative > own).sum(1), (negative >= own).sum(1)
    dtype = torch.promote_types(positive.dtype, negative.dtype)
    positive, ascending = positive.to(dtype), negative.to(dtype).sort().values
    below = torch.searchsorted(ascending, positive)
    not_above = torch.searchsorted(ascending, positive, right=True)
    return negative.numel() - not_above, negative.numel() - below


def _check(where: str, positive: Tensor, negative: Tensor) -> None:
    own = negative.dim() == 2 and negative.shape[0] == positive.shape[0]
    if positive.dim() != 1 or not (negative.dim() == 1 or own):
        raise ValueError(
            f"{where}: positive must be [P] and negative [M] or [P, K], got "
            f"{tuple(positive.shape)} and {tuple(negative.shape)}"
        )
    if not positive.numel() or not negative.numel():
        raise ValueError(f"{where}: there must be at least one positive and one negative score")
    for name, score in (("positive", positive), ("negative", negative)):
        if score.is_floating_point() and bool(score.isnan().any()):
            raise ValueError(f"{where}: {name} holds NaN scores; the model has diverged")
