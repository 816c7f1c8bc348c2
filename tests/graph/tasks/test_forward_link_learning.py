"""Forward learning of links: stages, gradients, protocols, depths and the graph that is known."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from activations import watched
from forward_cases import (
    FEATURES,
    HIDDEN,
    LAYERS,
    LINK_FORWARD,
    LINK_LEARNERS,
    LINK_SEQUENTIAL,
    link_build,
    link_data,
    link_task,
)
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from graphseq import Experiment, evaluate, fit, run
from graphseq.graph.adjacency import Adjacency
from graphseq.graph.data import LinkData
from graphseq.graph.models import BackpropLinkGNN
from graphseq.graph.tasks import ForwardLinkLearning
from graphseq.training import Shard

every_learner = pytest.mark.parametrize("name", LINK_LEARNERS)


def prepared(name: str, **options: Any) -> ForwardLinkLearning:
    made = link_task(name, **options)
    made.prepare(torch.device("cpu"))
    return made


def losses(made: ForwardLinkLearning, number: int = 0) -> list[Any]:
    return list(made.losses(None, made.stages()[number]))


@every_learner
def test_sequential_learners_have_a_stage_per_layer_and_others_one(name: str) -> None:
    made = link_task(name)
    layers = [f"model.layers.{number}" for number in range(LAYERS)]
    units = [list(made.optimizers(stage)) for stage in made.stages()]
    if name in LINK_SEQUENTIAL:
        assert units == [[layer] for layer in layers]
    else:
        assert units == ([["model"]] if name.startswith("bp") else [layers])
    result = fit(made)
    assert {row["stage"] for row in result.history} == {stage.name for stage in made.stages()}


@pytest.mark.parametrize("name", LINK_FORWARD)
def test_a_loss_has_a_gradient_for_its_own_layer_only(name: str) -> None:
    made = prepared(name)
    parameters = dict(made.named_parameters())
    taught = set()
    for number in range(len(made.stages())):
        for loss in made.losses(None, made.stages()[number]):
            found = torch.autograd.grad(loss.value, list(parameters.values()), allow_unused=True)
            reached = {n for n, g in zip(parameters, found, strict=True) if g is not None}
            assert reached
            assert all(n.startswith(loss.unit + ".") for n in reached)
            taught |= reached
    assert taught == set(parameters)


@pytest.mark.parametrize("name", LINK_FORWARD)
def test_activations_of_a_layer_are_gone_before_another_one_computes(name: str) -> None:
    made = link_task(name, epochs=2)
    with watched(made.model, HIDDEN) as changes:
        fit(made)
    assert changes() >= 2 * (LAYERS - 1)


def states(name: str) -> tuple[ForwardLinkLearning, Tensor]:
    """A prepared task, and the first layer's states of all nodes."""
    made = prepared(name)
    layer: Any = made.model.get_submodule("layers.0")
    x: Any = made.data.x
    edges = made.data.adjacency.csr.to_dense()
    looped = edges + torch.eye(len(x))
    scale = looped.sum(1).rsqrt()
    unit = F.normalize(x)
    if name == "fl-ff":
        mean = edges / edges.sum(1, keepdim=True).clamp(min=1.0)
        z = mean @ unit @ layer.neighbor_weight + unit @ layer.root_weight
    else:
        z = scale.diag() @ looped @ scale.diag() @ unit @ layer.weight
    return made, (z + layer.bias).relu()


def test_cross_entropy_is_the_mean_over_links_and_other_pairs() -> None:
    made, y = states("fl-ce")
    parts = made.data.parts
    links, others = ((y[u] * y[v]).sum(1) for u, v in (parts["train"], parts["train_negative"]))
    expected = torch.cat([F.softplus(-links), F.softplus(others)]).mean()
    (loss,) = losses(made)
    torch.testing.assert_close(loss.value, expected)


def test_goodness_weighs_links_and_other_pairs_alike() -> None:
    data = link_data()
    fewer = dataclasses.replace(data, train_negative=data.train_negative[:, :7])  # type: ignore[index]
    made, y = states("fl-ff")
    made.data = dataclasses.replace(fewer, x=made.data.x)
    u, v = made.data.train
    links = (y[u] * y[v]).square().sum(1) - 2.0
    u, v = made.data.parts["train_negative"]
    others = (y[u] * y[v]).square().sum(1) - 2.0
    (loss,) = losses(made)
    torch.testing.assert_close(loss.value, F.softplus(-links).mean() + F.softplus(others).mean())


@every_learner
@pytest.mark.parametrize("size", [2, 3, 200])
def test_the_mean_over_ranks_is_the_loss_of_one_process(name: str, size: int) -> None:
    whole, shares = prepared(name), []
    for rank in range(size):
        made = prepared(name)
        made.shard = Shard(rank, size)
        shares.append(losses(made)[0].value)
    torch.testing.assert_close(torch.stack(shares).mean(), losses(whole)[0].value)


PAPER: dict[str, dict[str, Any]] = {
    "fl-ce": {"use_val_edges": True, "monitor": "val/auc", "loss": "ce"},
    "fl-ff": {"use_val_edges": True, "monitor": "val/auc", "loss": "ff", "threshold": 2.0},
    "fl-td": {"use_val_edges": True, "monitor": "val/auc"},
    "bp": {"use_val_edges": True, "monitor": "val/auc", "normalize": False},
}


@pytest.mark.parametrize("name", PAPER)
@pytest.mark.parametrize("protocol", ["paper", "fair"])
def test_a_protocol_selects_all_of_its_values(name: str, protocol: str) -> None:
    made = ForwardLinkLearning(link_build(name), link_data(), protocol=protocol)  # type: ignore[arg-type]
    expected = dict(PAPER[name])
    if protocol == "fair":
        expected["use_val_edges"] = False
        expected |= {"normalize": True, "monitor": "val/loss"} if name == "bp" else {}
    for option, value in expected.items():
        owner: Any = made if hasattr(made, option) else made.model
        assert getattr(owner, option) == value, option
    for stage in made.stages():
        assert (stage.epochs, stage.evaluate_every, stage.patience) == (1000, 2, 100)
        assert stage.max_norm is None


def test_what_is_given_by_name_goes_before_the_protocol() -> None:
    made = link_task("fl-ce", protocol="paper", use_val_edges=False, weight_decay=0.0)
    assert made.use_val_edges is False
    (optimizer,) = made.optimizers(made.stages()[0]).values()
    assert optimizer.param_groups[0]["weight_decay"] == 0.0


def test_records_of_runs_say_the_protocol(tmp_path: Path) -> None:
    experiment = Experiment(
        name="mine",
        data=partial(link_data),
        model=partial(BackpropLinkGNN, hidden_channels=HIDDEN),
        task=partial(ForwardLinkLearning, protocol="paper", epochs=2),
        seeds=[0],
    )
    assert run(experiment, out=tmp_path)["settings"]["task.protocol"] == "paper"


@every_learner
def test_columns_of_the_result(name: str) -> None:
    depths = [f"@depth{d}" for d in range(1, LAYERS + 1)] if name in LINK_SEQUENTIAL else []
    plain = {f"auc{depth}" for depth in ["", *depths]}
    results = []
    for use_val_edges in (False, True):
        metrics = fit(link_task(name, use_val_edges=use_val_edges)).metrics
        results.append(metrics)
        with_val = {f"{metric}_with_val_edges" for metric in plain}
        loss = set() if name in LINK_FORWARD else {"loss"}
        expected = {f"val/{m}" for m in plain | loss}
        assert set(metrics) == expected | {f"test/{m}" for m in plain | with_val | loss}
        if depths:
            assert metrics["test/auc"] == metrics[f"test/auc@depth{LAYERS}"]
    for metric in plain:
        twice = f"test/{metric}_with_val_edges"
        assert results[0][twice] == results[1][twice] == results[1][f"test/{metric}"]
        assert results[0][f"val/{metric}"] == results[1][f"val/{metric}"]


def roc(scores: Tensor, positive: Tensor) -> float:
    labels = torch.arange(len(scores)) < positive.size(1)
    return float(roc_auc_score(labels.numpy(), scores.detach().double().numpy()))


@every_learner
def test_the_test_is_scored_on_either_graph(name: str) -> None:
    made, data = link_task(name), link_data()
    result = fit(made)
    model: Any = made.model
    pairs = torch.cat([data.test, data.test_negative], dim=1)
    known = torch.cat([data.train, data.val], dim=1)
    for links, metric in ((data.train, "test/auc"), (known, "test/auc_with_val_edges")):
        graph = torch.cat([links, links.flip(0)], dim=1)
        found = roc(model(data.x, graph, pairs), data.test)
        assert found == pytest.approx(result.metrics[metric], abs=1e-9)


@pytest.mark.parametrize("name", LINK_SEQUENTIAL)
def test_a_depth_is_the_model_of_the_first_layers(name: str) -> None:
    made = link_task(name)
    result, data = fit(made), link_data()
    pairs = torch.cat([data.test, data.test_negative], dim=1)
    for depth in range(1, LAYERS + 1):
        prefix: Any = link_build(name, num_layers=depth)
        state = made.model.state_dict()
        prefix.load_state_dict({key: state[key] for key in prefix.state_dict()})
        found = roc(prefix(data.x, data.adjacency, pairs), data.test)
        assert found == pytest.approx(result.metrics[f"test/auc@depth{depth}"], abs=1e-9)


@every_learner
def test_training_learns_and_evaluation_repeats_what_it_said(name: str) -> None:
    made = link_task(name, epochs=8)
    result = fit(made)
    for stage in made.stages():
        seen = [row["train/loss"] for row in result.history if row["stage"] == stage.name]
        assert seen[-1] < seen[0]
    for split in ("val", "test"):
        assert evaluate(made, split)["auc"] == result.metrics[f"{split}/auc"]
    assert 0.0 <= evaluate(made, "train")["auc"] <= 1.0
    last = [row for row in result.history if row["stage"] == made.stages()[-1].name]
    (best,) = (row for row in last if row["epoch"] == result.best_epoch)
    assert result.metrics["val/auc"] == pytest.approx(best["val/auc"], abs=1e-9)
    wanted = min if made.monitor == "val/loss" else max
    seen = [row[made.monitor] for row in last if made.monitor in row]
    assert best[made.monitor] == wanted(seen)


def test_candidates_of_each_link_are_pairs_as_others_are() -> None:
    """Negatives ``[2, P, K]`` count as ``P K`` pairs, int32 or not."""
    data = link_data()
    own = data.test_negative.reshape(2, 25, 1).int()
    found = [
        fit(link_task("fl-ce", data=one)).metrics
        for one in (data, dataclasses.replace(data, test_negative=own))
    ]
    assert found[0] == found[1]


def test_the_known_graph_is_symmetric_and_simple() -> None:
    data = link_data()
    twice = dataclasses.replace(
        data, val=torch.cat([data.val, data.val.flip(0), data.train[:, :3]], dim=1)
    )
    made = prepared("fl-ce", data=twice)
    expected = Adjacency.from_edge_index(torch.cat([data.train, data.val], dim=1), 40)
    dense = expected.csr.to_dense()
    assert torch.equal(made.with_val.csr.to_dense(), dense + dense.t())


def without_negatives() -> LinkData:
    return dataclasses.replace(link_data(), train_negative=None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"lr": -1.0}, "lr is -1.0; pass a finite number"),
        ({"weight_decay": float("nan")}, "weight_decay is nan; pass a finite number"),
        ({"protocol": "ours"}, 'protocol is \'ours\'; use "fair" or "paper"'),
        ({"row_block": -3}, "row_block is -3; pass 1 or more, or None"),
        ({"data": without_negatives()}, "data has no train_negative; forward learning needs a"),
    ],
)
def test_options_that_cannot_be_are_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=f"^ForwardLinkLearning: {words}"):
        link_task("fl-ce", **options)


def test_a_model_that_learns_otherwise_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^ForwardLinkLearning: model is a Linear, which has no"):
        ForwardLinkLearning(nn.Linear(2, 2), link_data())


def test_features_of_another_width_are_refused_before_training() -> None:
    for kind in LINK_LEARNERS.values():
        model = kind(FEATURES + 1, hidden_channels=HIDDEN)
        made = ForwardLinkLearning(model, link_data())
        made.prepare(torch.device("cpu"))
        with pytest.raises(ValueError, match=r"x has shape \(40, 6\), expected \[N, 7\]"):
            losses(made)
