"""NCN, NCNC and GAE on next to nothing, without features, and on what is wrong."""

import math
from typing import Any

import pytest
import torch
from ncn_cases import Build, H, N, every_variant, features, graph, make, pairs

from graphseq.graph.adjacency import Adjacency
from graphseq.graph.models import GAE, NCN, NCNC


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
        ({"in_channels": 3, "alpha": math.inf}, "alpha is inf"),
        ({"in_channels": 3, "alpha": -0.5}, "alpha is -0.5; pass 0 or more"),
        ({"in_channels": 3, "scale": math.nan}, "scale is nan"),
        ({"in_channels": 3, "offset": math.nan}, "offset is nan"),
        ({"in_channels": 3, "beta": math.nan}, "beta is nan"),
        ({"in_channels": 3, "depth": 1.5}, "depth is 1.5; pass a whole number"),
        ({"in_channels": 3, "train_samples": 0}, "train_samples is 0"),
    ],
)
def test_wrong_settings_are_refused_by_name(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NCNC(**arguments)


def test_a_wrong_neighborhood_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="neighborhood is 'three_hop'"):
        NCN(3, neighborhood="three_hop")  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [2.0, -1.0, 0.5, math.nan])
def test_labels_are_zeros_and_ones(wrong: float) -> None:
    labels = torch.ones(pairs().size(1))
    labels[3] = wrong
    with pytest.raises(ValueError, match=f"NCN: edge_label contains {wrong}; pass 1 for links"):
        make("ncn")(features(), graph(), pairs(), labels)


@pytest.mark.parametrize("name", ["gae", "ncn", "ncnc"])
def test_arrays_and_lists_are_refused_with_a_remedy(name: str) -> None:
    given = {"x": features(), "edge_label_index": pairs(), "edge_label": pairs()[0] * 0}
    for argument, value in given.items():
        for form, remedy in ((value.numpy(), "from_numpy"), (value.tolist(), "tensor")):
            arguments = {"graph": graph(), **given, argument: form}
            with pytest.raises(TypeError, match=rf"{argument} is a .*torch\.{remedy}\({argument}"):
                make(name)(**arguments)


def test_a_model_without_completion_nests_none() -> None:
    for name in ("gae", "ncn"):
        model = make(name).eval()
        with pytest.raises(ValueError, match="depth is 3, but this model completes nothing"):
            model(features(), graph(), pairs(), depth=3)
        expected = model(features(), graph(), pairs())
        assert torch.equal(model(features(), graph(), pairs(), depth=0), expected)
    with pytest.raises(ValueError, match=r"depth is 0\.5; pass a whole number"):
        make("ncnc")(features(), graph(), pairs(), depth=0.5)


@every_variant
def test_states_may_be_computed_before(name: str) -> None:
    model = make(name).eval()
    states = model.encode(features(), graph())
    found = model(features(), graph(), pairs(), states=states)
    assert torch.equal(found, model(features(), graph(), pairs()))
    assert not torch.equal(model(features(), graph(), pairs(), states=2 * states), found)


@pytest.mark.parametrize("name", ["gae", "ncn", "ncnc"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_features_that_are_not_finite_are_refused(name: str, bad: float) -> None:
    model, x, ends = make(name), features(), pairs()
    x[int(ends[0, 0]), 1] = bad
    message = "x holds NaN or infinite features; fill them"
    for training in (True, False):
        model.train(training)
        for labels in (None, torch.ones(ends.size(1))):
            with pytest.raises(ValueError, match=message):
                model(x, graph(), ends, labels)
    with pytest.raises(ValueError, match=message):
        model.encode(x, graph())
    with pytest.raises(ValueError, match=message):
        model.train().explain(x, graph(), 0, 1)
    assert model.training


def test_while_training_features_that_matter_to_no_pair_are_not_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, x = make("ncn"), torch.cat([features(), features()[:1] * math.nan])
    assert model(x, graph(), pairs()).isfinite().all()  # nothing is linked to the last node
    with pytest.raises(ValueError, match="NCN: x holds NaN"):
        model.eval()(x, graph(), pairs())
    looked: list[int] = []
    place = "graphseq.graph.models.ncn.link_model.check_finite"
    monkeypatch.setattr(place, lambda *_: looked.append(1))
    model.train()(features(), graph(), pairs()).sum().backward()
    assert not looked  # a step pays for its own logits alone


def test_weights_that_diverge_are_no_fault_of_the_features() -> None:
    model = make("ncn")
    with torch.no_grad():
        next(model.predictor.parameters()).fill_(math.nan)
    for training in (True, False):
        assert model.train(training)(features(), graph(), pairs()).isnan().any()
