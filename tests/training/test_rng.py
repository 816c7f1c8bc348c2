import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from toys import Regression

from graphseq.training import Budget, evaluate, fit, rng


def draw() -> list[Any]:
    """One draw from each generator; the normal ones keep half of a pair for later."""
    return [
        random.random(),
        random.gauss(0, 1),
        np.random.rand(),  # noqa: NPY002
        np.random.randn(),  # noqa: NPY002
        torch.rand(3).tolist(),
        torch.randn(3).tolist(),
    ]


@pytest.fixture(autouse=True)
def _own_state() -> Iterator[None]:
    with rng.fork(11):
        random.gauss(0, 1)
        np.random.randn()  # noqa: NPY002  (leaves half a pair behind)
        yield


def test_state_goes_round() -> None:
    state = rng.get_state()
    first = draw()
    rng.set_state(state)
    assert draw() == first
    assert draw() != first


def test_state_is_made_of_what_a_safe_loader_takes(tmp_path: Any) -> None:
    state = rng.get_state()
    expected = draw()
    torch.save(state, tmp_path / "rng.pt")
    rng.set_state(torch.load(tmp_path / "rng.pt", weights_only=True))
    assert draw() == expected


def test_fork_gives_back_what_it_found() -> None:
    state = rng.get_state()
    expected = draw()
    rng.set_state(state)
    with rng.fork(5):
        inside = draw()
    assert draw() == expected
    with rng.fork(5):
        assert draw() == inside
    with rng.fork(6):
        assert draw() != inside


def test_fork_gives_back_after_an_error() -> None:
    state = rng.get_state()
    expected = draw()
    rng.set_state(state)
    with pytest.raises(KeyError), rng.fork(5):
        fail(draw())
    assert draw() == expected


def test_another_numpy_generator_is_refused() -> None:
    saved = np.random.get_bit_generator()
    np.random.set_bit_generator(np.random.PCG64(0))
    try:
        with pytest.raises(ValueError, match="PCG64"):
            rng.get_state()
    finally:
        np.random.set_bit_generator(saved)


def fail(*_: Any) -> Any:
    raise KeyError("on purpose")


@pytest.mark.parametrize(
    "work",
    [
        lambda task: fit(task, Budget(epochs=2)),
        lambda task: evaluate(task),
    ],
)
@pytest.mark.parametrize("break_it", [False, True])
def test_fit_and_evaluate_leave_the_callers_generators_alone(
    work: Callable[[Regression], Any], break_it: bool
) -> None:
    task = Regression(p=0.5)
    if break_it:
        task.metrics = fail  # type: ignore[method-assign]
    state = rng.get_state()
    expected = draw()
    rng.set_state(state)
    if break_it:
        with pytest.raises(KeyError, match="on purpose"):
            work(task)
    else:
        work(task)
    assert draw() == expected


def test_the_seed_decides_what_dropout_does() -> None:
    def final(seed: int) -> list[float]:
        result = fit(Regression(p=0.5), Budget(epochs=2), seed=seed)
        return [row["train/loss"] for row in result.history]

    assert final(3) == final(3)
    assert final(3) != final(4)
