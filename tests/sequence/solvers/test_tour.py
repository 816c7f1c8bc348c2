"""Lengths and canonical orders: every way to write a tour is the same tour."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from graphseq.sequence.solvers import Tour, canonical_order, held_karp, tour_length


def square() -> torch.Tensor:
    return torch.tensor([[0, 0], [1, 1], [1, 0], [0, 1]])


def test_the_length_of_a_square() -> None:
    assert tour_length(torch.tensor([0, 2, 1, 3]), square()).item() == 4
    crossed = tour_length(torch.tensor([[0, 1, 2, 3], [0, 2, 1, 3]]), square().expand(2, 4, 2))
    torch.testing.assert_close(crossed, torch.tensor([2 + 2 * 2**0.5, 4], dtype=torch.float64))


def test_points_and_their_distances_agree() -> None:
    points = torch.rand(3, 7, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    generators = [torch.Generator().manual_seed(b) for b in range(3)]
    orders = torch.stack([torch.randperm(7, generator=generator) for generator in generators])
    by_distances = tour_length(orders, distances=torch.cdist(points, points))
    torch.testing.assert_close(tour_length(orders, points), by_distances)
    torch.testing.assert_close(tour_length(orders[1], points[1]), by_distances[1])


@given(
    size=st.integers(1, 9),
    seed=st.integers(0, 1000),
    shift=st.integers(0, 8),
    turn=st.booleans(),
)
def test_equal_tours_have_one_order(size: int, seed: int, shift: int, turn: bool) -> None:
    order = torch.from_numpy(np.random.default_rng(seed).permutation(size))
    other = order.roll(shift)
    other = other.flip(0) if turn else other
    found = canonical_order(order)
    assert found.tolist() == canonical_order(other).tolist()
    assert found[0] == 0
    assert size < 3 or found[1] < found[-1]
    points = torch.rand(size, 2, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(tour_length(found, points), tour_length(other, points))


def test_the_gap() -> None:
    order = torch.tensor([0, 1, 2])
    assert Tour(order, 3.0, False, 2.0, "x").gap == 0.5
    assert Tour(order, 3.0, True, 3.0, "x").gap == 0
    assert Tour(order, 3.0, False, 0.0, "x").gap == np.inf
    assert Tour(order, 0.0, True, 0.0, "x").gap == 0


@pytest.mark.parametrize(
    ("orders", "error", "words"),
    [
        ([0, 1, 2, 3], TypeError, "int64 tensor, got list"),
        (torch.tensor([0.0, 1, 2, 3]), TypeError, "orders.long()"),
        (torch.tensor(0), ValueError, r"shape \(\)"),
        (torch.tensor([0, 1, 2]), ValueError, "instances of 4 cities"),
        (torch.tensor([0, 1, 2, 2]), ValueError, "row 0 of orders is no permutation"),
        (torch.tensor([0, 1, 2, 4]), ValueError, "no permutation"),
    ],
)
def test_refuses_what_is_no_tour(orders: object, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=f"tour_length: .*{words}"):
        tour_length(orders, square())  # type: ignore[arg-type]


def test_an_empty_batch() -> None:
    orders, lengths = held_karp(torch.zeros(0, 5, 2))
    assert orders.shape == (0, 5)
    assert lengths.shape == (0,)
