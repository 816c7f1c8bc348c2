"""The selective scan: compiled == in blocks == by steps, in pieces == at once, with gradients."""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from graphseq.sequence.ops import AffineState, merge_affine, naive, selective_scan

BACKENDS = ["numba", "torch"]
TIMES = [1, 2, 63, 64, 65, 130]
NAMES = ["u", "delta", "a", "b", "c", "value"]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def inputs(
    time: int,
    batch: int = 2,
    channels: int = 17,
    size: int = 3,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
) -> list[Tensor]:
    """u, delta, a, b, c and the value of a state."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    u, delta = draw(batch, time, channels), 0.3 * draw(batch, time, channels).abs()
    a, b, c = -draw(channels, size).exp(), draw(batch, time, size), draw(batch, time, size)
    return [u, delta, a, b, c, draw(batch, channels, size)]


def scan(*parts: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
    """Output and last value, from a state of the given value."""
    *parts, value = parts
    y, last = selective_scan(*parts, AffineState(torch.ones_like(value), value), **options)
    return y, last.value


def by_steps(*parts: Tensor) -> tuple[Tensor, Tensor]:
    y, last = naive.selective_scan(*parts)
    return y, last.value


def results(function: Callable[..., tuple[Tensor, Tensor]], parts: list[Tensor]) -> list[Tensor]:
    """Output and last value, and the gradients of all parts through both."""
    leaves = [part.detach().clone().requires_grad_() for part in parts]
    out = function(*leaves)
    cotangents = [torch.linspace(-1.0, 9.0, x.numel()).view(x.shape).cos().to(x) for x in out]
    return [*(x.detach() for x in out), *torch.autograd.grad(out, leaves, cotangents)]


def assert_close(got: list[Tensor], expected: list[Tensor], tolerance: float = 1e-11) -> None:
    for name, x, y in zip(["y", "last", *NAMES], got, expected, strict=True):
        torch.testing.assert_close(
            x, y, rtol=tolerance, atol=tolerance, msg=lambda m, name=name: f"{name}: {m}"
        )


@pytest.mark.parametrize("time", TIMES)
def test_equals_the_recurrence(backend: str, time: int) -> None:
    parts = inputs(time)
    assert_close(results(lambda *x: scan(*x, backend=backend), parts), results(by_steps, parts))


@pytest.mark.parametrize("size", [1, 3, 17])
@pytest.mark.parametrize("channels", [1, 3, 17, 32, 150])
def test_every_width(backend: str, channels: int, size: int) -> None:
    parts = inputs(70, 3, channels, size)
    assert_close(results(lambda *x: scan(*x, backend=backend), parts), results(by_steps, parts))


def test_gradcheck(backend: str) -> None:
    parts = [part.requires_grad_() for part in inputs(4, 2, 2, 2)]
    torch.autograd.gradcheck(lambda *x: scan(*x, backend=backend), parts)


def test_gradcheck_of_a_masked_scan(backend: str) -> None:
    parts = [part.requires_grad_() for part in inputs(4, 2, 2, 2)]
    mask = torch.tensor([[True, False, True, True], [False, True, False, False]])
    torch.autograd.gradcheck(lambda *x: scan(*x, mask=mask, backend=backend), parts)


def test_nothing_read_changes_nothing(backend: str) -> None:
    parts = inputs(0)
    y, value, *grads = results(lambda *x: scan(*x, backend=backend), parts)
    assert y.shape == (2, 0, 17)
    assert torch.equal(value, parts[5])
    assert [g.shape for g in grads] == [p.shape for p in parts]
    assert not grads[2].any()


@pytest.mark.parametrize(("batch", "channels", "size"), [(0, 3, 2), (2, 0, 2), (2, 3, 0)])
def test_empty_dimensions(backend: str, batch: int, channels: int, size: int) -> None:
    parts = inputs(5, batch, channels, size)
    y, value, *grads = results(lambda *x: scan(*x, backend=backend), parts)
    assert y.shape == (batch, 5, channels)
    assert not y.any()
    assert value.shape == (batch, channels, size)
    assert not any(g.any() for g in grads)


@given(st.integers(0, 10_000), st.lists(st.integers(0, 140), max_size=3))
def test_in_pieces_is_at_once(seed: int, cuts: list[int]) -> None:
    parts = inputs(140, 1, 3, 2, seed=seed)

    def in_pieces(*x: Tensor) -> tuple[Tensor, Tensor]:
        state = AffineState(torch.ones_like(x[5]), x[5])
        outputs, edges = [], [0, *sorted(cuts), 140]
        for begin, end in itertools.pairwise(edges):
            u, delta, b, c = (x[i][:, begin:end] for i in (0, 1, 3, 4))
            y, state = selective_scan(u, delta, x[2], b, c, state)
            outputs.append(y)
        return torch.cat(outputs, 1), state.value

    assert_close(results(in_pieces, parts), results(scan, parts))


def test_states_of_segments_merge(backend: str) -> None:
    u, delta, a, b, c, _ = inputs(100)
    _, whole = selective_scan(u, delta, a, b, c, backend=backend)
    segments = [
        selective_scan(u[:, s], delta[:, s], a, b[:, s], c[:, s], backend=backend)[1]
        for s in (slice(37), slice(37, 100))
    ]
    merged = merge_affine(*segments)
    torch.testing.assert_close(tuple(merged), tuple(whole), rtol=1e-12, atol=1e-12)


def test_the_decay_is_the_product_of_all_since_the_start(backend: str) -> None:
    u, delta, a, b, c, value = inputs(66)
    delta = (delta / 10).requires_grad_()
    factors = torch.exp(delta[..., None] * a).prod(1)
    before = AffineState(torch.full_like(value, 0.5), value)
    _, after = selective_scan(u, delta, a, b, c, before, backend=backend)
    torch.testing.assert_close(after.decay, 0.5 * factors.detach())
    assert not after.decay.requires_grad
    assert after.value.requires_grad


def test_causal(backend: str) -> None:
    u, delta, a, b, c, value = inputs(90)
    y, _ = scan(u, delta, a, b, c, value, backend=backend)
    short = scan(u[:, :70], delta[:, :70], a, b[:, :70], c[:, :70], value, backend=backend)[0]
    torch.testing.assert_close(y[:, :70], short, rtol=1e-13, atol=1e-13)


def masks() -> Tensor:
    """One sequence that ends early, one with gaps, one of nothing at all."""
    mask = torch.ones(3, 130, dtype=torch.bool)
    mask[0, 50:] = False
    mask[1, ::3] = False
    mask[2] = False
    return mask


def test_masked_steps_are_left_out(backend: str) -> None:
    """As if the sequences were shorter, and nothing reaches or leaves the steps outside."""
    parts, mask = inputs(130, batch=3), masks()

    def shorter(*x: Tensor) -> tuple[Tensor, Tensor]:
        outputs, values = torch.zeros_like(x[0]), []
        for i in range(3):
            u, delta, b, c = (x[j][i : i + 1, mask[i]] for j in (0, 1, 3, 4))
            y, value = by_steps(u, delta, x[2], b, c, x[5][i : i + 1]) if u.numel() else (
                u, x[5][i : i + 1]
            )  # fmt: skip
            outputs = outputs.index_put((torch.tensor(i), mask[i].nonzero()[:, 0]), y[0])
            values.append(value)
        return outputs, torch.cat(values)

    expected = results(shorter, parts)
    got = results(lambda *x: scan(*x, mask=mask, backend=backend), parts)
    assert_close(got, expected)
    decay = selective_scan(*parts[:5], mask=mask, backend=backend)[1].decay
    assert (decay[2] == 1).all()


def test_what_padding_holds_does_not_matter(backend: str) -> None:
    parts, mask = inputs(130, batch=3, dtype=torch.float32), masks()
    expected = results(lambda *x: scan(*x, mask=mask, backend=backend), parts)
    for i in (0, 1, 3, 4):
        parts[i] = parts[i].masked_fill(~mask[:, :, None], torch.nan)
    got = results(lambda *x: scan(*x, mask=mask, backend=backend), parts)
    assert all(torch.equal(x, y) for x, y in zip(got, expected, strict=True))
    for i in (0, 2, 3, 5, 6):  # the output, and the gradients of u, delta, b and c
        assert not got[i][~mask].any()


def test_no_step_size_keeps_the_state_exactly(backend: str) -> None:
    u, delta, a, b, c, value = inputs(70, dtype=torch.float32)
    y, state = selective_scan(
        u, torch.zeros_like(delta), a, b, c, AffineState(torch.ones_like(value), value),
        backend=backend,
    )  # fmt: skip
    assert torch.equal(state.value, value)
    assert (state.decay == 1).all()
    torch.testing.assert_close(y, torch.einsum("bdn,btn->btd", value, c))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_huge_step_size_forgets_exactly(backend: str, dtype: torch.dtype) -> None:
    u, delta, a, b, c, value = (x.requires_grad_() for x in inputs(70, dtype=dtype))
    sizes = torch.full_like(delta, 1e6).requires_grad_()
    y, state = selective_scan(
        u, sizes, a, b, c, AffineState(torch.ones_like(value), value), backend=backend
    )
    expected = 1e6 * u * (b * c).sum(-1, keepdim=True)
    assert (y - expected).abs().max() <= 1e-6 * expected.abs().max()
    assert not state.decay.any()
    grads = torch.autograd.grad(y.sum() + state.value.sum(), (u, sizes, a, b, c, value))
    assert all(g.isfinite().all() for g in grads)
    assert not grads[2].any()
    assert not grads[5].any()


def test_rates_above_zero_grow(backend: str) -> None:
    parts = inputs(130)
    parts[2] = parts[2].abs() / 10
    assert_close(results(lambda *x: scan(*x, backend=backend), parts), results(by_steps, parts))


def test_nan_passes_through(backend: str) -> None:
    parts = inputs(70, channels=3, dtype=torch.float32)
    parts[1][0, 40, 1] = torch.nan
    y, value = scan(*parts, backend=backend)
    assert y[0, 40:, 1].isnan().all()
    assert value[0, 1].isnan().all()
    assert y[0, :40].isfinite().all()
    assert y[0, :, [0, 2]].isfinite().all()
    assert y[1].isfinite().all()


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_float32_is_near_float64(backend: str, scale: float) -> None:
    parts = inputs(700, size=16, dtype=torch.float32)
    parts[1] *= scale
    single = results(lambda *x: scan(*x, backend=backend), parts)
    exact = results(by_steps, [part.double() for part in parts])
    for name, x, y in zip(["y", "last", *NAMES], single, exact, strict=True):
        assert (x - y).abs().max() <= 1e-5 * y.abs().max(), name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(backend: str, dtype: torch.dtype) -> None:
    parts = inputs(66, dtype=dtype)
    exact, state = selective_scan(*(x.float() for x in parts[:5]), backend=backend)
    y, rounded = selective_scan(*parts[:5], backend=backend)
    assert y.dtype == dtype
    assert rounded.value.dtype == rounded.decay.dtype == torch.float32
    assert torch.equal(y, exact.to(dtype))
    assert torch.equal(rounded.value, state.value)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, _ = selective_scan(*(x.float() for x in parts[:5]), backend=backend)
    assert torch.equal(y, exact)
    grads = results(lambda *x: scan(*x, backend=backend), parts)[2:]
    assert [g.dtype for g in grads] == [dtype] * 6


def test_memory_for_the_gradients(backend: str) -> None:
    """A state for every 64 steps is kept beside the inputs themselves."""
    parts = [part.requires_grad_() for part in inputs(640, 2, 32, 16, torch.float32)]
    given = {part.data_ptr() for part in parts}
    kept: dict[int, int] = {}

    def pack(x: Tensor) -> Tensor:
        if x.data_ptr() not in given:
            kept[x.data_ptr()] = x.numel()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        scan(*parts, backend=backend)[0].sum().backward()
    assert 0 < sum(kept.values()) <= 11 * 2 * 32 * 16 < 2 * 640 * 32 * 16 / 50


class _Largest(TorchDispatchMode):
    """Notes the size of the largest tensor that any operation returns."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, (list, tuple)) else [out]:
            self.numel = max(self.numel, x.numel() if isinstance(x, Tensor) else 0)
        return out


def test_all_states_at_once_are_never_laid_out(backend: str) -> None:
    parts = [part.requires_grad_() for part in inputs(640, 2, 32, 16)]
    with _Largest() as largest:
        scan(*parts, backend=backend)[0].sum().backward()
    assert largest.numel <= 2 * 640 * 32 * 16 / 8


def test_nothing_is_kept_without_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, ...]] = []
    new_empty = Tensor.new_empty

    def spy(self: Tensor, *shape: Any, **options: Any) -> Tensor:
        asked.append(shape)
        return new_empty(self, *shape, **options)

    monkeypatch.setattr(Tensor, "new_empty", spy)
    parts = [part.requires_grad_() for part in inputs(130)]
    with torch.no_grad():
        scan(*parts)
    assert (1, 2, 3, 17) in asked
    scan(*parts)
    assert (4, 2, 3, 17) in asked


def test_strided_inputs_and_gradients(backend: str) -> None:
    parts = inputs(66)
    strided = [part.transpose(0, -1).contiguous().transpose(0, -1) for part in parts]
    function = lambda *x: scan(*x, backend=backend)  # noqa: E731
    assert_close(results(function, strided), results(function, parts))
    leaves = [part.requires_grad_() for part in parts]
    y, value = function(*leaves)
    (y.sum() + value.sum()).backward()  # gradients that are one expanded number
    expected = torch.autograd.grad([x.sum() for x in by_steps(*leaves)], leaves)
    for leaf, grad in zip(leaves, expected, strict=True):
        assert leaf.grad is not None
        torch.testing.assert_close(leaf.grad, grad)


def test_the_given_state_stays_as_it_is(backend: str) -> None:
    parts = inputs(5)
    before = parts[5].clone()
    _, state = selective_scan(
        *parts[:5], AffineState(torch.ones_like(before), parts[5]), backend=backend
    )
    state.value.zero_()
    assert torch.equal(parts[5], before)


def test_bitwise_the_same_every_time_and_for_every_number_of_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("graphseq.kernels.SERIAL_WORK", 0)
    parts = inputs(130, 3, 70, dtype=torch.float32)
    first = results(scan, parts)
    for threads in (2, 1):
        torch.set_num_threads(threads)
        assert all(torch.equal(x, y) for x, y in zip(results(scan, parts), first, strict=True))


def test_many_threads_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphseq.kernels.SERIAL_WORK", 0)
    parts = inputs(70, 2, 40, dtype=torch.float32)

    def step(_: int) -> list[Tensor]:
        torch.set_num_threads(2)  # torch counts per thread, too
        return results(scan, parts)

    expected = step(0)
    with ThreadPoolExecutor(8) as pool:
        for result in pool.map(step, range(40)):
            assert all(torch.equal(x, y) for x, y in zip(result, expected, strict=True))


def test_only_what_needs_a_gradient_gets_one(backend: str) -> None:
    parts = inputs(66)
    parts[2].requires_grad_()
    scan(*parts, backend=backend)[1].sum().backward()  # through the last state alone
    assert parts[2].grad is not None
    assert all(parts[i].grad is None for i in (0, 1, 3, 4, 5))


def test_a_second_derivative_is_refused_clearly(backend: str) -> None:
    parts = [part.requires_grad_() for part in inputs(3)]
    y, _ = scan(*parts, backend=backend)
    (grad,) = torch.autograd.grad(y.square().sum(), parts[0], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's own
def test_traced_by_the_compiler() -> None:
    parts, mask = inputs(4), torch.arange(4) < torch.tensor([[4], [3]])
    compiled = torch.compile(lambda *x: scan(*x, mask=mask), backend="aot_eager", fullgraph=True)
    assert_close(results(compiled, parts), results(lambda *x: scan(*x, mask=mask), parts))


def test_errors_name_the_argument() -> None:
    u, delta, a, b, c, value = inputs(6)
    where = "selective_scan: "
    with pytest.raises(ValueError, match=where + r"delta has shape \(2, 5, 17\), expected"):
        selective_scan(u, delta[:, :5], a, b, c)
    with pytest.raises(ValueError, match=where + r"a has shape \(16, 3\), expected \[D=17, N"):
        selective_scan(u, delta, a[:16], b, c)
    with pytest.raises(ValueError, match=where + r"b has shape \(2, 6, 2\), expected"):
        selective_scan(u, delta, a, b[..., :2], c)
    with pytest.raises(ValueError, match=where + r"c has shape \(2, 6\), expected"):
        selective_scan(u, delta, a, b, c[..., 0])
    with pytest.raises(TypeError, match=where + r"u has dtype torch\.int64"):
        selective_scan(u.long(), delta, a, b, c)
    with pytest.raises(TypeError, match=where + r"a has dtype torch\.complex128; pass real"):
        selective_scan(u, delta, a.to(torch.complex128), b, c)
    with pytest.raises(TypeError, match=where + r"mask has dtype torch\.float64"):
        selective_scan(u, delta, a, b, c, mask=torch.ones(2, 6).double())
    with pytest.raises(ValueError, match=where + r"mask has shape \(2, 5\)"):
        selective_scan(u, delta, a, b, c, mask=torch.ones(2, 5, dtype=torch.bool))
    with pytest.raises(ValueError, match=where + r"state\.value has shape \(2, 17, 2\)"):
        selective_scan(u, delta, a, b, c, AffineState(value, value[..., :2]))
    with pytest.raises(TypeError, match=where + "state is a Tensor"):
        selective_scan(u, delta, a, b, c, value)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=where + "backend is 'fast'"):
        selective_scan(u, delta, a, b, c, backend="fast")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=where + "b is on meta"):
        selective_scan(u, delta, a, b.to("meta"), c)
