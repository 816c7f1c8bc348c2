"""The sparse layer against the dense one after dropout on the stored values."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from graphseq.graph.csr import CSR
from graphseq.graph.ops import dropout, naive, sparse_linear


def parameters(features: int, hidden: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(2)
    weight = torch.randn(features, hidden, dtype=dtype, generator=generator)
    return [weight, torch.randn(hidden, dtype=dtype, generator=generator)]


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("hidden", [1, 6, 64])
def test_equals_the_dense_layer(
    matrix: CSR, backend: str, p: float, hidden: int, assert_same: Callable[..., None]
) -> None:
    mask = dropout(torch.ones(matrix.nnz), p, seed=7, backend="torch") != 0
    assert_same(
        lambda weight, bias: sparse_linear(matrix, weight, bias, p, seed=7, backend=backend),
        lambda weight, bias: naive.sparse_linear(matrix, weight, bias, p, mask),
        parameters(matrix.shape[1], hidden),
    )


def test_parallel_equals_the_dense_layer(
    random_matrix: Callable[..., CSR], always_parallel: None, assert_same: Callable[..., None]
) -> None:
    x = random_matrix(150, 3000, cols=90)
    mask = dropout(torch.ones(x.nnz), 0.8, seed=7) != 0
    assert_same(
        lambda weight, bias: sparse_linear(x, weight, bias, 0.8, seed=7),
        lambda weight, bias: naive.sparse_linear(x, weight, bias, 0.8, mask),
        parameters(90, 33),
    )


def test_gradcheck(random_matrix: Callable[..., CSR], backend: str) -> None:
    x = random_matrix(6, 15, cols=4)
    inputs = [tensor.requires_grad_() for tensor in parameters(4, 3)]
    torch.autograd.gradcheck(
        lambda weight, bias: sparse_linear(x, weight, bias, 0.4, seed=1, backend=backend), inputs
    )


def test_without_bias_and_in_evaluation(random_matrix: Callable[..., CSR]) -> None:
    x, (weight, _) = random_matrix(5, 9, cols=4), parameters(4, 3)
    expected = x.to_dense() @ weight
    torch.testing.assert_close(sparse_linear(x, weight), expected)
    torch.testing.assert_close(sparse_linear(x, weight, p=0.9, training=False), expected)


def test_dropout_of_stored_values_is_dropout_of_the_dense_matrix() -> None:
    """Mean and variance over 4,000 equal rows, against the closed form."""
    row = torch.tensor([[1.0, 0.0, 2.0, 0.0, -1.0]], dtype=torch.float64)
    x = CSR.from_dense(row.expand(4000, 5))
    weight = torch.tensor([[1.0], [5.0], [0.5], [7.0], [2.0]], dtype=torch.float64)
    draws = sparse_linear(x, weight, p=0.5, seed=0)
    assert abs(draws.mean().item()) < 5 * (6 / 4000) ** 0.5  # mean 1 + 1 - 2
    assert abs(draws.var().item() - 6) < 0.6  # (1 + 1 + 4) p / (1 - p)


def test_seed_none_follows_torchs_generator(random_matrix: Callable[..., CSR]) -> None:
    x, (weight, bias) = random_matrix(20, 90, cols=4), parameters(4, 3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        first = sparse_linear(x, weight, bias, 0.5)
        second = sparse_linear(x, weight, bias, 0.5)
        torch.manual_seed(3)
        again = sparse_linear(x, weight, bias, 0.5)
        state = torch.get_rng_state()
        sparse_linear(x, weight, bias, 0.5, training=False)
        sparse_linear(x, weight, bias, 0.0)
        assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_half_precision_and_autocast(random_matrix: Callable[..., CSR]) -> None:
    x, (weight, bias) = random_matrix(8, 30, cols=5), parameters(5, 3, torch.bfloat16)
    expected = sparse_linear(x, weight.float(), bias.float(), 0.5, seed=1)
    out = sparse_linear(x, weight, bias, 0.5, seed=1)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), expected, rtol=0.02, atol=0.02)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert sparse_linear(x, weight.float(), bias.float()).dtype == torch.float32


def test_bitwise_the_same_every_time(random_matrix: Callable[..., CSR]) -> None:
    x = random_matrix(300, 9000, dtype=torch.float32)

    def step() -> list[Tensor]:
        weight, bias = (t.requires_grad_() for t in parameters(300, 64, torch.float32))
        out = sparse_linear(x, weight, bias, 0.5, seed=4)
        return [out.detach(), *torch.autograd.grad(out.square().sum(), (weight, bias))]

    for first, again in zip(step(), step(), strict=True):
        assert torch.equal(first, again)


def test_traced_by_the_compiler(
    random_matrix: Callable[..., CSR], assert_same: Callable[..., None]
) -> None:
    x = random_matrix(6, 14, cols=5)
    mask = dropout(torch.ones(14), 0.5, seed=1) != 0
    compiled = torch.compile(
        lambda weight, bias: sparse_linear(x, weight, bias, 0.5, seed=1),
        backend="aot_eager",
        fullgraph=True,
    )
    slow = lambda weight, bias: naive.sparse_linear(x, weight, bias, 0.5, mask)  # noqa: E731
    assert_same(compiled, slow, parameters(5, 3))


def test_errors_name_the_argument(random_matrix: Callable[..., CSR]) -> None:
    x, (weight, bias) = random_matrix(5, 9, cols=4), parameters(4, 3)
    with pytest.raises(ValueError, match=r"weight has shape \(3, 4\), expected 4 rows"):
        sparse_linear(x, weight.t())
    with pytest.raises(ValueError, match=r"shapes \(4, 3\) and \(2,\)"):
        sparse_linear(x, weight, bias[:2])
    with pytest.raises(ValueError, match="p is 2"):
        sparse_linear(x, weight, bias, 2)
    with pytest.raises(TypeError, match=r"weight has dtype torch\.int64"):
        sparse_linear(x, weight.long())
