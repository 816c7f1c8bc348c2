"""scatter: every reduction and backend against the naive twin, in value and gradient."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from graphseq.graph.ops import naive_reduce, reduce_backend, scatter

REDUCTIONS = ("sum", "mean", "max", "min", "mul", "softmax", "logsumexp")
CASES: dict[str, tuple[list[int], int, tuple[int, ...]]] = {  # index, groups, trailing shape
    "no_elements": ([], 3, (2,)),
    "no_groups": ([], 0, (2,)),
    "one_element": ([0], 1, (1,)),
    "one_group": ([0] * 9, 1, (2,)),
    "empty_groups": ([4, 1, 4, 1, 4], 7, (3,)),
    "all_apart": ([3, 0, 2, 1], 4, (2,)),
    "no_trailing": ([2, 0, 2, 2, 1], 3, ()),
    "two_trailing": ([2, 0, 2, 2, 1], 3, (2, 3)),
    "zero_columns": ([1, 0, 1], 2, (0,)),
    "hub": ([0] * 60 + list(range(1, 21)), 22, (5,)),
}
NAN = float("nan")
INF = float("inf")


def draw(shape: tuple[int, ...], kind: str = "normal", seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    if kind == "ties":  # many equal entries, many zeros
        return torch.randint(-1, 2, shape, generator=generator).double()
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("kind", ["normal", "ties"])
@pytest.mark.parametrize("reduce", REDUCTIONS)
@pytest.mark.parametrize("case", CASES)
def test_agrees_with_naive(
    case: str, reduce: str, kind: str, backend: str, assert_same: Callable[..., None]
) -> None:
    positions, size, trailing = CASES[case]
    index = torch.tensor(positions, dtype=torch.int64)
    src = draw((len(positions), *trailing), kind)
    assert_same(
        lambda x: scatter(x, index, size, reduce, backend),
        lambda x: naive_reduce.scatter(x, index, size, reduce),
        [src],
    )


@pytest.mark.usefixtures("always_parallel")
@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_agrees_on_all_threads(reduce: str, assert_same: Callable[..., None]) -> None:
    generator = torch.Generator().manual_seed(1)
    index = (torch.rand(700, generator=generator) ** 3 * 90).long()  # hubs and empty groups
    src = draw((700, 6)).float()
    assert_same(
        lambda x: scatter(x, index, 91, reduce, "numba"),
        lambda x: naive_reduce.scatter(x.double(), index, 91, reduce).float(),
        [src],
        1e-4,
    )
    results = []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        results.append(scatter(src, index, 91, reduce, "numba"))
    assert all(torch.equal(results[0], result) for result in results)


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_gradcheck(reduce: str, backend: str) -> None:
    index = torch.tensor([2, 0, 2, 2, 1, 4, 4])
    src = draw((7, 2)).requires_grad_()

    def function(x: Tensor) -> Tensor:
        # Group 3 is empty: its -inf has gradient 0, which finite differences cannot see.
        return scatter(x, index, 5, reduce, backend)[[0, 1, 2, 4]]

    assert gradcheck(function, src)
    assert gradgradcheck(function, src)


def test_gradcheck_of_mul_with_zeros(backend: str) -> None:
    index = torch.tensor([0, 0, 0, 1, 1, 1, 2])
    src = draw((7, 2))
    src[[0, 4, 5, 6]] = 0  # one zero, two zeros, nothing but a zero
    assert gradcheck(lambda x: scatter(x, index, 3, "mul", backend), src.requires_grad_())


def test_numba_multiplies_without_dividing() -> None:
    src = torch.tensor([1e-30, 1e-30], requires_grad=True)  # the product underflows
    index = torch.tensor([0, 0])
    (grad,) = torch.autograd.grad(scatter(src, index, 1, "mul", "numba").sum(), src)
    torch.testing.assert_close(grad, torch.tensor([1e-30, 1e-30]))


@pytest.mark.parametrize(
    ("reduce", "empty"),
    [("sum", 0), ("mean", 0), ("max", 0), ("min", 0), ("mul", 1), ("logsumexp", -INF)],
)
def test_empty_groups(reduce: str, empty: float, backend: str) -> None:
    src = torch.tensor([[-3.0]], requires_grad=True)
    out = scatter(src, torch.tensor([1]), 3, reduce, backend)
    torch.testing.assert_close(out, torch.tensor([[empty], [-3.0], [empty]]))
    (grad,) = torch.autograd.grad(out.sum(), src)
    assert grad.item() == 1


def test_ties_share_the_gradient(backend: str) -> None:
    src = torch.tensor([1.0, 3.0, 3.0, 2.0, 3.0, 5.0], requires_grad=True)
    index = torch.tensor([0, 0, 0, 0, 1, 1])
    (grad,) = torch.autograd.grad(scatter(src, index, reduce="max", backend=backend).sum(), src)
    torch.testing.assert_close(grad, torch.tensor([0, 0.5, 0.5, 0, 0, 1]))


@pytest.mark.parametrize("reduce", ["softmax", "logsumexp"])
def test_minus_infinity(reduce: str, backend: str, assert_same: Callable[..., None]) -> None:
    src = torch.tensor([-INF, -INF, 1.0, -INF, 2.0, -INF], dtype=torch.float64)
    index = torch.tensor([0, 0, 1, 1, 1, 2])  # all -inf; one of three; alone
    assert_same(
        lambda x: scatter(x, index, 4, reduce, backend),
        lambda x: naive_reduce.scatter(x, index, 4, reduce),
        [src],
    )
    src.requires_grad_()
    (grad,) = torch.autograd.grad(scatter(src, index, 4, reduce, backend)[:1].sum(), src)
    assert torch.equal(grad[:2], torch.zeros(2, dtype=torch.float64))


@pytest.mark.parametrize("reduce", ["max", "min"])
def test_infinite_extrema(reduce: str, backend: str, assert_same: Callable[..., None]) -> None:
    src = torch.tensor([-INF, -INF, INF, INF, INF, 0.0, -INF], dtype=torch.float64)
    index = torch.tensor([0, 0, 1, 1, 2, 2, 2])
    assert_same(
        lambda x: scatter(x, index, 4, reduce, backend),
        lambda x: naive_reduce.scatter(x, index, 4, reduce),
        [src],
    )


@pytest.mark.parametrize("reduce", ["softmax", "logsumexp"])
def test_stable_at_large_scores(reduce: str, backend: str) -> None:
    index = torch.arange(200) % 9
    exact = (1000 * draw((200, 3))).float()
    src = exact.clone().requires_grad_()
    out = scatter(src, index, 9, reduce, backend)
    expected = naive_reduce.scatter(exact.double(), index, 9, reduce)
    torch.testing.assert_close(out.double(), expected, rtol=1e-6, atol=1e-6)
    (grad,) = torch.autograd.grad(out.square().sum(), src)
    assert grad.isfinite().all()
    if reduce == "softmax":
        torch.testing.assert_close(scatter(out, index, 9), torch.ones(9, 3))


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_nan_stays_in_its_group(reduce: str, backend: str) -> None:
    src = torch.tensor([1.0, NAN, 3.0, 4.0, 5.0])
    index = torch.tensor([0, 0, 0, 1, 1])
    out = scatter(src, index, 2, reduce, backend)
    hit = index == 0 if reduce == "softmax" else torch.tensor([True, False])
    assert torch.equal(out.isnan(), hit)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_halves_accumulate_in_float32(dtype: torch.dtype, backend: str) -> None:
    src = torch.ones(1000, 1, dtype=dtype, requires_grad=True)  # bfloat16 would stop at 256
    out = scatter(src, torch.zeros(1000, dtype=torch.int64), 1, backend=backend)
    assert out.dtype == dtype
    assert out.item() == 1000
    out.sum().backward()
    assert src.grad is not None
    assert src.grad.dtype == dtype
    assert torch.equal(src.grad, torch.ones_like(src))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
@pytest.mark.parametrize("reduce", ["sum", "max", "min", "mul"])
def test_integers(reduce: str, dtype: torch.dtype, backend: str) -> None:
    index = torch.tensor([2, 0, 2, 2, 0])
    src = torch.tensor([[3, 1], [2, 2], [5, 1], [1, 7], [2, 3]], dtype=dtype)
    out = scatter(src, index, 4, reduce, backend)
    assert out.dtype == dtype
    assert torch.equal(out, naive_reduce.scatter(src, index, 4, reduce))


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_strided_input_and_gradient(reduce: str, backend: str) -> None:
    index = torch.tensor([1, 0, 1, 1, 0, 2], dtype=torch.int32)
    src = draw((3, 12)).t()[::2].requires_grad_()  # no contiguous dimension
    out = scatter(src, index[::1], 3, reduce, backend)
    (grad,) = torch.autograd.grad(out.sum(), src)  # an expanded cotangent
    twin = naive_reduce.scatter(src, index.long(), 3, reduce)
    torch.testing.assert_close(out, twin)
    torch.testing.assert_close(grad, torch.autograd.grad(twin.sum(), src)[0])


def test_dim_size_defaults_to_the_largest_index(backend: str) -> None:
    assert scatter(torch.ones(2, 3), torch.tensor([0, 4]), backend=backend).shape == (5, 3)
    none = torch.zeros(0, dtype=torch.int64)
    assert scatter(torch.ones(0, 3), none, backend=backend).shape == (0, 3)


def test_index_changed_before_backward_is_noticed(backend: str) -> None:
    src, index = draw((3, 2)).requires_grad_(), torch.tensor([0, 1, 1])
    out = scatter(src, index, 2, "sum", backend)
    index[0] = 99
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_auto(reduce: str, assert_same: Callable[..., None]) -> None:
    for elements, columns in ((4, 1), (300, 8)):
        index = torch.arange(elements) % 3
        assert_same(
            lambda x, index=index: scatter(x, index, 3, reduce),
            lambda x, index=index: naive_reduce.scatter(x, index, 3, reduce),
            [1 + draw((elements, columns)) / 1000],
            1e-9,
        )


def test_auto_chooses_by_size_and_order() -> None:
    def choose(elements: int, columns: int, reduce: str, in_order: bool = False) -> str:
        src = torch.ones(1, 1).expand(elements, columns)
        return reduce_backend.choose(src, reduce, in_order)

    assert choose(10, 10, "softmax", in_order=True) == "torch"
    assert choose(0, 10, "sum") == "torch"
    assert choose(10_000, 1, "sum", in_order=True) == "numba"
    assert choose(10_000, 1, "sum") == "torch"
    assert choose(10_000, 64, "mean") == "numba"
    assert choose(10_000, 1, "max") == "numba"
    assert choose(1_000_000, 1, "max") == "torch"
    assert choose(1_000_000, 64, "max") == "numba"
    assert reduce_backend.choose(torch.ones(10_000, 64, device="meta"), "max", True) == "torch"


# Dynamo makes an instance of autograd.Function, and torch warns itself not to.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_compiles_without_graph_breaks(reduce: str) -> None:
    index, src = torch.tensor([2, 0, 2, 2, 0]), draw((5, 3)).requires_grad_()
    compiled = torch.compile(
        lambda x: scatter(x.sin(), index, 4, reduce), fullgraph=True, backend="aot_eager"
    )
    expected = scatter(src.sin(), index, 4, reduce)
    out = compiled(src)
    torch.testing.assert_close(out, expected)
    grads = [torch.autograd.grad(y[[0, 2]].square().sum(), src)[0] for y in (out, expected)]
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_autocast(reduce: str, backend: str) -> None:
    index = torch.tensor([0, 0, 1, 1])
    src, weight = torch.randn(4, 3), torch.randn(3, 3, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        out = scatter(src @ weight, index, 2, reduce, backend)
    assert out.dtype == torch.bfloat16
    (grad,) = torch.autograd.grad(out.float().sum(), weight)
    assert grad.dtype == torch.float32
    assert grad.isfinite().all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reduce": "median"}, "reduce='median' is unknown"),
        ({"backend": "jax"}, "backend='jax' is unknown"),
        ({"src": torch.tensor(1.0)}, "src must have a first dimension"),
        ({"src": torch.ones(3, dtype=torch.bool)}, "src must be a dense tensor of real numbers"),
        ({"src": torch.ones(3, dtype=torch.complex64)}, "src must be a dense tensor"),
        ({"src": torch.eye(3).to_sparse()}, "src must be a dense tensor"),
        ({"src": torch.arange(3), "reduce": "mean"}, "needs floating point src.*src.float"),
        ({"src": torch.arange(3), "reduce": "softmax"}, "needs floating point src"),
        ({"index": torch.tensor([[0, 1, 1]])}, r"index must be a 1-D int64 tensor.*reshape"),
        ({"index": torch.tensor([0.0, 1.0, 1.0])}, "index must be a 1-D int64 tensor"),
        ({"index": torch.tensor([0, 1])}, "each of src's 3 elements, got 2"),
        ({"index": torch.tensor([0, 1, 2])}, r"index must lie in \[0, dim_size\) = \[0, 2\)"),
        ({"index": torch.tensor([0, -1, 1])}, "got values from -1 to 1"),
        ({"index": torch.tensor([0, -1, 1]), "dim_size": None}, "got values from -1 to 1"),
        ({"dim_size": -1}, "dim_size must be at least 0, got -1"),
        ({"index": torch.zeros(3, dtype=torch.int64, device="meta")}, "index is on meta, src on"),
        ({"src": torch.ones(3, device="meta"), "backend": "numba"}, "runs on the CPU, src is on"),
    ],
)
def test_errors(changes: dict[str, object], message: str) -> None:
    arguments = {"src": torch.ones(3), "index": torch.tensor([0, 1, 1]), "dim_size": 2, **changes}
    with pytest.raises(ValueError, match="^scatter: .*" + message) as error:
        scatter(**arguments)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


def test_missing_torch_scatter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reduce_backend.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="`pip install --no-build-isolation torch-scatter`"):
        scatter(torch.ones(1), torch.tensor([0]), backend="torch_scatter")


@st.composite
def elements(draw_: st.DrawFn) -> tuple[Tensor, Tensor, int]:
    count, size = draw_(st.integers(0, 12)), draw_(st.integers(1, 5))
    index = draw_(st.lists(st.integers(0, size - 1), min_size=count, max_size=count))
    values = st.floats(-50, 50, width=16)
    src = draw_(st.lists(st.tuples(values, values), min_size=count, max_size=count))
    table = torch.tensor(src, dtype=torch.float64).reshape(count, 2)
    return table, torch.tensor(index, dtype=torch.int64), size


@given(elements(), st.randoms(use_true_random=False), st.sampled_from(REDUCTIONS))
def test_order_of_elements_does_not_matter(
    data: tuple[Tensor, Tensor, int], random: "st.Random", reduce: str
) -> None:
    src, index, size = data
    order = torch.tensor(random.sample(range(len(src)), len(src)), dtype=torch.int64)
    for backend in ("torch", "numba"):
        out = scatter(src, index, size, reduce, backend)
        moved = scatter(src[order], index[order], size, reduce, backend)
        torch.testing.assert_close(moved, out[order] if reduce == "softmax" else out)


@given(elements())
def test_groups_add_up_to_the_whole(data: tuple[Tensor, Tensor, int]) -> None:
    src, index, size = data
    for backend in ("torch", "numba"):
        total = scatter(src, index, size, "sum", backend).sum(0)
        torch.testing.assert_close(total, src.sum(0))
        count = scatter(torch.ones_like(src), index, size, "sum", backend)
        mean = scatter(src, index, size, "mean", backend)
        torch.testing.assert_close((mean * count).sum(0), src.sum(0))
        prob = scatter(src, index, size, "softmax", backend)
        torch.testing.assert_close(scatter(prob, index, size, "sum", backend), (count > 0).double())
        lse = scatter(src, index, size, "logsumexp", backend)
        torch.testing.assert_close(prob.log(), src - lse[index], atol=1e-9, rtol=1e-9)
        assert all(math.isinf(value) for value in lse[count == 0].tolist())
