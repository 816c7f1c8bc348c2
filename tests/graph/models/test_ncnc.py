"""NCNC's completion: chunks, depth, calibration, inner scores, sampled neighbours."""

import copy
from typing import Any

import pytest
import torch
from ncn_cases import features, graph, make, pairs, twin
from torch import Tensor

from graphseq.graph.csr import CSR
from graphseq.graph.ops import sample_rows, spmm


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
