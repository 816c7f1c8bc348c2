"""Link prediction: what a batch hides, what it draws, and that ranks add up to one process."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphseq import Budget, evaluate, fit
from graphseq.graph.adjacency import Adjacency
from graphseq.graph.data import LinkData
from graphseq.graph.metrics import hits
from graphseq.graph.ops import is_edge
from graphseq.graph.tasks import LinkPrediction
from graphseq.graph.tasks.link_batches import Pairs, batch_links
from graphseq.training import Loss, Shard, Stage
from graphseq.training.catalog import shipped

N = 30


class Dot(nn.Module):
    """Inner products of embeddings that are averaged once over the neighbours."""

    def __init__(self, encoder_bias: bool = True) -> None:
        super().__init__()
        self.encoder = nn.Linear(8, 8, bias=encoder_bias)
        self.scale = nn.Parameter(torch.ones(1))
        self.seen: list[tuple[Adjacency, int]] = []

    def forward(
        self,
        x: Tensor,
        graph: Adjacency,
        edge_label_index: Tensor,
        edge_label: Tensor | None = None,
        depth: int = 1,
    ) -> Tensor:
        self.seen.append((graph, depth))
        h = self.encoder(x)
        h = h + torch.sparse.mm(graph.csr.to_torch(h.dtype), h)
        left, right = h[edge_label_index]
        logits = self.scale * (left * right).sum(1)
        if edge_label is None:
            return logits
        return F.binary_cross_entropy_with_logits(logits, edge_label, reduction="sum")


class Scale(nn.Module):
    """The predictor of :class:`Parts`; it notes the states that it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.seen: list[Tensor] = []

    def forward(self, h: Tensor, pairs: Tensor, labels: Tensor | None) -> Tensor:
        self.seen.append(h)
        left, right = h[pairs]
        logits = self.scale * (left * right).sum(1)
        if labels is None:
            return logits
        return F.binary_cross_entropy_with_logits(logits, labels, reduction="sum")


class Parts(nn.Module):
    """An encoder with dropout and a predictor, and nothing beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 8))
        self.predictor = Scale()

    def encode(self, x: Tensor, graph: Adjacency) -> Tensor:
        h: Tensor = self.encoder(x)
        return h + torch.sparse.mm(graph.csr.to_torch(h.dtype), h)

    def forward(
        self,
        x: Tensor,
        graph: Adjacency,
        edge_label_index: Tensor,
        edge_label: Tensor | None = None,
        depth: int = 1,
        states: Tensor | None = None,
    ) -> Tensor:
        h = self.encode(x, graph) if states is None else states
        out: Tensor = self.predictor(h, edge_label_index, edge_label)
        return out


class Count(nn.Module):
    """The number of common neighbours: nothing to learn."""

    def forward(self, x: Tensor, graph: Adjacency, edge_label_index: Tensor) -> Tensor:
        dense = graph.csr.to_dense()
        left, right = dense[edge_label_index]
        return (left * right).sum(1)


@pytest.fixture
def data() -> LinkData:
    """Two communities; train, val and test links are disjoint, every list has its own order."""
    generator = torch.Generator().manual_seed(0)
    same = (torch.arange(N)[:, None] % 2) == (torch.arange(N) % 2)
    chance = torch.where(same, 0.6, 0.05)
    upper = (torch.rand(N, N, generator=generator) < chance).triu(1)
    links, others = upper.nonzero().t(), (~upper).triu(1).nonzero().t()
    links = links[:, torch.randperm(links.size(1), generator=generator)]
    others = others[:, torch.randperm(others.size(1), generator=generator)]
    return LinkData(
        x=F.one_hot(torch.arange(N) % 2, 8) + 0.5 * torch.randn(N, 8, generator=generator),
        num_nodes=N,
        train=links[:, 50:],
        val=links[:, :20],
        val_negative=others[:, :40],
        test=links[:, 20:50],
        test_negative=others[:, 40:120],
        metric="hits@20",
        name="two communities",
    )


def make(data: LinkData, model: nn.Module | None = None, **options: object) -> LinkPrediction:
    torch.manual_seed(0)
    task = LinkPrediction(Dot() if model is None else model, data, batch_size=16, **options)
    task.prepare(torch.device("cpu"))
    return task


def train_batches(task: LinkPrediction, epoch: int = 0, shard: Shard | None = None) -> list[Pairs]:
    return list(task.batches("train", task.stages()[-1], epoch, shard or Shard()))


def test_the_seeds_of_a_run_share_one_graph(data: LinkData) -> None:
    tasks = [LinkPrediction(Dot(), data, seed=seed) for seed in (0, 1)]
    for task in tasks:
        task.prepare(torch.device("cpu"))
    assert tasks[0].graph is tasks[1].graph is data.adjacency
    strict = LinkPrediction(Dot(), data, strict_removal=True)
    strict.prepare(torch.device("cpu"))
    assert strict.removal is not None
    assert strict.removal.strict
    assert not data.removal.strict
    double = LinkPrediction(Dot().double(), data)
    double.prepare(torch.device("cpu"))
    assert isinstance(double.data.x, Tensor)
    assert double.data.x.dtype == torch.float64


def test_an_epoch_takes_each_link_at_most_once_with_one_non_edge_each(data: LinkData) -> None:
    task = make(data)
    batches = train_batches(task)
    assert len(batches) == data.train.size(1) // 16
    hidden = torch.cat([batch.hidden for batch in batches])
    assert hidden.unique().numel() == hidden.numel() == 16 * len(batches)
    for batch in batches:
        assert torch.equal(batch.positive, data.train[:, batch.hidden])
        assert batch.negative.shape == batch.positive.shape
        assert not is_edge(data.adjacency.csr, batch.negative).any()
        assert (batch.negative[0] != batch.negative[1]).all()


def test_draws_follow_seed_and_epoch_and_nothing_else(data: LinkData) -> None:
    def drawn(epoch: int, seed: int = 0) -> Tensor:
        torch.randn(3)  # the global generator has moved on
        return torch.cat([b.negative for b in train_batches(make(data, seed=seed), epoch)], dim=1)

    assert torch.equal(drawn(0), drawn(0))
    assert not torch.equal(drawn(0), drawn(1))
    assert not torch.equal(drawn(0), drawn(0, seed=1))


def test_few_links_make_one_batch_if_they_stay_visible(data: LinkData) -> None:
    for size in (None, 10_000):
        task = LinkPrediction(Dot(), data, batch_size=size, remove_targets=False)
        (batch,) = train_batches(task)
        assert batch.positive.size(1) == data.train.size(1)


@pytest.mark.parametrize(("size", "most"), [(None, 0.1), (10_000, 0.5)])
def test_a_step_on_few_links_still_sees_most_of_them(
    data: LinkData, size: int | None, most: float
) -> None:
    number = data.train.size(1)
    task = LinkPrediction(Dot(), data, batch_size=size, pretrain_epochs=1)
    task.prepare(torch.device("cpu"))
    for stage in task.stages():
        for batch in task.batches("train", stage, 0, Shard()):
            (loss,) = task.losses(batch, stage)
            assert loss.value.isfinite()
            visible = task.model.seen[-1][0].num_edges // 2
            assert visible == number - batch.hidden.numel() >= (1 - most) * number
    one = dataclasses.replace(data, train=data.train[:, :1])
    assert LinkPrediction(Dot(), one, batch_size=size).batch_size == 1


TRAINING_LINKS = {  # by our splits, and OGB's by its own
    "digits": 2_720,
    "cora": 3_696,
    "citeseer": 3_187,
    "pubmed": 31_027,
    "collab": 1_179_052,
    "ppa": 21_231_931,
    "citation2": 30_387_995,
    "ddi": 1_067_911,
}


def test_the_published_batches_are_as_large_as_published() -> None:
    published = {
        (name.split("_")[-1], size)
        for name, experiment in shipped().items()
        if name.startswith(("ncn", "gae_"))
        for key, size in experiment.task.keywords.items()
        if key in ("batch_size", "pretrain_batch_size")
    }
    assert {graph for graph, _ in published} == set(TRAINING_LINKS)
    for graph, size in published:
        assert batch_links(size, TRAINING_LINKS[graph], hides=True) == size


@pytest.mark.parametrize("remove", [True, False])
def test_the_model_does_not_see_the_links_of_the_batch(data: LinkData, remove: bool) -> None:
    task = make(data, remove_targets=remove)
    batch = train_batches(task)[0]
    next(task.losses(batch, task.stages()[0]))
    graph = task.model.seen[-1][0]
    assert is_edge(graph.csr, batch.positive).any().item() is not remove
    rest = data.adjacency.num_edges - (2 * 16 if remove else 0)
    assert graph.num_edges == rest


@pytest.mark.parametrize("size", [1, 2, 3, 16, 40])
def test_ranks_hide_the_whole_batch_and_add_up_to_one_process(data: LinkData, size: int) -> None:
    whole, parameters = make(data), None
    stage = whole.stages()[0]
    batch = train_batches(whole)[0]
    (expected,) = whole.losses(batch, stage)
    parameters = list(whole.model.parameters())
    shares = []
    for rank in range(size):
        whole.shard = Shard(rank, size)
        mine = train_batches(whole, shard=whole.shard)[0]
        assert torch.equal(mine.hidden, batch.hidden)
        (loss,) = whole.losses(mine, stage)
        shares.append(loss.value)
    mean = torch.stack(shares).mean()
    torch.testing.assert_close(mean, expected.value)
    pairs = zip(
        torch.autograd.grad(mean, parameters),
        torch.autograd.grad(expected.value, parameters),
        strict=True,
    )
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs)


def test_the_loss_is_the_mean_over_links_plus_the_mean_over_others(data: LinkData) -> None:
    task = make(data)
    batch = train_batches(task)[0]
    (loss,) = task.losses(batch, task.stages()[0])
    graph = task.removal.without(batch.hidden)
    positive = task.model(data.x, graph, batch.positive)
    negative = task.model(data.x, graph, batch.negative)
    expected = -F.logsigmoid(positive).mean() - F.logsigmoid(-negative).mean()
    torch.testing.assert_close(loss.value, expected)


def test_training_finds_the_communities(data: LinkData) -> None:
    task = make(data, lr=0.02)
    before = evaluate(task, "test")
    result = fit(task, Budget(epochs=30))
    assert result.metrics["test/auc"] > max(0.8, before["auc"])
    best = max(row["val/hits@20"] for row in result.history)
    assert result.metrics["val/hits@20"] == best
    assert {"test/hits@50", "test/hits@100", "test/mrr"} <= set(result.metrics)
    assert "test/hits@50@val/hits@50" in result.metrics  # the weights that are best at hits@50


def test_predictions_of_ranks_are_those_of_one_process(data: LinkData) -> None:
    task = make(data).eval()
    stage = task.stages()[0]
    (batch,) = task.batches("test", stage, 0, Shard())
    whole = task.predict(batch, "test", stage, True)
    assert whole["positive"].shape == (30,)
    assert whole["negative"].shape == (80,)
    parts = []
    for rank in range(3):
        (mine,) = task.batches("test", stage, 0, Shard(rank, 3))
        parts.append(task.predict(mine, "test", stage, True))
    for key, column in whole.items():
        torch.testing.assert_close(torch.cat([part[key] for part in parts]), column)
    assert task.metrics(whole, "test", stage)["hits@20"] == hits(
        whole["positive"], whole["negative"], 20
    )


def test_the_negatives_are_sorted_once_for_all_metrics(
    data: LinkData, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, sorts, sort = make(data), [], Tensor.sort
    monkeypatch.setattr(Tensor, "sort", lambda x: sorts.append(x) or sort(x))
    scores = {"positive": torch.rand(30), "negative": torch.rand(80)}
    assert len(task.metrics(scores, "test", task.stages()[0])) == 5
    assert len(sorts) == 1


def test_candidates_of_each_link_keep_their_shape(data: LinkData) -> None:
    own = data.test_negative[:, :60].view(2, 30, 2)
    task = make(dataclasses.replace(data, test_negative=own, metric="mrr")).eval()
    stage = task.stages()[0]
    assert stage.monitors == ("val/mrr",)
    (batch,) = task.batches("test", stage, 0, Shard(1, 4))
    found = task.predict(batch, "test", stage, True)
    assert found["negative"].shape == (8, 2)
    flat = task.model(data.x, data.adjacency, batch.negative.flatten(1))
    assert torch.equal(found["negative"].flatten(), flat)


def test_validation_links_count_at_test_only_and_only_if_asked(data: LinkData) -> None:
    for use in (False, True):
        task = make(data, use_val_edges=use)
        evaluate(task, "val")
        assert task.model.seen[-1][0].num_edges == data.adjacency.num_edges
        evaluate(task, "test")
        known = is_edge(task.model.seen[-1][0].csr, data.val)
        assert known.all().item() is use
        next(task.losses(train_batches(task)[0], task.stages()[0]))
        assert not is_edge(task.model.seen[-1][0].csr, data.val).any()


def test_a_heuristic_is_scored_and_not_trained(data: LinkData) -> None:
    result = fit(make(data, Count()))
    assert result.epochs_run == 0
    dense = data.adjacency.csr.to_dense()
    count = dense @ dense
    scores = [count[tuple(pairs)] for pairs in (data.test, data.test_negative)]
    assert result.metrics["test/hits@20"] == hits(*scores, 20)


def test_two_stages_pretrain_without_completion_and_keep_the_encoder(data: LinkData) -> None:
    task = make(data, Parts(), pretrain_epochs=2, freeze_encoder=True, lr=0.01)
    first, second = task.stages()
    assert (first.name, first.epochs, second.name) == ("pretrain", 2, "train")
    before = task.model.encoder[1].weight.clone()
    fit(task, Budget(epochs=0))
    assert torch.equal(before, task.model.encoder[1].weight)  # a budget replaces both stages
    weights = []
    for epochs in (1, 3):
        task = make(data, Parts(), pretrain_epochs=2, freeze_encoder=True, lr=0.01, epochs=epochs)
        fit(task)
        weights.append(task.model.encoder[1].weight.detach().clone())
    assert torch.equal(*weights)
    assert not torch.equal(weights[0], before)
    task = make(data, pretrain_epochs=1, epochs=1)
    fit(task)
    assert {depth for _, depth in task.model.seen} == {0, 1}


def test_a_frozen_encoder_costs_no_gradient_and_is_free_again_afterwards(data: LinkData) -> None:
    task = make(data, Parts(), pretrain_epochs=1, freeze_encoder=True, epochs=1, max_norm=1.0)
    fit(task)
    grown = sum(h.requires_grad for h in task.model.predictor.seen)
    assert grown == data.train.size(1) // 16  # the steps of pre-training
    assert all(p.requires_grad for p in task.model.parameters())
    trained = [list(task.optimizers(stage)) for stage in task.stages()]
    assert trained == [["model"], ["model.predictor"]]
    assert [stage.max_norm for stage in task.stages()] == [(1.0, 1.0), (1.0,)]


def test_states_of_a_frozen_encoder_are_constants_where_no_link_is_removed(data: LinkData) -> None:
    options = {"pretrain_epochs": 1, "freeze_encoder": True, "epochs": 2}
    task = make(data, Parts(), remove_targets=False, **options)
    fit(task)
    steps, seen = data.train.size(1) // 16, task.model.predictor.seen
    second = seen[steps + 1 : 2 * steps + 1]  # after pre-training and its evaluation
    assert steps > 1
    assert all(h is second[0] for h in second)
    expected = task.model.eval().encode(data.x, data.adjacency)  # no dropout
    torch.testing.assert_close(second[0], expected)
    assert task.model.encoder[0].training is False
    task = make(data, Parts(), **options)
    fit(task)
    second = task.model.predictor.seen[steps + 1 : 2 * steps + 1]
    assert not torch.equal(second[0], second[1])  # another graph, another dropout


@pytest.mark.parametrize("remove", [True, False])
@pytest.mark.parametrize("stop", [1, 3, 8, 11, 14])
def test_a_run_with_a_frozen_encoder_resumes_to_the_same_bits(
    data: LinkData, tmp_path: Path, remove: bool, stop: int
) -> None:
    class Interrupted(Exception):
        pass

    def task(steps: int | None) -> LinkPrediction:
        made = make(
            data, Parts(), pretrain_epochs=2, freeze_encoder=True, epochs=2, remove_targets=remove
        )
        inner, count = made.losses, iter(range(10**6))

        def losses(batch: Pairs, stage: Stage) -> Iterator[Loss]:
            if next(count) == steps:
                raise Interrupted
            return inner(batch, stage)

        made.losses = losses  # type: ignore[method-assign]
        return made

    budget = Budget(checkpoint_seconds=0)
    whole, resumed = task(None), task(None)
    expected = fit(whole, budget)
    with pytest.raises(Interrupted):
        fit(task(stop), budget, out=tmp_path)
    result = fit(resumed, budget, out=tmp_path, resume=True)
    assert result.metrics == expected.metrics
    for ours, theirs in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_stages_have_their_own_batches_and_evaluations(data: LinkData) -> None:
    options = {"pretrain_batch_size": 20, "pretrain_evaluate_every": 5, "evaluate_every": 2}
    task = make(data, pretrain_epochs=1, **options)
    first, second = task.stages()
    assert (first.evaluate_every, second.evaluate_every) == (5, 2)
    for stage, size in ((first, 20), (second, 16)):
        batch = next(iter(task.batches("train", stage, 0, Shard())))
        assert batch.positive.size(1) == size
        (loss,) = task.losses(batch, stage)
        graph = task.removal.without(batch.hidden)
        positive, negative = (task.model(data.x, graph, ends) for ends in batch[:2])
        mean = -F.logsigmoid(positive).mean() - F.logsigmoid(-negative).mean()
        torch.testing.assert_close(loss.value, mean)
    task = make(data, pretrain_epochs=1, evaluate_every=3)
    assert [stage.evaluate_every for stage in task.stages()] == [3, 3]


def test_copies_of_links_that_stay_visible_are_a_warning(data: LinkData) -> None:
    both = torch.cat([data.train, data.train[:, :5].flip(0)], dim=1)
    copied = dataclasses.replace(data, train=both)
    with pytest.warns(UserWarning, match="two communities: 5 training links are listed more than"):
        make(copied)
    with pytest.warns(UserWarning, match="Keep one direction of each link, or pass strict_removal"):
        make(copied)
    for options in ({"strict_removal": True}, {"remove_targets": False}, {"model": Count()}):
        make(copied, **options)
    make(dataclasses.replace(copied, multigraph=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("negatives", ["non_edges", "destinations"])
def test_a_step_on_a_gpu_takes_the_same_pairs(data: LinkData, negatives: str) -> None:
    expected = train_batches(make(data, negatives=negatives))[0]
    task = make(data, negatives=negatives)
    fit(task, Budget(epochs=1, max_steps=1), device="cuda")
    batch = train_batches(task)[0]
    assert batch.negative.is_cuda
    for ours, theirs in zip(batch, expected, strict=True):
        assert torch.equal(ours.cpu(), theirs)


def test_random_destinations_keep_their_source(data: LinkData) -> None:
    task = make(data, negatives="destinations")
    for batch in train_batches(task):
        assert torch.equal(batch.negative[0], batch.positive[0])


def test_clipping_treats_encoder_and_predictor_apart(data: LinkData) -> None:
    task = make(data, max_norm=1.0)
    assert task.stages()[0].max_norm == (1.0, 1.0)
    groups = task.optimizers(task.stages()[0])["model"].param_groups
    assert [len(group["params"]) for group in groups] == [2, 1]


class Plain(nn.Module):
    """Knows of no completion."""

    def forward(self, x: Tensor, graph: Adjacency, edge_label_index: Tensor) -> Tensor:
        return x[edge_label_index[0], 0]


class Undecided(Parts):
    """Takes no states from outside."""

    def forward(self, x, graph, edge_label_index, edge_label=None, depth=1):  # type: ignore
        return super().forward(x, graph, edge_label_index, edge_label)


FREEZE = {"pretrain_epochs": 1, "freeze_encoder": True}


@pytest.mark.parametrize(
    ("model", "options", "error", "message"),
    [
        (Dot, {"batch_size": 0}, ValueError, "batch_size is 0"),
        (Dot, {"negatives": "none"}, ValueError, "negatives is 'none'"),
        (Dot, {"pretrain_epochs": -1}, ValueError, "pretrain_epochs is -1"),
        (Dot, {"pretrain_epochs": 1, "pretrain_batch_size": 0}, ValueError, "_batch_size is 0"),
        (Dot, {"freeze_encoder": True}, ValueError, "freeze_encoder is True, but pretrain_epochs"),
        (Dot, {"pretrain_lr": 0.1}, ValueError, "pretrain_lr is 0.1, but pretrain_epochs is 0"),
        (Dot, {"pretrain_batch_size": 9}, ValueError, "pretrain_batch_size is 9, but pretrain_ep"),
        (Dot, {"pretrain_evaluate_every": 1}, ValueError, "pretrain_evaluate_every is 1, but pre"),
        (Plain, {"pretrain_epochs": 1}, TypeError, "pretrain_epochs needs .* takes depth=.*Plain"),
        (Dot, FREEZE, TypeError, "freeze_encoder needs .*Dot has the parameter scale"),
        (Undecided, {**FREEZE, "remove_targets": False}, TypeError, "takes states=.*Undecided"),
        (Dot, {"lr": float("nan")}, ValueError, "lr is nan; pass a finite number, 0 or more"),
        (Dot, {"encoder_lr": float("inf")}, ValueError, "LinkPrediction: encoder_lr is inf"),
        (Dot, {"pretrain_lr": -1.0, "pretrain_epochs": 1}, ValueError, "pretrain_lr is -1.0"),
    ],
)
def test_errors_name_the_argument(
    data: LinkData,
    model: type[nn.Module],
    options: dict[str, object],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        LinkPrediction(model(), data, **options)
