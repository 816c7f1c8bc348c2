"""The frozen product, whichever way it is made, against dense matrices."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from graphseq.graph.csr import CSR
from graphseq.graph.ops import naive_forward
from graphseq.graph.ops.frozen_product import STORED, FrozenProduct, Way

WAYS: tuple[Way, ...] = ("dense", "stored", "factored", "streamed")


def rand(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator).to(dtype)


def sparse_rand(rows: int, width: int, share: float = 0.3, seed: int = 0) -> CSR:
    kept = torch.rand(rows, width, generator=torch.Generator().manual_seed(seed + 1)) < share
    return CSR.from_dense(rand(rows, width, seed=seed) * kept)


def features(rows: int, kind: str, width: int = 9) -> Tensor | CSR:
    return rand(rows, width) if kind == "dense" else sparse_rand(rows, width, float(kind))


def ways_for(x: Tensor | CSR) -> list[Way | None]:
    """Rows of sparse features are not streamed: they fit."""
    return [None, *(way for way in WAYS if isinstance(x, Tensor) or way != "streamed")]


def twin(
    matrix: CSR | None, x: Tensor | CSR, scale: Tensor | None = None, rows: Tensor | None = None
) -> Callable[[Tensor], Tensor]:
    def slow(weight: Tensor) -> Tensor:
        out = naive_forward.frozen_product(matrix, x, weight, scale)
        return out if rows is None else out[rows]

    return slow


@pytest.mark.parametrize("kind", ["dense", "0.05", "0.8", "0.0"])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("width", [0, 1, 9])
def test_every_way_equals_the_dense_twin(
    matrix: CSR, kind: str, scaled: bool, width: int, assert_same: Callable[..., None]
) -> None:
    num_rows = matrix.shape[1]
    x = features(num_rows, kind, width)
    scale = rand(num_rows, seed=4) if scaled else None
    before = x.to_dense().clone() if isinstance(x, CSR) else x.clone()
    for way in ways_for(x):
        for row_block in (1, 2, 1000) if way == "streamed" else (1,):
            product = FrozenProduct(matrix, x, scale, way, row_block)
            assert way in (None, product.way)
            assert product.width == width
            assert_same(
                product,
                twin(matrix, x, scale),
                [rand(width, 3, seed=2)],
            )
    assert torch.equal(x.to_dense() if isinstance(x, CSR) else x, before)


@pytest.mark.parametrize("kind", ["dense", "0.1", "0.8"])
@pytest.mark.parametrize("scaled", [False, True])
def test_the_identity_needs_no_matrix(
    kind: str, scaled: bool, assert_same: Callable[..., None]
) -> None:
    for num_rows in (0, 1, 11):
        x = features(num_rows, kind)
        scale = rand(num_rows, seed=4) if scaled else None
        for way in ways_for(x):
            product = FrozenProduct(None, x, scale, way, row_block=4)
            assert_same(
                product,
                twin(None, x, scale),
                [rand(9, 3, seed=2)],
            )


@pytest.mark.parametrize("kind", ["dense", "0.1"])
@pytest.mark.parametrize("with_matrix", [False, True])
def test_some_rows_are_rows_of_the_whole(
    random_matrix: Callable[..., CSR],
    kind: str,
    with_matrix: bool,
    assert_same: Callable[..., None],
) -> None:
    matrix = random_matrix(8, 20, cols=8) if with_matrix else None
    x, scale = features(8, kind), rand(8, seed=4)
    for way in ways_for(x):
        product = FrozenProduct(matrix, x, scale, way, row_block=3)
        for rows in (torch.tensor([], dtype=torch.int64), torch.tensor([7, 0, 0, 3])):
            part = product.at(rows)
            assert (part.way, part.width) == (product.way, 9)
            assert_same(
                part,
                twin(matrix, x, scale, rows),
                [rand(9, 3, seed=2)],
            )
            again = torch.arange(rows.numel()).flip(0)
            assert_same(
                part.at(again),
                twin(matrix, x, scale, rows[again]),
                [rand(9, 3, seed=2)],
            )


def test_a_matrix_of_implicit_ones(assert_same: Callable[..., None]) -> None:
    rowptr, col = torch.tensor([0, 2, 2, 3]), torch.tensor([0, 3, 1], dtype=torch.int32)
    matrix = CSR(rowptr, col, None, (3, 4))
    for kind in ("dense", "0.1"):
        x = features(4, kind)
        for scale in (None, rand(4, seed=4)):
            for way in ways_for(x):
                assert_same(
                    FrozenProduct(matrix, x, scale, way, row_block=3),
                    twin(matrix, x, scale),
                    [rand(9, 3, seed=2)],
                )


@pytest.mark.parametrize("way", WAYS)
def test_gradcheck(random_matrix: Callable[..., CSR], way: Way) -> None:
    product = FrozenProduct(random_matrix(4, 9, cols=6), rand(6, 3), rand(6, seed=1), way, 4)
    weight = rand(3, 2, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(product, (weight,))


@pytest.mark.parametrize("with_matrix", [False, True])
def test_the_factored_way_passes_gradients_to_dense_features(
    random_matrix: Callable[..., CSR], with_matrix: bool, assert_same: Callable[..., None]
) -> None:
    """Backpropagation through a stack of layers lives on it."""
    matrix = random_matrix(4, 9, cols=6) if with_matrix else None
    assert_same(
        lambda x, weight: FrozenProduct(matrix, x, way="factored")(weight),
        lambda x, weight: naive_forward.frozen_product(matrix, x, weight),
        [rand(6, 3), rand(3, 2, seed=2)],
    )


def costs(matrix: CSR, x: Tensor | CSR) -> dict[str, int]:
    """Multiply-adds per column of the weight, counted from the matrices themselves."""
    if isinstance(x, Tensor):
        spread = STORED * matrix.nnz
        return {"dense": matrix.shape[0] * x.size(1), "factored": x.numel() + spread}
    product = matrix.to_dense() @ x.to_dense()
    return {
        "dense": product.numel(),
        "stored": STORED * int(product.count_nonzero()),
        "factored": STORED * (x.nnz + matrix.nnz),
    }


def diagonal(size: int, cols: int | None = None) -> CSR:
    index = torch.arange(size)
    ones = torch.ones(size, dtype=torch.float64)
    return CSR.from_coo(index, index, ones, shape=(size, cols or size))


def one_per_row(rows: int, width: int) -> CSR:
    index = torch.arange(rows)
    return CSR.from_coo(index, index % width, rand(rows), shape=(rows, width))


def all_pairs(rows: int, cols: int) -> CSR:
    return CSR.from_dense(torch.ones(rows, cols, dtype=torch.float64))


def hubs(count: int, rows: int, cols: int) -> CSR:
    """The first rows hold all columns, every other one holds one."""
    dense = torch.zeros(rows, cols, dtype=torch.float64)
    dense[:count], dense[range(count, rows), range(rows - count)] = 1.0, 1.0
    return CSR.from_dense(dense)


def band(rows: int, width: int) -> CSR:
    """Three neighbouring columns in each row."""
    col = (torch.arange(rows).repeat_interleave(3) + torch.arange(3).repeat(rows)) % width
    row = torch.arange(rows).repeat_interleave(3)
    return CSR.from_coo(row, col, rand(3 * rows), shape=(rows, width))


CHEAPEST: dict[str, tuple[CSR, Tensor | CSR, Way]] = {
    "few rows of many": (diagonal(4, 100), rand(100, 9), "dense"),
    "rows that come often": (all_pairs(100, 5), rand(5, 300), "factored"),
    "a bag of words per row": (diagonal(50), one_per_row(50, 400), "stored"),
    "hubs that gather all words": (all_pairs(60, 60), one_per_row(60, 1000), "stored"),
    "two hubs among many": (hubs(2, 100, 400), band(400, 100), "stored"),
    "sums that fill up": (all_pairs(9, 300), one_per_row(300, 20), "dense"),
    "many rows of long sums": (all_pairs(100, 8), one_per_row(8, 9), "dense"),
    "sums longer than both": (all_pairs(40, 40), sparse_rand(40, 2000, 0.05), "factored"),
}


@pytest.mark.parametrize("name", CHEAPEST)
def test_the_cheapest_way_follows_from_the_matrices(
    name: str, assert_same: Callable[..., None]
) -> None:
    matrix, x, expected = CHEAPEST[name]
    found = costs(matrix, x)
    assert min(found, key=lambda way: found[way]) == expected  # the case shows what it is to show
    product = FrozenProduct(matrix, x)
    assert product.way == expected
    assert_same(
        product,
        twin(matrix, x),
        [rand(int(x.shape[1]), 2, seed=2)],
    )


def test_each_of_the_three_ways_is_the_cheapest_somewhere() -> None:
    assert {case[2] for case in CHEAPEST.values()} == {"dense", "stored", "factored"}


def test_without_a_matrix_features_stay_as_they_are() -> None:
    assert FrozenProduct(None, rand(5, 3)).way == "dense"
    assert FrozenProduct(None, one_per_row(50, 400)).way == "stored"
    assert FrozenProduct(None, sparse_rand(5, 3, 1.0)).way == "dense"  # nothing to gain


def test_what_is_kept() -> None:
    matrix, x = diagonal(4, 100), rand(100, 9)
    for way in ("dense", "stored"):
        product = FrozenProduct(matrix, x, way=way)  # type: ignore[arg-type]
        assert product.matrix is None
        assert product.x.shape == (4, 9)
    for way in ("factored", "streamed"):
        product = FrozenProduct(matrix, x, way=way)  # type: ignore[arg-type]
        assert product.x is x
        assert product.matrix is matrix


class Made(TorchDispatchMode):
    """Notes the numbers in the largest tensor that an operation makes (not: looks at)."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given = {a.untyped_storage().data_ptr() for a in args if isinstance(a, Tensor)}
        for tensor in out if isinstance(out, tuple | list) else [out]:
            if isinstance(tensor, Tensor) and tensor.untyped_storage().data_ptr() not in given:
                self.numel = max(self.numel, tensor.numel())
        return out


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("with_matrix", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_streaming_copies_no_more_than_a_block(
    tmp_path: Path,
    random_matrix: Callable[..., CSR],
    scaled: bool,
    with_matrix: bool,
    dtype: torch.dtype,
) -> None:
    """Also where the file's numbers have another type than the weights."""
    rand(200, 50, dtype=dtype).numpy().tofile(tmp_path / "x")
    x = torch.from_file(str(tmp_path / "x"), size=200 * 50, dtype=dtype).view(200, 50)
    matrix = random_matrix(20, 60, cols=200) if with_matrix else None
    scale = rand(200, seed=4, dtype=dtype) if scaled else None
    weight = rand(50, 3, seed=2).requires_grad_()
    with Made() as made:
        product = FrozenProduct(matrix, x, scale, "streamed", row_block=16)
        out = product(weight)
        out.square().sum().backward()
    assert made.numel <= 16 * 50 < x.numel()
    expected = naive_forward.frozen_product(matrix, x, weight, scale)
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
    (gradient,) = torch.autograd.grad(expected.square().sum(), weight)
    torch.testing.assert_close(weight.grad, gradient, rtol=1e-12, atol=1e-12)
    assert product.x.data_ptr() == x.data_ptr()  # type: ignore[union-attr]


def test_constant_features_of_another_type_are_brought_along(
    random_matrix: Callable[..., CSR], assert_same: Callable[..., None]
) -> None:
    """As at the last scoring of a model whose features stay in a file."""
    matrix, x, scale = random_matrix(5, 12, cols=8), rand(8, 4).float(), rand(8, seed=4).float()
    assert_same(
        FrozenProduct(matrix, x, scale, "factored", row_block=3),
        twin(matrix, x, scale),
        [rand(4, 3, seed=2)],
    )


@pytest.mark.parametrize("way", [None, *WAYS])
def test_bitwise_the_same_every_time(random_matrix: Callable[..., CSR], way: Way | None) -> None:
    matrix, x = random_matrix(200, 900, dtype=torch.float32), rand(200, 40, dtype=torch.float32)

    def step() -> list[Tensor]:
        weight = rand(40, 16, seed=2, dtype=torch.float32).requires_grad_()
        out = FrozenProduct(matrix, x, None, way, row_block=33)(weight)
        return [out.detach(), *torch.autograd.grad(out.square().sum(), weight)]

    for first, again in zip(step(), step(), strict=True):
        assert torch.equal(first, again)


def test_a_matrix_that_does_not_fit_is_refused(random_matrix: Callable[..., CSR]) -> None:
    for x in (rand(6, 3), sparse_rand(6, 3)):
        words = r"FrozenProduct: matrix has shape \(5, 7\), x \(6, 3\); the matrix needs a column"
        with pytest.raises(ValueError, match=words):
            FrozenProduct(random_matrix(5, 9, cols=7), x)
