"""The goodness of many labelings against all of them at once, in values and gradients."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from graphseq.graph.ops import naive_forward, shared_goodness

Shape = tuple[int, int, int, int]  # R, G, K, H

# R, G, K, H: ordinary ones (less and more rows than groups of rows), and each of the four 0 or 1
SHAPES = [
    *((9, 3, 4, 5), (150, 7, 7, 33), (1, 1, 1, 1)),
    *((0, 3, 4, 5), (9, 0, 4, 5), (9, 3, 0, 5), (9, 3, 4, 0)),
]


def inputs(
    shape: Shape, density: float = 0.4, std: float = 1.0, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor]:
    """base, mix, table."""
    rows, labelings, classes, width = shape
    generator = torch.Generator().manual_seed(6)
    sizes = (rows, width), (labelings, rows, classes), (classes, width)
    base, mix, table = (
        std * torch.randn(*size, dtype=torch.float64, generator=generator) for size in sizes
    )
    mix *= torch.rand(mix.shape, generator=generator) < density
    return base.to(dtype), mix.to(dtype), table.to(dtype)


@pytest.mark.parametrize("density", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_all_labelings_at_once(
    shape: Shape, density: float, backend: str, assert_same: Callable[..., None]
) -> None:
    base, mix, table = inputs(shape, density)
    assert_same(
        lambda base, table: shared_goodness(base, mix, table, backend=backend),
        lambda base, table: naive_forward.shared_goodness(base, mix, table),
        [base, table],
    )


@pytest.mark.usefixtures("always_parallel")
def test_parallel_rows_are_the_serial_rows(assert_same: Callable[..., None]) -> None:
    base, mix, table = inputs((500, 5, 6, 40))
    assert_same(
        lambda base, table: shared_goodness(base, mix, table, backend="numba"),
        lambda base, table: naive_forward.shared_goodness(base, mix, table),
        [base, table],
        tolerance=3e-12,  # table's gradient adds up 2,500 rows
    )


def test_equals_the_torch_path_on_thousands_of_rows(assert_same: Callable[..., None]) -> None:
    base, mix, table = inputs((3000, 7, 7, 64))
    assert_same(
        lambda base, table: shared_goodness(base, mix, table, backend="numba"),
        lambda base, table: shared_goodness(base, mix, table, backend="torch"),
        [base, table],
        tolerance=1e-11,
    )


def test_gradcheck(backend: str) -> None:
    base, mix, table = inputs((6, 3, 4, 5))
    assert torch.autograd.gradcheck(
        lambda base, table: shared_goodness(base, mix, table, backend=backend),
        (base.requires_grad_(), table.requires_grad_()),
        fast_mode=True,
    )


def test_labelings_do_not_see_each_other(backend: str) -> None:
    base, mix, table = inputs((20, 4, 3, 8))
    out = shared_goodness(base, mix, table, backend=backend)
    for k in range(4):
        alone = shared_goodness(base, mix[k : k + 1], table, backend=backend)
        torch.testing.assert_close(out[k : k + 1], alone)
    empty = shared_goodness(base, torch.zeros_like(mix), table, backend=backend)
    torch.testing.assert_close(empty, base.relu().square().sum(1).expand(4, -1))


@pytest.mark.parametrize("std", [1.0, 1000.0])
def test_float32_is_near_float64(backend: str, std: float) -> None:
    single = inputs((200, 5, 6, 64), std=std, dtype=torch.float32)
    results = []
    for dtype in (torch.float32, torch.float64):
        base, mix, table = (part.to(dtype) for part in single)
        leaves = base.requires_grad_(), table.requires_grad_()
        out = shared_goodness(base, mix, table, backend=backend)
        results.append([out, *torch.autograd.grad(out.sum(), leaves)])
    for got, exact in zip(*results, strict=True):
        assert got.dtype == torch.float32
        assert (got - exact).abs().max() <= 1e-5 * exact.abs().max()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(backend: str, dtype: torch.dtype) -> None:
    parts = inputs((9, 3, 4, 5), dtype=dtype)
    exact = shared_goodness(*(part.float() for part in parts), backend=backend)
    out = shared_goodness(*parts, backend=backend)
    assert out.dtype == dtype
    assert torch.equal(out, exact.to(dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        kept = shared_goodness(*parts, backend=backend)
    assert kept.dtype == torch.float32
    torch.testing.assert_close(kept, exact)


def test_strided_inputs_and_gradients(backend: str, assert_same: Callable[..., None]) -> None:
    base, mix, table = inputs((7, 3, 4, 5))
    mix = mix.mT.contiguous().mT
    assert_same(
        lambda base, table: shared_goodness(base.t(), mix, table.t(), backend=backend).t(),
        lambda base, table: naive_forward.shared_goodness(base.t(), mix, table.t()).t(),
        [base.t().contiguous(), table.t().contiguous()],
    )


def test_nan_passes_through(backend: str) -> None:
    base, mix, table = inputs((3, 2, 2, 4), density=1.0)
    base[1, 2] = float("nan")
    base.requires_grad_()
    out = shared_goodness(base, mix, table, backend=backend)
    assert out[:, 1].isnan().all()
    assert out[:, [0, 2]].isfinite().all()
    (grad,) = torch.autograd.grad(out.sum(), base)
    assert grad[1, 2].isnan()


@pytest.mark.usefixtures("always_parallel")
def test_bitwise_the_same_every_time() -> None:
    base, mix, table = inputs((700, 5, 6, 40), dtype=torch.float32)
    leaves = base.requires_grad_(), table.requires_grad_()
    results = []
    for threads in (1, 2, 2):
        torch.set_num_threads(threads)
        out = shared_goodness(base, mix, table)
        results.append([out, *torch.autograd.grad(out.square().sum(), leaves)])
    for first, *others in zip(*results, strict=True):
        assert all(torch.equal(first, other) for other in others)


class Largest(TorchDispatchMode):
    """Notes the size of the largest tensor that any operation returns."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor):
            self.numel = max(self.numel, out.numel())
        return out


def test_labelings_are_never_together_in_memory(backend: str) -> None:
    base, mix, table = inputs((400, 6, 5, 64))
    kept: list[int] = []
    hooks = torch.autograd.graph.saved_tensors_hooks(
        lambda x: (kept.append(x.numel()), x)[1], lambda x: x
    )
    with Largest() as largest, hooks:
        out = shared_goodness(base.requires_grad_(), mix, table.requires_grad_(), backend=backend)
        out.sum().backward()
    assert largest.numel <= 400 * 64  # base's size, a sixth of all rows
    assert sum(kept) <= base.numel() + mix.numel() + table.numel()


def test_traced_by_the_compiler(assert_same: Callable[..., None]) -> None:
    base, mix, table = inputs((6, 3, 4, 5))
    compiled = torch.compile(
        lambda base, table: shared_goodness(base, mix, table), backend="aot_eager", fullgraph=True
    )
    assert_same(
        compiled,
        lambda base, table: naive_forward.shared_goodness(base, mix, table),
        [base, table],
    )


@pytest.mark.parametrize(
    ("position", "part", "error", "words"),
    [
        (0, torch.ones(8, 5), ValueError, r"base, mix and table have shapes \(8, 5\)"),
        (0, torch.ones(9), ValueError, r"pass base \[R, H\]"),
        (0, torch.ones(9, 5).long(), TypeError, "base has dtype torch.int64"),
        (1, torch.ones(9, 4), ValueError, r"mix \[G, R, K\]"),
        (1, torch.ones(3, 9, 3), ValueError, r"mix \[G, R, K\]"),
        (1, torch.ones(3, 9, 4).bool(), TypeError, "mix has dtype torch.bool"),
        (1, torch.ones(3, 9, 4).requires_grad_(), ValueError, r"mix asks .* pass mix.detach\(\)"),
        (2, torch.ones(4, 6), ValueError, r"table \[K, H\]"),
        (2, torch.ones(4, 5, device="meta"), ValueError, "table is on meta, base on cpu"),
    ],
)
def test_errors_name_the_argument(
    position: int, part: Tensor, error: type[Exception], words: str
) -> None:
    parts = [x.float() for x in inputs((9, 3, 4, 5))]
    parts[position] = part
    with pytest.raises(error, match=f"shared_goodness: .*{words}"):
        shared_goodness(*parts)


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(ValueError, match="backend is 'fast'"):
        shared_goodness(*inputs((9, 3, 4, 5)), backend="fast")  # type: ignore[arg-type]
