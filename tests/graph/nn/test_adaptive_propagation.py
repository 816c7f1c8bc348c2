"""AdaptivePropagation: the op with parameters of its own."""

import math
from collections.abc import Iterator

import pytest
import torch

from graphseq.graph.csr import CSR
from graphseq.graph.nn import AdaptivePropagation
from graphseq.graph.ops import adaptive_propagation, naive


@pytest.fixture
def seeded() -> Iterator[None]:
    """Layers draw from torch's default generator."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def random_matrix(size: int = 7) -> CSR:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(size, size, generator=generator, dtype=torch.float64)
    return CSR.from_dense(torch.where(x < 0.4, x, 0.0))


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("num_hops", [0, 1, 4])
def test_equals_the_op_and_its_slow_twin(channels: int, num_hops: int) -> None:
    matrix, layer = random_matrix(), AdaptivePropagation(channels, num_hops).double()
    z = torch.randn(7, channels, dtype=torch.float64, requires_grad=True)
    parts = (z, layer.weight, layer.bias)
    cotangent = torch.linspace(-1, 2, z.numel(), dtype=z.dtype).view_as(z)
    out = layer(z, matrix)
    op, _ = adaptive_propagation(matrix, *parts, num_hops, return_scores=True)
    slow, slow_scores = naive.adaptive_propagation(matrix, *parts, num_hops)
    assert torch.equal(out, op)
    grads = [torch.autograd.grad(result, parts, cotangent) for result in (out, slow)]
    for got, expected in zip((out, *grads[0]), (slow, *grads[1]), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)
    again, scores = layer(z, matrix, return_retainment_scores=True)
    assert torch.equal(again, out)
    assert scores.shape == (7, num_hops + 1)
    torch.testing.assert_close(scores, slow_scores.detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("seeded")
def test_no_hops_are_a_gated_identity() -> None:
    layer, z = AdaptivePropagation(3, 0).double(), torch.randn(7, 3, dtype=torch.float64)
    gate = torch.sigmoid(z @ layer.weight + layer.bias)
    torch.testing.assert_close(layer(z, random_matrix()), gate[:, None] * z)


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("channels", [1, 4000])
def test_parameters_start_as_those_of_a_linear_layer_to_one_output(channels: int) -> None:
    bound = 1 / math.sqrt(channels)
    layer = AdaptivePropagation(channels, 2)
    assert {name: tuple(p.shape) for name, p in layer.named_parameters()} == {
        "weight": (channels,),
        "bias": (1,),
    }
    weights, biases = [], []
    for _ in range(max(4000 // channels, 1000)):  # the bias is one number
        layer.reset_parameters()
        weights.append(layer.weight.detach().clone())
        biases.append(layer.bias.detach().clone())
    for drawn in (torch.cat(weights), torch.cat(biases)):
        assert 0.98 * bound < drawn.max() <= bound
        assert -bound <= drawn.min() < -0.98 * bound
        assert float(drawn.std()) == pytest.approx(bound / math.sqrt(3), rel=0.1)


def test_a_negative_number_of_hops_is_refused() -> None:
    with pytest.raises(ValueError, match="AdaptivePropagation: num_hops must be at least 0, got"):
        AdaptivePropagation(3, -1)


def test_repr_names_the_sizes() -> None:
    assert repr(AdaptivePropagation(3, 2)) == "AdaptivePropagation(3, num_hops=2)"
