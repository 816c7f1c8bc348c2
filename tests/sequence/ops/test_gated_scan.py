"""The gated scan: compiled == in lockstep == step by step, in pieces == at once, with gradients."""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from graphseq.sequence.ops import AffineState, gated_scan, merge_affine, naive
from graphseq.sequence.ops.backend import Backend

DTYPES = [torch.float64, torch.complex128]
TIMES = [1, 2, 63, 64, 65, 130]


@pytest.fixture(params=["numba", "torch"])
def backend(request: pytest.FixtureRequest) -> Backend:
    chosen: Backend = request.param
    return chosen


@pytest.fixture
def always_parallel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small work runs on all threads too."""
    monkeypatch.setattr("graphseq.kernels.SERIAL_WORK", 0)


def draw(
    shape: tuple[int, ...], seed: int = 0, dtype: torch.dtype = torch.float64, scale: float = 1.0
) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    wide = torch.complex128 if dtype.is_complex else torch.float64
    return (scale * torch.randn(shape, generator=generator, dtype=wide)).to(dtype)


def inputs(
    time: int, batch: int = 3, channels: int = 5, dtype: torch.dtype = torch.float64, seed: int = 0
) -> list[Tensor]:
    """Decays of both signs, some beyond 1, some 0 and some 1; values; a state."""
    decay = draw((batch, time, channels), seed, dtype, 0.7)
    decay[:, ::7] = 0
    decay[:, 3::5] = 1
    value = draw((batch, time, channels), seed + 1, dtype)
    return [decay, value, draw((batch, channels), seed + 2, dtype)]


def scan(decay: Tensor, value: Tensor, before: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
    """All states and the last, from a given one."""
    out, last = gated_scan(decay, value, AffineState(torch.ones_like(before), before), **options)
    return out, last.value


def by_steps(decay: Tensor, value: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    out, last = naive.gated_scan(decay.expand_as(value), value, before)
    return out, last.value


def results(function: Callable[..., tuple[Tensor, Tensor]], parts: list[Tensor]) -> list[Tensor]:
    """Outputs and last state, and the gradients of all parts through both."""
    leaves = [part.detach().clone().requires_grad_() for part in parts]
    out = function(*leaves)
    cotangents = [torch.linspace(-1.0, 9.0, x.numel()).view(x.shape).cos().to(x) for x in out]
    return [*(x.detach() for x in out), *torch.autograd.grad(out, leaves, cotangents)]


def assert_close(got: list[Tensor], expected: list[Tensor], tolerance: float = 1e-11) -> None:
    names = ["out", "last", "decay", "value", "before"]
    for name, x, y in zip(names, got, expected, strict=True):
        torch.testing.assert_close(
            x, y, rtol=tolerance, atol=tolerance, msg=lambda m, name=name: f"{name}: {m}"
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("time", TIMES)
def test_equals_the_recurrence(backend: Backend, time: int, dtype: torch.dtype) -> None:
    parts = inputs(time, dtype=dtype)
    assert_close(results(lambda *x: scan(*x, backend=backend), parts), results(by_steps, parts))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 65, 5), (3, 1, 5), (1, 1, 5), (5,)])
def test_a_decay_that_does_not_depend_on_all(
    backend: Backend, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    parts = inputs(65, dtype=dtype)
    parts[0] = draw(shape, 9, dtype, 0.5)
    got = results(lambda *x: scan(*x, backend=backend), parts)
    assert_close(got, results(by_steps, parts))
    assert got[2].shape == shape


@pytest.mark.parametrize("channels", [1, 15, 16, 40, 150])
def test_every_width_in_parallel(channels: int, always_parallel: None) -> None:
    parts = inputs(33, 2, channels)
    assert_close(results(scan, parts), results(by_steps, parts))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 4, 2), (2,)])
def test_gradcheck(backend: Backend, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    parts = [draw(shape, 0, dtype), draw((2, 4, 2), 1, dtype), draw((2, 2), 2, dtype)]
    mask = torch.tensor([[True, False, True, True], [False, True, False, False]])
    parts = [part.requires_grad_() for part in parts]
    torch.autograd.gradcheck(lambda *x: scan(*x, backend=backend), parts)
    torch.autograd.gradcheck(lambda *x: scan(*x, mask=mask, backend=backend), parts)


def test_a_real_decay_of_complex_values(backend: Backend) -> None:
    parts = inputs(20, dtype=torch.complex128)
    parts[0] = draw((3, 20, 5), scale=0.5)
    assert_close(results(lambda *x: scan(*x, backend=backend), parts), results(by_steps, parts))


def test_a_complex_decay_makes_complex_states(backend: Backend) -> None:
    decay, value = draw((5,), dtype=torch.complex64, scale=0.5), draw((3, 9, 5)).float()
    out, state = gated_scan(decay, value, backend=backend)
    assert {out.dtype, state.value.dtype, state.decay.dtype} == {torch.complex64}
    expected, _ = naive.gated_scan(decay.expand(3, 9, 5), value.to(torch.complex64))
    torch.testing.assert_close(out, expected)


def test_lazy_conjugates_and_strides(backend: Backend) -> None:
    parts = [part.mT for part in inputs(12, 3, 5, torch.complex128)[:2]]  # [3, 5, 12]
    parts.append(draw((3, 12), 2, torch.complex128))
    parts = [part.conj() for part in parts]
    got = results(lambda *x: scan(*(y.conj() for y in x), backend=backend), parts)
    assert_close(got, results(lambda *x: by_steps(*(y.conj() for y in x)), parts))


def test_nothing_read_changes_nothing(backend: Backend) -> None:
    parts = inputs(0)
    out, last, *grads = results(lambda *x: scan(*x, backend=backend), parts)
    assert out.shape == (3, 0, 5)
    assert torch.equal(last, parts[2])
    assert [g.shape for g in grads] == [p.shape for p in parts]


@pytest.mark.parametrize(("batch", "channels"), [(0, 3), (2, 0)])
def test_empty_dimensions(backend: Backend, batch: int, channels: int) -> None:
    parts = inputs(5, batch, channels)
    out, last, *grads = results(lambda *x: scan(*x, backend=backend), parts)
    assert out.shape == (batch, 5, channels)
    assert last.shape == (batch, channels)
    assert [g.shape for g in grads] == [p.shape for p in parts]


def test_no_state_is_a_state_of_zeros(backend: Backend) -> None:
    decay, value, before = inputs(30)
    out, last = gated_scan(decay, value, backend=backend)
    expected = scan(decay, value, torch.zeros_like(before), backend=backend)
    assert torch.equal(out, expected[0])
    assert torch.equal(last.value, expected[1])


@given(st.integers(0, 10_000), st.lists(st.integers(0, 90), max_size=3))
def test_in_pieces_is_at_once(seed: int, cuts: list[int]) -> None:
    parts = inputs(90, 2, 3, seed=seed)
    backends: list[Backend] = ["numba", "torch"]
    for backend in backends:

        def in_pieces(
            decay: Tensor, value: Tensor, before: Tensor, backend: Backend = backend
        ) -> tuple[Tensor, Tensor]:
            state, outputs = AffineState(torch.ones_like(before), before), []
            for begin, end in itertools.pairwise([0, *sorted(cuts), 90]):
                out, state = gated_scan(
                    decay[:, begin:end], value[:, begin:end], state, backend=backend
                )
                outputs.append(out)
            return torch.cat(outputs, 1), state.value

        assert_close(results(in_pieces, parts), results(by_steps, parts))


@pytest.mark.parametrize("dtype", DTYPES)
def test_states_of_segments_merge(backend: Backend, dtype: torch.dtype) -> None:
    decay, value, _ = inputs(100, dtype=dtype)
    decay[decay == 0] = 0.5  # or there is nothing left of the product
    _, whole = gated_scan(decay, value, backend=backend)
    pieces = [
        gated_scan(decay[:, s], value[:, s], backend=backend)[1]
        for s in (slice(37), slice(37, 100))
    ]
    _, run_on = gated_scan(decay[:, 37:], value[:, 37:], pieces[0], backend=backend)
    expected = naive.gated_scan(decay, value)[1]
    for state in (whole, merge_affine(*pieces), run_on):
        torch.testing.assert_close(tuple(state), tuple(expected), rtol=1e-11, atol=1e-11)


def test_the_product_of_decays(backend: Backend) -> None:
    value, mask = draw((2, 50, 3)), draw((2, 50), 5) > 0
    for shape in ((2, 50, 3), (1, 1, 3), (3,)):
        decay = draw(shape, 7).cos().requires_grad_()
        given = AffineState(torch.full((2, 3), 0.5, dtype=torch.float64), draw((2, 3)))
        _, state = gated_scan(decay, value, given, mask=mask, backend=backend)
        wide = decay.detach().expand(2, 50, 3).where(mask[:, :, None], 1.0)
        torch.testing.assert_close(state.decay, 0.5 * wide.prod(1))
        assert not state.decay.requires_grad


@pytest.mark.parametrize("shape", [(3, 65, 5), (5,)])
def test_masked_steps_are_left_out(backend: Backend, shape: tuple[int, ...]) -> None:
    parts = inputs(65)
    parts[0] = draw(shape, 4, scale=0.7)
    mask = draw((3, 65), 8) > 0
    mask[0], mask[1] = False, torch.arange(65) < 20

    def by_compression(decay: Tensor, value: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        decay, rows, lasts = decay.expand_as(value), [], []
        for b in range(3):
            keep = mask[b]
            out, last = value[b] * 0, before[b]
            if keep.any():
                here, last = by_steps(
                    decay[b : b + 1, keep], value[b : b + 1, keep], before[b : b + 1]
                )
                out, last = out.masked_scatter(keep[:, None], here[0]), last[0]
            rows.append(out)
            lasts.append(last)
        return torch.stack(rows), torch.stack(lasts)

    got = results(lambda *x: scan(*x, mask=mask, backend=backend), parts)
    assert_close(got, results(by_compression, parts))
    assert not got[0][~mask].any()


def test_what_is_masked_may_be_anything(backend: Backend) -> None:
    decay, value, before = inputs(20)
    mask = torch.arange(20).expand(3, 20) % 3 > 0
    expected = results(lambda *x: scan(*x, mask=mask, backend=backend), [decay, value, before])
    decay[~mask], value[~mask] = torch.nan, torch.inf
    got = results(lambda *x: scan(*x, mask=mask, backend=backend), [decay, value, before])
    assert_close(got, expected)


def test_a_decay_of_0_forgets_and_of_1_adds_up(backend: Backend) -> None:
    value = draw((2, 70, 3))
    out, _ = gated_scan(torch.zeros(3), value, backend=backend)
    assert torch.equal(out, value)
    out, _ = gated_scan(torch.ones(3), value, backend=backend)
    torch.testing.assert_close(out, value.cumsum(1))


def test_products_beyond_all_numbers_do_not_matter_to_a_state_of_0(backend: Backend) -> None:
    value = torch.zeros(1, 100, 2, dtype=torch.float64)
    value[:, -1] = 1
    out, _ = gated_scan(torch.full((2,), 1e30, dtype=torch.float64), value, backend=backend)
    assert torch.equal(out, value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_float32_is_near_float64(backend: Backend, dtype: torch.dtype) -> None:
    parts = inputs(2048, 2, 4, dtype)
    if not dtype.is_complex:
        parts[0] = parts[0].tanh()
    parts[0] /= parts[0].abs().max()
    wide = [p.to(torch.complex128 if dtype.is_complex else torch.float64) for p in parts]
    got = results(lambda *x: scan(*x, backend=backend), parts)
    for single, exact in zip(got, results(by_steps, wide), strict=True):
        assert single.dtype == dtype
        assert (single - exact).abs().max() <= 2e-6 * exact.abs().max()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(backend: Backend, dtype: torch.dtype) -> None:
    decay, value, before = (part.to(dtype) for part in inputs(130))
    exact, last = scan(decay.float(), value.float(), before.float(), backend=backend)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out, state = scan(decay, value, before, backend=backend)
    assert out.dtype == dtype
    assert state.dtype == torch.float32
    torch.testing.assert_close(out, exact.to(dtype))
    torch.testing.assert_close(state, last)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's own
@pytest.mark.parametrize("masked", [False, True])
def test_traced_by_the_compiler(masked: bool) -> None:
    parts, mask = inputs(11), draw((3, 11), 5) > 0
    options = {"mask": mask} if masked else {}
    compiled = torch.compile(
        lambda *x: scan(*x, **options), backend="aot_eager", fullgraph=True, dynamic=False
    )
    assert_close(results(compiled, parts), results(lambda *x: scan(*x, **options), parts))


def test_bitwise_the_same_for_every_number_of_threads(always_parallel: None) -> None:
    parts = inputs(70, 3, 70, torch.float32)
    first = results(scan, parts)
    for threads in (2, 1):
        torch.set_num_threads(threads)
        assert all(map(torch.equal, results(scan, parts), first))


def test_many_threads_at_once(always_parallel: None) -> None:
    parts = inputs(70, 3, 40, torch.float32)
    expected = results(scan, parts)
    with ThreadPoolExecutor(8) as pool:
        for got in pool.map(lambda _: results(scan, parts), range(24)):
            assert all(map(torch.equal, got, expected))


@pytest.mark.parametrize("shape", [(2, 64, 8), (8,)])
def test_keeps_decays_and_states_only(backend: Backend, shape: tuple[int, ...]) -> None:
    kept: list[Tensor] = []
    decay, value = draw(shape).requires_grad_(), draw((2, 64, 8), 1).requires_grad_()

    def pack(x: Tensor) -> Tensor:
        kept.append(x)
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        gated_scan(decay, value, backend=backend)
    numbers = sum({x.data_ptr(): x.numel() for x in kept}.values())
    assert numbers <= value.numel() + decay.numel() + 2 * 8


def test_inputs_that_need_no_gradient_get_none(backend: Backend) -> None:
    decay, value, before = inputs(9)
    value.requires_grad_()
    scan(decay, value, before, backend=backend)[0].sum().backward()
    assert value.grad is not None
    assert decay.grad is None


def test_inputs_are_left_as_they_are(backend: Backend) -> None:
    parts = inputs(20)
    copies = [part.clone() for part in parts]
    scan(*parts, backend=backend)
    assert all(map(torch.equal, parts, copies))


def test_errors_name_the_argument() -> None:
    decay, value, _ = inputs(6)
    with pytest.raises(ValueError, match=r"gated_scan: decay has shape \(3, 5, 5\), expected \[3"):
        gated_scan(decay[:, :5], value)
    with pytest.raises(ValueError, match=r"gated_scan: decay has shape \(1,\)"):
        gated_scan(decay[0, 0, :1], value)
    with pytest.raises(ValueError, match=r"gated_scan: value has shape \(3, 5\), expected \[B"):
        gated_scan(decay, value[:, 0])
    with pytest.raises(TypeError, match=r"gated_scan: value has dtype torch\.int64"):
        gated_scan(decay, value.long())
    with pytest.raises(TypeError, match=r"gated_scan: decay has dtype torch\.bool"):
        gated_scan(decay > 0, value)
    with pytest.raises(ValueError, match=r"gated_scan: state.value has shape \(2, 5\)"):
        gated_scan(decay, value, AffineState(decay[:, 0], value[:2, 0]))
    with pytest.raises(TypeError, match="gated_scan: state is a Tensor"):
        gated_scan(decay, value, value[:, 0])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"gated_scan: mask has dtype torch\.int64"):
        gated_scan(decay, value, mask=torch.ones(3, 6, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"gated_scan: mask has shape \(3, 5\), expected \[3, 6\]"):
        gated_scan(decay, value, mask=torch.ones(3, 5, dtype=torch.bool))
    with pytest.raises(ValueError, match="gated_scan: backend is 'cuda'"):
        gated_scan(decay, value, backend="cuda")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r'gated_scan: backend "numba" runs on the CPU, not meta'):
        gated_scan(decay.to("meta"), value.to("meta"), backend="numba")
    with pytest.raises(ValueError, match="gated_scan: decay is on meta, value on cpu"):
        gated_scan(decay.to("meta"), value)
