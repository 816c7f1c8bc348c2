"""Awkward matrices and a way to compare values and gradients, shared by the tests of all ops."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from graphseq.graph.csr import CSR

Entries = tuple[list[int], list[int], tuple[int, int]]

SQUARE: dict[str, Entries] = {
    "no_nodes": ([], [], (0, 0)),
    "no_edges": ([], [], (4, 4)),
    "one_node": ([], [], (1, 1)),
    "one_loop": ([0], [0], (1, 1)),
    "isolated": ([1, 3, 3], [3, 1, 4], (6, 6)),
    "repeated": ([0, 0, 0, 2, 1], [1, 1, 1, 0, 0], (3, 3)),
    "loops": ([0, 0, 1, 2, 2], [0, 1, 1, 0, 2], (3, 3)),
    "symmetric": ([0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2], (4, 4)),
    "star": ([0] * 20, list(range(1, 21)), (21, 21)),
}
RECTANGULAR: dict[str, Entries] = {
    "wide": ([0, 1, 1], [4, 0, 3], (2, 5)),
    "tall": ([4, 0, 3], [0, 1, 1], (5, 2)),
    "no_rows": ([], [], (0, 3)),
    "no_columns": ([], [], (3, 0)),
}


def build(entries: Entries, seed: int = 0) -> CSR:
    row, col, shape = entries
    generator = torch.Generator().manual_seed(seed)
    value = torch.randn(len(row), dtype=torch.float64, generator=generator)
    index = torch.tensor([row, col], dtype=torch.int64)
    return CSR.from_coo(index[0], index[1], value, shape=shape)


@pytest.fixture(params=SQUARE)
def square(request: pytest.FixtureRequest) -> CSR:
    """A small square matrix, float64."""
    return build(SQUARE[request.param])


@pytest.fixture(params=SQUARE | RECTANGULAR)
def matrix(request: pytest.FixtureRequest) -> CSR:
    """A small matrix of any shape, float64."""
    return build((SQUARE | RECTANGULAR)[request.param])


@pytest.fixture(params=["numba", "torch"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def always_parallel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small work runs on all threads too."""
    monkeypatch.setattr("graphseq.kernels.SERIAL_WORK", 0)


@pytest.fixture
def random_matrix() -> Callable[..., CSR]:
    def make(
        rows: int, nnz: int, seed: int = 0, dtype: torch.dtype = torch.float64, cols: int = 0
    ) -> CSR:
        generator = torch.Generator().manual_seed(seed)
        row = torch.randint(rows, (nnz,), generator=generator)
        col = torch.randint(cols or rows, (nnz,), generator=generator)
        value = torch.randn(nnz, dtype=torch.float64, generator=generator).to(dtype)
        return CSR.from_coo(row, col, value, shape=(rows, cols or rows))

    return make


@pytest.fixture
def assert_same() -> Callable[..., None]:
    """Compares two functions of the same inputs in value and in the gradients of all inputs."""

    def compare(
        fast: Callable[..., Tensor],
        slow: Callable[..., Tensor],
        inputs: Sequence[Tensor],
        tolerance: float = 1e-12,
    ) -> None:
        results = []
        for function in (fast, slow):
            leaves = [tensor.detach().clone().requires_grad_() for tensor in inputs]
            out = function(*leaves)
            cotangent = torch.linspace(-1.0, 2.0, out.numel(), dtype=out.dtype).view(out.shape)
            out.backward(cotangent)
            results.append([out.detach(), *(leaf.grad for leaf in leaves)])
        for got, expected in zip(*results, strict=True):
            assert got is not None
            torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)

    return compare
