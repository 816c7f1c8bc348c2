"""Forward learning against its plain formulation: 50 steps of every stage, and every validation."""

import plain_forward
import pytest
import torch
from torch import Tensor

from graphseq.graph.metrics import accuracy, ranking_metrics
from graphseq.training import Budget, fit

LEARNERS, CONVS = plain_forward.LEARNERS, plain_forward.CONVS
EPOCHS = 50

# A learner whose layers hear from above carries rounding from step to step and multiplies it: the
# plain formulation itself, from weights moved by 2e-16, is 1e-12 away after 50 steps.
TRAINED, SAME_WEIGHTS = 1e-10, 1e-12


def checkerboard(name: str, conv: str) -> bool:
    """Whether this pair gets sparse features: each learner and each layer meets both forms."""
    return (LEARNERS.index(name) + CONVS.index(conv)) % 2 == 0


def relative(result: Tensor, expected: Tensor) -> float:
    assert result.shape == expected.shape
    return float((result - expected).detach().abs().max() / expected.detach().abs().max())


@pytest.mark.parametrize("conv", CONVS)
@pytest.mark.parametrize("name", LEARNERS)
def test_fifty_steps_of_every_stage_end_with_the_same_weights(name: str, conv: str) -> None:
    task, plain = plain_forward.setup(name, conv, sparse=checkerboard(name, conv))
    before, on_nodes = plain.weights(), name in plain_forward.NODES

    def metric(scores: Tensor) -> float:
        if on_nodes:
            return accuracy(scores, task.data.y[task.data.val])
        links = task.data.val.size(1)
        return ranking_metrics(["auc"], scores[:links], scores[links:])["auc"]

    result = fit(task, Budget(epochs=EPOCHS))
    history = iter(result.history)
    monitor = "val/acc" if on_nodes else "val/auc"
    for number, stage in enumerate(task.stages()):
        recorded = task.recorded[stage.name]
        assert len(recorded) == EPOCHS // 2
        expected = plain_forward.train(plain, number, EPOCHS, metric)
        for ours, scores in zip(recorded, expected, strict=True):
            assert relative(plain_forward.in_units(name, ours, number), scores) < TRAINED
            assert not on_nodes or torch.equal(ours.argmax(1), scores.argmax(1))
            next(history)  # a step without validation
            assert next(history)[monitor] == metric(scores)
    for layer, ours, start in zip(plain.layers, task.model.layers, before, strict=True):
        for parameter, value in ours.named_parameters():
            trained = layer.get_parameter(parameter)
            torch.testing.assert_close(value, trained, rtol=0.0, atol=TRAINED)
            assert (trained - start[parameter]).abs().max() > 1e-3


@pytest.mark.parametrize("conv", CONVS)
@pytest.mark.parametrize("name", LEARNERS)
def test_validation_is_that_of_full_recomputation_at_every_layer(name: str, conv: str) -> None:
    task, plain = plain_forward.setup(name, conv, sparse=not checkerboard(name, conv))
    task.prepare(torch.device("cpu"))
    plain.enter(0)
    data, stages = task.data, range(len(task.stages()))
    with torch.no_grad():
        if name in plain_forward.NODES:
            known = data.train, data.y[data.train]
            by_depth = task.model.scores_by_depth(data.x, data.adjacency, *known, data.val)
        else:
            by_depth = task.model.scores_by_depth(data.x, data.adjacency, plain.val)
    assert by_depth.size(1) == len(stages)
    for number in (*stages, 0):  # going back starts anew
        expected = plain.validate(number)
        ours = task.learner().scores(task.model, number)
        assert relative(plain_forward.in_units(name, ours, number), expected) < SAME_WEIGHTS
        assert relative(by_depth[:, number], expected) < SAME_WEIGHTS
        assert expected.std() > 1e-4
        if name in plain_forward.NODES:
            assert torch.equal(ours.argmax(1), expected.argmax(1))
            assert torch.equal(by_depth[:, number].argmax(1), expected.argmax(1))


@pytest.mark.parametrize("conv", CONVS)
@pytest.mark.parametrize("name", ["sf", "t2i", "ff_la", "ff_vn", "fl_ce"])
def test_both_references_are_the_same(name: str, conv: str) -> None:
    _, plain = plain_forward.setup(name, conv, sparse=False)
    _, strong = plain_forward.setup(name, conv, sparse=True, strong=True)
    for side in (plain, strong):
        side.enter(0)
        side.step(0)
        side.step(0)
    assert relative(strong.validate(0), plain.validate(0)) < SAME_WEIGHTS
    assert plain.optimizers[0].defaults == strong.optimizers[0].defaults
