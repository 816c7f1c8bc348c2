import math

import pytest
import torch
from torch import Tensor

from graphseq.training.losses import LossMeter


class OnGpu:
    """What the meter needs of a value on a GPU; counts how often somebody waits for the device."""

    is_cuda = True
    looks = 0

    def __init__(self, value: float) -> None:
        self.value = value

    def detach(self) -> "OnGpu":
        return self

    def item(self) -> float:
        OnGpu.looks += 1
        return self.value


def values(kind: type, numbers: list[float]) -> list[Tensor]:
    return [kind(number) for number in numbers]


def cpu(number: float) -> Tensor:
    return torch.tensor(number, dtype=torch.float64)


@pytest.mark.parametrize("kind", [cpu, OnGpu])
def test_means_per_unit_and_over_all(kind: type) -> None:
    meter = LossMeter()
    for a, b in zip(values(kind, [1.0, 2.0, 6.0]), values(kind, [10.0, 20.0, 30.0]), strict=True):
        meter.add("a", a)
        meter.add("b", b)
    meter.check_norm("a", kind(100.0))  # is watched, and counts nowhere
    means = {"train/loss": 69 / 6, "train/loss/a": 3.0, "train/loss/b": 20.0}
    assert meter.take() == pytest.approx(means)
    meter.add("a", kind(5.0))
    assert meter.take() == {"train/loss": 5.0}
    assert meter.take() == {}


@pytest.mark.parametrize("kind", [cpu, OnGpu])
def test_the_loss_of_a_step_is_the_sum_of_its_parts(kind: type) -> None:
    meter = LossMeter()
    for number in (1.0, 2.0, 3.0):
        meter.add("a", kind(number), step=number == 3.0)
        meter.add("b", kind(10.0 * number))  # between the parts of a step of another unit
    meter.add("a", kind(5.0))
    means = {"train/loss": (6 + 5 + 60) / 5, "train/loss/a": 5.5, "train/loss/b": 20.0}
    assert meter.take() == pytest.approx(means)


@pytest.mark.parametrize("kind", [cpu, OnGpu])
def test_a_step_counts_in_the_epoch_in_which_it_is_made(kind: type) -> None:
    meter = LossMeter()
    meter.add("a", kind(4.0))
    meter.add("a", kind(1.0), step=False)
    assert meter.take() == {"train/loss": 4.0}
    meter.add("a", kind(2.0), step=False)
    assert meter.take() == {}
    meter.add("a", kind(3.0))
    assert meter.take() == {"train/loss": 6.0}
    assert meter.take() == {}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_on_the_cpu_the_first_bad_value_stops_at_once(bad: float) -> None:
    meter = LossMeter()
    meter.where = ("main", 3, 7)
    with pytest.raises(FloatingPointError, match=r"the loss of unit 'a' is -?(nan|inf) in stage "):
        meter.add("a", cpu(bad))


def test_on_a_gpu_looking_waits_and_still_names_the_right_batch() -> None:
    OnGpu.looks = 0
    meter = LossMeter()
    for batch in range(1, 32):
        meter.where = ("main", 2, batch)
        meter.add("a", OnGpu(math.nan if batch == 5 else 1.0))
    assert OnGpu.looks == 0
    with pytest.raises(FloatingPointError, match="in stage 'main', epoch 2, batch 5; lower"):
        meter.add("a", OnGpu(math.nan))


def test_before_anything_is_kept_all_values_have_been_seen() -> None:
    meter = LossMeter()
    meter.where = ("main", 1, 1)
    meter.check_norm("a", OnGpu(math.inf))
    with pytest.raises(FloatingPointError, match="the gradient norm of unit 'a' is inf"):
        meter.flush()
