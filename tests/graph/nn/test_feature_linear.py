"""FeatureLinear: dense and sparse features are one layer, which starts and drops as torch's do."""

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from graphseq.graph.csr import CSR
from graphseq.graph.nn import FeatureLinear


def features(rows: int = 6, columns: int = 5, seed: int = 0) -> Tensor:
    """Mostly zeros; one row and one column are empty."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    x *= torch.rand(rows, columns, generator=generator) < 0.4
    x[1] = 0
    x[:, 2] = 0
    return x


@pytest.fixture
def seeded() -> Iterator[None]:
    """Layers draw from torch's default generator."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("fan_in", [1, 30, 1000])
def test_starts_as_torchs_linear_layer_does(fan_in: int) -> None:
    ours, theirs = FeatureLinear(fan_in, 4000), torch.nn.Linear(fan_in, 4000)
    bound = 1 / math.sqrt(fan_in)
    assert ours.weight.shape == theirs.weight.T.shape
    for mine, other in ((ours.weight, theirs.weight), (ours.bias, theirs.bias)):
        for parameter in (mine.detach(), other.detach()):
            # Of 4000 draws from U(-bound, bound) the outermost are this close to the ends.
            assert 0.99 * bound < parameter.max() <= bound
            assert -bound <= parameter.min() < -0.99 * bound
            assert float(parameter.std()) == pytest.approx(bound / math.sqrt(3), rel=0.05)


@pytest.mark.usefixtures("seeded")
def test_parameters_can_be_drawn_anew() -> None:
    layer = FeatureLinear(3, 2)
    before = [parameter.detach().clone() for parameter in layer.parameters()]
    layer.reset_parameters()
    assert all((a != b).all() for a, b in zip(before, layer.parameters(), strict=True))


@pytest.mark.usefixtures("seeded")
def test_no_features_leave_the_bias() -> None:
    layer = FeatureLinear(0, 3)
    assert torch.equal(layer(torch.zeros(2, 0)), layer.bias.expand(2, 3))


def both(x: Tensor, dropout: float = 0.0, *, training: bool = False) -> list[list[Tensor]]:
    """Output and gradients on dense and on sparse features, under one cotangent."""
    layer = FeatureLinear(x.shape[1], 3, dropout).double().train(training)
    cotangent = torch.linspace(-1, 2, 3 * x.shape[0], dtype=x.dtype).view(-1, 3)
    results = []
    for form in (x, CSR.from_dense(x)):
        out = layer(form)
        grads = torch.autograd.grad(out, [layer.weight, layer.bias], cotangent)
        results.append([out.detach(), *grads])
    expected = x @ layer.weight.detach() + layer.bias.detach()
    return [*results, [expected, x.T @ cotangent, cotangent.sum(0)]]


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize(("rows", "columns"), [(6, 5), (2, 3), (50, 40)])
@pytest.mark.parametrize(("dropout", "training"), [(0.7, False), (0.0, True)])
def test_dense_and_sparse_agree_with_the_equation(
    rows: int, columns: int, dropout: float, training: bool
) -> None:
    """In values and gradients, wherever nothing is dropped."""
    dense, sparse, expected = both(features(rows, columns), dropout, training=training)
    for ours in (dense, sparse):
        for got, value in zip(ours, expected, strict=True):
            torch.testing.assert_close(got, value, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("seeded")
def test_everything_dropped_leaves_the_bias_and_no_gradient_of_the_weight() -> None:
    for out, weight, _ in both(features(), 1.0, training=True)[:2]:
        assert torch.equal(out, out[:1].expand_as(out))
        assert not weight.any()


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("sparse", [False, True])
def test_dropout_keeps_the_mean(sparse: bool) -> None:
    p, rows = 0.6, 20_000
    x = torch.ones(rows, 4)
    layer = FeatureLinear(4, 2, p)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
        out = layer(CSR.from_dense(x) if sparse else x) - layer.bias
        undropped = layer.eval()(x) - layer.bias
    assert not torch.equal(out, undropped)
    # The variance of a kept and rescaled one is p / (1 - p); weights add up by their squares.
    deviation = (p / (1 - p) * layer.weight.detach().square().sum(0) / rows).sqrt()
    assert ((out.mean(0) - undropped.mean(0)).abs() < 4.5 * deviation).all()
    torch.testing.assert_close(out.var(0), deviation**2 * rows, rtol=0.05, atol=0.0)


@pytest.mark.parametrize("dropout", [-0.1, 1.1, float("nan")])
def test_dropout_outside_of_0_and_1_is_refused(dropout: float) -> None:
    with pytest.raises(ValueError, match=r"FeatureLinear: dropout must lie in \[0, 1\], got"):
        FeatureLinear(3, 2, dropout)


def test_repr_names_the_sizes() -> None:
    assert repr(FeatureLinear(3, 2, 0.5)) == "FeatureLinear(3, 2, dropout=0.5)"
