"""Tasks on sets of sequences: they learn, they score what they say, and ranks agree."""

import math
from functools import partial

import pytest
import torch

from graphseq import Budget, Recurrent, SequenceModel, fit
from graphseq.sequence.data import SequenceData, mqar, parity, reversal
from graphseq.sequence.models import Seq2Seq
from graphseq.sequence.nn import SoftmaxAttention
from graphseq.sequence.tasks import (
    SequenceClassification,
    SequenceLabelling,
    SequenceRegression,
    SequenceToSequence,
)
from graphseq.training import Shard, Task


def first_token(lengths: bool = False) -> SequenceData:
    """The class of a sequence is its first token."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 3, (90, 5), generator=generator)
    return SequenceData(
        x=x,
        y=x[:, 0].clone(),
        train=torch.arange(60),
        val=torch.arange(60, 75),
        test=torch.arange(75, 90),
        lengths=torch.randint(1, 6, (90,), generator=generator) if lengths else None,
        num_tokens=3,
        num_classes=3,
        name="first token",
    )


def sums() -> SequenceData:
    """The target of a sequence is its sum."""
    x = torch.rand(90, 4, 1, generator=torch.Generator().manual_seed(0))
    parts = {"train": torch.arange(60), "val": torch.arange(60, 75), "test": torch.arange(75, 90)}
    return SequenceData(x=x, y=x.sum((1, 2)), **parts, name="sums")


def lstm(data: SequenceData, **arguments: object) -> Recurrent:
    torch.manual_seed(0)
    return Recurrent(**data.dims, hidden_channels=16, **arguments)


@pytest.mark.parametrize("lengths", [False, True])
def test_classification_learns(lengths: bool) -> None:
    data = first_token(lengths)
    task = SequenceClassification(lstm(data, readout="last"), data, lr=0.02, batch_size=20)
    result = fit(task, Budget(epochs=25), progress=False)
    assert result.metrics["test/acc"] == 1.0


def test_regression_learns_and_its_loss_is_the_squared_error() -> None:
    data = sums()
    task = SequenceRegression(lstm(data, readout="last"), data, lr=0.02, batch_size=20)
    result = fit(task, Budget(epochs=25), progress=False)
    assert result.metrics["test/mse"] < 0.05
    with torch.no_grad():
        values = task.model(data.x[data.test])[0][:, 0]
    expected = (values - data.y[data.test]).square().mean().item()
    assert result.metrics["test/mse"] == pytest.approx(expected, rel=1e-5)


def test_labelling_learns_parity_and_stops_when_solved() -> None:
    data = parity(length=4, num_train=200, num_val=40, num_test=40)
    model = lstm(data)
    task = SequenceLabelling(model, data, lr=0.02, batch_size=50, epochs=200, solved=0.99)
    result = fit(task, progress=False)
    assert result.metrics["test/acc"] > 0.9
    assert result.epochs_run < 200


def test_recall_is_scored_as_the_mean_over_sequences_of_labelled_positions() -> None:
    data = mqar(length=16, num_pairs=2, num_tokens=32, num_train=40, num_test=30)
    torch.manual_seed(0)
    model = SequenceModel(
        **data.dims, mixer=partial(SoftmaxAttention), hidden_channels=8, tie_weights=True
    )
    task = SequenceLabelling(model, data, batch_size=16)
    result = fit(task, Budget(epochs=1), progress=False)
    x, y = data.x[data.test], data.y[data.test]
    with torch.no_grad():
        logits = model.eval()(x)[0]
    right = (logits.argmax(-1) == y) & (y >= 0)
    assert result.metrics["test/acc"] == pytest.approx((right.sum(1) / 2).mean().item())
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten())
    assert result.metrics["test/loss"] == pytest.approx(loss.item(), rel=1e-5)


@pytest.mark.parametrize("attention", [True, False])
def test_sequence_to_sequence_learns_to_reverse(attention: bool) -> None:
    data = reversal(length=3, num_symbols=3, num_train=300, num_val=30, num_test=30)
    torch.manual_seed(0)
    model = Seq2Seq(**data.dims, hidden_channels=32, attention=attention)
    task = SequenceToSequence(model, data, lr=0.01, batch_size=30)
    result = fit(task, Budget(epochs=25), progress=False)
    assert result.metrics["test/exact"] > 0.9
    assert result.metrics["test/acc"] >= result.metrics["test/exact"]


def tasks() -> dict[str, Task]:
    one, two = first_token(lengths=True), sums()
    three = mqar(length=16, num_pairs=2, num_tokens=32, num_train=20, num_test=10)
    four = reversal(length=4, min_length=2, num_train=20, num_val=4, num_test=4)
    torch.manual_seed(0)
    return {
        "classes": SequenceClassification(lstm(one, readout="mean"), one, batch_size=7),
        "values": SequenceRegression(lstm(two, readout="last"), two, batch_size=7),
        "labels": SequenceLabelling(lstm(three), three, batch_size=7),
        "pairs": SequenceToSequence(Seq2Seq(**four.dims, hidden_channels=8), four, batch_size=7),
    }


@pytest.mark.parametrize("name", ["classes", "values", "labels", "pairs"])
def test_gradients_of_ranks_average_to_those_of_one_process(name: str) -> None:
    """Three ranks, the last batch uneven, each with its own rows."""

    def gradients(rank: int, size: int) -> list[list[torch.Tensor]]:
        task = tasks()[name].double()
        task.shard = Shard(rank, size)
        stage, found = task.stages()[0], []
        for batch in task.batches("train", stage, 1, task.shard):
            (loss,) = list(task.losses(batch, stage))
            found.append(list(torch.autograd.grad(loss.value, list(task.model.parameters()))))
        return found

    whole = gradients(0, 1)
    ranks = [gradients(rank, 3) for rank in range(3)]
    assert len(whole) == math.ceil(len(tasks()[name].data.train) / 7)
    for i, step in enumerate(whole):
        for j, gradient in enumerate(step):
            mean = sum(rank[i][j] for rank in ranks) / 3
            torch.testing.assert_close(mean, gradient, atol=1e-10, rtol=1e-8)


def test_batches_follow_seed_and_epoch() -> None:
    task = tasks()["classes"]
    stage = task.stages()[0]
    shard = Shard()

    def order(epoch: int) -> list[int]:
        return torch.cat([b.own for b in task.batches("train", stage, epoch, shard)]).tolist()

    assert order(0) == order(0) != order(1)
    assert sorted(order(0)) == list(range(60))
    task.eval()
    assert order(0) == list(range(60))


@pytest.mark.parametrize("schedule", ["constant", "cosine", "exponential"])
def test_schedules(schedule: str) -> None:
    data = first_token()
    task = SequenceClassification(
        lstm(data, readout="last"), data, lr=0.5, schedule=schedule, decay=0.5, epochs=4
    )
    stage = task.stages()[0]
    optimizers = task.optimizers(stage)
    rates = []
    schedulers = task.schedulers(optimizers, stage)
    for _ in range(4):
        optimizers["model"].step()
        rates.append(optimizers["model"].param_groups[0]["lr"])
        for scheduler in schedulers:
            scheduler.step()
    cosine = [0.5 * (1 + math.cos(math.pi * i / 4)) / 2 for i in range(4)]
    expected = {"constant": [0.5] * 4, "cosine": cosine, "exponential": [0.5, 0.25, 0.125, 0.0625]}
    assert rates == pytest.approx(expected[schedule])


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"lr": -1.0}, "SequenceClassification: lr is -1.0"),
        ({"weight_decay": math.inf}, "weight_decay is inf"),
        ({"batch_size": 0}, "batch_size is 0; pass 1 or more"),
        ({"schedule": "linear"}, "schedule is 'linear'"),
        ({"decay": 0.0}, "decay is 0.0"),
    ],
)
def test_wrong_arguments(arguments: dict[str, object], match: str) -> None:
    data = first_token()
    with pytest.raises(ValueError, match=match):
        SequenceClassification(lstm(data, readout="last"), data, **arguments)


def test_a_task_names_the_targets_that_it_expects() -> None:
    data = sums()
    with pytest.raises(ValueError, match="sums has values as targets, expected classes"):
        SequenceClassification(lstm(data, readout="last"), data)
