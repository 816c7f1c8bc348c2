"""The sparse product against the dense one, in values and gradients."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from graphseq.graph.csr import CSR
from graphseq.graph.ops import naive, spmm


def dense_input(rows: int, width: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(rows, width, dtype=dtype, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("width", [0, 1, 3, 16, 37])
def test_equals_the_dense_product(
    matrix: CSR, backend: str, width: int, assert_same: Callable[..., None]
) -> None:
    x = dense_input(matrix.shape[1], width)
    assert_same(lambda x: spmm(matrix, x, backend=backend), lambda x: naive.spmm(matrix, x), [x])


@pytest.mark.parametrize("width", [1, 37])
def test_equals_the_dense_product_with_given_values(
    matrix: CSR, backend: str, width: int, assert_same: Callable[..., None]
) -> None:
    x, value = dense_input(matrix.shape[1], width), dense_input(matrix.nnz, 1)[:, 0]
    assert_same(
        lambda x, value: spmm(matrix, x, value, backend=backend),
        lambda x, value: naive.spmm(matrix, x, value),
        [x, value],
    )


def test_parallel_rows_are_the_serial_rows(
    random_matrix: Callable[..., CSR], always_parallel: None, assert_same: Callable[..., None]
) -> None:
    matrix = random_matrix(300, 4000, cols=200)
    x, value = dense_input(200, 9), dense_input(matrix.nnz, 1)[:, 0]
    assert_same(
        lambda x, value: spmm(matrix, x, value, backend="numba"),
        lambda x, value: naive.spmm(matrix, x, value),
        [x, value],
    )


def test_gradcheck(square: CSR, backend: str) -> None:
    x = dense_input(square.shape[1], 3).requires_grad_()
    value = dense_input(square.nnz, 1)[:, 0].requires_grad_()
    torch.autograd.gradcheck(
        lambda x, value: spmm(square, x, value, backend=backend), (x, value), fast_mode=False
    )


def test_only_the_gradients_asked_for(random_matrix: Callable[..., CSR]) -> None:
    matrix = random_matrix(5, 9)
    x, value = dense_input(5, 3), dense_input(9, 1)[:, 0].requires_grad_()
    spmm(matrix, x, value).sum().backward()
    assert value.grad is not None
    assert not spmm(matrix, x).requires_grad


def test_ones_where_the_matrix_has_no_values(backend: str) -> None:
    index = torch.tensor([[0, 0, 1], [1, 2, 0]])
    matrix = CSR.from_coo(*index, shape=(2, 3))
    x = dense_input(3, 3)
    expected = torch.stack([x[1] + x[2], x[0]])
    torch.testing.assert_close(spmm(matrix, x, backend=backend), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_lower_precision_sums_in_float32(
    random_matrix: Callable[..., CSR], backend: str, dtype: torch.dtype
) -> None:
    """4,000 ones in bfloat16 summed one by one would stop at 256."""
    matrix = CSR.from_coo(torch.zeros(4000).long(), torch.arange(4000), shape=(1, 4000))
    out = spmm(matrix, torch.ones(4000, 3, dtype=dtype), backend=backend)
    assert out.dtype == dtype
    assert out.float().sub(4000).abs().max() <= 4000 * torch.finfo(dtype).eps


def test_under_autocast_the_result_is_float32(random_matrix: Callable[..., CSR]) -> None:
    x = dense_input(6, 3, torch.bfloat16)
    matrix = random_matrix(6, 12, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = spmm(matrix, x)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, naive.spmm(matrix, x.float()))


def test_strided_inputs_and_gradients(
    random_matrix: Callable[..., CSR], backend: str, assert_same: Callable[..., None]
) -> None:
    matrix = random_matrix(7, 20)
    x = dense_input(4, 7)
    assert_same(
        lambda x: spmm(matrix, x.t(), backend=backend).t(),
        lambda x: naive.spmm(matrix, x.t()).t(),
        [x],
    )


def test_nan_and_infinity_pass_through(backend: str) -> None:
    matrix = CSR.from_coo(torch.tensor([0, 1, 2]), torch.tensor([0, 1, 2]), shape=(3, 3))
    x = torch.tensor([[float("nan")] * 20, [float("inf")] * 20, [1.0] * 20])
    out = spmm(matrix, x, backend=backend)
    assert out[0].isnan().all()
    assert out[1].isinf().all()
    assert out[2].eq(1).all()


@given(st.integers(0, 10_000))
def test_permuting_the_columns_and_the_input_changes_nothing(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    row = torch.randint(8, (30,), generator=generator)
    col = torch.randint(6, (30,), generator=generator)
    value = torch.randn(30, dtype=torch.float64, generator=generator)
    x = torch.randn(6, 3, dtype=torch.float64, generator=generator)
    permutation = torch.randperm(6, generator=generator)
    out = spmm(CSR.from_coo(row, col, value, shape=(8, 6)), x)
    permuted = CSR.from_coo(row, permutation.argsort()[col], value, shape=(8, 6))
    torch.testing.assert_close(spmm(permuted, x[permutation]), out)


def test_bitwise_the_same_every_time(random_matrix: Callable[..., CSR]) -> None:
    matrix, x = random_matrix(500, 9000, dtype=torch.float32), dense_input(500, 16).float()
    first = spmm(matrix, x)
    for threads in (1, 2, 2):
        torch.set_num_threads(threads)
        assert torch.equal(spmm(matrix, x), first)


def test_many_threads_at_once(random_matrix: Callable[..., CSR], always_parallel: None) -> None:
    matrices = [random_matrix(200, 2000 + i, seed=i) for i in range(8)]
    x = dense_input(200, 16)
    expected = [spmm(matrix, x) for matrix in matrices]

    def repeat(i: int) -> bool:
        torch.set_num_threads(2)  # torch counts per thread, too
        same = [torch.equal(spmm(matrices[i % 8], x), expected[i % 8]) for _ in range(25)]
        return all(same)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(repeat, range(32)))


def test_a_second_derivative_is_refused_clearly(random_matrix: Callable[..., CSR]) -> None:
    x = dense_input(5, 3).requires_grad_()
    out = spmm(random_matrix(5, 9), x).pow(2).sum()
    (grad,) = torch.autograd.grad(out, x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


def test_traced_by_the_compiler(
    random_matrix: Callable[..., CSR], assert_same: Callable[..., None]
) -> None:
    matrix = random_matrix(6, 14)
    compiled = torch.compile(lambda x: spmm(matrix, x), backend="aot_eager", fullgraph=True)
    assert_same(compiled, lambda x: naive.spmm(matrix, x), [dense_input(6, 3)])


@pytest.mark.parametrize(
    ("x", "value", "error", "words"),
    [
        (torch.ones(4, 2), None, ValueError, r"x has shape \(4, 2\), expected 5 rows"),
        (torch.ones(5), None, ValueError, r"expected \[C, D\]"),
        (torch.ones(5, 2).long(), None, TypeError, "x has dtype torch.int64"),
        (torch.ones(5, 2, device="meta"), None, ValueError, "x is on meta"),
        (torch.ones(5, 2), torch.ones(3), ValueError, r"value has shape \(3,\)"),
    ],
)
def test_errors_name_the_argument(
    random_matrix: Callable[..., CSR],
    x: torch.Tensor,
    value: torch.Tensor | None,
    error: type[Exception],
    words: str,
) -> None:
    with pytest.raises(error, match=words):
        spmm(random_matrix(5, 9), x, value)


def test_an_unknown_backend_is_refused(random_matrix: Callable[..., CSR]) -> None:
    with pytest.raises(ValueError, match="backend is 'fast'"):
        spmm(random_matrix(5, 9), torch.ones(5, 2), backend="fast")  # type: ignore[arg-type]
