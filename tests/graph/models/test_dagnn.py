"""DAGNN against its equations, written densely, and against the published parameter counts."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from graphseq import DAGNN
from graphseq.graph.adjacency import Adjacency
from graphseq.graph.csr import CSR
from graphseq.graph.ops import naive

ARXIV = {"hidden_channels": 256, "num_hops": 16, "dropout": 0.2, "batch_norm": True}


def random_graph(num_nodes: int, num_edges: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    half = torch.randint(num_nodes, (2, num_edges), generator=generator)
    return torch.cat([half, half.flip(0)], dim=1)


def dense_dagnn(model: DAGNN, x: Tensor, edge_index: Tensor) -> Tensor:
    """The equations of the paper on dense matrices, in evaluation mode."""
    n = x.shape[0]
    a = torch.zeros(n, n, dtype=x.dtype)
    for source, target in edge_index.t().tolist():
        a[target, source] += 1
    a += torch.diag((a.diagonal() == 0).to(x.dtype))
    scale = a.sum(1).rsqrt()
    a_hat = scale[:, None] * a * scale
    h = model.norm(x @ model.input.weight + model.input.bias).relu()
    z = model.output(h)
    hops = torch.stack([torch.matrix_power(a_hat, k) @ z for k in range(model.num_hops + 1)], 1)
    scores = (hops @ model.propagation.weight + model.propagation.bias).sigmoid()
    return (scores[:, :, None] * hops).sum(1)


@pytest.mark.parametrize(
    ("features", "classes", "expected"),
    [
        pytest.param(1433, 7, 92_239, id="Cora"),
        pytest.param(3703, 6, 237_453, id="CiteSeer"),
        pytest.param(500, 3, 32_263, id="PubMed"),
        pytest.param(6805, 15, 436_575, id="CS"),
        pytest.param(8415, 5, 538_955, id="Physics"),
        pytest.param(767, 10, 49_813, id="Computers"),
        pytest.param(745, 8, 48_273, id="Photo"),
    ],
)
def test_published_parameter_counts(features: int, classes: int, expected: int) -> None:
    model = DAGNN(features, classes)
    assert sum(p.numel() for p in model.parameters()) == expected


def test_published_parameter_count_of_the_arxiv_version() -> None:
    assert sum(p.numel() for p in DAGNN(128, 40, **ARXIV).parameters()) == 43_857


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("num_hops", [0, 1, 5])
def test_equals_the_dense_equations(num_hops: int, batch_norm: bool) -> None:
    torch.manual_seed(0)
    edge_index = random_graph(30, 60)
    model = DAGNN(8, 4, hidden_channels=6, num_hops=num_hops, batch_norm=batch_norm)
    model = model.double().eval()
    x = torch.rand(30, 8, dtype=torch.float64)
    result, expected = model(x, edge_index), dense_dagnn(model, x, edge_index)
    torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-12)
    for p, q in zip(
        torch.autograd.grad(result.square().sum(), list(model.parameters())),
        torch.autograd.grad(expected.square().sum(), list(model.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(p, q, rtol=1e-10, atol=1e-10)


def test_sparse_features_and_prepared_graph_change_nothing() -> None:
    torch.manual_seed(0)
    edge_index = random_graph(30, 60)
    x = torch.rand(30, 8, dtype=torch.float64) * (torch.rand(30, 8) < 0.3)
    model = DAGNN(8, 4, num_hops=3).double().eval()
    expected = model(x, edge_index)
    adjacency = Adjacency.from_edge_index(edge_index, 30)
    for features in (x, CSR.from_dense(x)):
        for graph in (edge_index, adjacency):
            torch.testing.assert_close(model(features, graph), expected, rtol=1e-12, atol=1e-12)


def test_no_hops_is_a_gated_mlp() -> None:
    model = DAGNN(5, 3, num_hops=0).eval()
    x, no_edges = torch.rand(4, 5), torch.empty(2, 0, dtype=torch.long)
    z = model.output((x @ model.input.weight + model.input.bias).relu())
    gate = (z @ model.propagation.weight + model.propagation.bias).sigmoid()
    torch.testing.assert_close(model(x, no_edges), gate[:, None] * z)


def test_isolated_node_keeps_its_own_scores_at_every_hop() -> None:
    model = DAGNN(5, 3, num_hops=4).eval()
    x, edge_index = torch.rand(3, 5), torch.tensor([[0, 1], [1, 0]])
    out, scores = model(x, edge_index, return_retainment_scores=True)
    assert torch.equal(scores[2], scores[2, :1].expand(5))
    z = model.output((x @ model.input.weight + model.input.bias).relu())
    torch.testing.assert_close(out[2], 5 * scores[2, 0] * z[2])


def test_retainment_scores_are_one_gate_per_node_and_hop() -> None:
    model = DAGNN(5, 3, num_hops=6).eval()
    edge_index = random_graph(12, 20)
    out, scores = model(torch.rand(12, 5), edge_index, return_retainment_scores=True)
    assert out.shape == (12, 3)
    assert scores.shape == (12, 7)
    assert ((scores > 0) & (scores < 1)).all()


def test_renaming_the_nodes_renames_the_answers() -> None:
    model = DAGNN(8, 4, num_hops=5).double().eval()
    edge_index, x = random_graph(20, 40), torch.rand(20, 8, dtype=torch.float64)
    new_name = torch.randperm(20)
    renamed = torch.empty_like(x)
    renamed[new_name] = x
    torch.testing.assert_close(model(renamed, new_name[edge_index])[new_name], model(x, edge_index))


@pytest.mark.parametrize("shape", [(1, 4), (3, 1)])
def test_one_node_and_one_class_keep_their_dimensions(shape: tuple[int, int]) -> None:
    num_nodes, num_classes = shape
    model = DAGNN(4, num_classes, num_hops=2).eval()
    out = model(torch.rand(num_nodes, 4), torch.empty(2, 0, dtype=torch.long))
    assert out.shape == shape


def test_same_seed_gives_the_same_dropout_and_another_seed_another() -> None:
    model = DAGNN(8, 4, num_hops=2, dropout=0.5).train()
    x, edge_index = torch.rand(20, 8), random_graph(20, 40)
    results = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        results.append(model(x, edge_index))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_reset_parameters_draws_every_parameter_anew() -> None:
    model = DAGNN(8, 4, **ARXIV)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(9.0)
    model.reset_parameters()
    assert all((parameter != 9.0).all() for parameter in model.parameters())


def test_negative_hops_are_refused() -> None:
    with pytest.raises(ValueError, match="num_hops must be at least 0, got -1"):
        DAGNN(4, 2, num_hops=-1)


@pytest.mark.parametrize("sparse", [False, True])
def test_features_of_another_width_or_dtype_are_refused_by_name(sparse: bool) -> None:
    x, edge_index = torch.rand(3, 5), torch.tensor([[0, 1], [1, 0]])
    with pytest.raises(ValueError, match=r"x has shape \(3, 5\), expected \[N, 4\]"):
        DAGNN(4, 2)(CSR.from_dense(x) if sparse else x, edge_index)
    with pytest.raises(TypeError, match=r"x is torch.float64.*x.float\(\)"):
        DAGNN(5, 2)(x.double(), edge_index)


def test_training_with_200_hops_follows_the_published_form() -> None:
    """Losses of 20 epochs from equal weights: streaming adds no error of its own, however deep."""
    edge_index = random_graph(30, 60)
    adjacency = Adjacency.from_edge_index(edge_index, 30)
    matrix = adjacency.normalized("sym", dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(30, 5, dtype=torch.float64, generator=generator)
    y = torch.randint(3, (30,), generator=generator)
    torch.manual_seed(0)
    first = DAGNN(5, 3, hidden_channels=8, num_hops=200, dropout=0.0).double()
    curves = []
    for published in (False, True):
        model = copy.deepcopy(first)
        optimizer, losses = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=0.005), []
        for _ in range(20):
            if published:
                z = model.output(model.input(x).relu())
                gate = model.propagation.weight, model.propagation.bias
                out = naive.adaptive_propagation(matrix, z, *gate, 200)[0]
            else:
                out = model(x, adjacency)
            loss = F.cross_entropy(out, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        curves.append(losses)
    assert curves[0] == pytest.approx(curves[1], rel=1e-9)
    assert curves[0][-1] < 0.9 * curves[0][0]
