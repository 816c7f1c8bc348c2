"""Cutting planes == dynamic programme == trying all; proofs, bounds and time limits."""

import sys
from typing import Any

import numpy as np
import pytest
import torch

from graphseq.sequence.solvers import (
    best_tour,
    canonical_order,
    exact_tour,
    held_karp,
    naive,
    tour_length,
)
from graphseq.sequence.solvers.relaxation import Relaxation
from graphseq.sequence.solvers.subtours import violated_sets


def drawn(cities: int, seed: int) -> tuple[str, Any]:
    """Uniform points, points on a small lattice (ties, repetitions), or any distances."""
    generator = np.random.default_rng(seed)
    match seed % 3:
        case 0:
            return "points", generator.random((cities, 2))
        case 1:
            return "points", generator.integers(0, 4, (cities, 2)).astype(float)
        case _:
            upper = np.triu(generator.random((cities, cities)), 1)
            return "distances", upper + upper.T


def agree(cities: int, seed: int, all_tours: bool) -> None:
    name, values = drawn(cities, seed)
    given: dict[str, Any] = {name: values}
    found = exact_tour(**given, method="highs")
    programme = held_karp(**{name: values[None]})
    assert found.proved_optimal
    assert found.length == found.lower_bound
    assert found.length == pytest.approx(programme.lengths.item(), rel=1e-9, abs=1e-9)
    length = tour_length(found.order, **given).item()
    assert found.length == pytest.approx(length, rel=1e-12)
    if name == "points" and seed % 3 == 1:
        return  # several tours may be shortest
    assert found.order.tolist() == programme.orders[0].tolist()
    if all_tours:
        points = torch.from_numpy(values)
        distances = torch.cdist(points, points) if name == "points" else points
        order, length = naive.shortest_tour(distances.tolist())
        assert found.length == pytest.approx(length, rel=1e-9)
        assert found.order.tolist() == canonical_order(torch.tensor(order)).tolist()


@pytest.mark.parametrize("cities", [1, 2, 3, 4, 5, 6, 7, 8])
def test_three_solvers_agree(cities: int) -> None:
    for seed in range(8 if cities < 8 else 4):  # 60 instances
        agree(cities, seed, all_tours=1 < cities < 7)


@pytest.mark.nightly
def test_three_solvers_agree_on_many() -> None:
    for seed in range(1000):
        agree(3 + seed % 6, seed, all_tours=3 + seed % 6 < 8)


def test_larger_instances_agree_with_the_programme() -> None:
    for seed in (0, 2, 3, 5):
        agree(14, seed, all_tours=False)


@pytest.mark.parametrize("method", ["auto", "highs"])
@pytest.mark.parametrize(
    "points",
    [
        np.zeros((5, 2)),
        np.zeros((14, 2)),
        np.repeat(np.random.default_rng(0).random((5, 2)), 3, axis=0),
        np.linspace(0, 1, 15)[:, None] * np.array([[3.0, 4.0]]),
    ],
    ids=["five alike", "all alike", "three times each", "on a line"],
)
def test_repeated_and_collinear_points(points: np.ndarray, method: str) -> None:
    found = exact_tour(points, method=method)  # type: ignore[arg-type]
    assert found.proved_optimal
    assert sorted(found.order.tolist()) == list(range(len(points)))
    if len(points) == 15:
        distinct = np.unique(points, axis=0)
        expected = 10.0 if len(distinct) == 15 else held_karp(distinct[None]).lengths.item()
        assert found.length == pytest.approx(expected, rel=1e-9)
    else:
        assert found.length == 0


def test_forty_points_in_any_order_and_unit() -> None:
    points = np.random.default_rng(11).random((40, 2))
    found = exact_tour(points)
    assert found.proved_optimal
    assert found.solver == "HiGHS"
    shuffle = np.random.default_rng(1).permutation(40)
    other = exact_tour(points[shuffle] * 1e4)
    assert other.length == pytest.approx(1e4 * found.length, rel=1e-9)
    assert canonical_order(torch.from_numpy(shuffle)[other.order]).tolist() == found.order.tolist()
    good = best_tour(points, num_kicks=0, num_starts=1)
    assert not good.proved_optimal
    assert good.lower_bound <= found.length <= good.length + 1e-9


def test_a_better_tour_than_the_local_search_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """From a bad first tour the integer programme has to find the answer itself."""
    points = np.random.default_rng(3).random((16, 2))
    good = exact_tour(points)
    module = sys.modules[exact_tour.__module__]
    monkeypatch.setattr(module, "search", lambda instances: np.arange(16))
    found = exact_tour(points)
    assert found.proved_optimal
    assert found.order.tolist() == good.order.tolist()


def test_out_of_time_it_says_so() -> None:
    points = np.random.default_rng(0).random((60, 2))
    found = exact_tour(points, time_limit=0)
    assert not found.proved_optimal
    assert sorted(found.order.tolist()) == list(range(60))
    assert 0 < found.lower_bound < found.length
    assert found.length == pytest.approx(tour_length(found.order, points).item())


def test_without_an_answer_of_the_integer_programme(monkeypatch: pytest.MonkeyPatch) -> None:
    points = np.random.default_rng(2).random((16, 2))
    optimum = held_karp(points[None]).lengths.item()
    module = sys.modules[exact_tour.__module__]
    monkeypatch.setattr(module, "search", lambda instances: np.arange(16))
    monkeypatch.setattr(module._Search, "solve_integer", lambda self, forced: None)
    found = exact_tour(points)
    assert not found.proved_optimal
    assert found.order.tolist() == list(range(16))
    assert 0.9 * optimum < found.lower_bound <= optimum + 1e-9  # the relaxation's


def test_the_relaxation_s_bound_holds_for_every_prices() -> None:
    points = np.random.default_rng(4).random((12, 2))
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    optimum = held_karp(points[None]).lengths.item()
    relaxation = Relaxation(distances, np.ones((12, 12), dtype=bool))
    weights = relaxation.solve(60)
    assert weights is not None
    assert relaxation.bound <= optimum + 1e-9
    assert weights @ distances[relaxation.first, relaxation.second] == pytest.approx(
        relaxation.bound, rel=1e-6
    )
    generator = np.random.default_rng(0)
    relaxation.add_sets(np.tril(np.ones((11, 12), dtype=bool))[1:-1] & (np.arange(12) > 0))
    for _ in range(20):
        relaxation._price(generator.random(12), generator.random(len(relaxation.sets)))
        assert relaxation.last_bound <= optimum


def test_violated_sets_are_the_light_cuts() -> None:
    # two triangles, held together by two edges of a quarter each
    first = np.array([0, 0, 1, 3, 3, 4, 2, 1])
    second = np.array([1, 2, 2, 4, 5, 5, 3, 4])
    weight = np.array([1, 1, 1, 1, 1, 1, 0.25, 0.25])
    sets = violated_sets(6, first, second, weight)
    assert [False, False, False, True, True, True] in sets.tolist()
    for member in sets:
        assert weight[member[first] != member[second]].sum() < 2
    # a circle has none, two circles are found at once
    ends = np.sort([np.arange(6), (np.arange(6) + 1) % 6], axis=0)
    assert len(violated_sets(6, ends[0], ends[1], np.ones(6))) == 0
    apart = violated_sets(6, first, second, (weight == 1) * 1.0)
    assert apart.tolist() == [[False, False, False, True, True, True]]


def test_cuts_against_all_cuts() -> None:
    generator = np.random.default_rng(0)
    first, second = np.triu_indices(7, 1)
    for _ in range(20):
        weight = generator.random(21) * (generator.random(21) < 0.7)
        lightest = min(
            weight[member[first] != member[second]].sum()
            for member in ((np.arange(1, 64)[:, None] >> np.arange(-1, 6).clip(0)) & 1).astype(bool)
            & (np.arange(7) > 0)
        )
        sets = violated_sets(7, first, second, weight)
        assert (len(sets) > 0) == (lightest < 2 - 1e-5)
        found = [weight[member[first] != member[second]].sum() for member in sets]
        assert all(value < 2 for value in found)
        assert len(found) == 0 or min(found) == pytest.approx(lightest)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"method": "concorde"}, "method is 'concorde'; pass 'auto', 'held-karp' or 'highs'"),
        ({"time_limit": -1.0}, "time_limit is -1.0"),
        ({"time_limit": float("nan")}, "time_limit is nan"),
        ({"method": "held-karp"}, "n = 21 cities, .* 1 .. 20; use method='highs' for more"),
    ],
)
def test_refuses_other_arguments(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=f"exact_tour: .*{words}"):
        exact_tour(torch.rand(21, 2), **arguments)  # type: ignore[arg-type]
