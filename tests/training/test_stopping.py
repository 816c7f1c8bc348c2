from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys import Regression

from graphseq.training import Budget, Reached, Stage, WindowMean, fit

values = st.lists(st.integers(0, 5).map(float), max_size=40)


def rows(losses: Sequence[float]) -> list[dict[str, Any]]:
    return [{"epoch": i + 1, "val/loss": value} for i, value in enumerate(losses)]


def first_stop(losses: Sequence[float], rule: WindowMean) -> int | None:
    """Epoch at which a run with these losses would stop."""
    return next((n for n in range(1, len(losses) + 1) if rule(rows(losses[:n]))), None)


@given(values, st.integers(1, 6), st.integers(0, 10))
def test_window_mean_is_its_definition(losses: list[float], window: int, after: int) -> None:
    expected = None
    seen: list[float] = []
    for epoch, loss in enumerate(losses, start=1):
        seen.append(loss)
        before = seen[-(window + 1) : -1]
        if epoch > after and before and loss > sum(before) / len(before):
            expected = epoch
            break
    assert first_stop(losses, WindowMean(window=window, after=after)) == expected


def test_window_mean_ignores_epochs_without_an_evaluation() -> None:
    rule = WindowMean(window=2, after=1)
    history = rows([4.0, 2.0, 3.5])
    sparse = [history[0], {"epoch": 2}, {**history[1], "epoch": 3}, {"epoch": 4}]
    assert not rule(sparse)
    assert rule([*sparse, {**history[2], "epoch": 5}])
    assert not rule([])


@pytest.mark.parametrize("options", [{"window": 0}, {"after": -1}])
def test_window_mean_refuses(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"^WindowMean: need"):
        WindowMean(**options)


def first_weight(task: Regression) -> float:
    return next(task.model.parameters())[0, 0].item()


class Scripted(Regression):
    """Its validation metric follows a script; it remembers the weights at each evaluation."""

    def __init__(self, script: Iterable[float], stage: Stage) -> None:
        super().__init__(stage=stage)
        self.script = iter(script)
        self.firsts: list[float] = []

    def metrics(self, predictions: Any, split: str, stage: Stage) -> dict[str, float]:
        now = first_weight(self)
        self.firsts.append(now)
        return {"loss": next(self.script, 0.0), "acc": -now}


def test_patience_counts_evaluations_and_ties_are_no_improvement() -> None:
    script = [5.0, 4.0, 4.0, 4.0, 4.0, 1.0]
    stage = Stage(epochs=50, patience=3, evaluate_every=2)
    task = Scripted(script, stage)
    result = fit(task)
    # Evaluations after epochs 2, 4, 6, 8, 10: the second is the best, three are no better.
    assert (result.stopped, result.epochs_run, result.best_epoch) == ("patience", 10, 4)
    assert first_weight(task) == task.firsts[1]


def test_higher_is_better_for_an_accuracy() -> None:
    script = [0.0, 0.0, 0.0]
    task = Scripted(script, Stage(epochs=3, monitors=("val/acc",)))
    result = fit(task)
    best = max(range(3), key=lambda i: -task.firsts[i])
    assert result.best_epoch == best + 1
    assert result.metrics["val/acc"] == -task.firsts[best]


def test_each_monitor_keeps_its_own_weights() -> None:
    script = [3.0, 1.0, 2.0]
    stage = Stage(epochs=3, monitors=("val/loss", "val/acc"))
    task = Scripted(script, stage)
    result = fit(task)
    accuracies = [-first for first in task.firsts[:3]]
    assert result.best_epoch == 2
    assert result.metrics["test/acc"] == accuracies[1]
    assert result.metrics["test/acc@val/acc"] == max(accuracies)
    assert -first_weight(task) == accuracies[1]


def test_a_stop_rule_sees_the_rows_of_its_stage() -> None:
    seen = []

    def rule(history: Sequence[Any]) -> bool:
        seen.append([row["epoch"] for row in history])
        return len(history) == 4

    result = fit(Regression(), Budget(epochs=20, stop=rule))
    assert (result.stopped, result.epochs_run) == ("stop", 4)
    assert seen == [[1], [1, 2], [1, 2, 3], [1, 2, 3, 4]]


def test_the_last_epoch_is_always_evaluated() -> None:
    result = fit(Regression(), Budget(epochs=5, evaluate_every=3))
    assert [row["epoch"] for row in result.history if "val/mse" in row] == [3, 5]
    assert result.stopped == "budget"


def test_no_epochs_only_evaluates() -> None:
    task = Regression()
    task.optimizers = None  # type: ignore[assignment, method-assign]
    before = first_weight(task)
    result = fit(task, Budget(epochs=0))
    assert first_weight(task) == before
    assert (result.epochs_run, result.best_epoch, len(result.history)) == (0, 0, 1)
    assert result.metrics["val/mse"] == result.history[0]["val/mse"]
    assert not task.seen


def test_reached_stops_above_a_value() -> None:
    rule = Reached("val/acc", 0.99)
    assert not rule([])
    assert not rule([{"epoch": 1, "val/acc": 0.99}])
    assert not rule([{"epoch": 1, "val/acc": 1.0}, {"epoch": 2}])  # not evaluated
    assert rule([{"epoch": 1, "val/acc": 0.5}, {"epoch": 2, "val/acc": 0.995}])
