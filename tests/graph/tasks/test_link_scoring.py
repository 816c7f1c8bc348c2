"""Scoring links: OGB's evaluator at the end of a run, and training links when asked for."""

import dataclasses
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphseq import NCN, Budget, evaluate, fit
from graphseq.graph.adjacency import Adjacency
from graphseq.graph.data import LinkData, links_from_arrays
from graphseq.graph.metrics import ranking_metrics
from graphseq.graph.ops import is_edge
from graphseq.graph.tasks import LinkPrediction, link_prediction
from graphseq.training import Shard

N = 60


class Dot(nn.Module):
    """Products of states that hear of their neighbours; notes the graphs and pairs that it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(8, 8)
        self.seen: list[tuple[Adjacency, Tensor]] = []

    def forward(
        self,
        x: Tensor,
        graph: Adjacency,
        edge_label_index: Tensor,
        edge_label: Tensor | None = None,
    ) -> Tensor:
        self.seen.append((graph, edge_label_index))
        h = self.encoder(x)
        left, right = (h + torch.sparse.mm(graph.csr.to_torch(h.dtype), h))[edge_label_index]
        logits = (left * right).sum(1)
        if edge_label is None:
            return logits
        return F.binary_cross_entropy_with_logits(logits, edge_label, reduction="sum")


@pytest.fixture
def data() -> LinkData:
    generator = torch.Generator().manual_seed(0)
    edges = (torch.rand(N, N, generator=generator) < 0.15).triu(1).nonzero().t()
    x = torch.rand(N, 8, generator=generator)
    return links_from_arrays(edges, x, metric="hits@20", num_negatives=90)


def make(data: LinkData, model: nn.Module | None = None, **options: Any) -> LinkPrediction:
    torch.manual_seed(0)
    return LinkPrediction(Dot() if model is None else model, data, batch_size=32, **options)


def official(data: LinkData) -> LinkData:
    return dataclasses.replace(data, official="ogbl-ddi")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many links OGB's evaluator was asked about, one number per call."""
    calls: list[int] = []
    ask = link_prediction.official_ranking

    def counted(dataset: str, positive: Tensor, *rest: Any, **named: Any) -> dict[str, float]:
        assert dataset == "ogbl-ddi"
        calls.append(len(positive))
        return ask(dataset, positive, *rest, **named)

    monkeypatch.setattr(link_prediction, "official_ranking", counted)
    return calls


def test_a_run_ends_with_ogbs_numbers_and_trains_without_them(
    data: LinkData, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = fit(make(data), Budget(epochs=3))
    assert asked == []
    result = fit(make(official(data)), Budget(epochs=3))
    assert asked == [data.val.size(1), data.test.size(1)] * 3  # the weights of three monitors
    assert result.metrics == plain.metrics
    task = make(official(data))
    assert "hits@20" in evaluate(task, "val") | evaluate(task, "train")
    assert len(asked) == 7  # OGB knows of no training links to score
    say = {"hits@20": 0.25}
    monkeypatch.setattr(link_prediction, "official_ranking", lambda *_, **__: say)
    result = fit(make(official(data)), Budget(epochs=1))
    assert result.metrics["test/hits@20"] == result.metrics["val/hits@20"] == 0.25
    assert result.history[0]["val/hits@20"] != 0.25


def test_nobody_is_believed_where_the_two_differ(
    data: LinkData, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(names: list[str], positive: Tensor, negative: Tensor) -> dict[str, float]:
        found = ranking_metrics(names, positive, negative)
        return found | {"hits@20": found["hits@20"] / 2 + 0.1}

    monkeypatch.setattr(link_prediction, "ranking_metrics", wrong)
    evaluate(make(data), "test")
    with pytest.raises(RuntimeError, match="ogbl-ddi: OGB's evaluator finds hits@20"):
        evaluate(make(official(data)), "test")


def scored(task: LinkPrediction) -> dict[str, float]:
    task.model.seen.clear()
    return evaluate(task, "train")


def test_scored_training_links_are_hidden_and_none_is_left_out(data: LinkData) -> None:
    task = make(data)
    scored(task)
    number, known = data.train.size(1), data.adjacency.csr
    assert number % 32  # an epoch drops some
    assert len(task.model.seen) == -(-number // 32)
    found = []
    for graph, pairs in task.model.seen:
        links, others = pairs[:, is_edge(known, pairs)], pairs[:, ~is_edge(known, pairs)]
        assert links.shape == others.shape
        assert not is_edge(graph.csr, links).any()
        assert graph.num_edges == data.adjacency.num_edges - 2 * links.size(1)
        found.append(links)
    keys = torch.cat(found, dim=1)
    assert sorted((keys[0] * N + keys[1]).tolist()) == sorted(
        (data.train[0] * N + data.train[1]).tolist()
    )
    first = found[0][0] * N + found[0][1]
    assert not torch.equal(first, (data.train[0] * N + data.train[1])[:32])  # in no listed order


def test_scored_pairs_are_always_the_same_and_never_those_of_an_epoch(data: LinkData) -> None:
    task = make(data)
    first = scored(task)
    pairs = torch.cat([pairs for _, pairs in task.model.seen], dim=1)
    torch.randn(3)
    assert scored(task) == first
    assert torch.equal(pairs, torch.cat([pairs for _, pairs in task.model.seen], dim=1))
    stage = task.stages()[0]
    for epoch in range(3):
        (batch, *_) = task.train().batches("train", stage, epoch, Shard())
        assert not torch.equal(batch.negative, pairs[:, 32:64])
    other = make(data, seed=1)
    scored(other)
    assert not torch.equal(pairs, torch.cat([pairs for _, pairs in other.model.seen], dim=1))


def test_scores_of_training_links_by_hand(data: LinkData) -> None:
    task = make(data, NCN(**data.dims, hidden_channels=8))
    found = evaluate(task, "train")
    assert {"hits@20", "mrr", "auc"} <= set(found)
    parts = []
    for batch in task.eval().batches("train", task.stages()[0], 0, Shard()):
        graph = data.removal.without(batch.hidden)
        with torch.no_grad():
            parts.append([task.model(data.x, graph, pairs) for pairs in batch[:2]])
    positive, negative = (torch.cat(scores) for scores in zip(*parts, strict=True))
    assert len(positive) == len(negative) == data.train.size(1)
    expected = ranking_metrics(found, positive, negative)
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("size", [2, 3, 50])
def test_ranks_share_the_training_links_that_are_scored(data: LinkData, size: int) -> None:
    task = make(data).eval()
    task.prepare(torch.device("cpu"))
    stage = task.stages()[0]
    whole = list(task.batches("train", stage, 0, Shard()))
    for rank in range(size):
        mine = list(task.batches("train", stage, 0, Shard(rank, size)))
        assert len(mine) == len(whole)
        for part, batch in zip(mine, whole, strict=True):
            assert torch.equal(part.hidden, batch.hidden)
            assert torch.equal(part.positive, Shard(rank, size).take(batch.positive.t()).t())
            out = task.predict(part, "train", stage, True)
            assert out["positive"].shape == out["negative"].shape == (part.positive.size(1),)


def test_training_and_other_scores_are_the_same_whether_training_links_are_scored(
    data: LinkData,
) -> None:
    task = make(data)
    stage = task.stages()[0]
    before = list(task.batches("train", stage, 1, Shard()))
    val = evaluate(task, "val")
    scored(task)
    assert task.training
    assert evaluate(task, "val") == val
    after = list(task.batches("train", stage, 1, Shard()))
    for ours, theirs in zip(before, after, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_links_that_training_leaves_visible_stay_so(data: LinkData) -> None:
    task = make(data, remove_targets=False)
    scored(task)
    assert all(graph.num_edges == data.adjacency.num_edges for graph, _ in task.model.seen)
