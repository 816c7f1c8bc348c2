"""Layers that are trained by themselves: PyG's layers, whatever way their input is prepared."""

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch_geometric.nn import GATConv, GCNConv, SAGEConv

from graphseq.graph.adjacency import Adjacency
from graphseq.graph.csr import CSR
from graphseq.graph.nn.local_conv import LocalConv, Mix, Prepared
from graphseq.graph.nn.local_convs import LocalGAT, LocalGCN, LocalSAGE, local_conv
from graphseq.graph.nn.row_view import RowView
from graphseq.graph.ops.frozen_product import Way

N, D, H = 9, 5, 8

GRAPHS: dict[str, list[tuple[int, int]]] = {
    "no edges": [],
    "path": [(0, 1), (1, 0), (1, 2), (2, 1)],  # the others are isolated
    "one way": [(0, 1), (0, 2), (3, 2), (7, 1)],
    "self loops": [(0, 0), (0, 1), (1, 0), (2, 2), (3, 4), (8, 8)],
    "star": [(i, 0) for i in range(1, N)] + [(0, i) for i in range(1, N)],
    "repeated": [(0, 1), (0, 1), (0, 1), (1, 0), (5, 6)],
}
ROWS: dict[str, Tensor | None] = {
    "all": None,
    "some": torch.tensor([8, 1, 2]),
    "repeated": torch.tensor([0, 0, 5]),
    "none": torch.tensor([], dtype=torch.int64),
}
LAYERS: dict[str, Callable[..., LocalConv]] = {
    "gcn": LocalGCN,
    "sage": LocalSAGE,
    "gat": LocalGAT,
    "gat, averaged": partial(LocalGAT, concat=False),
}
every_layer = pytest.mark.parametrize("name", LAYERS)
every_rows = pytest.mark.parametrize("rows", ROWS.values(), ids=list(ROWS))
every_graph = pytest.mark.parametrize("graph", GRAPHS)


def edge_index(graph: str) -> Tensor:
    return torch.tensor(GRAPHS[graph], dtype=torch.int64).reshape(-1, 2).t()


def view_of(graph: str = "star", rows: Tensor | None = None) -> RowView:
    return RowView(Adjacency.from_edge_index(edge_index(graph), N), rows)


def features(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*(shape or (N, D)), dtype=torch.float64, generator=generator)


def make(name: str, width: int = D, **options: Any) -> LocalConv:
    """A layer in float64 whose bias is not zero."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        layer = LAYERS[name](width, H, **options).double()
        torch.nn.init.normal_(layer.bias)
    return layer


def plain(layer: LocalConv, x: Tensor, edges: Tensor) -> Tensor:
    """PyG's layer as a function of our layer's parameters, for all nodes."""
    sizes = layer.in_channels, layer.out_channels
    weights: dict[str, Tensor]
    if isinstance(layer, LocalGCN):
        other: torch.nn.Module = GCNConv(*sizes)
        weights = {"lin.weight": layer.weight.t(), "bias": layer.bias}
    elif isinstance(layer, LocalSAGE):
        other = SAGEConv(*sizes, aggr="mean")
        weights = {
            "lin_l.weight": layer.neighbor_weight.t(),
            "lin_l.bias": layer.bias,
            "lin_r.weight": layer.root_weight.t(),
        }
    else:
        assert isinstance(layer, LocalGAT)
        other = GATConv(sizes[0], layer.source.size(1), layer.num_heads, concat=layer.concat)
        weights = {
            "lin.weight": layer.weight.t(),
            "bias": layer.bias,
            "att_src": layer.source.unsqueeze(0),
            "att_dst": layer.target.unsqueeze(0),
        }
    assert weights.keys() == dict(other.named_parameters()).keys()
    out: Tensor = functional_call(other, weights, (x, edges))
    return out.relu() if layer.activation else out


def assert_same(layer: LocalConv, found: Tensor, expected: Tensor) -> None:
    """In value and in the gradients of all parameters."""
    results = []
    for out in (found, expected):
        cotangent = torch.linspace(-1.0, 2.0, out.numel(), dtype=out.dtype).view(out.shape)
        parameters = list(layer.parameters())
        gradients = torch.autograd.grad(
            out, parameters, cotangent, retain_graph=True, materialize_grads=True
        )
        results.append([out, *gradients])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)


def picked(x: Tensor, rows: Tensor | None) -> Tensor:
    return x if rows is None else x[rows]


@every_layer
@every_graph
@every_rows
@pytest.mark.parametrize("activation", [True, False])
def test_equals_the_layer_of_pyg(
    name: str, graph: str, rows: Tensor | None, activation: bool
) -> None:
    layer, x, view = make(name, activation=activation), features(), view_of(graph, rows)
    out = layer(view, [layer.prepare(view, x)])
    assert out.shape == (view.num_rows, H)
    assert_same(layer, out, picked(plain(layer, x, edge_index(graph)), rows))


@every_layer
@every_rows
@pytest.mark.parametrize(
    ("way", "sparse"),
    [
        *product([None, "dense", "stored", "factored"], [False, True]),
        ("streamed", False),  # sparse features fit
    ],
)
def test_ways_and_scales_of_the_features(
    name: str, rows: Tensor | None, way: Way | None, sparse: bool
) -> None:
    layer, view, scale = make(name), view_of(rows=rows), features(N, seed=3)
    x = features() * (features(seed=2) > 0.5)
    part = layer.prepare(view, CSR.from_dense(x) if sparse else x, scale, way=way, row_block=2)
    expected = plain(layer, x * scale.unsqueeze(1), edge_index("star"))
    assert_same(layer, layer(view, [part]), picked(expected, rows))


def prepared_in_four(layer: LocalConv, view: RowView, x: Tensor) -> list[Prepared]:
    """Some columns and the others, of some nodes and the others."""
    return [
        layer.prepare(view, x[begin:end, first:last], node=begin, first=first)
        for (begin, end), (first, last) in product([(0, 4), (4, N)], [(0, 2), (2, D)])
    ]


@every_layer
@every_rows
@every_graph
def test_parts_add_up_to_the_features(name: str, rows: Tensor | None, graph: str) -> None:
    layer, x, view = make(name), features(), view_of(graph, rows)
    parts = prepared_in_four(layer, view, x)
    expected = picked(plain(layer, x, edge_index(graph)), rows)
    assert_same(layer, layer(view, parts), expected)
    assert_same(layer, layer(view, parts[::-1]), expected)


@every_layer
def test_columns_that_no_part_has_are_zeros(name: str) -> None:
    layer, x, view = make(name), features(), view_of()
    zeros = torch.cat([torch.zeros(N, 2, dtype=x.dtype), x[:, 2:]], dim=1)
    part = layer.prepare(view, x[:, 2:], first=2)
    assert_same(layer, layer(view, [part]), plain(layer, zeros, edge_index("star")))


@every_layer
def test_rows_of_a_part_are_those_of_a_view(name: str) -> None:
    layer, x, whole = make(name), features(), view_of()
    rows = torch.tensor([3, 0, 0])
    view = view_of(rows=rows)
    expected = plain(layer, x, edge_index("star"))[rows]
    for way in ("dense", "factored", "streamed"):
        part = layer.prepare(whole, x, way=way)  # type: ignore[arg-type]
        assert_same(layer, layer(view, [layer.at(part, rows)]), expected)
        evaluated = layer.at(layer.evaluated(part), rows)
        torch.testing.assert_close(layer(view, [evaluated]), expected)


@every_layer
@every_rows
def test_what_is_evaluated_says_the_same_until_the_weights_change(
    name: str, rows: Tensor | None
) -> None:
    layer, view = make(name), view_of(rows=rows)
    parts = prepared_in_four(layer, view, features())
    evaluated = [layer.evaluated(part) for part in parts]
    assert not any(isinstance(p, Tensor) and p.requires_grad for e in evaluated for p in e.products)
    expected = layer(view, parts)
    assert torch.equal(layer(view, evaluated), expected)
    assert torch.equal(layer(view, [evaluated[0], *parts[1:]]), expected)  # and may be mixed
    with torch.no_grad():
        for weight in layer.weights():
            weight.mul_(2.0)
    if expected.numel():
        assert torch.equal(layer.project(evaluated)[0] * 2, layer.project(parts)[0])


@pytest.mark.parametrize("name", ["gcn", "sage"])
@every_rows
@pytest.mark.parametrize("as_they_are", [True, False])
def test_mixtures_and_branches_have_the_same_goodness(
    name: str, rows: Tensor | None, as_they_are: bool
) -> None:
    """G labelings that add, to each row, a mixture of rows of a table: of labels or of states."""
    count, classes = 3, 2
    layer, view = make(name, D + classes), view_of(rows=rows)
    shared = [layer.prepare(view, features())]
    labels = features(count, N, classes, seed=7).softmax(2)
    matrices = [view.matrix(kind, torch.float64) for kind in layer.kinds]
    mixed = [[one if m is None else m.to_dense() @ one for m in matrices] for one in labels]
    basis = torch.eye(classes, dtype=torch.float64) if not as_they_are else classes
    mix = Mix(
        torch.stack([torch.cat(blocks, dim=1) for blocks in mixed]),
        tuple((number, basis) for number in range(len(layer.kinds))),
        first=D,
    )
    branches = [(view, [layer.prepare(view, one, first=D)]) for one in labels]
    expected = torch.stack(
        [
            picked(plain(layer, torch.cat([features(), one], dim=1), edge_index("star")), rows)
            .square()
            .sum(1)
            for one in labels
        ]
    )
    for among in (mix, branches):
        assert_same(layer, layer(view, shared, among), expected)


def test_a_basis_stands_before_the_rows_of_a_weight() -> None:
    layer, view, basis = make("gcn"), view_of(), features(3, D, seed=6)
    matrix = features(2, N, 3, seed=8)
    shared = [layer.prepare(view, features())]
    base = layer.project(shared)[0] + layer.bias
    expected = (base + matrix @ (basis @ layer.weights()[0])).relu().square().sum(2)
    assert_same(layer, layer(view, shared, Mix(matrix, ((0, basis),))), expected)


@every_layer
@pytest.mark.parametrize(("with_shared", "with_own"), [(True, True), (True, False), (False, True)])
def test_branches_are_graphs_with_parts_of_their_own(
    name: str, with_shared: bool, with_own: bool
) -> None:
    layer, rows = make(name), torch.tensor([4, 0])
    x = [features(seed=seed) for seed in (1, 2)]
    graphs = ("star", "path")
    views = [view_of(graph, rows) for graph in graphs]
    low = features()
    shared = [layer.prepare(views[0], low)] if with_shared else []
    if with_shared and not name.startswith("gat"):
        graphs, views = ("star", "star"), views[:1] * 2  # linear layers share what is aggregated
    own = [[layer.prepare(v, part)] if with_own else [] for v, part in zip(views, x, strict=True)]
    found = layer(views[0], shared, list(zip(views, own, strict=True)))
    expected = [
        plain(layer, low * with_shared + part * with_own, edge_index(graph))[rows].square().sum(1)
        for graph, part in zip(graphs, x, strict=True)
    ]
    assert_same(layer, found, torch.stack(expected))


@pytest.mark.parametrize("conv", ["gcn", "sage", "gat"])
@pytest.mark.parametrize("last", [False, True])
def test_weights_start_from_pygs_distributions(conv: Any, last: bool) -> None:
    """Largest value and variance of many draws; both layers draw uniformly."""
    layer, width, heads = local_conv(conv, 300, 200, 4, last), 200, 4
    assert layer.activation is not last
    if conv == "gcn":
        other: torch.nn.Module = GCNConv(300, 200)
        pairs: dict[str, str] = {"weight": "lin.weight", "bias": "bias"}
    elif conv == "sage":
        other = SAGEConv(300, 200)
        pairs = {
            "neighbor_weight": "lin_l.weight",
            "root_weight": "lin_r.weight",
            "bias": "lin_l.bias",
        }
    else:
        assert isinstance(layer, LocalGAT)
        assert layer.concat is not last
        other = GATConv(300, width if last else width // heads, heads, concat=not last)
        pairs = {"weight": "lin.weight", "bias": "bias", "source": "att_src", "target": "att_dst"}
    for ours, theirs in pairs.items():
        found, expected = layer.get_parameter(ours), other.get_parameter(theirs)
        assert found.numel() == expected.numel()
        assert found.mean().abs() < 0.1 * expected.abs().max() + 1e-12
        torch.testing.assert_close(found.abs().max(), expected.abs().max(), rtol=0.1, atol=0.0)
        torch.testing.assert_close(found.std(), expected.std(), rtol=0.2, atol=0.0)


@every_layer
def test_drawing_anew(name: str) -> None:
    layer = make(name)
    before = [p.clone() for p in layer.parameters()]
    layer.reset_parameters()  # type: ignore[operator]
    for old, new in zip(before, layer.parameters(), strict=True):
        assert new.isfinite().all()
        assert not torch.equal(old, new)


def test_matrices_of_a_view() -> None:
    rows = torch.tensor([2, 0, 0, 8])
    for graph in GRAPHS:
        whole, some = view_of(graph), view_of(graph, rows)
        assert (whole.num_rows, some.num_rows) == (N, 4)
        dense = whole.adjacency.csr.to_dense().double()
        degree = dense.sum(1, keepdim=True)
        eye = torch.eye(N, dtype=torch.float64)
        looped = dense + eye * (dense.diagonal() == 0)
        root = looped.sum(1).rsqrt()
        expected = {
            "gcn": root.unsqueeze(1) * looped * root,
            "mean": dense / degree.clamp(min=1.0),
            "self": eye,
        }
        for kind, matrix in expected.items():
            for view in (whole, some):
                found = view.matrix(kind, torch.float64)  # type: ignore[arg-type]
                assert (found is None) == (kind == "self" and view is whole)
                parts = eye if found is None else found.to_dense()
                torch.testing.assert_close(parts, picked(matrix, view.rows))
                for begin, end in ((0, N), (0, 3), (2, 7), (5, N), (4, 4)):
                    part = view.columns(kind, torch.float64, begin, end)  # type: ignore[arg-type]
                    assert (part is None) == (found is None and (begin, end) == (0, N))
                    cut = eye if part is None else part.to_dense()
                    torch.testing.assert_close(cut, picked(matrix, view.rows)[:, begin:end])
        pattern = some.matrix("loops", torch.float64)
        assert pattern is not None
        stored = CSR(pattern.rowptr, pattern.col, None, pattern.shape).to_dense()
        assert torch.equal(stored.double(), looped[rows])


def test_matrices_are_made_once() -> None:
    view = view_of(rows=torch.tensor([1, 2]))
    for kind in ("gcn", "mean", "loops"):
        first = view.matrix(kind, torch.float64)  # type: ignore[arg-type]
        assert first is view.matrix(kind, torch.float64)  # type: ignore[arg-type]
        single = view.matrix(kind, torch.float32)  # type: ignore[arg-type]
        assert single is not None
        assert single.dtype == torch.float32


@pytest.mark.parametrize(("heads", "concat"), [(3, True), (0, True), (0, False), (-1, True)])
def test_heads_that_do_not_fit_are_refused(heads: int, concat: bool) -> None:
    with pytest.raises(ValueError, match=f"LocalGAT: num_heads is {heads}, which does not divide"):
        LocalGAT(D, H, num_heads=heads, concat=concat)
    assert LocalGAT(D, H, num_heads=3, concat=False).weight.shape == (D, 3 * H)


def test_a_name_that_means_no_layer_is_refused() -> None:
    with pytest.raises(ValueError, match='conv is \'gin\'; use "gcn", "sage" or "gat"'):
        local_conv("gin", D, H)  # type: ignore[arg-type]


@every_layer
def test_it_says_its_sizes(name: str) -> None:
    assert f"({D}, {H})" in repr(make(name))
