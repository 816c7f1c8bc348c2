import pytest
import torch
from torch import nn
from toys import Regression

from graphseq.training import Budget, Loss, Shard, Stage, Task, fit


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("rows", [0, 1, 2, 4, 9])
def test_shards_are_the_whole_in_order(size: int, rows: int) -> None:
    whole = torch.arange(rows)
    parts = [Shard(rank, size).take(whole) for rank in range(size)]
    assert torch.cat(parts).tolist() == whole.tolist()
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_the_average_of_shard_means_is_the_mean_with_its_gradient(rows: int) -> None:
    x = torch.randn(rows, dtype=torch.float64, requires_grad=True)
    shards = [Shard(rank, 3) for rank in range(3)]
    averaged = sum(shard.mean(shard.take(x).square(), rows) for shard in shards) / 3
    mean = x.square().mean()
    torch.testing.assert_close(averaged, mean)
    ours, theirs = (torch.autograd.grad(value, x)[0] for value in (averaged, mean))
    torch.testing.assert_close(ours, theirs)


def test_a_task_must_say_everything() -> None:
    class Half(Task):
        def losses(self, batch, stage):  # type: ignore[no-untyped-def]
            yield Loss(torch.zeros(()))

    with pytest.raises(TypeError, match="abstract"):
        Half()  # type: ignore[abstract]


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"monitors": "val/loss"}, TypeError, "monitors must be a tuple"),
        ({"max_norm": [1.0]}, TypeError, "max_norm must be a number or a tuple"),
        ({"monitors": ()}, ValueError, "monitors is empty"),
        ({"epochs": -1}, ValueError, "epochs must be"),
        ({"evaluate_every": 0}, ValueError, "evaluate_every must be"),
        ({"patience": 0}, ValueError, "patience must be"),
        ({"max_norm": 0.0}, ValueError, "max_norm must be"),
        ({"max_norm": (1.0, -1.0)}, ValueError, "max_norm must be"),
    ],
)
def test_stage_refuses(options: dict, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=f"^Stage: {match}"):
        Stage(**options)


@pytest.mark.parametrize(
    "field", ["epochs", "patience", "evaluate_every", "max_steps", "checkpoint_seconds"]
)
def test_budget_refuses(field: str) -> None:
    with pytest.raises(ValueError, match=f"^Budget: {field} must be"):
        Budget(**{field: -1})


def test_lower_is_better_by_the_last_part_of_the_name() -> None:
    stage = Stage()
    assert stage.lower("val/loss")
    assert stage.lower("test/nll")
    assert not stage.lower("val/acc")
    assert not stage.lower("loss/acc")


def test_budget_replaces_what_it_names_and_nothing_else() -> None:
    stage = Stage("a", epochs=7, patience=3, evaluate_every=2, max_norm=1.0)
    assert Budget().apply(stage) == stage
    changed = Budget(epochs=0, evaluate_every=5).apply(stage)
    assert (changed.epochs, changed.evaluate_every) == (0, 5)
    assert (changed.patience, changed.max_norm, changed.name) == (3, 1.0, "a")
    rule = lambda rows: True  # noqa: E731
    changed = Budget(patience=9, stop=rule).apply(stage)
    assert (changed.patience, changed.stop, changed.epochs) == (9, rule, 7)
    only_scored = Stage("b", epochs=0)
    assert Budget(epochs=5).apply(only_scored) == only_scored


class Partly(nn.Module):
    """Uses one of its two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.idle = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.used(x)

    def unused_parameters(self) -> dict[str, str]:
        why = "this configuration has one layer"
        return {"idle.weight": why, "idle.bias": why}


def test_unused_parameters_are_frozen_for_the_run_and_still_counted() -> None:
    model = Partly()
    before = model.idle.weight.clone()
    watched = []

    class Watching(Regression):
        def losses(self, batch, stage):  # type: ignore[no-untyped-def]
            watched.append(model.idle.weight.requires_grad)
            yield from super().losses(batch, stage)

    result = fit(Watching(model), Budget(epochs=2))
    assert result.num_parameters == 16
    assert set(watched) == {False}
    assert torch.equal(model.idle.weight, before)
    assert model.idle.weight.requires_grad


def test_unused_parameters_must_exist() -> None:
    model = Partly()
    model.unused_parameters = lambda: {"lost": "why"}  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=r"unused_parameters: 'model.lost' is no parameter"):
        fit(Regression(model))
