"""The baselines against their equations, and their one restriction: dense features."""

import pytest
import torch
from torch import Tensor

from graphseq.graph.adjacency import Adjacency
from graphseq.graph.csr import CSR
from graphseq.graph.models import APPNP, GAT, GCN, MLP, SGC

EDGES = torch.tensor([[0, 1, 1, 2, 2, 3, 3, 0, 0, 2], [1, 0, 2, 1, 3, 2, 0, 3, 2, 0]])


def a_hat(num_nodes: int) -> Tensor:
    a = torch.eye(num_nodes)
    a[EDGES[1], EDGES[0]] = 1
    scale = a.sum(1).rsqrt()
    return scale[:, None] * a * scale


def test_gcn_equation() -> None:
    model, x = GCN(6, 3).eval(), torch.rand(5, 6)
    h = (a_hat(5) @ x @ model.input.lin.weight.t() + model.input.bias).relu()
    expected = a_hat(5) @ h @ model.output.lin.weight.t() + model.output.bias
    torch.testing.assert_close(model(x, EDGES), expected)


def test_sgc_equation_and_its_cache_notices_another_graph() -> None:
    model, x = SGC(6, 3, num_hops=2).eval(), torch.rand(5, 6)
    expected = model.layer.lin(a_hat(5) @ a_hat(5) @ x)
    torch.testing.assert_close(model(x, EDGES), expected)
    torch.testing.assert_close(model(x, EDGES), expected)
    other = EDGES[:, :2]
    assert not torch.allclose(model(x, other), expected)


def test_appnp_equation() -> None:
    model, x = APPNP(6, 3, num_hops=3, alpha=0.2).eval(), torch.rand(5, 6)
    z = h = model.output(model.input(x).relu())
    for _ in range(3):
        h = 0.8 * a_hat(5) @ h + 0.2 * z
    torch.testing.assert_close(model(x, EDGES), h)


def test_mlp_does_not_look_at_the_graph() -> None:
    model, x = MLP(6, 3).eval(), torch.rand(5, 6)
    assert torch.equal(model(x, EDGES), model(x, EDGES[:, :0]))


@pytest.mark.parametrize("model", [MLP, GCN, GAT, APPNP, SGC])
def test_prepared_adjacency_gives_the_same_and_sparse_features_say_what_to_do(model: type) -> None:
    network, x = model(6, 3).eval(), torch.rand(5, 6)
    torch.testing.assert_close(
        network(x, Adjacency.from_edge_index(EDGES, 5)), network(x, EDGES), rtol=1e-5, atol=1e-6
    )
    with pytest.raises(TypeError, match=f"{model.__name__}: x must be a dense tensor.*sparse=Fal"):
        network(CSR.from_dense(x), EDGES)


@pytest.mark.parametrize("model", [GCN, APPNP, SGC])
def test_edge_weights_count(model: type) -> None:
    network, x = model(6, 3).eval(), torch.rand(5, 6)
    light, heavy = (
        network(x, Adjacency.from_edge_index(EDGES, 5, weight * torch.ones(EDGES.shape[1])))
        for weight in (1.0, 9.0)
    )
    torch.testing.assert_close(light, network(x, EDGES), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(light, heavy)


def test_gat_refuses_edge_weights() -> None:
    graph = Adjacency.from_edge_index(EDGES, 5, torch.ones(EDGES.shape[1]))
    with pytest.raises(ValueError, match="without weights"):
        GAT(6, 3)(torch.rand(5, 6), graph)
