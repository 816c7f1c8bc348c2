"""backend="torch_scatter": the same values, gradients and rules as the other backends.

Skipped where torch-scatter is not installed, unless GRAPHSEQ_REQUIRE_SCATTER=1 says that it is.
"""

import importlib.util
import os
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from graphseq.graph.ops import naive_reduce, scatter, segment

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torch_scatter") is None
    and os.environ.get("GRAPHSEQ_REQUIRE_SCATTER") != "1",
    reason="torch-scatter is not installed: pip install --no-build-isolation torch-scatter",
)

REDUCTIONS = ("sum", "mean", "max", "min", "mul", "softmax", "logsumexp")
SIZES = {
    "no_elements": [0, 0],
    "one_element": [1],
    "empty_groups": [0, 3, 0, 0, 2, 1, 0],
    "hub": [1, 40, 2, 0, 5],
}
INF = torch.inf


def draw(shape: tuple[int, ...], kind: str) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    if kind == "ties":
        return torch.randint(-1, 2, shape, generator=generator).double()
    scores = 1000 * torch.randn(shape, generator=generator, dtype=torch.float64)
    if kind == "masked":
        scores[torch.rand(shape[0], generator=generator) < 0.6] = -INF
        return scores
    return scores / 1000


@pytest.mark.parametrize("kind", ["normal", "ties", "masked"])
@pytest.mark.parametrize("reduce", REDUCTIONS)
@pytest.mark.parametrize("case", SIZES)
def test_scatter(case: str, reduce: str, kind: str, assert_same: Callable[..., None]) -> None:
    if reduce in ("sum", "mean", "mul") and kind == "masked":
        kind = "normal"  # -inf plus a number has no gradient to compare
    sizes = torch.tensor(SIZES[case])
    index = torch.arange(len(sizes)).repeat_interleave(sizes)
    index = index[torch.randperm(len(index), generator=torch.Generator().manual_seed(1))]
    assert_same(
        lambda x: scatter(x, index, len(sizes), reduce, "torch_scatter"),
        lambda x: naive_reduce.scatter(x, index, len(sizes), reduce),
        [draw((len(index), 2, 2), kind)],
    )


@pytest.mark.parametrize("kind", ["normal", "ties", "masked"])
@pytest.mark.parametrize("reduce", REDUCTIONS)
@pytest.mark.parametrize("case", SIZES)
def test_segment(case: str, reduce: str, kind: str, assert_same: Callable[..., None]) -> None:
    if reduce in ("sum", "mean", "mul") and kind == "masked":
        kind = "normal"
    ptr = torch.tensor([0, *SIZES[case]]).cumsum(0)
    assert_same(
        lambda x: segment(x, ptr, reduce, "torch_scatter"),
        lambda x: naive_reduce.segment(x, ptr, reduce),
        [draw((int(ptr[-1]), 3), kind)],
    )


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_gradcheck(reduce: str) -> None:
    ptr, index = torch.tensor([0, 3, 4, 7]), torch.tensor([2, 0, 2, 2, 1, 0, 1])
    src = draw((7, 2), "normal").requires_grad_()
    for check in (gradcheck, gradgradcheck):
        assert check(lambda x: scatter(x, index, 3, reduce, "torch_scatter"), src)
        assert check(lambda x: segment(x, ptr, reduce, "torch_scatter"), src)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize("reduce", ["sum", "max", "min", "mul"])
def test_integers(reduce: str, dtype: torch.dtype) -> None:
    src, index = torch.tensor([[3, -1], [-2, 2], [5, 1]], dtype=dtype), torch.tensor([2, 0, 2])
    out = scatter(src, index, 4, reduce, "torch_scatter")
    assert out.dtype == dtype
    assert torch.equal(out, naive_reduce.scatter(src, index, 4, reduce))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_halves_accumulate_in_float32(dtype: torch.dtype) -> None:
    index = torch.zeros(1000, dtype=torch.int64)
    out = scatter(torch.ones(1000, dtype=dtype), index, 1, "sum", "torch_scatter")
    assert out.dtype == dtype
    assert out.item() == 1000


@pytest.mark.parametrize("reduce", ["max", "softmax"])
def test_nan_stays_in_its_group(reduce: str) -> None:
    src, index = torch.tensor([1.0, torch.nan, 3.0, 4.0]), torch.tensor([0, 0, 0, 1])
    out = scatter(src, index, 2, reduce, "torch_scatter")
    hit = index == 0 if reduce == "softmax" else torch.tensor([True, False])
    assert torch.equal(out.isnan(), hit)


def test_ties_are_where_the_package_itself_differs() -> None:
    import torch_scatter

    src, index = torch.tensor([2.0, 2.0], requires_grad=True), torch.tensor([0, 0])
    ours = scatter(src, index, 1, "max", "torch_scatter")
    theirs = torch_scatter.scatter(src, index, 0, None, 1, "max")
    assert torch.equal(ours, theirs)
    (grad,) = torch.autograd.grad(ours.sum(), src)
    assert grad.tolist() == [0.5, 0.5]
    assert sorted(torch.autograd.grad(theirs.sum(), src)[0].tolist()) == [0, 1]


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_equals_the_package_where_rules_are_alike(reduce: str) -> None:
    import torch_scatter

    index, src = torch.tensor([2, 0, 2, 2, 1, 0, 1]), draw((7, 2), "normal")
    if reduce in ("softmax", "logsumexp"):
        theirs = getattr(torch_scatter, f"scatter_{reduce}")(src, index, 0)
    else:
        theirs = torch_scatter.scatter(src, index, 0, None, 3, reduce)
    for backend in ("torch", "numba", "torch_scatter"):
        torch.testing.assert_close(scatter(src, index, 3, reduce, backend), theirs)
