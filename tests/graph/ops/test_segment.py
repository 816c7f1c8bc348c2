"""segment: values and gradients against the naive twin, and the same rules as scatter."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from graphseq.graph.ops import naive_reduce, scatter, segment

REDUCTIONS = ("sum", "mean", "max", "min", "mul", "softmax", "logsumexp")
CASES: dict[str, tuple[list[int], tuple[int, ...]]] = {  # ptr, trailing shape
    "no_elements": ([0, 0, 0, 0], (2,)),
    "no_groups": ([0], (2,)),
    "one_element": ([0, 1], ()),
    "one_group": ([0, 9], (2,)),
    "empty_groups": ([0, 0, 2, 2, 2, 5, 5], (3,)),
    "two_trailing": ([0, 1, 4, 5], (2, 3)),
    "zero_columns": ([0, 1, 3], (0,)),
    "hub": ([0, 60, *range(61, 81), 80], (5,)),
}


def draw(shape: tuple[int, ...], kind: str = "normal") -> Tensor:
    generator = torch.Generator().manual_seed(0)
    if kind == "ties":
        return torch.randint(-1, 2, shape, generator=generator).double()
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("kind", ["normal", "ties"])
@pytest.mark.parametrize("reduce", REDUCTIONS)
@pytest.mark.parametrize("case", CASES)
def test_agrees_with_naive(
    case: str, reduce: str, kind: str, backend: str, assert_same: Callable[..., None]
) -> None:
    starts, trailing = CASES[case]
    ptr = torch.tensor(starts)
    assert_same(
        lambda x: segment(x, ptr, reduce, backend),
        lambda x: naive_reduce.segment(x, ptr, reduce),
        [draw((starts[-1], *trailing), kind)],
    )


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_gradcheck(reduce: str, backend: str) -> None:
    ptr, src = torch.tensor([0, 3, 4, 7]), draw((7, 2)).requires_grad_()
    assert gradcheck(lambda x: segment(x, ptr, reduce, backend), src)
    if (reduce, backend) != ("mul", "torch"):
        assert gradgradcheck(lambda x: segment(x, ptr, reduce, backend), src)


def test_torch_product_says_that_it_has_one_derivative() -> None:
    src = draw((4,)).requires_grad_()
    out = segment(src, torch.tensor([0, 4]), "mul", "torch")
    (grad,) = torch.autograd.grad(out.sum(), src, create_graph=True)
    with pytest.raises(RuntimeError, match="not implemented"):
        grad.sum().backward()


def test_gradcheck_of_mul_with_zeros(backend: str) -> None:
    src = draw((7, 2))
    src[[0, 4, 5, 6]] = 0  # one zero, two zeros, nothing but a zero
    ptr = torch.tensor([0, 3, 6, 7])
    assert gradcheck(lambda x: segment(x, ptr, "mul", backend), src.requires_grad_())


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize("reduce", ["sum", "max", "min", "mul"])
def test_integers(reduce: str, dtype: torch.dtype, backend: str) -> None:
    src = torch.tensor([[3, -1], [-2, 2], [5, 1], [1, -7]], dtype=dtype)
    ptr = torch.tensor([0, 3, 3, 4], dtype=torch.int32)
    out = segment(src, ptr, reduce, backend)
    assert out.dtype == dtype
    assert torch.equal(out, naive_reduce.segment(src, ptr, reduce))


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_half_and_infinity(reduce: str, backend: str) -> None:
    src = torch.tensor([-torch.inf, -torch.inf, 1, 2, -torch.inf], dtype=torch.bfloat16)
    ptr = torch.tensor([0, 2, 5, 5])
    out = segment(src, ptr, reduce, backend)
    assert out.dtype == torch.bfloat16
    expected = naive_reduce.segment(src.double(), ptr, reduce).to(torch.bfloat16)
    torch.testing.assert_close(out, expected)


# Dynamo makes an instance of autograd.Function, and torch warns itself not to.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_compiles_without_graph_breaks(reduce: str) -> None:
    ptr, src = torch.tensor([0, 2, 2, 5]), draw((5, 3)).requires_grad_()
    compiled = torch.compile(
        lambda x: segment(x.sin(), ptr, reduce), fullgraph=True, backend="aot_eager"
    )
    out, expected = compiled(src), segment(src.sin(), ptr, reduce)
    torch.testing.assert_close(out, expected)
    grads = [torch.autograd.grad(y[[0, 2]].square().sum(), src)[0] for y in (out, expected)]
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reduce": "median"}, "reduce='median' is unknown"),
        ({"src": torch.arange(4), "reduce": "logsumexp"}, "needs floating point src"),
        ({"ptr": torch.tensor([], dtype=torch.int64)}, r"ptr must hold N \+ 1 entries"),
        ({"ptr": torch.tensor([0.0, 4.0])}, "ptr must be a 1-D int64 tensor"),
        ({"ptr": torch.tensor([[0, 4]])}, "ptr must be a 1-D int64 tensor"),
        ({"ptr": torch.tensor([0, 3])}, "ptr must run from 0 to 4, .* got 0 to 3"),
        ({"ptr": torch.tensor([1, 4])}, "ptr must run from 0 to 4, .* got 1 to 4"),
        ({"ptr": torch.tensor([0, 9, 4])}, "ptr must ascend"),
        ({"ptr": torch.tensor([0, -1, 4])}, "ptr must ascend"),
        ({"ptr": torch.zeros(2, dtype=torch.int64, device="meta")}, "ptr is on meta, src on cpu"),
    ],
)
def test_errors(changes: dict[str, object], message: str) -> None:
    arguments = {"src": torch.ones(4), "ptr": torch.tensor([0, 4]), **changes}
    with pytest.raises(ValueError, match="^segment: .*" + message) as error:
        segment(**arguments)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=6),
    st.sampled_from(REDUCTIONS),
    st.sampled_from([(), (1,), (3,)]),
)
def test_is_scatter_with_repeated_index(
    sizes: list[int], reduce: str, trailing: tuple[int, ...]
) -> None:
    ptr = torch.tensor([0, *sizes]).cumsum(0)
    index = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    src = draw((sum(sizes), *trailing))
    for backend in ("torch", "numba"):
        out = segment(src, ptr, reduce, backend)
        torch.testing.assert_close(out, scatter(src, index, len(sizes), reduce, backend))
