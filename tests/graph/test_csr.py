"""CSR: built right, checked once, transposed once."""

import copy
import gc
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import scipy.sparse
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from graphseq.graph.csr import CSR


def random_coo(rows: int, cols: int, nnz: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    row = torch.randint(max(rows, 1), (nnz,), generator=generator)
    col = torch.randint(max(cols, 1), (nnz,), generator=generator)
    return row, col, torch.randn(nnz, dtype=torch.float64, generator=generator)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 40), st.integers(0, 999))
def test_from_coo_is_the_dense_matrix(rows: int, cols: int, nnz: int, seed: int) -> None:
    row, col, value = random_coo(rows, cols, nnz, seed)
    matrix = CSR.from_coo(row, col, value, shape=(rows, cols))
    dense = torch.zeros(rows, cols, dtype=torch.float64).index_put((row, col), value, True)
    torch.testing.assert_close(matrix.to_dense(), dense)
    torch.testing.assert_close(matrix.transpose().to_dense(), dense.t())
    assert matrix.nnz == nnz
    assert torch.equal(matrix.row, row[matrix.edge_id])
    assert torch.equal(matrix.col.long(), col[matrix.edge_id])
    assert torch.equal(matrix.value, value[matrix.edge_id])
    key = matrix.row * cols + matrix.col
    assert bool((key.diff() >= 0).all())
    CSR(matrix.rowptr, matrix.col, matrix.value, matrix.shape, matrix.edge_id)  # passes the checks


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 40), st.integers(0, 999))
def test_transposing_keeps_edge_ids_and_inverts_itself(
    rows: int, cols: int, nnz: int, seed: int
) -> None:
    row, col, value = random_coo(rows, cols, nnz, seed)
    matrix = CSR.from_coo(row, col, value, shape=(rows, cols))
    transposed = matrix.transpose()
    assert torch.equal(transposed.row, col[transposed.edge_id])
    assert torch.equal(transposed.value, value[transposed.edge_id])
    assert transposed.transpose() is matrix
    assert torch.equal(transposed.col.long(), matrix.row[matrix.transpose_order])


def test_parallel_entries_keep_the_callers_order() -> None:
    zeros = torch.zeros(5, dtype=torch.int64)
    matrix = CSR.from_coo(zeros, torch.tensor([1, 0, 1, 0, 1]), shape=(1, 2))
    assert matrix.edge_id.tolist() == [1, 3, 0, 2, 4]
    assert matrix.transpose().edge_id.tolist() == [1, 3, 0, 2, 4]


def test_few_entries_in_a_huge_shape_cost_little() -> None:
    matrix = CSR.from_coo(torch.tensor([1, 0, 1]), torch.tensor([7, 2, 5]), shape=(2, 2**31 - 1))
    assert matrix.col.tolist() == [2, 5, 7]
    assert matrix.edge_id.tolist() == [1, 2, 0]


def test_a_symmetric_matrix_returns_itself() -> None:
    index = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    plain = CSR.from_coo(*index, shape=(3, 3))
    assert plain.transpose() is plain
    symmetric = CSR.from_coo(*index, torch.tensor([1.0, 1.0, 2.0, 2.0]), shape=(3, 3))
    assert symmetric.transpose() is symmetric
    other = CSR.from_coo(*index, torch.tensor([1.0, 3.0, 2.0, 2.0]), shape=(3, 3))
    assert other.transpose() is not other
    rectangular = CSR.from_coo(*index, shape=(3, 4))
    assert rectangular.transpose().shape == (4, 3)


def test_from_dense_and_from_scipy_agree() -> None:
    dense = torch.tensor([[0.0, 2.0, 0.0], [1.5, 0.0, -1.0]], dtype=torch.float64)
    for matrix in (CSR.from_dense(dense), CSR.from_scipy(scipy.sparse.csc_array(dense.numpy()))):
        assert torch.equal(matrix.to_dense(), dense)
    counts = scipy.sparse.coo_matrix(([1, 2], ([0, 0], [1, 1])), shape=(2, 2))
    assert CSR.from_scipy(counts).to_dense()[0, 1] == 3.0
    assert CSR.from_scipy(counts).nnz == 2
    assert CSR.from_dense(torch.eye(2, dtype=torch.bool)).dtype == torch.float32


def test_to_torch_is_the_same_matrix_without_a_warning() -> None:
    matrix = CSR.from_coo(*random_coo(5, 4, 12, 0), shape=(5, 4))
    x = torch.randn(4, 3, dtype=torch.float64)
    torch.testing.assert_close(matrix.to_torch() @ x, matrix.to_dense() @ x)


def test_to_converts_values_and_keeps_the_rest() -> None:
    matrix = CSR.from_coo(*random_coo(5, 5, 12, 0), shape=(5, 5))
    assert matrix.to("cpu") is matrix
    single = matrix.to(dtype=torch.float32)
    assert single.dtype == torch.float32
    assert torch.equal(single.values(torch.float32), matrix.values(torch.float32))
    assert torch.equal(single.edge_id, matrix.edge_id)
    assert matrix.to("meta").device.type == "meta"


def test_copies_and_pickles_are_equal_and_carry_no_derived_parts() -> None:
    matrix = CSR.from_coo(*random_coo(50, 50, 400, 0), shape=(50, 50))
    bare = len(pickle.dumps(matrix))
    matrix.transpose()
    matrix.arrays()
    assert len(pickle.dumps(matrix)) == bare
    for other in (copy.deepcopy(matrix), pickle.loads(pickle.dumps(matrix))):
        assert torch.equal(other.to_dense(), matrix.to_dense())
        assert torch.equal(other.transpose().to_dense(), matrix.to_dense().t())


def test_immutable() -> None:
    matrix = CSR.from_dense(torch.eye(2))
    with pytest.raises(AttributeError):
        matrix.col = matrix.row  # type: ignore[misc]


def test_what_inference_derives_serves_training() -> None:
    matrix = CSR.from_dense(torch.eye(3))
    with torch.inference_mode():
        matrix.values(torch.float64)
        matrix.transpose()
    x = torch.ones(3, requires_grad=True, dtype=torch.float64)
    (x * matrix.values(torch.float64)).sum().backward()
    assert x.grad is not None


def test_repr_says_what_it_is() -> None:
    assert repr(CSR.from_dense(torch.eye(2))) == (
        "CSR(shape=(2, 2), nnz=2, value=float32, device=cpu)"
    )


BAD_COO: dict[str, tuple[Callable[[], CSR], type[Exception], str]] = {
    "row too large": (
        lambda: CSR.from_coo(torch.tensor([0, 5]), torch.tensor([0, 1]), shape=(5, 5)),
        ValueError,
        r"row contains 5, outside 0\.\.4",
    ),
    "negative column": (
        lambda: CSR.from_coo(torch.tensor([0, 1]), torch.tensor([0, -2]), shape=(5, 5)),
        ValueError,
        "col contains -2",
    ),
    "floating index": (
        lambda: CSR.from_coo(torch.tensor([0.0]), torch.tensor([0]), shape=(5, 5)),
        TypeError,
        "row has dtype torch.float32",
    ),
    "lengths": (
        lambda: CSR.from_coo(torch.tensor([0, 1]), torch.tensor([0]), shape=(5, 5)),
        ValueError,
        r"col has shape \(1,\), expected \(2,\)",
    ),
    "NaN": (
        lambda: CSR.from_coo(
            torch.tensor([0]), torch.tensor([0]), torch.tensor([float("nan")]), shape=(5, 5)
        ),
        ValueError,
        "value contains NaN",
    ),
    "integer values": (
        lambda: CSR.from_coo(torch.tensor([0]), torch.tensor([0]), torch.tensor([1]), shape=(5, 5)),
        TypeError,
        "value has dtype torch.int64",
    ),
    "trainable values": (
        lambda: CSR.from_coo(
            torch.tensor([0]), torch.tensor([0]), torch.ones(1, requires_grad=True), shape=(5, 5)
        ),
        ValueError,
        "requires a gradient",
    ),
    "device": (
        lambda: CSR.from_coo(
            torch.tensor([0]), torch.tensor([0]), torch.ones(1, device="meta"), shape=(5, 5)
        ),
        ValueError,
        "value is on meta",
    ),
    "too wide": (
        lambda: CSR.from_coo(torch.tensor([0]), torch.tensor([0]), shape=(1, 2**31)),
        ValueError,
        "columns",
    ),
    "not a matrix": (lambda: CSR.from_dense(torch.ones(3)), ValueError, "expected 2"),
}


@pytest.mark.parametrize("case", BAD_COO)
def test_errors_name_the_argument(case: str) -> None:
    make, error, words = BAD_COO[case]
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"rowptr": [0, 2]}, ValueError, r"rowptr has shape \(2,\)"),
        ({"rowptr": [0, 1, 3]}, ValueError, "rowptr must rise from 0 to 2"),
        ({"rowptr": [1, 1, 2]}, ValueError, "rowptr must rise"),
        ({"rowptr": [0, 3, 2]}, ValueError, "rowptr must rise"),
        ({"col": [2, 0], "rowptr": [0, 2, 2]}, ValueError, "col is not ascending"),
        ({"col": [0, 3]}, ValueError, "col contains 3"),
        ({"edge_id": [0]}, ValueError, "edge_id has shape"),
        ({"edge_id": [0, -1]}, ValueError, "edge_id contains -1"),
    ],
)
def test_the_constructor_checks_what_compiled_loops_rely_on(
    change: dict[str, Any], error: type[Exception], words: str
) -> None:
    parts = {"rowptr": [0, 1, 2], "col": [2, 0], "edge_id": [1, 0]} | change
    rowptr, col, edge_id = (torch.tensor(parts[key]) for key in ("rowptr", "col", "edge_id"))
    with pytest.raises(error, match=words):
        CSR(rowptr, col.int(), None, (2, 3), edge_id)


def test_the_constructor_wants_contiguous_parts_of_the_right_dtype() -> None:
    rowptr, col = torch.tensor([0, 1, 2]), torch.tensor([0, 9, 1, 9], dtype=torch.int32)
    with pytest.raises(ValueError, match="col is not contiguous"):
        CSR(rowptr, col[::2], None, (2, 3))
    with pytest.raises(TypeError, match="pass int64 and int32"):
        CSR(rowptr, col[:2].long(), None, (2, 3))
    accepted = CSR(rowptr, col[::2].contiguous(), None, (2, 3))
    assert accepted.edge_id.tolist() == [0, 1]


@pytest.mark.parametrize("symmetric", [False, True])
def test_a_matrix_and_its_transpose_are_freed_without_the_garbage_collector(
    symmetric: bool,
) -> None:
    row, col = torch.tensor([0, 1, 2]), torch.tensor([1, 0, 2 if symmetric else 1])
    matrix = CSR.from_coo(row, col, shape=(3, 3))
    transposed = matrix.transpose()
    assert transposed.transpose() is matrix
    assert (transposed is matrix) == symmetric
    dies = weakref.ref(matrix)
    gc.disable()
    try:
        del matrix, transposed
        assert dies() is None
    finally:
        gc.enable()
