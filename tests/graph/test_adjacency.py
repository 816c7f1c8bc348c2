"""Adjacency: targets are rows, normalisation is the formula, nothing is computed twice."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.utils import to_dense_adj, to_undirected

from graphseq.graph.adjacency import Adjacency, as_adjacency


def random_graph(nodes: int, edges: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    edge_index = torch.randint(nodes, (2, edges), generator=generator)
    return edge_index, torch.rand(edges, dtype=torch.float64, generator=generator)


def dense_normalized(edge_index: Tensor, weight: Tensor, nodes: int, kind: str) -> Tensor:
    """D~^{-1/2} A~ D~^{-1/2} or D~^{-1} A~ from dense matrices."""
    a = torch.zeros(nodes, nodes, dtype=torch.float64)
    a.index_put_((edge_index[1], edge_index[0]), weight, accumulate=True)
    has_loop = torch.zeros(nodes, dtype=torch.bool)
    has_loop[edge_index[0][edge_index[0] == edge_index[1]]] = True
    a = a + torch.diag((~has_loop).double())
    degree = a.sum(1)
    if kind == "row":
        return a / degree[:, None]
    return a / degree.sqrt()[:, None] / degree.sqrt()[None, :]


@pytest.mark.parametrize("kind", ["sym", "row"])
@given(st.integers(0, 999))
def test_normalized_is_the_dense_formula_on_30_nodes(kind: str, seed: int) -> None:
    edge_index, weight = random_graph(30, 90, seed)
    adjacency = Adjacency.from_edge_index(edge_index, 30, weight + 0.1)
    matrix = adjacency.normalized(kind, dtype=torch.float64)
    expected = dense_normalized(edge_index, weight + 0.1, 30, kind)
    torch.testing.assert_close(matrix.to_dense(), expected, rtol=1e-12, atol=1e-14)


@given(st.integers(0, 999))
def test_sym_agrees_with_pyg_on_graphs_without_repeated_loops(seed: int) -> None:
    edge_index, _ = random_graph(12, 30, seed)
    edge_index = to_undirected(edge_index[:, edge_index[0] != edge_index[1]])
    matrix = Adjacency.from_edge_index(edge_index, 12).normalized()
    index, weight = gcn_norm(edge_index, num_nodes=12)
    expected = to_dense_adj(index, edge_attr=weight, max_num_nodes=12)[0].t()
    torch.testing.assert_close(matrix.to_dense(), expected)
    assert matrix.transpose() is matrix


def test_without_self_loops_isolated_nodes_get_zeros() -> None:
    adjacency = Adjacency.from_edge_index(torch.tensor([[0, 1], [1, 0]]), 3)
    for kind in ("sym", "row"):
        dense = adjacency.normalized(kind, self_loops=False).to_dense()
        assert dense.tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0]]


def test_an_existing_self_loop_keeps_its_weight() -> None:
    edge_index = torch.tensor([[0, 1, 1, 0], [0, 0, 1, 1]])
    adjacency = Adjacency.from_edge_index(edge_index, 3, torch.tensor([3.0, 1.0, 0.5, 1.0]))
    row = adjacency.normalized("row").to_dense()
    torch.testing.assert_close(row[0], torch.tensor([0.75, 0.25, 0.0]))
    torch.testing.assert_close(row[1], torch.tensor([2 / 3, 1 / 3, 0.0]))
    torch.testing.assert_close(row[2], torch.tensor([0.0, 0.0, 1.0]))


def test_edge_ids_of_added_loops_follow_the_edges() -> None:
    edge_index = torch.tensor([[2, 1, 0], [0, 1, 2]])
    matrix = Adjacency.from_edge_index(edge_index, 3).normalized()
    nodes = torch.tensor([0, 2])
    source, target = torch.cat([edge_index, torch.stack([nodes, nodes])], dim=1)
    assert torch.equal(matrix.row, target[matrix.edge_id])
    assert torch.equal(matrix.col.long(), source[matrix.edge_id])


def test_normalized_is_computed_once_per_kind_and_dtype() -> None:
    adjacency = Adjacency.from_edge_index(torch.tensor([[0, 1], [1, 0]]))
    assert adjacency.normalized() is adjacency.normalized("sym")
    assert adjacency.normalized("row") is not adjacency.normalized("sym")
    assert adjacency.normalized(dtype=torch.float64).dtype == torch.float64


@pytest.mark.parametrize("num_nodes", [0, 1, 4])
def test_no_edges(num_nodes: int) -> None:
    adjacency = Adjacency.from_edge_index(torch.empty(2, 0, dtype=torch.int64), num_nodes)
    assert adjacency.num_edges == 0
    assert adjacency.degree.tolist() == [0] * num_nodes
    assert torch.equal(adjacency.normalized().to_dense(), torch.eye(num_nodes))


def test_degree_and_edge_index_describe_the_incoming_edges() -> None:
    edge_index = torch.tensor([[3, 0, 0, 2, 0], [1, 1, 2, 1, 2]])
    adjacency = Adjacency.from_edge_index(edge_index)
    assert (adjacency.num_nodes, adjacency.num_edges) == (4, 5)
    assert adjacency.degree.tolist() == [0, 3, 2, 0]
    assert torch.equal(adjacency.edge_index, edge_index[:, adjacency.csr.edge_id])
    assert adjacency.edge_index[1].diff().min() >= 0
    assert not adjacency.is_symmetric
    assert Adjacency.from_edge_index(to_undirected(edge_index)).is_symmetric


def test_as_adjacency_takes_what_models_are_given() -> None:
    edge_index = torch.tensor([[0, 1], [1, 2]])
    adjacency = as_adjacency(edge_index, 4)
    assert adjacency.num_nodes == 4
    assert as_adjacency(adjacency, 4) is adjacency
    of_pyg = as_adjacency(EdgeIndex(edge_index, sparse_size=(4, 4)), 4)
    assert type(of_pyg.csr.col) is Tensor
    assert torch.equal(of_pyg.csr.to_dense(), adjacency.csr.to_dense())
    with pytest.raises(ValueError, match="has 4 nodes, x has 5 rows"):
        as_adjacency(adjacency, 5)
    with pytest.raises(TypeError, match="graph is a list"):
        as_adjacency([[0], [1]])  # type: ignore[arg-type]


def test_edge_weights_of_shape_e_1_are_accepted() -> None:
    edge_index = torch.tensor([[0, 1], [1, 0]])
    adjacency = Adjacency.from_edge_index(edge_index, 2, torch.tensor([[2.0], [3.0]]))
    assert adjacency.csr.to_dense().tolist() == [[0, 3], [2, 0]]


def test_to_and_copies() -> None:
    adjacency = Adjacency.from_edge_index(torch.tensor([[0, 1], [1, 0]]))
    assert adjacency.to("cpu") is adjacency
    assert adjacency.to("meta").device.type == "meta"
    adjacency.normalized()
    other = copy.deepcopy(adjacency)
    assert torch.equal(other.normalized().to_dense(), adjacency.normalized().to_dense())
    assert repr(adjacency) == "Adjacency(num_nodes=2, num_edges=2, device=cpu)"


@pytest.mark.parametrize(
    ("edge_index", "num_nodes", "error", "words"),
    [
        (torch.tensor([[0, 7], [1, 2]]), 5, ValueError, r"edge_index\[0\] contains 7"),
        (torch.tensor([[0, 1], [-1, 2]]), 5, ValueError, r"edge_index\[1\] contains -1"),
        (torch.tensor([[0], [-1]]), None, ValueError, r"edge_index\[1\] contains -1"),
        (torch.ones(2, 3), 5, TypeError, r"edge_index\[0\] has dtype torch.float32"),
        (torch.ones(3, 2).long(), 5, ValueError, r"expected \[2, E\]"),
    ],
)
def test_errors_name_the_argument(
    edge_index: Tensor, num_nodes: int | None, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        Adjacency.from_edge_index(edge_index, num_nodes)


@pytest.mark.parametrize(
    ("weight", "error", "words"),
    [
        (torch.tensor([1.0]), ValueError, r"edge_weight has shape \(1,\), expected \(2,\)"),
        (torch.tensor([1.0, float("nan")]), ValueError, "edge_weight contains NaN"),
        (torch.tensor([1, 2]), TypeError, r"edge_weight has dtype torch\.int64"),
    ],
)
def test_errors_name_the_weights(weight: Tensor, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Adjacency.from_edge_index(torch.tensor([[0, 1], [1, 0]]), 2, weight)


def test_normalized_refuses_what_has_no_meaning() -> None:
    edge_index = torch.tensor([[0, 1], [1, 0]])
    negative = Adjacency.from_edge_index(edge_index, 2, torch.tensor([-3.0, 1.0]))
    with pytest.raises(ValueError, match="node 1 has the negative degree -2"):
        negative.normalized()
    with pytest.raises(ValueError, match="kind is 'left'"):
        negative.normalized("left")
