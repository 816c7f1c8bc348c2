"""Forward learning of nodes: stages, gradients, protocols, depths and what is known of labels."""

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from activations import watched
from forward_cases import (
    CLASSES,
    FEATURES,
    FORWARD,
    HIDDEN,
    LAYERS,
    LEARNERS,
    SEQUENTIAL,
    TOP_DOWN,
    build,
    history,
    node_data,
    task,
)
from torch import Tensor, nn

from graphseq import Budget, Experiment, evaluate, fit, run
from graphseq.graph.metrics import accuracy
from graphseq.graph.models import (
    BackpropGNN,
    ForwardLinkGNN,
    LabelAppendingGNN,
    TopToLossGNN,
    VirtualNodeGNN,
)
from graphseq.graph.models.forward_gnn import forward_forward
from graphseq.graph.tasks import ForwardLearning
from graphseq.training import Loss, Shard, Stage

every_learner = pytest.mark.parametrize("name", LEARNERS)


@every_learner
def test_sequential_learners_have_a_stage_per_layer_and_others_one(name: str) -> None:
    made = task(name)
    layers = [f"model.layers.{number}" for number in range(LAYERS)]
    units = [list(made.optimizers(stage)) for stage in made.stages()]
    names = [stage.name for stage in made.stages()]
    if name in SEQUENTIAL:
        assert units == [[layer] for layer in layers]
        assert names == ["layer1", "layer2", "layer3"]
    else:
        assert units == ([layers] if name in TOP_DOWN else [["model"]])
        assert names == ["train"]
    result = fit(made)
    assert {row["stage"] for row in result.history} == set(names)
    trained = {name for row in result.history for name in row if name.startswith("train/loss/")}
    assert trained == ({f"train/loss/{layer}" for layer in layers} if name in TOP_DOWN else set())


@pytest.mark.parametrize("name", LEARNERS)
def test_one_layer_is_one_stage(name: str) -> None:
    made = ForwardLearning(build(name, num_layers=1), node_data(), epochs=2)
    assert len(made.stages()) == 1
    result = fit(made)
    assert not any("@depth" in metric for metric in result.metrics)


@pytest.mark.parametrize("name", FORWARD)
def test_a_loss_has_a_gradient_for_its_own_layer_only(name: str) -> None:
    made = task(name)
    made.prepare(torch.device("cpu"))
    parameters = dict(made.named_parameters())
    taught = set()
    for stage in made.stages():
        for loss in made.losses(next(iter(made.batches("train", stage, 0, Shard()))), stage):
            found = torch.autograd.grad(loss.value, list(parameters.values()), allow_unused=True)
            reached = {n for n, g in zip(parameters, found, strict=True) if g is not None}
            assert reached
            assert all(n.startswith(loss.unit + ".") for n in reached)
            taught |= reached
    assert taught == set(parameters)


@pytest.mark.parametrize("name", FORWARD)
def test_activations_of_a_layer_are_gone_before_another_one_computes(name: str) -> None:
    made = task(name, epochs=2)
    with watched(made.model, HIDDEN) as changes:
        fit(made)
    assert changes() >= 2 * (LAYERS - 1)


class Squares(nn.Module):
    """Two layers that a test calls as it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(HIDDEN, HIDDEN) for _ in range(2))


@pytest.mark.parametrize(
    ("finish", "words"),
    [
        (lambda out: out.square().sum(), "saved by layer 0"),  # a backward pass is still to come
        (lambda out: (out.square().sum().backward(), out), "held from layer 0"),
        (lambda out: out.square().sum().backward(), None),
    ],
)
def test_activations_that_somebody_holds_are_noticed(
    finish: Callable[[Tensor], Any], words: str | None
) -> None:
    model = Squares()
    first, second = model.layers
    with watched(model, HIDDEN):
        held = finish(first(torch.ones(3, HIDDEN)))
        if words is None:
            second(torch.ones(3, HIDDEN))
        else:
            with pytest.raises(AssertionError, match=words):
                second(torch.ones(3, HIDDEN))
        del held


PAPER: dict[str, dict[str, Any]] = {
    "sf": {"monitor": "val/acc", "use_val_labels": False, "max_norm": None},
    "ff-la": {"monitor": "val/acc", "use_val_labels": True, "loss": "ff", "threshold": 2.0},
    "ff-vn": {"monitor": "val/acc", "use_val_labels": True, "loss": "ff", "threshold": 2.0},
    "t2i": {"monitor": "val/acc", "use_val_labels": False, "start_with_labels": False},
    "t2l": {"monitor": "val/acc", "use_val_labels": False, "bottom_up": "paper", "max_norm": 1.0},
    "bp": {"monitor": "val/acc", "use_val_labels": False, "normalize": False},
}
FAIR: dict[str, dict[str, Any]] = {
    "ff-la": {"use_val_labels": False},
    "ff-vn": {"use_val_labels": False},
    "t2l": {"bottom_up": "normalised", "max_norm": 1.0},
    "bp": {"monitor": "val/loss", "normalize": True},
}


@pytest.mark.parametrize("name", PAPER)
@pytest.mark.parametrize("protocol", ["paper", "fair"])
def test_a_protocol_selects_all_of_its_values(name: str, protocol: str) -> None:
    made = ForwardLearning(build(name), node_data(), protocol=protocol)  # type: ignore[arg-type]
    expected = PAPER[name] if protocol == "paper" else PAPER[name] | FAIR.get(name, {})
    for option, value in expected.items():
        owner: Any = made if hasattr(made, option) else made.model
        assert getattr(owner, option) == value, option
    for stage in made.stages():
        assert (stage.epochs, stage.evaluate_every, stage.patience) == (1000, 2, 100)
        assert stage.monitors == (made.monitor,)
        assert stage.max_norm == expected.get("max_norm")
        for optimizer in made.optimizers(stage).values():
            (group,) = optimizer.param_groups
            assert (group["lr"], group["weight_decay"]) == (1e-3, 5e-4)
            assert type(optimizer) is torch.optim.Adam


def test_what_is_given_by_name_goes_before_the_protocol() -> None:
    options: dict[str, Any] = {"protocol": "paper", "use_val_labels": False, "monitor": "val/loss"}
    made = ForwardLearning(build("ff-la"), node_data(), **options)
    assert made.use_val_labels is False
    assert made.monitor == "val/loss"


@pytest.mark.parametrize("kind", [LabelAppendingGNN, BackpropGNN])
def test_records_of_runs_say_the_protocol(kind: type[nn.Module], tmp_path: Path) -> None:
    experiment = Experiment(
        name="mine",
        data=partial(node_data),
        model=partial(kind, hidden_channels=HIDDEN),
        task=partial(ForwardLearning, protocol="paper", epochs=2),
        seeds=[0],
    )
    summary = run(experiment, out=tmp_path)
    assert summary["settings"]["task.protocol"] == "paper"
    assert summary["settings"]["task.use_val_labels"] is None
    fair = run(
        dataclasses.replace(experiment, task=partial(ForwardLearning, epochs=2)),
        out=tmp_path / "fair",
    )
    assert fair["settings"]["task.protocol"] == "fair"


@pytest.mark.parametrize("name", LEARNERS)
def test_columns_of_the_result(name: str) -> None:
    depths = [f"@depth{d}" for d in range(1, LAYERS + 1)] if name in SEQUENTIAL else []
    scored_twice = name.startswith("ff")
    plain = {f"acc{depth}" for depth in ["", *depths]}
    plain |= {"loss"} if name.startswith("bp") else set()
    with_val = {f"{metric}_with_val_labels" for metric in plain - {"loss"}}
    for use_val_labels in (None, True):
        metrics = fit(task(name, use_val_labels=use_val_labels, epochs=1)).metrics
        test = plain | with_val if scored_twice or use_val_labels else plain
        assert set(metrics) == {f"val/{m}" for m in plain} | {f"test/{m}" for m in test}
        for metric in with_val if use_val_labels else ():
            assert metrics[f"test/{metric}"] == metrics[f"test/{metric.split('_')[0]}"]
        if depths:
            assert metrics["test/acc"] == metrics[f"test/acc@depth{LAYERS}"]


@pytest.mark.parametrize("name", SEQUENTIAL)
def test_a_depth_is_the_model_of_the_first_layers(name: str) -> None:
    made = task(name)
    result = fit(made)
    data: Any = made.data
    args = data.x, data.adjacency, data.train, data.y[data.train], data.test
    for depth in range(1, LAYERS + 1):
        prefix: Any = build(name, num_layers=depth)
        state = made.model.state_dict()
        prefix.load_state_dict({key: state[key] for key in prefix.state_dict()})
        found = accuracy(prefix(*args), data.y[data.test])
        assert found == result.metrics[f"test/acc@depth{depth}"]


@pytest.mark.parametrize("name", LEARNERS)
def test_validation_labels_help_where_they_are_to(name: str) -> None:
    """As the model itself says with these labels known; validation never knows its own."""
    made = task(name, use_val_labels=True)
    result = fit(made)
    data, model = made.data, made.local
    known = torch.cat([data.train, data.val])
    if name.startswith("bp"):
        scores = model(data.x, data.adjacency)[data.test]
        val = model(data.x, data.adjacency)[data.val]
    else:
        scores = model(data.x, data.adjacency, known, data.y[known], data.test)
        val = model(data.x, data.adjacency, data.train, data.y[data.train], data.val)
    assert result.metrics["test/acc"] == accuracy(scores, data.y[data.test])
    assert result.metrics["val/acc"] == accuracy(val, data.y[data.val])
    if name.startswith("ff"):
        other = task(name)
        assert fit(other).metrics["test/acc_with_val_labels"] == result.metrics["test/acc"]


@every_learner
def test_training_learns_and_evaluation_repeats_what_it_said(name: str) -> None:
    made = task(name, epochs=8)
    result = fit(made)
    for stage in made.stages():
        losses = [row["train/loss"] for row in result.history if row["stage"] == stage.name]
        assert losses[-1] < losses[0]
    for split in ("val", "test"):
        found = evaluate(made, split)
        assert found["acc"] == result.metrics[f"{split}/acc"]
    last = [row for row in result.history if row["stage"] == made.stages()[-1].name]
    best = max(row["val/acc"] for row in last if "val/acc" in row)
    if made.monitor == "val/acc":  # what a learner says while it trains is what the model says
        assert result.metrics["val/acc"] == best


@every_learner
def test_training_nodes_are_scored_without_their_own_labels(name: str) -> None:
    found = evaluate(task(name), "train")
    assert 0.0 <= found["acc"] <= 1.0


def test_clipping_is_of_each_layer() -> None:
    """Top-to-loss learners bound the norm of each layer's gradient by 1."""
    norms: list[float] = []

    class Recording(torch.optim.Adam):
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            grads = [p.grad.norm() for group in self.param_groups for p in group["params"]]
            norms.append(torch.stack(grads).norm().item())

    class Watching(ForwardLearning):
        def losses(self, batch: Any, stage: Stage) -> Iterator[Loss]:
            for loss in super().losses(batch, stage):
                yield Loss(1000.0 * loss.value, loss.unit, loss.step)

        def optimizers(self, stage: Stage) -> dict[str, Any]:
            return {
                unit: Recording(self.get_submodule(unit).parameters())
                for unit in super().optimizers(stage)
            }

    model = TopToLossGNN(FEATURES, CLASSES, hidden_channels=HIDDEN, num_layers=2)
    fit(Watching(model, node_data(), epochs=2))
    assert norms == pytest.approx([1.0] * 4, rel=1e-3)


@pytest.mark.parametrize("name", ["ff-la", "ff-la, sage, symba", "ff-vn, gat"])
def test_gradients_of_wrong_labels_add_up_to_one_step(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One wrong label at a time or all at once: the same steps, and the same losses of them."""
    results = []
    for numbers in (1, 10**9):
        monkeypatch.setattr(forward_forward, "_OUTPUT_NUMBERS", numbers)
        made = task(name)
        made.prepare(torch.device("cpu"))
        stage = made.stages()[1]
        steps = [loss.step for loss in made.losses(None, stage)]
        assert steps == ([True] if numbers > 1 else [False] * (CLASSES - 2) + [True])
        results.append((made, fit(made, precision="64-true")))
    for few, many in zip(*(history(result) for _, result in results), strict=True):
        assert few["train/loss"] == pytest.approx(many["train/loss"], rel=1e-9)
    for key, weight in results[0][0].model.state_dict().items():
        torch.testing.assert_close(results[1][0].model.state_dict()[key], weight)


@pytest.mark.parametrize("numbers", [1, 80, 10**9])
def test_ranks_with_more_and_fewer_rows_make_as_many_losses(
    numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward_forward, "_OUTPUT_NUMBERS", numbers)
    counts = set()
    for rank in range(2):
        made = task("ff-la")
        made.prepare(torch.device("cpu"))
        made.shard = Shard(rank, 2)
        counts.add(len(list(made.losses(None, made.stages()[1]))))
    assert len(counts) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"lr": -1.0}, "lr is -1.0; pass a finite number"),
        ({"lr": float("nan")}, "lr is nan; pass a finite number"),
        ({"weight_decay": float("inf")}, "weight_decay is inf; pass a finite number"),
        ({"protocol": "papers"}, 'protocol is \'papers\'; use "fair" or "paper"'),
        ({"row_block": 0}, "row_block is 0; pass 1 or more, or None"),
    ],
)
def test_options_that_cannot_be_are_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=f"^ForwardLearning: {words}"):
        task("sf", **options)


def test_a_model_that_learns_otherwise_is_refused() -> None:
    with pytest.raises(TypeError, match="model is a Linear, which has no learner for nodes; pass"):
        ForwardLearning(nn.Linear(2, 2), node_data())
    with pytest.raises(TypeError, match="ForwardLinkGNN, which has no learner for nodes; pass"):
        ForwardLearning(ForwardLinkGNN(FEATURES), node_data())


def test_data_that_the_model_was_not_made_for_are_refused() -> None:
    for kind in LEARNERS.values():
        with pytest.raises(ValueError, match="has in_channels=6, the model 7; build it with"):
            ForwardLearning(kind(FEATURES + 1, CLASSES), node_data())
        with pytest.raises(ValueError, match=f"has out_channels={CLASSES}, the model 2; build"):
            ForwardLearning(kind(FEATURES, 2), node_data())


def test_labels_beyond_the_classes_are_refused_by_learners() -> None:
    data = node_data()
    rows, y = torch.arange(len(data.train)), data.y[data.train]
    for kind in LEARNERS.values():
        model = kind(FEATURES, 2)
        with pytest.raises(ValueError, match=f"{type(model).__name__}: labels"):
            model.learner(data.x, data.adjacency, data.train, y, rows=rows, nodes=data.val)


@every_learner
def test_a_node_that_is_asked_about_is_not_known(name: str) -> None:
    data, model = node_data(), build(name)
    known = torch.cat([data.train, data.val])
    asked = torch.cat([data.val, data.test])
    found = model.scores_by_depth(data.x, data.adjacency, known, data.y[known], asked)
    expected = model.scores_by_depth(data.x, data.adjacency, data.train, data.y[data.train], asked)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
@every_learner
def test_final_scores_are_those_of_training_in_half_precision(name: str, precision: str) -> None:
    """Rows of zeros have length 0 in any precision, and are no NaN."""
    data = node_data()
    assert isinstance(data.x, Tensor)
    x = data.x.clone()
    x[::4] = 0
    made = ForwardLearning(build(name), dataclasses.replace(data, x=x), epochs=6)
    result = fit(made, precision=precision)
    last = [row for row in result.history if row["stage"] == made.stages()[-1].name]
    best = next(row for row in last if row["epoch"] == result.best_epoch)
    assert result.metrics["val/acc"] == pytest.approx(best["val/acc"], abs=0.17)  # two nodes of 12
    scores = made.predict(torch.arange(len(data.test)), "test", made.stages()[-1], True)
    assert all(column.isfinite().all() for column in scores.values())


@pytest.mark.parametrize("kind", [LabelAppendingGNN, VirtualNodeGNN])
def test_attention_learns_a_few_labelings_at_a_time(
    kind: type[nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In every layer: their gradients add up to that of all at once."""
    gradients = []
    for limit in (2**24, 1):
        monkeypatch.setattr(forward_forward, "_OUTPUT_NUMBERS", limit)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = kind(FEATURES, CLASSES, hidden_channels=HIDDEN, conv="gat").double()
        made = ForwardLearning(model, node_data())
        made.prepare(torch.device("cpu"))
        for stage in made.stages():
            losses = list(made.losses(None, stage))
            assert [loss.step for loss in losses] == [False] * (len(losses) - 1) + [True]
            assert len(losses) == (1 if limit > 1 else CLASSES - 1)
            for loss in losses:
                loss.value.backward()
        gradients.append([p.grad for p in model.parameters()])
    for whole, parts in zip(*gradients, strict=True):
        torch.testing.assert_close(whole, parts, rtol=1e-10, atol=1e-14)


def test_a_metric_that_nobody_makes_is_named() -> None:
    with pytest.raises(ValueError, match="no monitor 'val/f1' in stage 'layer1'"):
        fit(task("sf", monitor="val/f1"))


def test_backpropagation_is_cross_entropy_and_adam() -> None:
    made, data = task("bp", epochs=5), node_data()
    fit(made, Budget(stop=lambda rows: len(rows) == 5, evaluate_every=1), precision="64-true")
    model = build("bp").double()
    optimizer = torch.optim.Adam(model.parameters(), 0.02, weight_decay=5e-4)
    x: Any = data.x
    best: tuple[float, dict[str, Tensor]] = (float("inf"), {})
    for _ in range(5):
        optimizer.zero_grad()
        logits = model(x.double(), data.adjacency)
        F.cross_entropy(logits[data.train], data.y[data.train]).backward()
        optimizer.step()
        with torch.no_grad():
            logits = model(x.double(), data.adjacency)[data.val]
            value = F.cross_entropy(logits, data.y[data.val]).item()
        if value < best[0]:
            best = value, {k: v.clone() for k, v in model.state_dict().items()}
    for key, weight in best[1].items():
        torch.testing.assert_close(made.model.state_dict()[key], weight, rtol=1e-9, atol=1e-12)
