"""Sampled products against the entries of the dense one, in values and gradients."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from graphseq.graph.csr import CSR
from graphseq.graph.ops import naive_forward, sampled_product


def inputs(pattern: CSR, width: int = 5, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [
        torch.randn(rows, width, dtype=torch.float64, generator=generator).to(dtype)
        for rows in pattern.shape
    ]


@pytest.mark.parametrize("width", [0, 1, 3, 16, 37])
def test_equals_the_dense_product(
    matrix: CSR, backend: str, width: int, assert_same: Callable[..., None]
) -> None:
    assert_same(
        lambda left, right: sampled_product(matrix, left, right, backend=backend),
        lambda left, right: naive_forward.sampled_product(matrix, left, right),
        inputs(matrix, width),
    )


def test_one_tensor_on_both_sides(
    square: CSR, backend: str, assert_same: Callable[..., None]
) -> None:
    assert_same(
        lambda x: sampled_product(square, x, x, backend=backend),
        lambda x: naive_forward.sampled_product(square, x, x),
        inputs(square)[:1],
    )


@pytest.mark.usefixtures("always_parallel")
def test_parallel_rows_are_the_serial_rows(
    random_matrix: Callable[..., CSR], assert_same: Callable[..., None]
) -> None:
    pattern = random_matrix(300, 4000, cols=200)
    assert_same(
        lambda left, right: sampled_product(pattern, left, right, backend="numba"),
        lambda left, right: naive_forward.sampled_product(pattern, left, right),
        inputs(pattern, 9),
    )


def test_equals_the_torch_path_on_thousands_of_nodes(
    random_matrix: Callable[..., CSR], assert_same: Callable[..., None]
) -> None:
    pattern = random_matrix(3000, 40_000)
    assert_same(
        lambda left, right: sampled_product(pattern, left, right, backend="numba"),
        lambda left, right: sampled_product(pattern, left, right, backend="torch"),
        inputs(pattern, 32),
    )


def test_gradcheck(square: CSR, backend: str) -> None:
    parts = [part.requires_grad_() for part in inputs(square, 3)]
    assert torch.autograd.gradcheck(
        lambda left, right: sampled_product(square, left, right, backend=backend),
        parts,
        fast_mode=square.nnz > 0,  # which cannot do without any output
    )


def test_only_the_gradients_asked_for(random_matrix: Callable[..., CSR], backend: str) -> None:
    pattern = random_matrix(5, 9)
    for side in range(2):
        parts = inputs(pattern)
        parts[side].requires_grad_()
        sampled_product(pattern, *parts, backend=backend).sum().backward()
        assert [part.grad is not None for part in parts] == [side == 0, side == 1]


def test_values_of_the_pattern_are_not_read(matrix: CSR, backend: str) -> None:
    bare = CSR(matrix.rowptr, matrix.col, None, matrix.shape)
    outs = [sampled_product(p, *inputs(matrix), backend=backend) for p in (matrix, bare)]
    assert torch.equal(*outs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_lower_precision_sums_in_float32(backend: str, dtype: torch.dtype) -> None:
    """4,000 ones in bfloat16 summed one by one would stop at 256."""
    pattern = CSR.from_coo(torch.tensor([0]), torch.tensor([0]), shape=(1, 1))
    ones = torch.ones(1, 4000, dtype=dtype)
    out = sampled_product(pattern, ones, ones, backend=backend)
    assert out.dtype == dtype
    assert out.float().sub(4000).abs().max() <= 4000 * torch.finfo(dtype).eps


def test_under_autocast_the_result_is_float32(
    random_matrix: Callable[..., CSR], backend: str
) -> None:
    pattern = random_matrix(6, 12)
    parts = inputs(pattern, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = sampled_product(pattern, *parts, backend=backend)
    assert out.dtype == torch.float32
    exact = naive_forward.sampled_product(pattern, *(part.float() for part in parts))
    torch.testing.assert_close(out, exact)


def test_strided_inputs(
    random_matrix: Callable[..., CSR], backend: str, assert_same: Callable[..., None]
) -> None:
    pattern = random_matrix(7, 20)
    assert_same(
        lambda left, right: sampled_product(pattern, left.t(), right.t(), backend=backend),
        lambda left, right: naive_forward.sampled_product(pattern, left.t(), right.t()),
        [part.t().contiguous() for part in inputs(pattern)],
    )


def test_gradients_that_are_not_contiguous(random_matrix: Callable[..., CSR]) -> None:
    pattern = random_matrix(7, 20)
    results = []
    for product in (sampled_product, naive_forward.sampled_product):
        left, right = (part.requires_grad_() for part in inputs(pattern))
        loss = product(pattern, left, right).sum()  # its gradient is one number, expanded
        results.append(torch.autograd.grad(loss, (left, right)))
    torch.testing.assert_close(*results)


@pytest.mark.usefixtures("always_parallel")
def test_bitwise_the_same_every_time(random_matrix: Callable[..., CSR]) -> None:
    pattern = random_matrix(500, 9000)
    results = []
    for threads in (1, 2, 2):
        torch.set_num_threads(threads)
        parts = [part.requires_grad_() for part in inputs(pattern, 16, torch.float32)]
        out = sampled_product(pattern, *parts)
        results.append([out, *torch.autograd.grad(out.square().sum(), parts)])
    for first, *others in zip(*results, strict=True):
        assert all(torch.equal(first, other) for other in others)


def test_traced_by_the_compiler(
    random_matrix: Callable[..., CSR], assert_same: Callable[..., None]
) -> None:
    pattern = random_matrix(6, 14)
    compiled = torch.compile(
        lambda *parts: sampled_product(pattern, *parts), backend="aot_eager", fullgraph=True
    )
    assert_same(
        compiled, lambda *parts: naive_forward.sampled_product(pattern, *parts), inputs(pattern)
    )


@pytest.mark.parametrize(
    ("left", "right", "error", "words"),
    [
        (torch.ones(4, 2), torch.ones(5, 2), ValueError, r"left has shape \(4, 2\), expected 6"),
        (torch.ones(6, 2), torch.ones(6, 2), ValueError, r"right has shape \(6, 2\), expected 5"),
        (torch.ones(6, 2), torch.ones(5, 3), ValueError, r"pass left \[R, D\] and right"),
        (torch.ones(6), torch.ones(5), ValueError, r"pass left \[R, D\] and right"),
        (torch.ones(6, 2).long(), torch.ones(5, 2), TypeError, "left has dtype torch.int64"),
        (torch.ones(6, 2), torch.ones(5, 2, device="meta"), ValueError, "right is on meta"),
    ],
)
def test_errors_name_the_argument(
    random_matrix: Callable[..., CSR],
    left: Tensor,
    right: Tensor,
    error: type[Exception],
    words: str,
) -> None:
    with pytest.raises(error, match=f"sampled_product: .*{words}"):
        sampled_product(random_matrix(6, 9, cols=5), left, right)


def test_an_unknown_backend_is_refused(random_matrix: Callable[..., CSR]) -> None:
    pattern = random_matrix(5, 9)
    with pytest.raises(ValueError, match="backend is 'fast'"):
        sampled_product(pattern, *inputs(pattern), backend="fast")  # type: ignore[arg-type]
