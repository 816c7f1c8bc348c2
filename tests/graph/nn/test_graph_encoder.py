"""The encoder: every convolution against dense matrices, options, and what it refuses."""

from typing import Any

import pytest
import torch
from torch import Tensor

from graphseq.graph.csr import CSR
from graphseq.graph.nn import GraphConv, GraphEncoder
from graphseq.graph.nn.graph_convs import aggregate
from graphseq.graph.ops.edge_dropout import edge_weights
from graphseq.graph.ops.undirected import undirected

N, F, H = 12, 5, 4
KINDS = ("gcn", "mean", "sum", "max")


def graph() -> CSR:
    """Node 11 is isolated."""
    generator = torch.Generator().manual_seed(0)
    return undirected(torch.randint(N - 1, (2, 20), generator=generator), N)


def states(width: int = F) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(N, width, dtype=torch.float64, generator=generator).requires_grad_()


def dense(kind: str, weight: Tensor, x: Tensor) -> Tensor:
    if kind == "gcn":
        scale = (weight.sum(1) + 1).rsqrt().diag()
        return scale @ (weight + torch.eye(N)) @ scale @ x
    if kind == "max":
        near = torch.where(weight.unsqueeze(2) > 0, x, -torch.inf).amax(1)
        return torch.where(near.isinf(), 0.0, near)
    total = weight @ x
    return total if kind == "sum" else total / weight.sum(1, True).clamp(min=1e-300)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("p", [0.0, 0.5])
def test_aggregations_equal_dense_matrices(kind: Any, p: float) -> None:
    csr, x = graph(), states()
    torch.manual_seed(3)
    out = aggregate(kind, csr, x, p)
    weight = csr.to_dense().double()
    if p > 0:
        torch.manual_seed(3)
        seed = int(torch.empty((), dtype=torch.int64).random_())
        weight = torch.zeros(N, N, dtype=torch.float64)
        weight[csr.row, csr.col.long()] = edge_weights(csr, p, seed, torch.float64)
    expected = dense(kind, weight, x)
    torch.testing.assert_close(out, expected)
    direction = torch.randn_like(out)
    (ours,), (theirs,) = (torch.autograd.grad(v, x, direction) for v in (out, expected))
    torch.testing.assert_close(ours, theirs)


def test_gcn_is_that_of_pyg() -> None:
    from torch_geometric.nn import GCNConv

    csr, x = graph(), states()
    ours, theirs = GraphConv(F, H).double(), GCNConv(F, H).double()
    ours.load_state_dict({"weight": theirs.lin.weight.t(), "bias": theirs.bias})
    edges = torch.stack([csr.col.long(), csr.row])
    torch.testing.assert_close(ours(x, csr), theirs(x, edges))
    torch.testing.assert_close(ours(CSR.from_dense(x.detach()), csr), theirs(x, edges))


@pytest.mark.parametrize("num_layers", [1, 2, 3])
@pytest.mark.parametrize("sparse", [False, True])
def test_layers_with_weights(num_layers: int, sparse: bool) -> None:
    """Norm, dropout and ReLU behind every layer but the last of two or more; residuals; jumps."""
    encoder = GraphEncoder(
        F, H, conv="sage", num_layers=num_layers, residual=True, jumping_knowledge=True
    ).double()
    x = states()
    h, outputs = x, []
    for index, conv in enumerate(encoder.convs):
        out = dense("mean", graph().to_dense().double(), h @ conv.weight) + conv.bias
        if num_layers == 1 or index < num_layers - 1:
            out = encoder.norms[index](out).relu()
        h = out + h if h.shape == out.shape else out
        outputs.append(h)
    expected = sum(w * out for w, out in zip(encoder.layer_weights, outputs, strict=True))
    given = CSR.from_dense(x.detach()) if sparse else x
    torch.testing.assert_close(encoder(given, graph()), expected)


@pytest.mark.parametrize("num_layers", [0, 1, 3])
def test_layers_without_weights_only_propagate(num_layers: int) -> None:
    encoder = GraphEncoder(F, H, conv="pure_sum", num_layers=num_layers, residual=True).double()
    h = states() @ encoder.input.weight + encoder.input.bias
    for _ in range(num_layers):
        h = h + graph().to_dense().double() @ h
    torch.testing.assert_close(encoder(states(), graph()), h)
    assert sum(p.numel() for p in encoder.parameters()) == F * H + H


def test_residual_needs_equal_widths_and_takes_sparse_features() -> None:
    encoder = GraphEncoder(H, H, conv="gcn", residual=True, layer_norm=False).double()
    x = states(H)
    expected = encoder.convs[0](x, graph()).relu() + x
    torch.testing.assert_close(encoder(x, graph()), expected)
    torch.testing.assert_close(encoder(CSR.from_dense(x.detach()), graph()), expected)


def test_dropouts_act_where_they_should() -> None:
    """Each alone changes the output while training, and none in evaluation."""
    weighted = ("feature_dropout", "dropout", "edge_dropout")
    pure = (*weighted, "output_dropout")
    for conv, names in (("gcn", weighted), ("pure_gcn", pure)):
        for name in names:
            encoder = GraphEncoder(F, H, conv=conv, num_layers=2, **{name: 0.5}).double()  # type: ignore[arg-type]
            first, second = (encoder(states(), graph()) for _ in range(2))
            assert not torch.equal(first, second), (conv, name)
            encoder.eval()
            assert torch.equal(encoder(states(), graph()), encoder(states(), graph()))


def test_reset_parameters_draws_anew() -> None:
    encoder = GraphEncoder(F, H, conv="gin", num_layers=2, jumping_knowledge=True)
    before = {name: p.clone() for name, p in encoder.named_parameters()}
    encoder.reset_parameters()
    changed = {n for n, p in encoder.named_parameters() if not torch.equal(p, before[n])}
    assert {"convs.0.weight", "convs.1.weight", "layer_weights"} <= changed
    table = GraphEncoder(None, H, num_embeddings=N)
    table.reset_parameters()
    torch.testing.assert_close(table.input.weight.t() @ table.input.weight, torch.eye(H))


def test_wrong_inputs_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected \[N, 5\]"):
        GraphEncoder(F, H)(states(3), graph())
    with pytest.raises(TypeError, match="in_channels=5"):
        GraphEncoder(F, H)(torch.arange(N), graph())
    with pytest.raises(ValueError, match="x contains 11, outside 0"):
        GraphEncoder(None, H, num_embeddings=4)(torch.arange(N), graph())
    with pytest.raises(ValueError, match="num_embeddings is 0"):
        GraphEncoder(None, H, num_embeddings=0)


@pytest.mark.parametrize("conv", ["gcn", "sage", "gin", "max", "pure_gcn", "pure_mean"])
def test_autocast(conv: Any) -> None:
    encoder = GraphEncoder(F, H, conv=conv, num_layers=2, residual=True).float()
    x = states().detach().float()
    with torch.autocast("cpu", torch.bfloat16):
        out = encoder(x, graph())
    torch.testing.assert_close(out.float(), encoder(x, graph()), rtol=0.1, atol=0.1)
    out.float().sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())
