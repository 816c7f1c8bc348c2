"""Removing links from their graph against building the graph from the others."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric.utils import remove_self_loops, to_undirected

from graphseq.graph.adjacency import Adjacency
from graphseq.graph.csr import CSR
from graphseq.graph.ops import LinkRemoval, naive_neighbors, spmm


def rebuilt(links: Tensor, num_nodes: int) -> CSR:
    edge_index, _ = remove_self_loops(links)
    edge_index = to_undirected(edge_index, num_nodes=num_nodes)
    return Adjacency.from_edge_index(edge_index, num_nodes).csr


def same(adjacency: Adjacency, expected: CSR) -> None:
    csr = adjacency.csr
    assert torch.equal(csr.rowptr, expected.rowptr)
    assert torch.equal(csr.col, expected.col)
    assert csr.value is None
    CSR(csr.rowptr, csr.col, None, csr.shape, csr.edge_id)  # passes the checks
    assert torch.equal(csr.edge_id, torch.arange(csr.nnz))
    assert csr.transpose() is csr
    assert adjacency.is_symmetric


def links_of(num_nodes: int, number: int, seed: int, hubs: bool = False) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    ends = torch.rand(2, number, generator=generator) ** (3.0 if hubs else 1.0)
    return (ends * num_nodes).long()


def without_is_rebuilding(case: tuple[int, int, float, bool, int]) -> None:
    num_nodes, number, share, hubs, seed = case
    links = links_of(num_nodes, number, seed, hubs)  # with repeats, reversals and self pairs
    generator = torch.Generator().manual_seed(seed + 1)
    index = torch.randint(max(number, 1), (int(share * number),), generator=generator)
    kept = torch.ones(number, dtype=torch.bool)
    kept[index] = False
    removal = LinkRemoval(links, num_nodes)
    same(removal.adjacency, rebuilt(links, num_nodes))
    same(removal.without(index), rebuilt(links[:, kept], num_nodes))
    strict = LinkRemoval(links, num_nodes, strict=True).without(index)
    edges = naive_neighbors.without(links, num_nodes, index, strict=True)
    assert set(map(tuple, strict.edge_index.t().tolist())) == edges
    assert strict.is_symmetric


CASES = st.tuples(
    st.integers(1, 60),
    st.integers(0, 300),
    st.floats(0, 1.5),  # positions may repeat, too
    st.booleans(),
    st.integers(0, 2**30),
)


@settings(max_examples=500)
@given(CASES)
def test_equals_rebuilding(case: tuple[int, int, float, bool, int]) -> None:
    without_is_rebuilding(case)


@pytest.mark.nightly
@settings(max_examples=10_000)
@given(CASES)
def test_equals_rebuilding_often(case: tuple[int, int, float, bool, int]) -> None:
    without_is_rebuilding(case)


@pytest.mark.parametrize("strict", [False, True])
def test_a_link_listed_twice(strict: bool) -> None:
    links = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 3]])
    removal = LinkRemoval(links, 4, strict=strict)
    one, both = removal.without(torch.tensor([0])), removal.without(torch.tensor([0, 1]))
    assert removal.adjacency.num_edges == 6
    assert one.num_edges == (4 if strict else 6)
    assert both.num_edges == 4
    assert removal.without(torch.tensor([0, 0])).num_edges == one.num_edges


def test_parallel_stretches(always_parallel: None) -> None:
    links = links_of(300, 5000, 0)
    kept = torch.ones(5000, dtype=torch.bool)
    kept[::3] = False
    same(LinkRemoval(links, 300).without(torch.arange(0, 5000, 3)), rebuilt(links[:, kept], 300))


def test_all_and_nothing_removed() -> None:
    links = links_of(20, 60, 1)
    removal = LinkRemoval(links, 20)
    same(removal.without(torch.arange(0)), rebuilt(links, 20))
    same(removal.without(torch.arange(60)), rebuilt(links[:, :0], 20))
    same(LinkRemoval(links[:, :0], 5).without(torch.arange(0)), rebuilt(links[:, :0], 5))


def test_products_with_the_result_are_right() -> None:
    links, x = links_of(20, 60, 1), torch.randn(20, 3, dtype=torch.float64)
    matrix = LinkRemoval(links, 20).without(torch.arange(10)).csr
    torch.testing.assert_close(spmm(matrix, x), rebuilt(links[:, 10:], 20).to_dense().double() @ x)


def test_the_graph_of_all_links_stays_as_it_is() -> None:
    removal = LinkRemoval(links_of(20, 60, 1), 20)
    before = removal.adjacency.csr.col.clone()
    removal.without(torch.arange(30)).csr.col.zero_()
    assert torch.equal(removal.adjacency.csr.col, before)


def test_errors_name_the_argument() -> None:
    links = torch.tensor([[0, 1], [1, 2]])
    with pytest.raises(ValueError, match="train_edges contains 2, outside"):
        LinkRemoval(links, 2)
    with pytest.raises(ValueError, match=r"train_edges has shape \(2,\), expected \[2, E\]"):
        LinkRemoval(links[0], 3)
    with pytest.raises(TypeError, match=r"train_edges has dtype torch\.float32"):
        LinkRemoval(links.float(), 3)
    with pytest.raises(ValueError, match="index contains 2, outside"):
        LinkRemoval(links, 3).without(torch.tensor([2]))
    with pytest.raises(TypeError, match=r"index has dtype torch\.bool"):
        LinkRemoval(links, 3).without(torch.tensor([True, False]))
