"""Heuristics: valid tours, never shorter than the shortest; searches never lengthen."""

from collections.abc import Callable

import networkx as nx
import numpy as np
import pytest
import torch
from scipy.sparse.csgraph import minimum_spanning_tree
from torch import Tensor

from graphseq.sequence.solvers import (
    Tours,
    a1,
    a2,
    a3,
    best_tour,
    canonical_order,
    christofides,
    greedy_edge,
    held_karp,
    nearest_neighbor,
    or_opt,
    tour_length,
    two_opt,
)
from graphseq.sequence.solvers.construction import spanning_tree
from graphseq.sequence.solvers.iterated_search_kernels import _best_move, _make

Solver = Callable[..., Tours]
SOLVERS: list[Solver] = [nearest_neighbor, greedy_edge, christofides, two_opt, or_opt, a1, a2, a3]


def points(num: int, cities: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random((num, cities, 2)))


def orders(num: int, cities: int, seed: int = 0) -> Tensor:
    generator = np.random.default_rng(seed)
    return torch.from_numpy(np.stack([generator.permutation(cities) for _ in range(num)]))


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("cities", [1, 2, 3, 4, 5, 9, 12])
def test_valid_and_not_shorter_than_the_shortest(solver: Solver, cities: int) -> None:
    here = points(8, cities)
    found, lengths = solver(here)
    assert (found.sort(dim=1).values == torch.arange(cities)).all()
    assert found.tolist() == canonical_order(found).tolist()
    torch.testing.assert_close(lengths, tour_length(found, here))
    assert (lengths >= held_karp(here).lengths - 1e-12).all()
    by_distances = solver(distances=torch.cdist(here, here))
    torch.testing.assert_close(lengths, by_distances.lengths)


@pytest.mark.parametrize("solver", SOLVERS)
def test_distances_of_no_plane(solver: Solver) -> None:
    upper = np.triu(np.random.default_rng(0).random((6, 9, 9)), 1)
    distances = torch.from_numpy(upper + upper.transpose(0, 2, 1))
    found, lengths = solver(distances=distances)
    torch.testing.assert_close(lengths, tour_length(found, distances=distances))
    assert (lengths >= held_karp(distances=distances).lengths - 1e-12).all()


@pytest.mark.parametrize("solver", SOLVERS)
def test_repeated_points(solver: Solver) -> None:
    found, lengths = solver(torch.zeros(2, 11, 2))
    assert (found.sort(dim=1).values == torch.arange(11)).all()
    assert lengths.tolist() == [0, 0]


@pytest.mark.parametrize("solver", SOLVERS)
def test_in_parallel_as_alone(solver: Solver) -> None:
    here = points(5 if solver in (christofides, a3) else 300, 30)
    together = solver(here)
    for b in (0, 3, -1):
        assert together.orders[b].tolist() == solver(here[b][None]).orders[0].tolist()


def test_nearest_neighbor_goes_to_the_nearest() -> None:
    line = torch.tensor([0.0, 1.0, -0.9, 3.0, -4.0])
    here = torch.stack([line, torch.zeros(5)], dim=1)[None]
    walks = {0: [0, 2, 1, 3, 4], 3: [3, 1, 0, 2, 4], 4: [4, 2, 0, 1, 3]}
    for start, walk in walks.items():
        found = nearest_neighbor(here, start=start).orders
        assert found.tolist() == canonical_order(torch.tensor([walk])).tolist()
    with pytest.raises(ValueError, match=r"start is 5; pass a city in 0 \.\. 4"):
        nearest_neighbor(here, start=5)


def test_greedy_edge_against_a_graph() -> None:
    """The same choice of edges, with degrees and circles looked up in a graph."""
    here = points(5, 14, seed=3)
    for b, order in enumerate(greedy_edge(here).orders.tolist()):
        distances = torch.cdist(here[b], here[b])
        graph = nx.Graph()
        graph.add_nodes_from(range(14))
        pairs = [(i, j) for i in range(14) for j in range(i + 1, 14)]
        for i, j in sorted(pairs, key=lambda pair: distances[pair].item()):
            if max(graph.degree[i], graph.degree[j]) < 2 and not nx.has_path(graph, i, j):
                graph.add_edge(i, j)
        legs = {frozenset(leg) for leg in zip(order, order[1:] + order[:1], strict=True)}
        assert {frozenset(edge) for edge in graph.edges} <= legs


def test_spanning_tree_against_scipy() -> None:
    here = points(1, 40, seed=1)[0]
    distances = torch.cdist(here, here).numpy()
    edges = spanning_tree(distances)
    assert nx.is_tree(nx.Graph(edges))
    length = sum(distances[edge] for edge in edges)
    assert length == pytest.approx(minimum_spanning_tree(distances).sum())


def test_christofides_keeps_its_promise() -> None:
    here = points(20, 12, seed=2)
    assert (christofides(here).lengths <= 1.5 * held_karp(here).lengths).all()


@pytest.mark.parametrize("search", [two_opt, or_opt])
def test_searches_never_lengthen(search: Solver) -> None:
    here, begin = points(30, 25), orders(30, 25)
    kept = begin.clone()
    found = search(here, begin)
    assert (found.lengths <= tour_length(begin, here) + 1e-12).all()
    assert begin.tolist() == kept.tolist()
    again = search(here, found.orders)
    torch.testing.assert_close(again.lengths, found.lengths, rtol=1e-12, atol=0)


def test_no_exchange_of_two_edges_improves_on_two_opt() -> None:
    here = points(3, 20)
    found, lengths = two_opt(here, orders(3, 20))
    for i in range(19):
        for j in range(i + 1, 20):
            turned = found.clone()
            turned[:, i : j + 1] = found[:, i : j + 1].flip(1)
            assert (tour_length(turned, here) >= lengths - 1e-12).all()


def test_no_move_of_a_segment_improves_on_or_opt() -> None:
    here = points(2, 12)
    found, lengths = or_opt(here, orders(2, 12))
    for b, order in enumerate(found.tolist()):
        for start in range(12):
            turned = order[start:] + order[:start]
            for length in (1, 2, 3):
                segment, rest = turned[:length], turned[length:]
                for at in range(len(rest)):
                    for piece in (segment, segment[::-1]):
                        other = torch.tensor(rest[:at] + piece + rest[at:])
                        assert tour_length(other, here[b]) >= lengths[b] - 1e-12


def test_every_move_of_the_iterated_search_gains_what_it_says() -> None:
    generator = np.random.default_rng(0)
    kinds = set()
    for cities in (8, 9, 13, 30):
        here = generator.random((cities, 2))
        d = np.linalg.norm(here[:, None] - here[None], axis=2)
        near = np.argsort(d + np.eye(cities) * 9, axis=1)[:, : min(10, cities - 1)].copy()
        for _ in range(150):
            order = generator.permutation(cities)
            place = np.argsort(order)
            queue, waiting = np.zeros(cities, dtype=np.int64), np.zeros(cities, dtype=np.uint8)
            before = d[order, np.roll(order, -1)].sum()
            a, way = int(generator.integers(cities)), int(generator.choice([-1, 1]))
            gain, c, f, length = _best_move(d, near, order, place, a, way)
            if gain <= 0:
                continue
            held = _make(order, place, queue, waiting, 0, 0, a, way, c, f, length)
            assert sorted(order) == list(range(cities))
            assert (order[place] == np.arange(cities)).all()
            assert before - d[order, np.roll(order, -1)].sum() == pytest.approx(gain, abs=1e-12)
            assert sorted(queue[:held]) == sorted(waiting.nonzero()[0])
            kinds.add((length, way))
    assert len(kinds) == 8  # exchanges and segments of one to three, both ways


def test_best_tour() -> None:
    here = points(6, 14, seed=4)
    expected = held_karp(here)
    for b in range(6):
        found = best_tour(here[b])
        assert not found.proved_optimal
        assert found.length == pytest.approx(expected.lengths[b].item())  # as it happens
        assert found.lower_bound <= found.length
        assert found.order.tolist() == best_tour(here[b], seed=0).order.tolist()
    small = best_tour(here[0, :9])
    assert small.proved_optimal
    assert small.lower_bound == small.length == held_karp(here[:1, :9]).lengths.item()


def states() -> tuple[str, list[int]]:
    """Of the global generators."""
    return str(np.random.get_state()), torch.get_rng_state().tolist()  # noqa: NPY002


def test_kicks_help_and_draw_nothing_from_global_generators() -> None:
    here = points(1, 150, seed=5)[0]
    before = states()
    descended = best_tour(here, num_kicks=0)
    kicked = best_tour(here, num_kicks=500)
    assert sorted(kicked.order.tolist()) == list(range(150))
    assert kicked.length < descended.length < two_opt(here[None]).lengths.item()
    assert kicked.length == pytest.approx(tour_length(kicked.order, here).item())
    assert states() == before


def test_the_quality_of_the_stand_ins() -> None:
    """Each is within the usual distance of the shortest tour, in the usual sequence."""
    here = points(30, 20, seed=6)
    best = [best_tour(row).length for row in here]
    excess = [(f(here).lengths / torch.tensor(best)).mean().item() - 1 for f in (a1, a2, a3)]
    assert 0.05 < excess[0] < 0.30
    assert 0 < excess[1] < 0.10
    assert 0 < excess[2] < 0.10


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda p: or_opt(p[None], longest=0), "or_opt: longest is 0; pass 1 or more"),
        (lambda p: two_opt(p[None], torch.zeros(1, 9, dtype=torch.int64)), "no permutation"),
        (lambda p: two_opt(p[None], torch.arange(8)[None]), "9 cities"),
        (lambda p: best_tour(p, num_starts=0), "best_tour: num_starts is 0"),
        (lambda p: best_tour(p, num_kicks=-1), "best_tour: .*num_kicks -1"),
    ],
)
def test_refuses(call: Callable[[Tensor], object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call(points(1, 9)[0])
