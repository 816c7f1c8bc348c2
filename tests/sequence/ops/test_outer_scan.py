"""The outer-product scan: compiled == in blocks == step by step, in pieces == at once."""

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

from graphseq.sequence.ops import AffineState, merge_affine, naive, outer_scan
from graphseq.sequence.ops.backend import Backend

TIMES = [1, 2, 63, 64, 65, 130]
NAMES = ["q", "k", "v", "before", "log_decay"]


@pytest.fixture(params=["numba", "torch"])
def backend(request: pytest.FixtureRequest) -> Backend:
    chosen: Backend = request.param
    return chosen


@pytest.fixture
def always_parallel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small work runs on all threads too."""
    monkeypatch.setattr("graphseq.kernels.SERIAL_WORK", 0)


def inputs(
    time: int,
    decay: str = "mixed",
    batch: int = 2,
    heads: int = 3,
    wide: int = 3,
    high: int = 5,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
) -> list[Tensor]:
    """q, k, v, the value of a state and, but for "none", logarithms of decays."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    q, k = draw(batch, time, heads, wide), draw(batch, time, heads, wide)
    parts = [q, k, draw(batch, time, heads, high), draw(batch, heads, wide, high)]
    if decay == "mild":
        parts.append(-0.1 * draw(batch, time, heads).abs())
    elif decay == "mixed":
        logs = -4 * draw(batch, time, heads).abs()
        logs[:, 2::7], logs[:, 1::5] = 0.1, 0
        logs[:, ::9, 0], logs[:1, 30:33] = -torch.inf, -torch.inf
        logs[:, 4::11, -1] = -1e30
        parts.append(logs)
    return [part.to(dtype) for part in parts]


def scan(
    q: Tensor, k: Tensor, v: Tensor, before: Tensor, log_decay: Tensor | None = None, **options: Any
) -> tuple[Tensor, Tensor]:
    """Outputs and last state, from a given one."""
    ones = torch.ones(before.shape[:2], dtype=before.dtype)
    y, last = outer_scan(q, k, v, log_decay, AffineState(ones, before), **options)
    return y, last.value


def by_steps(
    q: Tensor, k: Tensor, v: Tensor, before: Tensor, log_decay: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    log_decay = q.new_zeros(q.shape[:3]) if log_decay is None else log_decay
    y, last = naive.outer_scan(q, k, v, log_decay, before)
    return y, last.value


def results(function: Callable[..., tuple[Tensor, Tensor]], parts: list[Tensor]) -> list[Tensor]:
    """Outputs and last state, and the gradients of all parts through both."""
    leaves = [part.detach().clone().requires_grad_() for part in parts]
    out = function(*leaves)
    cotangents = [torch.linspace(-1.0, 9.0, x.numel()).view(x.shape).cos().to(x) for x in out]
    return [*(x.detach() for x in out), *torch.autograd.grad(out, leaves, cotangents)]


def assert_close(got: list[Tensor], expected: list[Tensor], tolerance: float = 1e-11) -> None:
    for name, x, y in zip(["y", "last", *NAMES], got, expected, strict=False):
        torch.testing.assert_close(
            x, y, rtol=tolerance, atol=tolerance, msg=lambda m, name=name: f"{name}: {m}"
        )
    assert len(got) == len(expected)


@pytest.mark.parametrize("decay", ["none", "mild", "mixed"])
@pytest.mark.parametrize("time", TIMES)
def test_equals_the_recurrence(backend: Backend, time: int, decay: str) -> None:
    parts = inputs(time, decay)
    assert_close(results(lambda *x: scan(*x, backend=backend), parts), results(by_steps, parts))


@pytest.mark.parametrize("wide", [1, 4, 17])
@pytest.mark.parametrize("high", [1, 8, 35])
def test_every_size_in_parallel(wide: int, high: int, always_parallel: None) -> None:
    parts = inputs(70, "mixed", 1, 3, wide, high)
    assert_close(results(scan, parts), results(by_steps, parts))


@pytest.mark.parametrize("decay", ["none", "mild"])
def test_gradcheck(backend: Backend, decay: str) -> None:
    parts = [part.requires_grad_() for part in inputs(4, decay, 2, 1, 2, 3)]
    mask = torch.tensor([[True, False, True, True], [False, True, False, False]])
    torch.autograd.gradcheck(lambda *x: scan(*x, backend=backend), parts)
    torch.autograd.gradcheck(lambda *x: scan(*x, mask=mask, backend=backend), parts)


def test_a_decay_of_0_cuts_the_sequence(backend: Backend) -> None:
    parts = inputs(100, "mild")
    parts[4][:, 70] = -torch.inf
    y, last, *grads = results(lambda *x: scan(*x, backend=backend), parts)
    rest = [part[:, 70:] for part in parts]
    after, end = scan(*rest[:3], torch.zeros_like(parts[3]), rest[4], backend=backend)
    torch.testing.assert_close(y[:, 70:], after)
    torch.testing.assert_close(last, end)
    assert torch.equal(grads[4][:, 70], torch.zeros_like(grads[4][:, 70]))
    assert all(x.isfinite().all() for x in grads)


def test_logarithms_of_0_are_none(backend: Backend) -> None:
    parts = inputs(130, "none")
    zeros = torch.zeros(2, 130, 3, dtype=torch.float64)
    with_zeros = scan(*parts, zeros, backend=backend)
    torch.testing.assert_close(with_zeros, scan(*parts, backend=backend), rtol=1e-12, atol=1e-12)


def test_equals_the_matrix_over_time(backend: Backend) -> None:
    q, k, v, _, logs = inputs(40, "mild", 1, 1)
    passed = torch.exp(torch.tril(logs[0, :, 0].cumsum(0)[:, None] - logs[0, :, 0].cumsum(0)))
    matrix = torch.tril(passed * (q[0, :, 0] @ k[0, :, 0].mT))
    y, _ = outer_scan(q, k, v, logs, backend=backend)
    torch.testing.assert_close(y[0, :, 0], matrix @ v[0, :, 0])


def test_nothing_read_changes_nothing(backend: Backend) -> None:
    parts = inputs(0, "mild")
    y, last, *grads = results(lambda *x: scan(*x, backend=backend), parts)
    assert y.shape == (2, 0, 3, 5)
    assert torch.equal(last, parts[3])
    assert [g.shape for g in grads] == [p.shape for p in parts]


@pytest.mark.parametrize("empty", ["batch", "heads", "wide", "high"])
def test_empty_dimensions(backend: Backend, empty: str) -> None:
    parts = inputs(5, "mild", **{empty: 0})
    y, last, *grads = results(lambda *x: scan(*x, backend=backend), parts)
    assert not y.any()
    assert last.shape == parts[3].shape
    assert [g.shape for g in grads] == [p.shape for p in parts]
    assert not any(g.any() for g in grads)


def test_no_state_is_a_state_of_zeros(backend: Backend) -> None:
    q, k, v, before, logs = inputs(70)
    y, last = outer_scan(q, k, v, logs, backend=backend)
    expected = scan(q, k, v, torch.zeros_like(before), logs, backend=backend)
    assert torch.equal(y, expected[0])
    assert torch.equal(last.value, expected[1])


@given(st.integers(0, 10_000), st.lists(st.integers(0, 140), max_size=3))
def test_in_pieces_is_at_once(seed: int, cuts: list[int]) -> None:
    parts = inputs(140, "mixed", 1, 2, seed=seed)
    backends: list[Backend] = ["numba", "torch"]
    for backend in backends:

        def in_pieces(*x: Tensor, backend: Backend = backend) -> tuple[Tensor, Tensor]:
            q, k, v, before, logs = x
            state, outputs = AffineState(torch.ones_like(logs[:, 0]), before), []
            for begin, end in itertools.pairwise([0, *sorted(cuts), 140]):
                piece = (part[:, begin:end] for part in (q, k, v, logs))
                y, state = outer_scan(*piece, state, backend=backend)
                outputs.append(y)
            return torch.cat(outputs, 1), state.value

        whole = results(lambda *x, backend=backend: scan(*x, backend=backend), parts)
        assert_close(results(in_pieces, parts), whole)


@pytest.mark.parametrize("decay", ["none", "mild"])
def test_states_of_segments_merge(backend: Backend, decay: str) -> None:
    q, k, v, before, *logs = inputs(100, decay)
    whole = outer_scan(q, k, v, *logs, backend=backend)[1]
    pieces = [
        outer_scan(*(part[:, s] for part in (q, k, v, *logs)), backend=backend)[1]
        for s in (slice(37), slice(37, 100))
    ]
    rest = [part[:, 37:] for part in (q, k, v)]
    later = logs[0][:, 37:] if logs else None
    run_on = outer_scan(*rest, later, pieces[0], backend=backend)[1]
    for state in (merge_affine(*pieces), run_on):
        torch.testing.assert_close(tuple(state), tuple(whole), rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(whole.value, by_steps(q, k, v, before * 0, *logs)[1])


def test_the_product_of_decays(backend: Backend) -> None:
    q, k, v, before, logs = inputs(70, "mild")
    logs.requires_grad_()
    mask = torch.arange(70).expand(2, 70) % 3 > 0
    given = AffineState(torch.full((2, 3), 0.5, dtype=torch.float64), before)
    _, state = outer_scan(q, k, v, logs, given, mask=mask, backend=backend)
    torch.testing.assert_close(state.decay, 0.5 * logs.detach()[:, mask[0]].sum(1).exp())
    assert not state.decay.requires_grad
    _, state = outer_scan(q, k, v, None, given, backend=backend)
    assert torch.equal(state.decay, given.decay)


@pytest.mark.parametrize("decay", ["none", "mixed"])
def test_masked_steps_are_left_out(backend: Backend, decay: str) -> None:
    parts = inputs(130, decay)
    mask = torch.rand(2, 130, generator=torch.Generator().manual_seed(1)) > 0.4
    mask[1] = torch.arange(130) < 70

    def by_compression(*x: Tensor) -> tuple[Tensor, Tensor]:
        q, k, v, before, *logs = x
        rows, lasts = [], []
        for b in range(2):
            here = (part[b : b + 1, mask[b]] for part in (q, k, v))
            y, last = by_steps(*here, before[b : b + 1], *(p[b : b + 1, mask[b]] for p in logs))
            rows.append((v[b] * 0).masked_scatter(mask[b, :, None, None], y[0]))
            lasts.append(last[0])
        return torch.stack(rows), torch.stack(lasts)

    got = results(lambda *x: scan(*x, mask=mask, backend=backend), parts)
    assert_close(got, results(by_compression, parts))
    assert not got[0][~mask].any()


def test_what_is_masked_may_be_anything(backend: Backend) -> None:
    parts, mask = inputs(20, "mild"), torch.arange(20).expand(2, 20) % 3 > 0
    expected = results(lambda *x: scan(*x, mask=mask, backend=backend), parts)
    for i, number in ((0, torch.nan), (1, torch.inf), (2, torch.nan), (4, torch.nan)):
        parts[i][~mask] = number
    got = results(lambda *x: scan(*x, mask=mask, backend=backend), parts)
    assert_close(got, expected)


def test_a_sequence_of_padding_alone(backend: Backend) -> None:
    parts, mask = inputs(70, "mild"), torch.tensor([[True], [False]]).expand(2, 70)
    y, last, *grads = results(lambda *x: scan(*x, mask=mask, backend=backend), parts)
    assert not y[1].any()
    assert torch.equal(last[1], parts[3][1])
    assert not any(grads[i][1].any() for i in (0, 1, 2, 4))


@pytest.mark.parametrize("decay", ["none", "mild", "mixed"])
def test_float32_is_near_float64(backend: Backend, decay: str) -> None:
    parts = inputs(2048, decay, 1, 1, 4, 4)
    single = [part.float() for part in parts]
    exact = results(by_steps, [part.double() for part in single])
    got = results(lambda *x: scan(*x, backend=backend), single)
    for name, x, y in zip(["y", "last", *NAMES], got, exact, strict=False):
        assert x.dtype == torch.float32
        assert (x - y).abs().max() <= 5e-6 * y.abs().max(), name


def test_gradients_of_decays_do_not_lose_precision_over_time(backend: Backend) -> None:
    """A running sum over all of time would carry the errors of later steps to every earlier one."""
    parts = inputs(4096, "mild", 1, 1, 2, 2)
    parts[4].fill_(-20)  # so that true gradients are about 1e-9 of the terms that cancel
    single = [part.float() for part in parts]
    exact = results(by_steps, [part.double() for part in single])[6]
    got = results(lambda *x: scan(*x, backend=backend), single)[6]
    torch.testing.assert_close(got.double(), exact, rtol=1e-3, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(backend: Backend, dtype: torch.dtype) -> None:
    parts = inputs(130, "mild", dtype=dtype)
    exact, last = scan(*(part.float() for part in parts), backend=backend)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, state = scan(*parts, backend=backend)
    assert y.dtype == dtype
    assert state.dtype == torch.float32
    torch.testing.assert_close(y, exact.to(dtype))
    torch.testing.assert_close(state, last)


def test_the_backward_pass_ignores_autocast(backend: Backend) -> None:
    parts = [part.float() for part in inputs(70, "mild")]
    expected = results(lambda *x: scan(*x, backend=backend), parts)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = results(lambda *x: scan(*x, backend=backend), parts)
    assert all(map(torch.equal, got, expected))


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's own
@pytest.mark.parametrize("decay", ["none", "mixed"])
def test_traced_by_the_compiler(decay: str) -> None:
    parts, mask = inputs(70, decay), torch.arange(70).expand(2, 70) % 3 > 0
    compiled = torch.compile(lambda *x: scan(*x, mask=mask), backend="aot_eager", fullgraph=True)
    assert_close(results(compiled, parts), results(lambda *x: scan(*x, mask=mask), parts))


def test_bitwise_the_same_for_every_number_of_threads(always_parallel: None) -> None:
    parts = inputs(70, dtype=torch.float32)
    first = results(scan, parts)
    for threads in (2, 1):
        torch.set_num_threads(threads)
        assert all(map(torch.equal, results(scan, parts), first))


def test_many_threads_at_once(always_parallel: None) -> None:
    parts = inputs(70, dtype=torch.float32)
    expected = results(scan, parts)
    with ThreadPoolExecutor(8) as pool:
        for got in pool.map(lambda _: results(scan, parts), range(24)):
            assert all(map(torch.equal, got, expected))


class Largest(TorchDispatchMode):
    """Notes the most numbers that any tensor of an operation holds."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, list | tuple) else [out]:
            if isinstance(x, Tensor):
                self.numbers = max(self.numbers, x.untyped_storage().nbytes() // x.itemsize)
        return out


@pytest.mark.parametrize("decay", ["none", "mild"])
def test_memory_is_linear_in_time(backend: Backend, decay: str) -> None:
    """Inputs and a state for every 64 steps are kept, and no state of every step ever exists."""
    kept: dict[int, int] = {}

    def pack(x: Tensor) -> Tensor:
        kept[x.data_ptr()] = x.numel()
        return x

    sums = []
    for time in (256, 512):
        kept.clear()
        parts = [part.requires_grad_() for part in inputs(time, decay, 1, 2, 16, 16)]
        with Largest() as largest:
            with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
                y, last = scan(*parts, backend=backend)
            torch.autograd.grad([y.sum(), last.sum()], parts)
        sums.append(sum(kept.values()))
        assert sums[-1] <= time * 2 * (3 * 16 + 1) + (time // 64 + 2) * 2 * 16 * 16
        assert largest.numbers < time * 2 * 16 * 16 // 2
    assert sums[1] <= 2 * sums[0]


def test_without_gradients_states_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, ...]] = []
    new_empty = Tensor.new_empty

    def spy(self: Tensor, *shape: int, **options: Any) -> Tensor:
        asked.append(shape)
        return new_empty(self, *shape, **options)

    monkeypatch.setattr(Tensor, "new_empty", spy)
    parts = [part.requires_grad_() for part in inputs(640, "mild")]
    expected = scan(*parts)
    assert (2, 3, 11, 4, 8) in asked
    asked.clear()
    with torch.no_grad():
        got = scan(*parts)
    assert (2, 3, 2, 4, 8) in asked
    assert all(map(torch.equal, got, expected))


def test_strided_inputs(backend: Backend) -> None:
    """Slices of one projection, as layers make them."""
    parts = inputs(70, "mild", 2, 3, 4, 4)
    joined = torch.cat(parts[:3], -1)
    rest = parts[3], parts[4].mT.contiguous().mT

    def split(joined: Tensor, *rest: Tensor) -> tuple[Tensor, Tensor]:
        return scan(*joined.chunk(3, -1), *rest, backend=backend)

    got = results(split, [joined, *rest])
    expected = results(by_steps, parts)
    assert_close(got[:2], expected[:2])
    torch.testing.assert_close(got[2], torch.cat(expected[2:5], -1))


def test_inputs_that_need_no_gradient_get_none(backend: Backend) -> None:
    q, k, v, before, logs = inputs(9)
    v.requires_grad_()
    scan(q, k, v, before, logs, backend=backend)[0].sum().backward()
    assert v.grad is not None
    assert q.grad is None


def test_inputs_are_left_as_they_are(backend: Backend) -> None:
    parts = inputs(70)
    copies = [part.clone() for part in parts]
    results(lambda *x: scan(*x, backend=backend), parts)
    scan(*parts, backend=backend)
    assert all(map(torch.equal, parts, copies))


def test_errors_name_the_argument() -> None:
    q, k, v, before, logs = inputs(6)
    where = "outer_scan: "
    with pytest.raises(ValueError, match=where + r"k has shape \(2, 6, 3, 2\), expected \[B=2"):
        outer_scan(q, k[..., :2], v)
    with pytest.raises(ValueError, match=where + r"v has shape \(2, 5, 3, 5\), expected"):
        outer_scan(q, k, v[:, :5])
    with pytest.raises(ValueError, match=where + r"log_decay has shape \(2, 6\), expected"):
        outer_scan(q, k, v, logs[..., 0])
    with pytest.raises(TypeError, match=where + r"v has dtype torch\.int64"):
        outer_scan(q, k, v.long())
    with pytest.raises(TypeError, match=where + r"k has dtype torch\.complex128; pass real"):
        outer_scan(q, k.to(torch.complex128), v)
    with pytest.raises(ValueError, match=where + r"state.value has shape \(2, 3, 5, 3\)"):
        outer_scan(q, k, v, logs, AffineState(logs[:, 0], before.mT))
    with pytest.raises(ValueError, match=where + r"state.decay has shape \(2, 6, 3\)"):
        outer_scan(q, k, v, logs, AffineState(logs, before))
    with pytest.raises(TypeError, match=where + "state is a Tensor"):
        outer_scan(q, k, v, logs, before)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=where + r"mask has dtype torch\.float32"):
        outer_scan(q, k, v, mask=torch.ones(2, 6))
    with pytest.raises(ValueError, match=where + r"mask has shape \(6,\), expected \[2, 6\]"):
        outer_scan(q, k, v, mask=torch.ones(6, dtype=torch.bool))
    with pytest.raises(ValueError, match=where + "backend is 'blocks'"):
        outer_scan(q, k, v, backend="blocks")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=where + 'backend "numba" runs on the CPU, not meta'):
        outer_scan(q.to("meta"), k.to("meta"), v.to("meta"), backend="numba")
