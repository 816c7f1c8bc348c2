"""What every travelling-salesman solver refuses, by name."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from graphseq.sequence.solvers import (
    a1,
    a2,
    a3,
    best_tour,
    christofides,
    exact_tour,
    greedy_edge,
    held_karp,
    nearest_neighbor,
    or_opt,
    two_opt,
)

BATCHED = [held_karp, nearest_neighbor, greedy_edge, christofides, two_opt, or_opt, a1, a2, a3]
SINGLE = [exact_tour, best_tour]


@pytest.mark.parametrize("solver", [*BATCHED, *SINGLE])
@pytest.mark.parametrize(
    ("points", "distances", "error", "words"),
    [
        (None, None, TypeError, "either points or distances, got neither"),
        ((6, 2), (6, 6), TypeError, "got both"),
        ((6, 3), None, ValueError, r"points have shape .*6, 3\), expected \[.*n, 2\]"),
        ((0, 2), None, ValueError, "n = 0 cities"),
        (None, (6, 5), ValueError, r"distances have shape .*, expected \[.*n, n\]"),
        (None, (0, 0), ValueError, "n = 0 cities"),
    ],
)
def test_shapes(
    solver: Callable[..., object],
    points: tuple[int, ...] | None,
    distances: tuple[int, ...] | None,
    error: type[Exception],
    words: str,
) -> None:
    front = (2,) if solver in BATCHED else ()
    with pytest.raises(error, match=f"^{solver.__name__}: .*{words}"):
        solver(
            None if points is None else torch.zeros(*front, *points),
            distances=None if distances is None else torch.zeros(*front, *distances),
        )


@pytest.mark.parametrize("solver", [*BATCHED, *SINGLE])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e200])
def test_numbers(solver: Callable[..., object], value: float) -> None:
    front = (2,) if solver in BATCHED else ()
    points = torch.zeros(*front, 5, 2, dtype=torch.float64)
    points[..., 3, 1] = value
    with pytest.raises(ValueError, match=f"^{solver.__name__}: points hold NaN, infinity or"):
        solver(points)
    distances = torch.zeros(*front, 5, 5, dtype=torch.float64)
    distances[..., 3, 1] = distances[..., 1, 3] = value
    with pytest.raises(ValueError, match=f"^{solver.__name__}: distances must be finite, 0 or"):
        solver(distances=distances)


@pytest.mark.parametrize("solver", [held_karp, exact_tour])
def test_distances_that_are_none(solver: Callable[..., object]) -> None:
    front = (1,) if solver is held_karp else ()
    negative = -torch.ones(*front, 4, 4)
    with pytest.raises(ValueError, match="0 or more"):
        solver(distances=negative)
    with pytest.raises(ValueError, match=r"not symmetric; pass \(d \+ d.mT\) / 2"):
        solver(distances=torch.arange(16.0).reshape(*front, 4, 4))


def test_rounded_distances_are_symmetric_enough() -> None:
    points = torch.rand(3, 6, 2, generator=torch.Generator().manual_seed(0))
    distances = torch.cdist(points, points).double()
    distances[:, 1, 0] *= 1 + 1e-7
    torch.testing.assert_close(
        held_karp(distances=distances).lengths, held_karp(points).lengths, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([[[0, 0]]], "points is a list; pass a tensor or array"),
        (torch.zeros(1, 4, 2, dtype=torch.complex64), "complex64"),
        (torch.zeros(1, 4, 2, dtype=torch.bool), "bool; pass real numbers"),
    ],
)
def test_types(points: object, words: str) -> None:
    with pytest.raises(TypeError, match=f"held_karp: .*{words}"):
        held_karp(points)  # type: ignore[arg-type]


def test_one_instance_is_a_batch_of_one() -> None:
    with pytest.raises(ValueError, match=r"a batch of one is points\[None\]"):
        held_karp(torch.zeros(5, 2))
    with pytest.raises(ValueError, match=r"a batch of one is distances\[None\]"):
        held_karp(distances=torch.zeros(5, 5))


def test_sizes() -> None:
    words = "n = 21 cities, but n must lie in 1 .. 20; use exact_tour or best_tour for more"
    with pytest.raises(ValueError, match=f"held_karp: points have {words}"):
        held_karp(torch.zeros(1, 21, 2))
    with pytest.raises(ValueError, match=r"exact_tour: .* 1 \.\. 1000; use best_tour for more"):
        exact_tour(torch.zeros(1001, 2))
    with pytest.raises(ValueError, match="best_tour: points have n = 5001 cities"):
        best_tour(torch.zeros(5001, 2))


def test_many_threads_at_once() -> None:
    points = torch.rand(80, 10, 2, generator=torch.Generator().manual_seed(1))
    expected = [solver(points).orders.tolist() for solver in (held_karp, a1, a2)]
    with ThreadPoolExecutor(6) as pool:
        found = pool.map(lambda solver: solver(points).orders.tolist(), [held_karp, a1, a2] * 4)
        assert list(found) == expected * 4
