"""OGB's evaluators: they agree with our metrics, or nobody is believed, and no network is used."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor

from graphseq.graph.metrics import (
    accuracy,
    official_accuracy,
    official_ranking,
    ranking_metrics,
)

HITS = {"ogbl-ddi": "hits@20", "ogbl-collab": "hits@50", "ogbl-ppa": "hits@100"}


def drawn(own: bool = False) -> tuple[Tensor, Tensor]:
    """Scores with many ties, positives a little higher."""
    generator = torch.Generator().manual_seed(0)
    size = (300, 40) if own else (400,)
    positive = torch.randint(5, 60, (300,), generator=generator).float()
    return positive, torch.randint(55, size, generator=generator).float()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("dataset", "metric"), [*HITS.items(), ("ogbl-citation2", "mrr")])
def test_ogb_says_the_same_about_links(dataset: str, metric: str, dtype: torch.dtype) -> None:
    positive, negative = (scores.to(dtype) for scores in drawn(own=metric == "mrr"))
    ours = ranking_metrics([metric, "auc"], positive, negative)
    theirs = official_ranking(dataset, positive.requires_grad_(), negative, ours)
    assert theirs == pytest.approx({metric: ours[metric]}, abs=1e-7)
    assert 0 < theirs[metric] < 1
    if metric != "mrr":
        assert theirs[metric] == ours[metric]  # recorded numbers stay what they are
    for wrong in (ours[metric] + 2e-6, float("nan")):
        with pytest.raises(RuntimeError, match=rf"{dataset}: OGB's evaluator finds {metric} 0\."):
            official_ranking(dataset, positive, negative, {metric: wrong})


def test_ogb_says_the_same_about_nodes() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(301, 40, generator=generator)
    y = torch.randint(40, (301,), generator=generator)
    ours = accuracy(logits, y)
    assert official_accuracy("ogbn-arxiv", logits, y, ours) == ours > 0
    with pytest.raises(RuntimeError, match=r"ogbn-arxiv: OGB's evaluator finds acc 0\."):
        official_accuracy("ogbn-arxiv", logits, y, ours + 0.01)


NEWS = """
import socket, sys, threading, types
asked = []
def check_outdated(*words):
    asked.append(words)
    return False, "9"
known = sys.modules["outdated"] = types.ModuleType("outdated")
known.check_outdated = check_outdated
socket.socket.connect = lambda self, address: asked.append(address)
import builtins, torch
builtins.input = lambda *words: asked.append(words)
import graphseq
from graphseq.graph.metrics import official_accuracy, official_ranking
assert "ogb" not in sys.modules
print(official_ranking("ogbl-ddi", torch.ones(5), torch.zeros(30), {"hits@20": 1.0}))
print(official_accuracy("ogbn-arxiv", torch.eye(3), torch.arange(3), 1.0))
assert "ogb" in sys.modules and sys.modules["outdated"] is known
assert threading.active_count() == 1 and not asked, asked
"""


def test_ogb_is_imported_late_and_asks_nobody_anything() -> None:
    done = subprocess.run([sys.executable, "-c", NEWS], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "{'hits@20': 1.0}\n1.0\n"
