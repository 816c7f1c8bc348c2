"""The dynamic programme == trying all tours == the dictionary of sets; and its laws."""

import numpy as np
import pytest
import torch
from torch import Tensor

from graphseq.sequence.solvers import canonical_order, held_karp, naive, tour_length


def points(num: int, cities: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random((num, cities, 2)))


def symmetric(num: int, cities: int, seed: int = 0) -> Tensor:
    """Distances that no points in a plane have, and that break the triangle inequality."""
    upper = np.triu(np.random.default_rng(seed).random((num, cities, cities)) ** 3, 1)
    return torch.from_numpy(upper + upper.transpose(0, 2, 1))


@pytest.mark.parametrize("cities", [2, 3, 4, 5, 6, 7])
def test_equals_trying_all(cities: int) -> None:
    orders, lengths = held_karp(points(4, cities))
    distances = torch.cdist(points(4, cities), points(4, cities))
    for b in range(4):
        order, length = naive.shortest_tour(distances[b].tolist())
        assert lengths[b].item() == pytest.approx(length, rel=1e-12)
        assert orders[b].tolist() == canonical_order(torch.tensor(order)).tolist()


@pytest.mark.parametrize("cities", [2, 3, 5, 8, 9, 10])
def test_equals_the_dictionary_of_sets(cities: int) -> None:
    distances = symmetric(3, cities)
    orders, lengths = held_karp(distances=distances)
    for b in range(3):
        order, length = naive.held_karp(distances[b].tolist())
        assert lengths[b].item() == pytest.approx(length, rel=1e-12)
        assert orders[b].tolist() == canonical_order(torch.tensor(order)).tolist()


def test_the_twins_agree() -> None:
    table = symmetric(1, 7)[0].tolist()
    assert naive.held_karp(table)[1] == pytest.approx(naive.shortest_tour(table)[1], rel=1e-12)


def test_one_city_and_equal_cities() -> None:
    orders, lengths = held_karp(points(3, 1))
    assert orders.tolist() == [[0]] * 3
    assert lengths.tolist() == [0] * 3
    orders, lengths = held_karp(torch.full((2, 6, 2), 0.25))
    assert sorted(orders[0].tolist()) == list(range(6))
    assert lengths.tolist() == [0, 0]


def test_in_parallel_as_alone() -> None:
    many = points(130, 10)  # enough work for two threads, an odd share for each
    orders, lengths = held_karp(many)
    torch.testing.assert_close(lengths, tour_length(orders, many))
    for b in (0, 1, 64, 129):
        alone = held_karp(many[b : b + 1])
        assert orders[b].tolist() == alone.orders[0].tolist()
        assert lengths[b] == alone.lengths[0]


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = held_karp(points(7, 6))
    monkeypatch.setattr("graphseq.sequence.solvers.instances._BLOCK_BYTES", 2 * 8 * 36)
    blocks = held_karp(points(7, 6))
    assert whole.orders.tolist() == blocks.orders.tolist()
    assert whole.lengths.tolist() == blocks.lengths.tolist()


def test_lengths_do_not_depend_on_the_order_of_the_points() -> None:
    here = points(20, 9)
    shuffle = torch.randperm(9, generator=torch.Generator().manual_seed(2))
    orders, lengths = held_karp(here[:, shuffle])
    torch.testing.assert_close(lengths, held_karp(here).lengths)
    assert canonical_order(shuffle[orders]).tolist() == held_karp(here).orders.tolist()


def test_scale_and_place_do_not_matter() -> None:
    here = points(10, 8)
    away = held_karp(here * 1e6 - 3e5)
    assert away.orders.tolist() == held_karp(here).orders.tolist()
    torch.testing.assert_close(away.lengths, held_karp(here).lengths * 1e6)


def test_ties_are_decided_alike() -> None:
    lattice = torch.tensor([[x, y] for x in range(3) for y in range(3)])
    orders, lengths = held_karp(lattice.expand(200, 9, 2))
    assert orders.unique(dim=0).shape == (1, 9)
    torch.testing.assert_close(lengths[0].item(), 8 + 2**0.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.float64])
def test_tensors_and_arrays_of_any_real_type(dtype: torch.dtype) -> None:
    here = (points(3, 6) * 100).to(dtype)
    expected = held_karp(here.double())
    for given in (here, here.numpy(), here.clone().requires_grad_(dtype.is_floating_point)):
        orders, lengths = held_karp(given)
        assert orders.dtype == torch.int64
        assert lengths.dtype == torch.float64
        assert not lengths.requires_grad
        assert lengths.tolist() == expected.lengths.tolist()


def test_mean_optimum_of_five_cities() -> None:
    """A mean over 4,000 instances, found by another program, is 2.1265."""
    lengths = held_karp(points(400, 5, seed=5)).lengths
    deviation = lengths.std().item() * (1 / 400 + 1 / 4000) ** 0.5
    assert abs(lengths.mean().item() - 2.1265) < 4 * deviation


@pytest.mark.nightly
def test_twenty_cities() -> None:
    here = points(3, 20)
    orders, lengths = held_karp(here)
    torch.testing.assert_close(lengths, tour_length(orders, here))
    turned = held_karp(here.flip(1))
    torch.testing.assert_close(turned.lengths, lengths)
    assert canonical_order(19 - turned.orders).tolist() == orders.tolist()
