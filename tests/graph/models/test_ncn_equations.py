"""NCN, NCNC and GAE against the dense equations, whatever path computes them."""

import dense_ncn
import pytest
import torch
import torch.nn.functional as F
from ncn_cases import (
    assert_same,
    every_variant,
    features,
    gradients,
    graph,
    labels,
    make,
    pairs,
    twin,
)

from graphseq.graph.ops import common_neighbors


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


def test_the_loss_is_the_cross_entropy_of_the_logits() -> None:
    model = make("ncn").eval()
    logits = model(features(), graph(), pairs())
    expected = F.binary_cross_entropy_with_logits(logits, labels(), reduction="sum")
    torch.testing.assert_close(model(features(), graph(), pairs(), labels()), expected)
    csr = model.prepare(features(), graph())
    assert common_neighbors(csr, pairs()).nnz > 0  # or the test would show little
