"""NCN, NCNC, GAE: published parameter counts, dense twins, symmetries, what may go wrong."""

import copy
import importlib.util
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphseq import load, save
from graphseq.graph.adjacency import Adjacency
from graphseq.graph.csr import CSR
from graphseq.graph.models import GAE, NCN, NCNC
from graphseq.graph.ops import LinkRemoval, common_neighbors, sample_rows, spmm

_spec = importlib.util.spec_from_file_location(
    "dense_ncn", Path(__file__).with_name("dense_ncn.py")
)
assert _spec is not None
assert _spec.loader is not None
dense_ncn = importlib.util.module_from_spec(_spec)
sys.modules["dense_ncn"] = dense_ncn
_spec.loader.exec_module(dense_ncn)

N, FEATURES, H = 14, 5, 6
Build = Callable[..., nn.Module]

PLANETOID = {"conv": "pure_gcn", "num_layers": 1, "jumping_knowledge": True}
OGB = {"jumping_knowledge": False, "residual": True, "hidden_channels": 64}
PUBLISHED: dict[str, tuple[dict[str, Any], int, int, int]] = {
    "Cora": ({"in_channels": 1433, **PLANETOID}, 367_105, 764_163, 830_212),
    "CiteSeer": (
        {"in_channels": 3703, "two_layer_output": True, **PLANETOID},
        948_225,
        1_411_587,
        1_477_636,
    ),
    "PubMed": ({"in_channels": 500, **PLANETOID}, 128_257, 525_315, 591_364),
    "collab": ({"in_channels": 128, "conv": "gcn", **OGB}, 8_384, 33_922, 38_147),
    "ppa": (
        {"num_embeddings": 58, "conv": "gcn", "num_layers": 3, "node_mlp": False, **OGB},
        16_448,
        33_538,
        37_763,
    ),
    "citation2": (
        {"in_channels": 128, "conv": "pure_gcn", "num_layers": 3, **OGB},
        8_256,
        33_794,
        38_019,
    ),
    "ddi": (
        {
            **{**OGB, "hidden_channels": 224, "num_embeddings": 4268, "conv": "pure_sum"},
            **{"tail_activation": False, "two_layer_output": True},
        },
        956_032,
        1_412_098,
        1_462_723,
    ),
}

NO_DROPOUT: dict[str, Any] = {"feature_dropout": 0.0, "dropout": 0.0, "pair_dropout": 0.0}
VARIANTS: dict[str, tuple[Build, dict[str, Any]]] = {
    "gae": (GAE, {}),
    "gae_tail": (GAE, {"tail_activation": True, "two_layer_output": True}),
    "gae_count": (GAE, {"count_common": True}),
    "ncn": (NCN, {}),
    "ncn_tails": (NCN, {"tail_activation": False, "two_layer_output": True, "beta": 0.7}),
    "ncn_plain": (NCN, {"node_mlp": False, "pair_layer_norm": False}),
    "ncn2": (NCN, {"neighborhood": "two_hop", "tail_activation": False}),
    "ncn_diff": (NCN, {"neighborhood": "difference"}),
    "ncnc": (NCNC, {}),
    "ncnc_tails": (NCNC, {"tail_activation": False, "node_mlp": False, "alpha": 1.05}),
    "ncnc_learned": (NCNC, {"learn_prior": True}),
    "ncnc2": (NCNC, {"depth": 2, "chunk_size": 7}),
    "ncnc_none": (NCNC, {"depth": 0}),
}
every_variant = pytest.mark.parametrize("name", VARIANTS)


def make(name: str, **more: Any) -> Any:
    kind, arguments = VARIANTS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind(FEATURES, H, **{**NO_DROPOUT, **arguments, **more}).double()


def graph(seed: int = 0) -> Tensor:
    """One direction of each edge, some twice, a loop; nodes 12 and 13 are isolated."""
    generator = torch.Generator().manual_seed(seed)
    edges = torch.randint(12, (2, 26), generator=generator)
    return torch.cat([edges, edges[:, :3], edges[:, :2].flip(0), torch.tensor([[4], [4]])], dim=1)


def features() -> Tensor:
    return torch.rand(N, FEATURES, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def pairs() -> Tensor:
    """Random ones, an edge, its reverse, repetitions, self pairs, isolated ends."""
    generator = torch.Generator().manual_seed(2)
    special = torch.tensor([[3, 3, 5, 12, 12, 0], [3, 3, 5, 13, 12, 13]])
    edge = graph()[:, :2]
    return torch.cat(
        [torch.randint(N, (2, 12), generator=generator), special, edge, edge.flip(0)], 1
    )


def labels() -> Tensor:
    return torch.rand(pairs().size(1), generator=torch.Generator().manual_seed(3)).round().double()


def twin(model: Any, x: Tensor, edge_index: Tensor, ends: Tensor) -> Tensor:
    a = dense_ncn.dense_graph(edge_index, len(x))
    x = x @ model.encoder.input.weight + model.encoder.input.bias
    scale = (a.sum(1) + 1).rsqrt().diag()
    h = scale @ (a + torch.eye(len(x))).double() @ scale @ x
    h = h * model.encoder.layer_weights
    return dense_ncn.score(model, h, a, ends, getattr(model, "depth", 0))


def gradients(value: Tensor, model: nn.Module) -> dict[str, Tensor]:
    found = torch.autograd.grad(value, list(model.parameters()), allow_unused=True)
    return {
        name: torch.zeros_like(p) if g is None else g
        for (name, p), g in zip(model.named_parameters(), found, strict=True)
    }


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    for name in theirs:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-9, atol=1e-10, msg=name)


@pytest.mark.parametrize("dataset", PUBLISHED)
def test_published_parameter_counts(dataset: str) -> None:
    arguments, encoder, ncn, ncnc = PUBLISHED[dataset]

    def size(module: nn.Module) -> int:
        return sum(p.numel() for p in module.parameters())

    with torch.device("meta"):
        models = NCN(**arguments), NCNC(**arguments)
    assert (size(models[0].encoder), size(models[0]), size(models[1])) == (encoder, ncn, ncnc)


@every_variant
@pytest.mark.parametrize("training", [True, False])
def test_equals_the_dense_equations(name: str, training: bool) -> None:
    """Logits with gradients, without, and the loss with gradients: three paths, one definition."""
    model = make(name).train(training)
    expected = twin(model, features(), graph(), pairs())
    result = model(features(), graph(), pairs())
    torch.testing.assert_close(result, expected, rtol=1e-10, atol=1e-10)
    direction = torch.linspace(-1, 1, len(expected), dtype=torch.float64)
    assert_same(gradients(result @ direction, model), gradients(expected @ direction, model))
    with torch.no_grad():
        torch.testing.assert_close(
            model(features(), graph(), pairs()), expected, rtol=1e-10, atol=1e-10
        )
    wanted = dense_ncn.loss(twin(model, features(), graph(), pairs()), labels())
    loss = model(features(), graph(), pairs(), labels())
    torch.testing.assert_close(loss, wanted)
    assert_same(gradients(loss, model), gradients(wanted, model))


@pytest.mark.parametrize("name", ["gae", "ncn", "ncn_tails", "ncn2", "ncnc", "ncnc_learned"])
def test_blocks_chunks_and_the_fused_pooling_change_nothing(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make(name).eval()
    expected = twin(model, features(), graph(), pairs())
    wanted = gradients(dense_ncn.loss(expected, labels()), model)
    for listed in (0, 1 << 20):
        monkeypatch.setattr(
            "graphseq.graph.models.ncn.pooling.is_listed", lambda *_, n=listed: n > 0
        )
        monkeypatch.setattr("graphseq.graph.nn.pair_head.BLOCK", 4)
        monkeypatch.setattr(type(model.predictor).score, "__defaults__", (0, 5))
        loss = model(features(), graph(), pairs(), labels())
        assert_same(gradients(loss, model), wanted)
        with torch.no_grad():
            torch.testing.assert_close(model(features(), graph(), pairs()), expected)


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_score_does_not_know_which_end_is_first(name: str, dtype: torch.dtype) -> None:
    model = make(name).eval().to(dtype)
    x = features().to(dtype)
    forth, back = model(x, graph(), pairs()), model(x, graph(), pairs().flip(0))
    torch.testing.assert_close(forth, back, rtol=1e-6, atol=1e-6)


@every_variant
def test_renaming_the_nodes_changes_nothing(name: str) -> None:
    model = make(name).eval()
    order = torch.randperm(N, generator=torch.Generator().manual_seed(4))
    new_name = order.argsort()
    result = model(features()[order], new_name[graph()], new_name[pairs()])
    torch.testing.assert_close(result, model(features(), graph(), pairs()))


def test_forms_of_features_and_graph_change_nothing() -> None:
    model = make("ncnc").eval()
    expected = model(features(), graph(), pairs())
    a = dense_ncn.dense_graph(graph(), N)
    prepared = [
        Adjacency.from_edge_index(graph(), N),
        LinkRemoval(graph(), N).adjacency,
        a.nonzero().t(),
    ]
    for x in (features(), CSR.from_dense(features())):
        for form in prepared:
            torch.testing.assert_close(model(x, form, pairs()), expected)
    directed = prepared[0]
    model(features(), directed, pairs())
    assert "undirected" in directed.csr._derived  # made once


@pytest.mark.parametrize("chunk_size", [1, 7, 1 << 20])
@pytest.mark.parametrize("depth", [1, 2])
def test_the_size_of_chunks_changes_nothing(chunk_size: int, depth: int) -> None:
    model = make("ncnc", depth=depth, chunk_size=chunk_size).eval()
    expected = make("ncnc", depth=depth).eval()(features(), graph(), pairs())
    torch.testing.assert_close(model(features(), graph(), pairs()), expected, rtol=1e-6, atol=1e-6)


def test_without_completion_it_is_ncn() -> None:
    ncn = make("ncn").eval()
    for arguments in ({"alpha": 0.0}, {"depth": 0}, {"prior": 0.0}):
        ncnc = make("ncnc", **arguments).eval()
        missing, unexpected = ncnc.load_state_dict(ncn.state_dict(), strict=False)
        assert all(key.startswith("predictor.prior.") for key in missing)
        assert unexpected == []
        expected = ncn(features(), graph(), pairs())
        torch.testing.assert_close(ncnc(features(), graph(), pairs()), expected)
    model = make("ncnc").eval()
    torch.testing.assert_close(
        model(features(), graph(), pairs(), depth=0),
        twin_without_depth(model),
    )


def twin_without_depth(model: Any) -> Tensor:
    plain = copy.deepcopy(model)
    plain.depth = 0
    return twin(plain, features(), graph(), pairs())


def test_a_neutral_calibration_is_the_sigmoid() -> None:
    predictor = make("ncnc", alpha=1.0, scale=1.0, offset=0.0, prior=1.0).predictor
    r = torch.linspace(-30, 30, 61, dtype=torch.float64)
    torch.testing.assert_close(predictor.probability(r, predictor.log_prior), r.sigmoid())
    predictor = make("ncnc", alpha=1.05, scale=2.5, offset=6.0, prior=0.1).predictor
    q = torch.sigmoid(2.5 * (r - 6.0))
    expected = 1.05 * 0.1 * q / (0.1 * q + 1 - q)
    torch.testing.assert_close(predictor.probability(r, predictor.log_prior), expected)


def test_inner_logits_have_no_gradient() -> None:
    model = make("ncnc", learn_prior=True)
    csr = model.prepare(features(), graph())
    h = model.encoder(features(), csr)
    assert h.requires_grad
    assert model.predictor.inner_logits(h, csr, pairs(), 0).grad_fn is None
    fixed, learned = make("ncnc"), model
    for m in (fixed, learned):
        for p in m.parameters():
            p.requires_grad_(False)
    weights = [
        [part.weight for part in m.predictor.neighbors(h, h, csr, pairs(), 1)[0]][1:]
        for m in (fixed, learned)
    ]
    assert all(w.grad_fn is None for w in weights[0])
    assert all(w.grad_fn is not None for w in weights[1])  # through the states alone


@pytest.mark.parametrize("training", [True, False])
def test_inner_pairs_are_scored_in_the_current_mode(training: bool) -> None:
    model = make("ncnc", pair_dropout=0.5).train(training)
    csr = model.prepare(features(), graph())
    h = model.encoder(features(), csr)
    first, second = (model.predictor.inner_logits(h, csr, pairs(), 0) for _ in range(2))
    assert torch.equal(first, second) is not training


def test_sampled_completion_is_right_on_average() -> None:
    """Six rows, each sampled 10,000 times in one call."""
    generator, repeats = torch.Generator().manual_seed(0), 10_000
    degrees = torch.tensor([0, 3, 4, 5, 40, 11])
    cols = [torch.randperm(60, generator=generator)[:d] for d in degrees.tolist()]
    row = torch.repeat_interleave(torch.arange(6 * repeats), degrees.repeat_interleave(repeats))
    matrix = CSR.from_coo(row, torch.cat([c.repeat(repeats) for c in cols]), shape=(len(row), 60))
    x = torch.randn(60, 1, dtype=torch.float64, generator=generator)
    exact = torch.stack([x[c].sum() for c in cols])
    sampled = spmm(sample_rows(matrix, 4, generator), x)[: 6 * repeats].view(6, repeats)
    error = sampled.std(1) / repeats**0.5
    assert ((sampled.mean(1) - exact).abs() <= 3 * error + 1e-9).all()
    assert (error[:3] < 1e-12).all()
    assert (error[3:] > 1e-6).all()


def test_samples_are_drawn_where_they_are_asked_for() -> None:
    model = make("ncnc", train_samples=1)
    args = features(), graph(), pairs()
    exact = twin(model, *args)
    assert not torch.allclose(model.train()(*args), exact)
    torch.testing.assert_close(model.eval()(*args), exact)
    assert not torch.allclose(make("ncnc", eval_samples=1).eval()(*args), exact)


@pytest.mark.parametrize("name", ["ncn", "ncn_tails", "ncn2", "ncnc", "ncnc2", "gae"])
def test_explanations_add_up(name: str) -> None:
    model = make(name)
    a = dense_ncn.dense_graph(graph(), N)
    u, v = next((int(i), int(j)) for i, j in pairs().t() if (a[i] * a[j]).sum() > 1 and i != j)
    explanation = model.train().explain(features(), graph(), u, v)
    assert model.training
    expected = model.eval()(features(), graph(), torch.tensor([[u], [v]]))
    assert explanation.logit == pytest.approx(float(expected.detach()))
    common = {n.node for n in explanation.neighbors if n.kind == "common"}
    if name == "gae":
        assert explanation.neighbors == ()
        return
    assert common == set((a[u] * a[v]).nonzero().flatten().tolist())
    contributions = [n.contribution for n in explanation.neighbors]
    assert contributions == sorted(contributions, reverse=True)
    assert "common" in str(explanation)
    completed = [n for n in explanation.neighbors if "completed" in n.kind]
    assert bool(completed) == name.startswith("ncnc")
    for neighbor in completed:
        mine, other = (u, v) if neighbor.kind == "left completed" else (v, u)
        assert a[mine, neighbor.node] == 1
        assert a[other, neighbor.node] == 0
        assert 0 < neighbor.probability < 1


def test_a_contribution_is_what_leaving_out_costs() -> None:
    """Without propagation, the lone common neighbour's edge may be cut and nothing else changes."""
    edges = torch.tensor([[0, 1], [2, 2]])
    model = make("ncn", conv="none").eval()
    explanation = model.explain(features(), edges, 0, 1)
    without = model(features(), edges[:, :1], torch.tensor([[0], [1]]))
    (neighbor,) = explanation.neighbors
    assert (neighbor.node, neighbor.kind, neighbor.probability) == (2, "common", 1.0)
    assert neighbor.contribution == pytest.approx(explanation.logit - float(without.detach()))


def test_a_probability_is_the_calibrated_score_of_the_missing_link() -> None:
    model = make("ncnc").eval()
    edges = torch.tensor([[0], [1]])  # node 1 lacks its link to 2
    (neighbor,) = model.explain(features(), edges, 0, 2).neighbors
    csr = model.prepare(features(), edges)
    h = model.encoder(features(), csr)
    r = model.predictor(model.predictor.lift(h), csr, torch.tensor([[2], [1]]))
    q = torch.sigmoid(model.scale * (r - model.offset))
    expected = model.alpha * model.prior * q / (model.prior * q + 1 - q)
    assert (neighbor.node, neighbor.kind) == (1, "left completed")
    assert neighbor.probability == pytest.approx(float(expected.detach()))


@every_variant
def test_no_edges_one_node_no_pairs(name: str) -> None:
    model = make(name)
    none = torch.empty(2, 0, dtype=torch.int64)
    for x, edges, ends in (
        (features(), none, pairs()),
        (features()[:1], none, torch.zeros(2, 3, dtype=torch.int64)),
        (features(), graph(), none),
        (features()[:1], none, none),
    ):
        for training in (True, False):
            model.train(training)
            out = model(x, edges, ends)
            assert out.shape == (ends.size(1),)
            assert out.isfinite().all()
            with torch.no_grad():
                torch.testing.assert_close(model(x, edges, ends), out)
        loss = model(x, edges, ends, torch.ones(ends.size(1)))
        loss.backward()
        assert loss.isfinite()


@pytest.mark.parametrize("kind", [GAE, NCN, NCNC])
@pytest.mark.parametrize("conv", ["pure_sum", "gcn", "none"])
def test_nodes_without_features(kind: Build, conv: str) -> None:
    model = kind(None, H, num_embeddings=N + 1, conv=conv).eval()
    expected = model(None, graph(), pairs())
    assert expected.shape == (pairs().size(1),)
    torch.testing.assert_close(model(torch.arange(N + 1), graph(), pairs()), expected)
    table = model.encoder.input.weight
    torch.testing.assert_close(table.t() @ table, torch.eye(H))
    kinds = torch.arange(N) % 3
    shared = kind(None, H, num_embeddings=3, conv=conv)
    shared(kinds, graph(), pairs()).sum().backward()
    assert shared.encoder.input.weight.grad.abs().sum() > 0


@every_variant
def test_dropout_follows_the_seed(name: str) -> None:
    noisy = {"pair_dropout": 0.5, "dropout": 0.5, "pair_edge_dropout": 0.4, "edge_dropout": 0.3}
    model = make(name, **noisy)
    values = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        loss = model(features(), graph(), pairs(), labels())
        values.append((loss, gradients(loss, model)))
    assert torch.equal(values[0][0], values[1][0])
    assert_same(values[0][1], values[1][1])
    assert not torch.equal(values[0][0], values[2][0])
    model.eval()
    state = torch.get_rng_state()
    model(features(), graph(), pairs(), labels())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", ["ncn", "ncn_tails", "ncnc", "ncnc_learned", "gae_count"])
def test_autocast(name: str) -> None:
    """Also that inner scores, made without gradients first, leave no gradient behind."""
    model = make(name).float()
    x = features().float()
    exact = model(x, graph(), pairs(), labels())
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(x, graph(), pairs(), labels())
        logits = model(x, graph(), pairs())
    assert logits.dtype == torch.float32
    torch.testing.assert_close(loss, exact, rtol=0.05, atol=0.5)
    ours, theirs = gradients(loss, model), gradients(exact, model)
    for key in theirs:
        assert (ours[key] != 0).any() == (theirs[key] != 0).any(), key


@every_variant
def test_save_and_load(name: str, tmp_path: Path) -> None:
    model = make(name).eval()
    save(model, tmp_path / "kept")
    again = load(tmp_path / "kept")
    assert type(again) is type(model)
    args = features(), graph(), pairs()
    assert torch.equal(again(*args), model(*args))


@every_variant
def test_every_parameter_is_used_or_listed(name: str) -> None:
    model = make(name).eval()
    with torch.random.fork_rng():
        torch.manual_seed(5)
        x = torch.randn(N, FEATURES, dtype=torch.float64)
    model(x, graph(), pairs(), labels()).backward()
    silent = {n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    unused = model.unused_parameters() if isinstance(model, NCNC) else {}
    assert silent == set(unused)


def test_wrong_arguments_are_refused_by_name() -> None:
    model = make("ncnc")
    args = features(), graph()
    with pytest.raises(ValueError, match=r"NCNC: edge_label_index contains 99, outside 0\.\.13"):
        model(*args, torch.tensor([[0], [99]]))
    with pytest.raises(ValueError, match="edge_label_index has shape"):
        model(*args, torch.tensor([0, 1]))
    with pytest.raises(TypeError, match="edge_label_index"):
        model(*args, torch.rand(2, 3))
    with pytest.raises(ValueError, match=r"edge_label has shape \(3,\), expected \[2\]"):
        model(*args, torch.zeros(2, 2, dtype=torch.int64), torch.ones(3))
    with pytest.raises(ValueError, match=r"x has shape \(14, 4\), expected \[N, 5\]"):
        model(features()[:, :4], graph(), pairs())
    with pytest.raises(TypeError, match="x is None"):
        model(None, graph(), pairs())
    with pytest.raises(TypeError, match="num_embeddings"):
        NCN(num_embeddings=N)(features().float(), graph(), pairs())
    with pytest.raises(ValueError, match="the table 3 rows; pass num_embeddings=14"):
        NCN(num_embeddings=3)(None, Adjacency.from_edge_index(graph(), N), pairs())
    weighted = Adjacency.from_edge_index(graph(), N, torch.rand(graph().size(1)))
    with pytest.raises(ValueError, match="edge weights"):
        model(features(), weighted, pairs())
    with pytest.raises(ValueError, match=r"explain: \(u, v\) contains 20"):
        model.explain(*args, 3, 20)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "in_channels is None and num_embeddings None"),
        ({"in_channels": 3, "num_embeddings": 4}, "pass the first for nodes with features"),
        ({"in_channels": 3, "conv": "gat"}, "conv is 'gat'"),
        ({"in_channels": 3, "num_layers": -1}, "num_layers -1"),
        ({"in_channels": 3, "pair_dropout": 1.5}, "p is 1.5"),
        ({"in_channels": 3, "pair_edge_dropout": -1.0}, "edge_dropout is -1.0"),
        ({"in_channels": 3, "edge_dropout": 2.0}, "edge_dropout is 2.0"),
        ({"in_channels": 3, "depth": -1}, "depth is -1"),
        ({"in_channels": 3, "alpha": math.nan}, "alpha is nan"),
        ({"in_channels": 3, "train_samples": 0}, "train_samples is 0"),
    ],
)
def test_wrong_settings_are_refused_by_name(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NCNC(**arguments)
    if "neighborhood" not in arguments:
        with pytest.raises(ValueError, match="neighborhood is 'three_hop'"):
            NCN(3, neighborhood="three_hop")  # type: ignore[arg-type]


def test_the_loss_is_the_cross_entropy_of_the_logits() -> None:
    model = make("ncn").eval()
    logits = model(features(), graph(), pairs())
    expected = F.binary_cross_entropy_with_logits(logits, labels(), reduction="sum")
    torch.testing.assert_close(model(features(), graph(), pairs(), labels()), expected)
    csr = model.prepare(features(), graph())
    assert common_neighbors(csr, pairs()).nnz > 0  # or the test would show little
