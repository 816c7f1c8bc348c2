"""Negative sampling: only non-edges, each as likely as the others, and never for ever."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from graphseq.graph.csr import CSR
from graphseq.graph.ops import LinkRemoval, naive_neighbors, sample_non_edges


def graph_of(links: list[tuple[int, int]], num_nodes: int) -> CSR:
    edges = torch.tensor(links, dtype=torch.int64).view(-1, 2).t()
    return LinkRemoval(edges, num_nodes).adjacency.csr


def complete(num_nodes: int, *missing: tuple[int, int]) -> CSR:
    links = [(i, j) for i in range(num_nodes) for j in range(i) if (i, j) not in missing]
    return graph_of(links, num_nodes)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


LOOPS = CSR.from_coo(torch.tensor([0, 0, 1, 2]), torch.tensor([0, 2, 1, 0]), shape=(4, 4))


@pytest.mark.parametrize("exclude_loops", [True, False])
@pytest.mark.parametrize(
    "graph",
    [graph_of([(0, 1), (1, 4), (4, 5)], 7), complete(8, (5, 2), (7, 0)), graph_of([], 3), LOOPS],
    ids=["sparse", "nearly complete", "no edges", "loops"],
)
def test_every_non_edge_is_as_likely(graph: CSR, backend: str, exclude_loops: bool) -> None:
    free = naive_neighbors.non_edges(graph, exclude_loops)
    drawn = sample_non_edges(graph, 20_000, seeded(), exclude_loops=exclude_loops, backend=backend)
    keys, counts = (drawn[0] * graph.shape[0] + drawn[1]).unique(return_counts=True)
    assert torch.equal(keys, free[0] * graph.shape[0] + free[1])
    assert stats.chisquare(counts.numpy()).pvalue > 1e-4


def draws_are_non_edges(case: tuple[int, int, float, int]) -> None:
    nodes, links, skew, seed = case
    ends = torch.rand(2, links, generator=seeded(seed)) ** skew * nodes
    graph = LinkRemoval(ends.long(), nodes).adjacency.csr
    if graph.nnz < nodes * (nodes - 1):
        drawn = sample_non_edges(graph, 300, seeded(seed))
        assert not naive_neighbors.is_edge(graph, drawn).any()
        assert bool((drawn[0] != drawn[1]).all())
        plain = sample_non_edges(graph, 300, seeded(seed), backend="torch")
        assert torch.equal(drawn, plain)


CASES = st.tuples(
    st.integers(2, 80), st.integers(0, 2000), st.sampled_from([0.2, 1.0, 5.0]), st.integers(0, 999)
)


@settings(max_examples=500)
@given(CASES)
def test_random_graphs(case: tuple[int, int, float, int]) -> None:
    draws_are_non_edges(case)


@pytest.mark.nightly
@settings(max_examples=10_000)
@given(CASES)
def test_many_random_graphs(case: tuple[int, int, float, int]) -> None:
    draws_are_non_edges(case)


def test_the_generator_decides_and_no_other_is_touched() -> None:
    graph = graph_of([(0, 1)], 50)
    state = torch.get_rng_state()
    first, again = (sample_non_edges(graph, 100, seeded(3)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, sample_non_edges(graph, 100, seeded(4)))
    assert torch.equal(torch.get_rng_state(), state)


def test_draws_come_from_the_generators_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """A generator of the CPU serves a graph on a GPU, here one that claims to be elsewhere."""
    graph, devices = graph_of([(0, 1)], 50), []
    sample_non_edges(graph, 1)  # the numbering of non-edges is kept

    def randint(*args: object, device: torch.device, **options: object) -> None:
        devices.append(torch.device(device))
        raise InterruptedError

    monkeypatch.setattr(torch, "randint", randint)
    monkeypatch.setattr(CSR, "device", torch.device("meta"))
    for generator in (seeded(), None):
        with pytest.raises(InterruptedError):
            sample_non_edges(graph, 10, generator)
    assert devices == [torch.device("cpu"), torch.device("meta")]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_generator_draws_the_same_pairs_for_every_device() -> None:
    graph = graph_of([(i, i + 1) for i in range(300)], 400)
    moved = sample_non_edges(graph.to("cuda"), 1000, seeded())
    assert moved.is_cuda
    assert torch.equal(moved.cpu(), sample_non_edges(graph, 1000, seeded()))


def test_the_draws_do_not_depend_on_the_threads(always_parallel: None) -> None:
    graph, results = graph_of([(i, i + 1) for i in range(300)], 400), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results.append(sample_non_edges(graph, 5000, seeded()))
    assert torch.equal(*results)


@pytest.mark.parametrize("graph", [complete(5), graph_of([], 1), graph_of([], 0)])
def test_a_complete_graph_has_no_negatives(graph: CSR, backend: str) -> None:
    with pytest.raises(ValueError, match="negatives cannot be drawn from a complete graph"):
        sample_non_edges(graph, 1, seeded(), backend=backend)
    assert sample_non_edges(graph, 0, seeded(), backend=backend).shape == (2, 0)


def test_errors_name_the_argument() -> None:
    with pytest.raises(ValueError, match="num is -1"):
        sample_non_edges(complete(3), -1)
    tall = CSR.from_coo(torch.tensor([0]), torch.tensor([0]), shape=(3, 2))
    with pytest.raises(ValueError, match="not square"):
        sample_non_edges(tall, 1)
