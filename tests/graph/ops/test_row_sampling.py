"""Sampled rows: unbiased sums, untouched short rows."""

import pytest
import torch

from graphseq.graph.csr import CSR
from graphseq.graph.ops import row_sampling, sample_rows, spmm


def rows_of(*sizes: int, value: torch.Tensor | None = None) -> CSR:
    row = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    col = torch.cat([torch.arange(size) for size in sizes])
    return CSR.from_coo(row, col, value, shape=(len(sizes), max(sizes, default=0)))


def test_short_rows_stay_and_long_ones_keep_their_weight() -> None:
    matrix = rows_of(3, 0, 40, 4, 5)
    sample = sample_rows(matrix, 4, torch.Generator().manual_seed(0))
    CSR(sample.rowptr, sample.col, sample.value, sample.shape, sample.edge_id)  # passes the checks
    dense, before = sample.to_dense(), matrix.to_dense()
    assert torch.equal(dense[[0, 1, 3]], before[[0, 1, 3]])
    torch.testing.assert_close(dense.sum(1), before.sum(1))
    assert 1 <= int((dense[2] != 0).sum()) <= 4
    # Equal draws are one entry of twice the weight.
    assert torch.equal(dense[2] % 10, torch.zeros(40))
    assert sample.col.unique().numel() <= 40
    assert all(
        row.unique().numel() == row.numel()
        for row in sample.col.split(sample.rowptr.diff().tolist())
    )


def test_sums_are_right_on_average() -> None:
    """Within four standard errors over 10,000 draws, for each of two row sizes."""
    x = torch.randn(30, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for size in (7, 30):
        matrix = rows_of(*[size] * 10_000)
        sums = spmm(sample_rows(matrix, 6, torch.Generator().manual_seed(2)), x[:size])
        assert abs(float(sums.mean() - x[:size].sum())) <= 4 * float(sums.std()) / 100


def test_own_values_are_weighted() -> None:
    value = torch.arange(1, 13, dtype=torch.float64)
    matrix = rows_of(10, 2, value=value)
    dense = sample_rows(matrix, 2, torch.Generator().manual_seed(0)).to_dense()
    weight = dense / matrix.to_dense().where(matrix.to_dense() != 0, torch.ones(()).double())
    assert torch.equal(weight.sum(1), torch.tensor([10.0, 2.0], dtype=torch.float64))


@pytest.mark.parametrize("matrix", [rows_of(0), rows_of(0, 0), rows_of(2, 1)])
def test_nothing_to_sample(matrix: CSR) -> None:
    sample = sample_rows(matrix, 2)
    assert torch.equal(sample.rowptr, matrix.rowptr)
    assert torch.equal(sample.col, matrix.col)


def test_no_draws_are_refused() -> None:
    with pytest.raises(ValueError, match="k is 0"):
        sample_rows(rows_of(3), 0)


def test_draws_come_from_the_generators_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """A generator of the CPU serves a matrix on a GPU, here rows that have no memory at all."""
    devices = []

    def rand(*args: object, device: torch.device, **options: object) -> None:
        devices.append(torch.device(device))
        raise InterruptedError

    monkeypatch.setattr(torch, "rand", rand)
    rows = torch.zeros(3, dtype=torch.int64, device="meta")
    for generator in (torch.Generator(), None):
        with pytest.raises(InterruptedError):
            row_sampling._draw(rows, rows, 2, generator)
    assert devices == [torch.device("cpu"), torch.device("meta")]
