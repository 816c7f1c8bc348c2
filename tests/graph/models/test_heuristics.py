"""Heuristics against networkx and dense matrices."""

import math

import networkx as nx
import pytest
import torch
from torch import Tensor, nn

from graphseq.graph.adjacency import Adjacency
from graphseq.graph.csr import CSR
from graphseq.graph.models import (
    AdamicAdar,
    CommonNeighbors,
    Katz,
    PersonalizedPageRank,
    ResourceAllocation,
    heuristics,
)
from graphseq.graph.ops import count_common
from graphseq.graph.ops.undirected import undirected

N = 15
ALL = [CommonNeighbors(), AdamicAdar(), ResourceAllocation(), Katz(), PersonalizedPageRank()]


def edges() -> Tensor:
    """Nodes 13 and 14 are isolated; one edge twice, one loop."""
    generator = torch.Generator().manual_seed(0)
    some = torch.randint(13, (2, 30), generator=generator)
    return torch.cat([some, some[:, :2].flip(0), torch.tensor([[2], [2]])], dim=1)


def twin() -> nx.Graph:
    graph = nx.Graph()
    graph.add_nodes_from(range(N))
    graph.add_edges_from((i, j) for i, j in edges().t().tolist() if i != j)
    return graph


def every_pair() -> Tensor:
    return torch.combinations(torch.arange(N)).t()


@pytest.mark.parametrize(
    ("model", "second"),
    [
        (
            CommonNeighbors(),
            lambda g, p: ((u, v, len(list(nx.common_neighbors(g, u, v)))) for u, v in p),
        ),
        (AdamicAdar(), nx.adamic_adar_index),
        (ResourceAllocation(), nx.resource_allocation_index),
    ],
)
def test_local_scores_equal_networkx(model: nn.Module, second: object) -> None:
    pairs = every_pair()
    expected = [score for *_, score in second(twin(), pairs.t().tolist())]  # type: ignore[operator]
    torch.testing.assert_close(model(None, Adjacency.from_edge_index(edges(), N), pairs),
                               torch.tensor(expected, dtype=torch.float32))  # fmt: skip


@pytest.mark.parametrize("model", [CommonNeighbors(), AdamicAdar(), ResourceAllocation()])
def test_many_pairs_are_scored_some_at_a_time(
    model: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = Adjacency.from_edge_index(edges(), N)
    pairs, sizes = every_pair(), list[int]()
    expected = model(None, graph, pairs)

    def spy(csr: CSR, pairs: Tensor, weight: Tensor | None) -> Tensor:
        sizes.append(pairs.size(1))
        return count_common(csr, pairs, weight)

    monkeypatch.setattr(heuristics, "CHUNK", 7)
    monkeypatch.setattr(heuristics, "count_common", spy)
    assert torch.equal(model(None, graph, pairs), expected)
    assert max(sizes) == 7
    assert sum(sizes) == pairs.size(1)
    assert model(None, graph, pairs[:, :0]).shape == (0,)


def test_katz_counts_walks() -> None:
    a = torch.from_numpy(nx.to_numpy_array(twin()))
    total = sum(0.05**k * torch.linalg.matrix_power(a, k) for k in range(1, 60))
    pairs = every_pair()
    ours = Katz(0.05)(torch.zeros(N, 1), edges(), pairs)
    torch.testing.assert_close(ours, total[pairs[0], pairs[1]].float())
    with pytest.raises(ValueError, match=r"walks in this graph grow by .*; pass less than"):
        Katz(0.9)(torch.zeros(N, 1), edges(), pairs)


def test_pagerank_is_that_of_networkx() -> None:
    pairs = every_pair()
    ours = PersonalizedPageRank(0.2)(torch.zeros(N, 1), edges(), pairs)
    rank = []
    for i in range(N):
        options = {"alpha": 0.8, "personalization": {i: 1.0}, "dangling": {i: 1.0}}
        found = nx.pagerank(twin(), tol=1e-12, max_iter=500, **options)
        rank.append([found[j] for j in range(N)])
    p = torch.tensor(rank)
    torch.testing.assert_close(ours, p[pairs[0], pairs[1]] + p[pairs[1], pairs[0]])


@pytest.mark.parametrize("model", ALL, ids=lambda model: type(model).__name__)
def test_symmetric_finite_and_without_parameters(model: nn.Module) -> None:
    assert not list(model.parameters())
    pairs = torch.cartesian_prod(torch.arange(N), torch.arange(N)).t()  # self pairs, isolated ends
    adjacency = Adjacency.from_edge_index(edges(), N)
    scores = model(None, adjacency, pairs)
    assert scores.isfinite().all()
    torch.testing.assert_close(scores, model(None, adjacency, pairs.flip(0)))
    nothing = torch.empty(2, 0, dtype=torch.int64)
    assert model(None, adjacency, nothing).shape == (0,)
    bare = model(torch.zeros(N, 1), nothing, every_pair())
    assert not bare.any()
    with pytest.raises(ValueError, match="outside 0"):
        model(None, adjacency, torch.tensor([[0], [N]]))


def test_a_leaf_counts_nothing_for_its_neighbours_self_pair() -> None:
    edge = torch.tensor([[0], [1]])
    assert AdamicAdar()(None, edge, torch.tensor([[0], [0]])) == 0
    path = torch.tensor([[0, 1], [1, 2]])
    ends = torch.tensor([[0], [2]])
    assert float(AdamicAdar()(None, path, ends)) == pytest.approx(1 / math.log(2))


def test_settings_and_sizes_are_checked() -> None:
    with pytest.raises(ValueError, match="beta is 0"):
        Katz(0.0)
    with pytest.raises(ValueError, match="alpha is 0"):
        PersonalizedPageRank(0.0)
    big = Adjacency.from_edge_index(torch.tensor([[0], [1]]), 30_000)
    for model in (Katz(), PersonalizedPageRank()):
        with pytest.raises(ValueError, match="30000 nodes, and dense matrices end at 10000"):
            model(None, big, torch.tensor([[0], [1]]))


def test_a_graph_keeps_the_scores_of_one_setting() -> None:
    edges = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 4]])
    graph, pairs = Adjacency.from_edge_index(edges), torch.tensor([[0, 0], [1, 4]])
    first = Katz(0.1)(None, graph, pairs)
    kept = undirected(graph, None)._derived
    assert ("Katz", 0.1) in kept
    assert not torch.allclose(Katz(0.2)(None, graph, pairs), first)
    assert torch.equal(Katz(0.1)(None, graph, pairs), first)
    assert ("Katz", 0.2) not in kept
