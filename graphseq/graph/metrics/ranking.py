"""Scores of link predictors: how high true links (positives) stand among other pairs (negatives).

All follow from two counts per positive: how many negatives score higher, and how many score at
least as high. Ties are counted, so that a model which scores everything alike gains nothing. The
negatives are one list for all positives (as in ogbl-collab, -ppa and -ddi) or a list for each (as
in ogbl-citation2 and HeaRT). OGB's evaluator (Hu et al. 2020, arXiv 2005.00687) gives the same
numbers wherever it has the metric, see :mod:`graphseq.graph.metrics.official`.

Shape:
    - positive: ``[P]``
    - negative: ``[M]``, shared by all positives, or ``[P, K]``, row p for positive p
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

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
    return _Ranks.of("hits", positive, negative).hits(k)


def mrr(positive: Tensor, negative: Tensor) -> float:
    """Mean reciprocal rank; a positive's rank is ``1 + (number higher + at least as high) / 2``.

    Args:
        positive: Scores of the true links ``[P]``.
        negative: Scores of other pairs, ``[M]`` or ``[P, K]``.

    Raises:
        ValueError: There are no positives or no negatives, shapes do not fit, or a score is NaN.
    """
    return _Ranks.of("mrr", positive, negative).mrr()


def auc(positive: Tensor, negative: Tensor) -> float:
    """Area under the ROC curve: how often a positive beats a negative, a tie counting half.

    Args:
        positive: Scores of the true links ``[P]``.
        negative: Scores of other pairs, ``[M]`` or ``[P, K]``; in the second form the mean over
            positives of the area against their own negatives.

    Raises:
        ValueError: There are no positives or no negatives, shapes do not fit, or a score is NaN.
    """
    return _Ranks.of("auc", positive, negative).auc()


def ranking_metric(name: str) -> Callable[[Tensor, Tensor], float]:
    """The function ``(positive, negative) -> float`` that a name means.

    Args:
        name: ``"hits@K"`` for a whole number K, ``"mrr"`` or ``"auc"``.

    Raises:
        ValueError: It is none of them.
    """
    kind, k = _parse(name)
    return partial(hits, k=k) if kind == "hits" else {"mrr": mrr, "auc": auc}[kind]


def ranking_metrics(names: Iterable[str], positive: Tensor, negative: Tensor) -> dict[str, float]:
    """Several metrics of the same scores by their names; the negatives are sorted once for all.

    Args:
        names: As for :func:`ranking_metric`.
        positive: Scores of the true links ``[P]``.
        negative: Scores of other pairs, ``[M]`` or ``[P, K]``.

    Raises:
        ValueError: A name means nothing, there are no positives or no negatives, shapes do not fit,
            or a score is NaN.
    """
    wanted = {name: _parse(name) for name in names}
    ranks = _Ranks.of("ranking_metrics", positive, negative)
    own = {"mrr": ranks.mrr, "auc": ranks.auc}
    return {
        name: ranks.hits(k) if kind == "hits" else own[kind]() for name, (kind, k) in wanted.items()
    }


def _parse(name: str) -> tuple[str, int]:
    """What a name asks for, and the K of Hits@K (0 for the others)."""
    kind, at, k = name.partition("@")
    if kind == "hits" and k.isdecimal() and int(k) > 0:
        return kind, int(k)
    if at or kind not in ("mrr", "auc"):
        raise ValueError(f"metric must be 'hits@K' such as 'hits@50', 'mrr' or 'auc', got {name!r}")
    return kind, 0


class _Ranks(NamedTuple):
    """Per positive, how many of ``num`` negatives score higher and how many at least as high."""

    higher: Tensor  # int64 [P]
    at_least: Tensor  # int64 [P]
    num: int
    shared: bool

    @classmethod
    def of(cls, where: str, positive: Tensor, negative: Tensor) -> _Ranks:
        _check(where, positive, negative)
        positive, negative = positive.detach(), negative.detach()
        num = negative.shape[-1]
        if negative.dim() == 2:
            own = positive[:, None]
            return cls((negative > own).sum(1), (negative >= own).sum(1), num, shared=False)
        dtype = torch.promote_types(positive.dtype, negative.dtype)
        positive, ascending = positive.to(dtype).contiguous(), negative.to(dtype).sort().values
        below = torch.searchsorted(ascending, positive)
        not_above = torch.searchsorted(ascending, positive, right=True)
        return cls(num - not_above, num - below, num, shared=True)

    def hits(self, k: int) -> float:
        hit = self.at_least < k if self.shared else self.higher + self.at_least <= 2 * (k - 1)
        return float(hit.sum()) / len(hit)

    def mrr(self) -> float:
        return float((2.0 / (2 + self.higher + self.at_least).double()).mean())

    def auc(self) -> float:
        beaten = 2 * self.num - (self.higher + self.at_least).double()
        return float(beaten.mean()) / (2 * self.num)


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
