"""Node classification: shards add up, training learns, the callers' generators rest."""

import dataclasses
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import accuracy_score, log_loss

from graphseq import DAGNN, Budget, evaluate, fit
from graphseq.graph.adjacency import Adjacency
from graphseq.graph.csr import CSR
from graphseq.graph.data import NodeData
from graphseq.graph.tasks import NodeClassification
from graphseq.training import Shard


@pytest.fixture
def data() -> NodeData:
    """Two dense blocks joined by a few edges; the features are a noisy copy of the label."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(40) % 2
    same = y[:, None] == y
    chance = torch.where(same, 0.3, 0.02)
    upper = (torch.rand(40, 40, generator=generator) < chance).triu(1)
    edge_index = (upper | upper.t()).nonzero().t()
    x = F.one_hot(y, 5).float() + 0.8 * torch.randn(40, 5, generator=generator)
    order = torch.randperm(40, generator=generator)
    return NodeData(
        x=x,
        adjacency=Adjacency.from_edge_index(edge_index, 40),
        y=y,
        train=order[:9],
        val=order[9:20],
        test=order[20:],
        num_classes=2,
        name="blocks",
    )


def make(data: NodeData, dropout: float = 0.0, **options: float) -> NodeClassification:
    torch.manual_seed(0)
    model = DAGNN(**data.dims, hidden_channels=8, num_hops=3, dropout=dropout)
    return NodeClassification(model, data, **options)


def losses(task: NodeClassification, shard: Shard) -> torch.Tensor:
    stage = task.stages()[0]
    task.shard = shard
    (batch,) = task.batches("train", stage, 0, shard)
    (loss,) = task.losses(batch, stage)
    return loss.value


@pytest.mark.parametrize("size", [1, 2, 4, 16])
def test_the_mean_over_ranks_is_the_loss_of_one_process(data: NodeData, size: int) -> None:
    task = make(data)
    logits = task.model(data.x, data.adjacency)
    whole = F.cross_entropy(logits[data.train], data.y[data.train])
    shares = torch.stack([losses(task, Shard(rank, size)) for rank in range(size)])
    torch.testing.assert_close(shares.mean(), whole)
    parameters = list(task.model.parameters())
    for ours, theirs in zip(
        torch.autograd.grad(shares.mean(), parameters),
        torch.autograd.grad(whole, parameters),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_metrics_equal_scikit_learn(data: NodeData) -> None:
    task = make(data).eval()
    with torch.no_grad():
        logits = task.model(data.x, data.adjacency)[data.test].double()
    found = evaluate(task, "test")
    y = data.y[data.test].numpy()
    assert found["acc"] == accuracy_score(y, logits.argmax(1).numpy())
    assert found["loss"] == pytest.approx(log_loss(y, logits.softmax(1).numpy()), rel=1e-5)


def test_training_learns_and_reports_what_evaluation_repeats(data: NodeData) -> None:
    task = make(data, dropout=0.2)
    before = evaluate(task, "test")["acc"]
    result = fit(task, Budget(epochs=60), seed=1)
    assert result.metrics["test/acc"] >= 0.9 > before
    assert result.metrics["test/acc"] == evaluate(task, "test")["acc"]
    lowest = min(row["val/loss"] for row in result.history)
    assert result.metrics["val/loss"] == pytest.approx(lowest, rel=1e-6)


def test_same_seed_twice_is_bitwise_equal_and_disturbs_no_generator(data: NodeData) -> None:
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002 - the global state is what this is about
    torch.manual_seed(3)
    expected = random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002
    weights = []
    for seed in (0, 0, 1):
        task = make(data, dropout=0.5)
        random.seed(3)
        np.random.seed(3)  # noqa: NPY002
        torch.manual_seed(3)
        fit(task, Budget(epochs=5), seed=seed)
        assert (random.random(), np.random.rand(), torch.rand(1)) == expected  # noqa: NPY002
        weights.append(torch.cat([p.detach().flatten() for p in task.model.parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("name", ["lr", "weight_decay"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1])
def test_a_rate_that_cannot_be_is_named(data: NodeData, name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"^NodeClassification: {name} is {value}; pass a finite"):
        make(data, **{name: value})


def test_the_monitor_chooses_the_weights(data: NodeData) -> None:
    result = fit(make(data, monitor="val/acc"), Budget(epochs=30))
    assert result.metrics["val/acc"] == max(row["val/acc"] for row in result.history)
    with pytest.raises(ValueError, match="val/nothing"):
        fit(make(data, monitor="val/nothing"), Budget(epochs=1))


@pytest.mark.parametrize("sparse", [False, True])
def test_trains_in_double_precision(data: NodeData, sparse: bool) -> None:
    if sparse:
        data = dataclasses.replace(data, x=CSR.from_dense(data.x))
    task = make(data)
    fit(task, Budget(epochs=2), precision="64-true")
    logits = task.model(task.data.x, task.data.adjacency)
    assert logits.dtype == torch.float64


def test_on_official_splits_a_run_ends_with_ogbs_accuracy(
    data: NodeData, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = fit(make(data), Budget(epochs=3))
    official = dataclasses.replace(data, official="ogbn-arxiv")
    assert official.fingerprint == data.fingerprint
    result = fit(make(official), Budget(epochs=3))
    assert result.metrics == plain.metrics
    asked = []
    name = "graphseq.graph.tasks.node_classification.official_accuracy"
    monkeypatch.setattr(name, lambda *words, **named: asked.append(words[0]) or 0.5)
    result = fit(make(official), Budget(epochs=3))
    assert asked == ["ogbn-arxiv", "ogbn-arxiv"]
    assert result.metrics["val/acc"] == result.metrics["test/acc"] == 0.5
    assert result.metrics["test/loss"] == plain.metrics["test/loss"]
    with pytest.raises(ValueError, match="blocks: official must be ogbn-arxiv, got 'ogbn-mag'"):
        dataclasses.replace(data, official="ogbn-mag")
