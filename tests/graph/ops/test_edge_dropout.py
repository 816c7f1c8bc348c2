"""Edge dropout: one mask for both directions' sake, products with exact gradients."""

import pytest
import torch

from graphseq.graph.adjacency import Adjacency
from graphseq.graph.csr import CSR
from graphseq.graph.ops.edge_dropout import drop_edges, dropped_product, edge_weights
from graphseq.graph.ops.undirected import undirected


def graph(nodes: int = 20, edges: int = 60) -> CSR:
    generator = torch.Generator().manual_seed(0)
    return undirected(torch.randint(nodes, (2, edges), generator=generator), nodes)


def dense(matrix: CSR, value: torch.Tensor) -> torch.Tensor:
    out = torch.zeros(matrix.shape, dtype=value.dtype)
    out[matrix.row, matrix.col.long()] = value
    return out


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_weights_of_both_backends_and_of_the_transpose(p: float) -> None:
    csr = graph()
    weight = edge_weights(csr, p, 7, torch.float64)
    assert torch.equal(weight, edge_weights(csr, p, 7, torch.float64, backend="torch"))
    for backend in ("numba", "torch"):
        other = edge_weights(csr, p, 7, torch.float64, transposed=True, backend=backend)
        assert torch.equal(dense(csr, other), dense(csr, weight).t())
    assert set(weight.tolist()) <= {0.0, 1.0 / (1.0 - p) if p < 1 else 0.0}


def test_directions_drop_by_themselves_and_as_often_as_they_should() -> None:
    csr = graph(400, 20_000)
    kept = dense(csr, edge_weights(csr, 0.25, 3)) > 0
    share = kept.sum() / csr.nnz
    assert abs(share - 0.75) < 4 * (0.25 * 0.75 / csr.nnz) ** 0.5
    assert (kept != kept.t()).any()


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_the_product_and_its_gradient(backend: str) -> None:
    csr = graph()
    x = torch.randn(20, 3, dtype=torch.float64, requires_grad=True)
    matrix = dense(csr, edge_weights(csr, 0.3, 5, torch.float64))
    out = dropped_product(csr, x, 0.3, 5, backend=backend)  # type: ignore[arg-type]
    torch.testing.assert_close(out, matrix @ x)
    direction = torch.randn_like(out)
    (ours,) = torch.autograd.grad(out, x, direction)
    torch.testing.assert_close(ours, matrix.t() @ direction)
    assert torch.autograd.gradcheck(
        lambda x: dropped_product(csr, x, 0.3, 5, backend=backend),  # type: ignore[arg-type]
        (x,),
    )


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_dropped_edges_are_no_longer_stored(backend: str) -> None:
    csr = graph()
    kept = drop_edges(csr, 0.4, 9, backend=backend)  # type: ignore[arg-type]
    assert torch.equal(kept.to_dense() > 0, dense(csr, edge_weights(csr, 0.4, 9)) > 0)
    CSR(kept.rowptr, kept.col, None, kept.shape, kept.edge_id)  # checks the parts
    assert drop_edges(csr, 1.0, 9).nnz == 0
    assert drop_edges(csr, 0.0, 9).nnz == csr.nnz
    empty = undirected(torch.empty(2, 0, dtype=torch.int64), 3)
    assert drop_edges(empty, 0.5).nnz == 0


def test_a_wrong_probability_is_refused() -> None:
    with pytest.raises(ValueError, match="p is -1"):
        edge_weights(graph(), -1.0, 0)


def test_undirected_makes_a_simple_graph() -> None:
    edges = torch.tensor([[0, 0, 1, 2, 2, 3], [1, 1, 0, 2, 1, 0]])
    expected = torch.zeros(5, 5)
    for i, j in ((0, 1), (1, 2), (0, 3)):
        expected[i, j] = expected[j, i] = 1
    csr = undirected(edges, 5)
    assert torch.equal(csr.to_dense(), expected)
    assert csr.transpose() is csr
    prepared = Adjacency.from_edge_index(edges, 5)
    assert torch.equal(undirected(prepared).to_dense(), expected)
    assert undirected(prepared) is undirected(prepared)
    simple = Adjacency(csr)
    assert undirected(simple) is csr
    loop = Adjacency.from_edge_index(torch.tensor([[0], [0]]), 1)
    assert undirected(loop).nnz == 0
    with pytest.raises(ValueError, match="edge weights"):
        undirected(Adjacency.from_edge_index(edges, 5, torch.rand(6)))
