"""The exact shortcuts of forward learning, and that no loss reaches another layer."""

import copy
from typing import Any

import plain_forward
import pytest
import torch
from plain_forward import CONVS, LEARNERS, C, N
from torch import Tensor

from graphseq.bench.forward_reference_convs import PlainConv, unit
from graphseq.graph.models import BackpropGNN, ForwardGNN, LabelAppendingGNN, TopToInputGNN
from graphseq.graph.models.forward_gnn.learner import Problem

COUNTS = {  # Cora_ML, two layers: F = 2879, C = 7, H = 128
    (ForwardGNN, "gcn"): 385_152,
    (LabelAppendingGNN, "gcn"): 386_048,
    (TopToInputGNN, "gcn"): 402_432,
    (ForwardGNN, "sage"): 770_048,
    (LabelAppendingGNN, "sage"): 771_840,
    (TopToInputGNN, "sage"): 804_608,
    (ForwardGNN, "gat"): 385_664,
    (LabelAppendingGNN, "gat"): 386_560,
    (TopToInputGNN, "gat"): 402_944,
}


@pytest.mark.parametrize(("model", "conv"), COUNTS)
def test_parameter_counts_are_those_of_the_paper(model: Any, conv: Any) -> None:
    with torch.random.fork_rng():
        made = model(2879, 7, conv=conv)
    assert sum(p.numel() for p in made.parameters()) == COUNTS[model, conv]


def weights_of(model: Any) -> list[dict[str, Tensor]]:
    return [copy.deepcopy(layer.state_dict()) for layer in model.layers]


@pytest.mark.parametrize("conv", CONVS)
@pytest.mark.parametrize("name", LEARNERS)
def test_no_loss_reaches_another_layer(name: str, conv: str) -> None:
    task, _ = plain_forward.setup(name, conv, sparse=conv == "gcn")
    task.prepare(torch.device("cpu"))
    model, steps = task.model, []
    for number, stage in enumerate(task.stages()):
        optimizers = task.optimizers(stage)
        for _ in range(2):
            for loss in task.learner().losses(model, number):
                before, own = weights_of(model), int(loss.unit.removeprefix("layers."))
                model.zero_grad(set_to_none=True)
                loss.per_row.mean().backward()
                for other, layer in enumerate(model.layers):
                    for parameter in layer.parameters():
                        assert (parameter.grad is None) == (other != own)
                optimizers[f"model.{loss.unit}"].step()
                for other, (old, new) in enumerate(zip(before, weights_of(model), strict=True)):
                    moved = any(not torch.equal(old[key], new[key]) for key in old)
                    assert moved == (other == own)
                if loss.step:
                    steps.append(own)
    layers = range(len(model.layers))
    in_turn = name in ("t2i", "top_down")
    once = [0, 2, 1] if in_turn else [*layers]
    assert steps == (2 * once if len(task.stages()) == 1 else [n for n in layers for _ in "12"])


def test_the_gradient_check_can_fail() -> None:
    """Backpropagation has a gradient in every layer."""
    data = plain_forward.node_data(sparse=False)
    with torch.random.fork_rng():
        model = BackpropGNN(data.x.shape[1], C, num_layers=3).double()
    every = torch.arange(len(data.train))
    known = data.train, data.y[data.train]
    learner = model.learner(data.x, data.adjacency, *known, rows=every, nodes=data.val)
    (loss,) = learner.losses(model, 0)
    loss.per_row.mean().backward()
    assert all(p.grad is not None for layer in model.layers for p in layer.parameters())


def concatenated(plain: Any, labels: Tensor, training: bool, upto: int) -> list[Any]:
    """Graph and normalised input of a layer for every labeling, each computed in full."""
    cases = [plain.case(labeling) for labeling in labels]
    with torch.no_grad():
        for layer in plain.layers[:upto]:
            cases = [(graph, unit(layer(graph, z))) for graph, z in cases]
            if training and isinstance(plain, plain_forward.PlainFFVN):
                cases = [(graph, cases[0][1]) for graph, _ in cases]
    return cases


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("conv", CONVS)
@pytest.mark.parametrize("name", ["ff_la", "ff_vn"])
def test_what_labelings_share_is_computed_once(name: str, conv: str, training: bool) -> None:
    """Goodness and gradients of all of them, against one full graph or matrix for each."""
    task, plain = plain_forward.setup(name, conv, sparse=training)
    task.prepare(torch.device("cpu"))
    model, data = task.model, task.data
    generator = torch.Generator().manual_seed(5)
    known = torch.randperm(N - 1, generator=generator)[:30]
    labels = torch.full((C + 1, N), -1)
    labels[:, known] = torch.randint(C, (C + 1, 30), generator=generator)
    rows = torch.cat([known[:12], torch.tensor([N - 1])])  # the last one is alone
    problem = Problem(data.x, data.adjacency, known, labels[0, known], rows)
    ours = model.labelings(problem, labels, rows, training=training)
    for number, (layer, twin) in enumerate(zip(model.layers, plain.layers, strict=True)):
        if number:
            ours.advance(model.layers[number - 1], layer)
        goodness = ours.goodness(layer)  # [G, R]
        cases = concatenated(plain, labels, training, number)
        expected = torch.stack([twin(graph, z)[rows].square().sum(1) for graph, z in cases])
        torch.testing.assert_close(goodness, expected, rtol=1e-12, atol=1e-14)
        assert (expected.std(0) > 1e-6).any()  # labelings do differ
        cotangent = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
        names, parameters = zip(*layer.named_parameters(), strict=True)
        twins = [twin.get_parameter(key) for key in names]
        found = torch.autograd.grad(goodness, parameters, cotangent)
        wanted = torch.autograd.grad(expected, twins, cotangent)
        # Attention's target weights have gradient 0 where all scores of a node have one sign.
        scale = max(float(gradient.abs().max()) for gradient in wanted)
        assert scale > 1e-3
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=0.0, atol=1e-12 * scale)


@pytest.mark.parametrize("conv", CONVS)
def test_all_time_steps_of_one_layer_are_the_same(conv: str) -> None:
    task, plain = plain_forward.setup("t2i", conv, sparse=True, num_layers=1)
    task.prepare(torch.device("cpu"))
    layers, states = task.model.layers, task.learner().states.evaluated(task.model.layers)
    states.rise(layers)
    steps = [values[0] for values in states.steps(layers, 10)]
    assert all(torch.equal(step, steps[0]) for step in steps)
    full = list(plain.fresh.run())
    assert len(full) == 8
    assert all(torch.equal(step, full[0]) for step in full)
    torch.testing.assert_close(steps[0], full[0], rtol=1e-12, atol=1e-14)
    scores = task.learner().scores(task.model, 0)  # computed once, counted eight times
    torch.testing.assert_close(scores, plain.validate(0), rtol=1e-12, atol=0.0)
    assert scores.sum(1).numpy() == pytest.approx(8.0)


@pytest.mark.parametrize("conv", CONVS)
def test_two_layers_follow_the_schedule_by_hand(conv: str) -> None:
    task, plain = plain_forward.setup("t2i", conv, sparse=False, num_layers=2)
    task.prepare(torch.device("cpu"))
    model, graph = task.model, plain.graph
    one, two = plain.layers
    optimizers = task.optimizers(task.stages()[0])

    def learn(layer: PlainConv, y: Tensor) -> Tensor:
        logits = y[plain.train] @ y[N:].t()
        loss = torch.nn.functional.cross_entropy(logits, plain.y)
        optimizer = plain.optimizers[plain.layers.index(layer)]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return y.detach()

    def update() -> None:
        for loss in task.learner().losses(model, 0):
            optimizer = optimizers[f"model.{loss.unit}"]
            optimizer.zero_grad()
            loss.per_row.mean().backward()
            optimizer.step()

    x = torch.cat([plain.x, model.class_features])
    x, labels = x / (x.norm(dim=1, keepdim=True) + 1e-8), plain.top.clone()
    labels = labels / (labels.norm(dim=1, keepdim=True) + 1e-8)
    nothing = torch.zeros(N + C, plain_forward.H, dtype=torch.float64)

    def beside(low: Tensor, up: Tensor) -> Tensor:
        return torch.cat([low, up], dim=1)

    with torch.no_grad():
        s1 = one(graph, beside(x, nothing))
        s2 = two(graph, beside(unit(s1), torch.zeros_like(labels)))
    for _ in range(3):
        s1 = learn(one, one(graph, beside(x, unit(s2))))
        s2 = learn(two, two(graph, beside(unit(s1), labels)))
        update()
        for ours, expected in zip(task.learner().states.values, (s1, s2), strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-14)
    total: Tensor | float = 0.0
    with torch.no_grad():
        s1 = one(graph, beside(x, nothing))
        s2 = two(graph, beside(unit(s1), torch.zeros_like(labels)))
        for step in range(10):
            s1 = one(graph, beside(x, unit(s2)))
            s2 = two(graph, beside(unit(s1), labels))
            if 2 <= step <= 9:
                for s in (s1, s2):
                    total = total + (s[plain.val] @ s[N:].t()).softmax(1)
    torch.testing.assert_close(task.learner().scores(model, 0), total, rtol=1e-12, atol=0.0)
    # classification has left the states of training where they were
    kept = [value.clone() for value in task.learner().states.values]
    task.learner().scores(model, 0)
    assert all(map(torch.equal, kept, task.learner().states.values))


@pytest.mark.parametrize("name", ["sf", "t2i", "t2l", "ff_la", "ff_vn"])
def test_same_seed_gives_the_same_bits_and_draws_from_no_global_generator(name: str) -> None:
    runs = []
    for _ in range(2):
        task, _ = plain_forward.setup(name, "gcn", sparse=True)
        state = torch.get_rng_state()
        task.prepare(torch.device("cpu"))
        for number, stage in enumerate(task.stages()):
            optimizers = task.optimizers(stage)
            for loss in task.learner().losses(task.model, number):
                loss.per_row.mean().backward()
                optimizers[f"model.{loss.unit}"].step()
            task.learner().scores(task.model, number)
        assert torch.equal(torch.get_rng_state(), state)
        runs.append(task.model.state_dict())
    assert all(torch.equal(runs[0][key], runs[1][key]) for key in runs[0])
