"""Parts of sparse matrices against the same parts of dense ones."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from graphseq.graph.csr import CSR
from graphseq.graph.ops.slicing import (
    scale_rows,
    select_columns,
    select_rows,
    square_norms,
    unit_rows,
    unit_scale,
)


def checked(part: Tensor | CSR) -> Tensor:
    """Dense, once the constructor has found the parts of a sparse result to be in order."""
    if isinstance(part, CSR):
        return CSR(part.rowptr, part.col, part.value, part.shape, part.edge_id).to_dense()
    return part


def bare(matrix: CSR) -> CSR:
    return CSR(matrix.rowptr, matrix.col, None, matrix.shape)


def some_rows(size: int) -> list[Tensor]:
    """No rows, one row, all in reverse, and rows in any order that come back."""
    drawn = torch.randint(max(size, 1), (2 * size,), generator=torch.Generator().manual_seed(5))
    every = torch.arange(size)
    return [every[:0], every[-1:], every.flip(0), drawn]


def test_rows_are_those_of_the_dense_matrix(matrix: CSR) -> None:
    for sparse in (matrix, bare(matrix)):
        dense = sparse.to_dense()
        for rows in some_rows(matrix.shape[0]):
            part = select_rows(sparse, rows)
            assert part.shape == (len(rows), matrix.shape[1])
            assert torch.equal(checked(part), dense[rows])
            assert torch.equal(checked(select_rows(dense, rows)), dense[rows])
        assert select_rows(sparse, None) is sparse
        assert select_rows(dense, None) is dense


def test_entries_of_rows_are_numbered_anew(random_matrix: Callable[..., CSR]) -> None:
    part = select_rows(random_matrix(9, 40), torch.tensor([7, 7, 0]))
    assert isinstance(part, CSR)
    assert torch.equal(part.edge_id, torch.arange(part.nnz))


def test_columns_are_those_of_the_dense_matrix(matrix: CSR) -> None:
    width = matrix.shape[1]
    for sparse in (matrix, bare(matrix)):
        dense = sparse.to_dense()
        for begin in range(width + 1):
            for end in range(begin, width + 1):
                part = select_columns(sparse, begin, end)
                assert part.shape == (matrix.shape[0], end - begin)
                assert torch.equal(checked(part), dense[:, begin:end])
        assert select_columns(sparse, 0, width) is sparse


def test_repeated_entries_stay_repeated(random_matrix: Callable[..., CSR]) -> None:
    many = random_matrix(4, 100)
    rows = select_rows(many, torch.arange(4))
    parts = [select_columns(many, 0, 1), select_columns(many, 1, 4)]
    assert isinstance(rows, CSR)
    assert rows.nnz == sum(part.nnz for part in parts) == 100


def test_scaled_rows(matrix: CSR) -> None:
    scale = torch.linspace(-1.0, 2.0, matrix.shape[0], dtype=torch.float64)
    for sparse in (matrix, bare(matrix)):
        before = sparse.to_dense()
        expected = torch.diag(scale) @ before.double()
        torch.testing.assert_close(checked(scale_rows(sparse, scale)), expected)
        dense = sparse.to_dense().double()
        torch.testing.assert_close(checked(scale_rows(dense, scale)), expected)
        assert torch.equal(sparse.to_dense(), before)


def without_repetitions(matrix: CSR) -> CSR:
    """The square of a sum is not the sum of squares."""
    return CSR.from_dense(matrix.to_dense())


def test_lengths_are_those_of_the_dense_matrix(matrix: CSR) -> None:
    sparse = without_repetitions(matrix)
    dense = sparse.to_dense()
    length = torch.linalg.vector_norm(dense, dim=1)
    for x in (sparse, dense):
        torch.testing.assert_close(square_norms(x), length.square())
        torch.testing.assert_close(unit_scale(x), 1.0 / (length + 1e-8))
        torch.testing.assert_close(unit_scale(x, eps=0.5), 1.0 / (length + 0.5))
    torch.testing.assert_close(unit_rows(dense), dense / (length + 1e-8).unsqueeze(1))
    ones = bare(sparse)
    torch.testing.assert_close(square_norms(ones), ones.rowptr.diff().to(ones.dtype))


def test_rows_of_zeros_stay_zeros() -> None:
    x = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    assert torch.equal(unit_rows(x), torch.tensor([[0.0, 0.0], [0.6, 0.8]]))
    assert unit_scale(x).isfinite().all()
    assert unit_scale(CSR.from_dense(x)).isfinite().all()


def test_gradients_of_rows_of_length_one() -> None:
    x = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(unit_rows, (x.requires_grad_(),))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtypes_are_kept(random_matrix: Callable[..., CSR], dtype: torch.dtype) -> None:
    sparse = random_matrix(5, 12, dtype=dtype)
    for x in (sparse, sparse.to_dense()):
        assert square_norms(x).dtype == unit_scale(x).dtype == dtype
        assert scale_rows(x, unit_scale(x)).dtype == dtype
        assert select_rows(x, torch.tensor([2, 1])).dtype == dtype
    assert select_columns(sparse, 1, 3).dtype == dtype
