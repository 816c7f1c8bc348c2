"""NCN, NCNC and GAE: published parameter counts, symmetries, and what every model owes."""

from pathlib import Path
from typing import Any

import dense_ncn
import pytest
import torch
from ncn_cases import (
    FEATURES,
    VARIANTS,
    N,
    assert_same,
    every_variant,
    features,
    gradients,
    graph,
    labels,
    make,
    pairs,
)
from torch import nn

from graphseq import load, save
from graphseq.graph.adjacency import Adjacency
from graphseq.graph.csr import CSR
from graphseq.graph.models import NCN, NCNC
from graphseq.graph.ops import LinkRemoval
from graphseq.training.catalog import shipped

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


@pytest.mark.parametrize("dataset", PUBLISHED)
def test_published_parameter_counts(dataset: str) -> None:
    arguments, encoder, ncn, ncnc = PUBLISHED[dataset]

    def size(module: nn.Module) -> int:
        return sum(p.numel() for p in module.parameters())

    with torch.device("meta"):
        models = NCN(**arguments), NCNC(**arguments)
    assert (size(models[0].encoder), size(models[0]), size(models[1])) == (encoder, ncn, ncnc)
    inputs = {key: arguments.get(key) for key in ("in_channels", "num_embeddings")}
    for method, expected in (("ncn", ncn), ("ncnc", ncnc)):
        with torch.device("meta"):
            assert size(shipped()[f"{method}_{dataset.lower()}"].model(**inputs)) == expected


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


@pytest.mark.parametrize("name", ["gae", "ncn", "ncnc"])
def test_torch_compile_leaves_the_model_as_it_is(name: str) -> None:
    captured: list[nn.Module] = []

    def backend(part: nn.Module, _: object) -> nn.Module:
        captured.append(part)
        return part

    model = make(name).eval()
    x, edges, targets = features(), graph(), pairs()
    compiled: Any = torch.compile(model, backend=backend)
    assert torch.equal(compiled(x, edges, targets), model(x, edges, targets))
    h, csr = model.encode(x, edges).detach(), model.prepare(x, edges)
    predictor: Any = torch.compile(model.predictor, backend=backend)
    assert torch.equal(predictor(h, csr, targets), model.predictor(h, csr, targets))
    assert not captured
