"""Explanations of a link's score: they add up, and each part is what it says."""

import dense_ncn
import pytest
import torch
from ncn_cases import N, features, graph, make, pairs


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
