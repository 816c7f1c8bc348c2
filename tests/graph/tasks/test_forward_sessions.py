"""Runs of forward learning that end early, are repeated, or whose model is all that is left."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forward_cases import (
    CLASSES,
    FORWARD,
    HIDDEN,
    LAYERS,
    LINK_FORWARD,
    assert_same,
    every_case,
    history,
    link_data,
    link_task,
    make,
    node_data,
    task,
)
from torch import Tensor

from graphseq import Budget, Task, fit, load, save
from graphseq.graph.csr import CSR
from graphseq.graph.metrics import ranking_metrics
from graphseq.training import Loss, Shard, Stage


def weights(made: Task) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in made.model.state_dict().items()}


class Interrupted(Exception):
    pass


def interrupted(made: Task, steps: int) -> Task:
    """It dies when its losses are asked for once more than so many times."""
    inner, left = made.losses, [steps]

    def losses(batch: Any, stage: Stage) -> Iterator[Loss]:
        if left[0] == 0:
            raise Interrupted
        left[0] -= 1
        return inner(batch, stage)

    made.losses = losses  # type: ignore[method-assign]
    return made


@every_case
def test_resuming_ends_bit_identical(kind: str, name: str, tmp_path: Path) -> None:
    """In the middle of the second stage, or of the only one."""
    budget = Budget(checkpoint_seconds=0)
    plain = make(kind, name)
    expected = fit(plain, budget)
    steps = 4 if len(plain.stages()) > 1 else 2
    with pytest.raises(Interrupted):
        fit(interrupted(make(kind, name), steps), budget, out=tmp_path)
    made = make(kind, name)
    assert_same(made, fit(made, budget, out=tmp_path, resume=True), plain, expected)


@pytest.mark.parametrize(
    ("kind", "name"), [("nodes", "t2i"), ("nodes", "t2l"), ("nodes", "ff-la"), ("links", "fl-td")]
)
def test_sessions_of_one_step_each_end_bit_identical(kind: str, name: str, tmp_path: Path) -> None:
    budget = Budget(epochs=2, checkpoint_seconds=0)
    plain = make(kind, name)
    expected = fit(plain, budget)
    for _ in range(2 * len(plain.stages()) - 1):
        with pytest.raises(Interrupted):
            fit(interrupted(make(kind, name), 1), budget, out=tmp_path, resume=True)
    made = interrupted(make(kind, name), 1)
    result = fit(made, budget, out=tmp_path, resume=True)
    assert_same(made, result, plain, expected)


@pytest.mark.parametrize(
    ("kind", "name", "nodes"),
    [("nodes", "t2i", 40 + CLASSES), ("nodes", "t2l", 40 + CLASSES), ("links", "fl-td", 40)],
)
def test_checkpoints_hold_the_states_of_top_down_learners(
    kind: str, name: str, nodes: int, tmp_path: Path
) -> None:
    made = make(kind, name)
    fit(made, Budget(checkpoint_seconds=0), out=tmp_path)
    payload = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    states = payload["ranks"][0]["extra"][""]["states"]
    assert [tuple(state.shape) for state in states] == [(nodes, HIDDEN)] * LAYERS
    zeros = {"states": [torch.zeros_like(state) for state in states]}
    other = make(kind, name)
    other.prepare(torch.device("cpu"))
    other.set_extra_state(zeros)  # before there is a learner
    assert all(not state.any() for state in other.learner().state()["states"])
    made.set_extra_state(zeros)
    assert all(not state.any() for state in made.learner().state()["states"])


@every_case
def test_a_second_run_of_the_same_task_starts_afresh(kind: str, name: str, tmp_path: Path) -> None:
    made = make(kind, name)
    start = weights(made)
    first = fit(made, out=tmp_path)
    end = weights(made)
    made.model.load_state_dict(start)
    second = fit(made)
    assert history(first) == history(second)
    for key, weight in end.items():
        assert torch.equal(made.model.state_dict()[key], weight)
    again = fit(made, out=tmp_path, resume=True)  # is over: only scores once more
    assert again.metrics == first.metrics
    made.model.load_state_dict(start)
    assert history(fit(made)) == history(first)


@every_case
def test_same_seed_twice_is_bitwise_equal_and_disturbs_no_generator(kind: str, name: str) -> None:
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002 - the global state is what this is about
    torch.manual_seed(3)
    expected = random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002
    found = []
    for seed in (0, 0):
        made = make(kind, name, seed=1)
        random.seed(3)
        np.random.seed(3)  # noqa: NPY002
        torch.manual_seed(3)
        result = fit(made, seed=seed)
        assert (random.random(), np.random.rand(), torch.rand(1)) == expected  # noqa: NPY002
        found.append((made, result))
    assert_same(*found[0], *found[1])


def test_the_seed_draws_the_wrong_labels() -> None:
    """The seed of the task, whatever the seed of the run."""
    losses = {}
    for seed, of_run in ((0, 0), (0, 5), (1, 0)):
        made = task("ff-la, gat", seed=seed)  # one wrong label of two for each node
        losses[seed, of_run] = fit(made, seed=of_run).history[0]["train/loss"]
    assert losses[0, 0] == losses[0, 5] != losses[1, 0]


@pytest.mark.parametrize("name", FORWARD)
def test_a_saved_model_predicts_without_its_trainer(name: str, tmp_path: Path) -> None:
    made = task(name)
    result = fit(made)
    save(made.model, tmp_path)
    model, data = load(tmp_path), node_data()
    assert not isinstance(data.x, CSR)
    args = data.x, data.adjacency.edge_index, data.train, data.y[data.train]
    found = model.predict(*args, data.test)  # type: ignore[operator]
    stage = made.stages()[-1]
    (batch,) = made.batches("test", stage, 0, Shard())
    with torch.no_grad():
        scores = made.predict(batch, "test", stage, final=True)["scores"]
    assert torch.equal(found, scores.argmax(1))
    assert (found == data.y[data.test]).double().mean().item() == result.metrics["test/acc"]
    everyone = model.predict(*args)  # type: ignore[operator]
    assert everyone.shape == (40 - len(data.train),)


@pytest.mark.parametrize("name", LINK_FORWARD)
def test_a_saved_model_of_links_predicts_without_its_trainer(name: str, tmp_path: Path) -> None:
    made = link_task(name)
    result = fit(made)
    save(made.model, tmp_path)
    model, data = load(tmp_path), link_data()
    pairs = torch.cat([data.test, data.test_negative], dim=1)
    found = model.predict(data.x, data.adjacency.edge_index, pairs)  # type: ignore[operator]
    assert not found.requires_grad
    assert ((found >= 0) & (found <= 1)).all()
    (batch,) = made.batches("test", made.stages()[-1], 0, Shard())
    with torch.no_grad():
        scores = made.predict(batch, "test", made.stages()[-1], final=True)["scores"]
    assert torch.equal(found, scores)
    links = data.test.size(1)
    auc = ranking_metrics(["auc"], found[:links], found[links:])["auc"]
    assert auc == result.metrics["test/auc"]
