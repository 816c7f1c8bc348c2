"""OGB's own evaluators (Hu et al. 2020, arXiv 2005.00687), which leaderboard numbers come from.

They are asked at the end of a run, and get tensors: ogb 1.3.6 fails at MRR from numpy arrays.
While a model trains, our own metrics are enough. The first call imports ``ogb``, which takes a
second, and keeps it from asking the network for news.
"""

import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor

TOLERANCE = 1e-6
"""OGB rounds reciprocal ranks to float32."""


def official_ranking(
    dataset: str, positive: Tensor, negative: Tensor, ours: Mapping[str, float]
) -> dict[str, float]:
    """OGB's score of link predictions.

    Args:
        dataset: such as ``"ogbl-ddi"``.
        positive: scores of the true links ``[P]``.
        negative: scores of other pairs, ``[M]``; for ogbl-citation2 ``[P, K]``.
        ours: what :func:`~graphseq.graph.metrics.ranking_metrics` found, the dataset's own metric
            included.

    Returns:
        The name of the dataset's metric and OGB's value of it.

    Raises:
        RuntimeError: ours differs from OGB's by more than rounding.
    """
    with _quiet_import():
        from ogb.linkproppred import Evaluator
    evaluator = Evaluator(dataset)
    found = evaluator.eval({"y_pred_pos": positive.detach(), "y_pred_neg": negative.detach()})
    name = evaluator.eval_metric
    value = found["mrr_list"].double().mean() if name == "mrr" else found[name]
    return {name: _confirmed(dataset, name, float(value), ours[name])}


def official_accuracy(dataset: str, logits: Tensor, y: Tensor, ours: float) -> float:
    """OGB's accuracy of predicted classes.

    Args:
        dataset: such as ``"ogbn-arxiv"``.
        logits: class scores ``[B, C]``.
        y: true classes ``[B]``.
        ours: what :func:`~graphseq.graph.metrics.accuracy` found.

    Raises:
        RuntimeError: ours differs from OGB's by more than rounding.
    """
    with _quiet_import():
        from ogb.nodeproppred import Evaluator
    answer = {"y_true": y[:, None], "y_pred": logits.argmax(dim=-1, keepdim=True)}
    return _confirmed(dataset, "acc", float(Evaluator(dataset).eval(answer)["acc"]), ours)


def _confirmed(dataset: str, name: str, theirs: float, ours: float) -> float:
    if not abs(theirs - ours) <= TOLERANCE:
        raise RuntimeError(
            f"{dataset}: OGB's evaluator finds {name} {theirs:.8f}, graphseq {ours:.8f}; one of "
            "the two is wrong, so report it and trust neither"
        )
    return theirs


@contextmanager
def _quiet_import() -> Iterator[None]:
    """Inside the block, ``import ogb`` neither warns nor looks for news of itself.

    It starts a thread that asks PyPI for its newest version, unless ``outdated`` is missing.
    """
    modules: dict[str, Any] = sys.modules  # None stands for a module that cannot be imported
    known = {"outdated": modules["outdated"]} if "outdated" in modules else {}
    modules["outdated"] = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pandas and pkg_resources, inside of ogb
            yield
    finally:
        del modules["outdated"]
        modules.update(known)
