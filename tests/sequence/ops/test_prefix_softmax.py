"""Prefix softmax: compiled == blockwise == definition, in chunks == at once, gradients included."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from graphseq.sequence.ops import PrefixState, merge_prefix, naive, prefix_blocks, prefix_softmax
from graphseq.sequence.ops.prefix_softmax import empty_prefix

BACKENDS = ["numba", "torch"]
TIMES = [1, 2, 63, 64, 65, 200]


def inputs(
    time: int, batch: int = 2, heads: int = 3, channels: int = 5, std: float = 1.0, seed: int = 0
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    scores = std * torch.randn(batch, time, heads, generator=generator, dtype=torch.float64)
    shape = batch, time, heads, channels
    return scores, torch.randn(shape, generator=generator, dtype=torch.float64)


def with_gaps(scores: Tensor) -> Tensor:
    """-inf here and there, at the beginning of one sequence, and in all of one head."""
    scores = scores.masked_fill(torch.arange(scores.shape[1])[:, None] % 7 == 3, -torch.inf)
    scores[-1, :40] = -torch.inf
    scores[0, :, 1] = -torch.inf
    return scores


def normal(state: PrefixState) -> tuple[Tensor, Tensor]:
    """What a state says, whatever its reference: the log of the sum, and the mean.

    An empty one gives -inf and 0.
    """
    total = state.sum.masked_fill(state.sum == 0, 1.0)
    return state.max + state.sum.log(), state.weighted / total[..., None]


def summary(scores: Tensor, values: Tensor) -> PrefixState:
    """The state after a sequence, from the definition."""
    top = scores.detach().amax(1)
    e = (scores - top.masked_fill(top == -torch.inf, 0.0)[:, None]).exp()
    return PrefixState(top, e.sum(1), (e[..., None] * values).sum(1))


def results(function: Callable[..., Tensor], *parts: Tensor) -> list[Tensor]:
    """The value, and the gradients of all parts for a fixed cotangent."""
    leaves = [part.detach().clone().requires_grad_() for part in parts]
    out = function(*leaves)
    cotangent = torch.linspace(-1.0, 2.0, out.numel(), dtype=out.dtype).view(out.shape).cos()
    return [out.detach(), *torch.autograd.grad(out, leaves, cotangent)]


def assert_same(
    one: Callable[..., Tensor], other: Callable[..., Tensor], *parts: Tensor, tol: float = 1e-12
) -> None:
    for got, expected in zip(results(one, *parts), results(other, *parts), strict=True):
        torch.testing.assert_close(got, expected, rtol=tol, atol=tol)


@pytest.fixture
def in_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small work runs on both threads, a single sequence cut into segments."""
    monkeypatch.setattr("graphseq.kernels.SERIAL_WORK", 0)


@pytest.fixture
def small_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix_blocks, "_BLOCK", 8)
    monkeypatch.setattr(prefix_blocks, "_BLOCKS_CPU", 3)


@pytest.mark.parametrize("std", [1.0, 30.0, 1000.0])
@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_equals_the_definition(backend: Any, time: int, std: float) -> None:
    for scores in (inputs(time, std=std)[0], with_gaps(inputs(time, std=std)[0])):
        assert_same(
            lambda s, v: prefix_softmax(s, v, backend=backend)[0],
            naive.prefix_softmax,
            scores,
            inputs(time)[1],
            tol=1e-11,
        )


@pytest.mark.parametrize("time", [1, 64, 200])
@pytest.mark.parametrize("batch", [1, 3])
def test_segments_on_threads(batch: int, time: int, in_segments: None) -> None:
    for threads in (2, 5):
        torch.set_num_threads(threads)
        scores, values = inputs(time, batch)
        for s in (scores, 1000 * scores, with_gaps(scores)):
            assert_same(
                lambda s, v: prefix_softmax(s, v, backend="numba")[0],
                naive.prefix_softmax,
                s,
                values,
                tol=1e-11,
            )


@pytest.mark.parametrize("channels", [1, 8, 33, 64])
@pytest.mark.parametrize("heads", [1, 4])
def test_paths_agree_through_out_and_state(
    heads: int, channels: int, small_stretches: None
) -> None:
    scores, values = inputs(70, 2, heads, channels, std=3.0)

    def run(backend: Any) -> Callable[..., Tensor]:
        def function(s: Tensor, v: Tensor, total: Tensor, weighted: Tensor) -> Tensor:
            out, last = prefix_softmax(s, v, PrefixState(top, total, weighted), backend=backend)
            return torch.cat([part.flatten() for part in (out, last.sum, last.weighted)])

        return function

    top, total, weighted = summary(*inputs(9, 2, heads, channels, seed=1))
    assert_same(run("numba"), run("torch"), scores, values, total, weighted)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("std", [1.0, 1000.0])
def test_goes_on_from_a_state(backend: Any, std: float) -> None:
    before, (scores, values) = inputs(20, std=std, seed=1), inputs(45, std=std)

    def fast(s0: Tensor, v0: Tensor, s: Tensor, v: Tensor) -> Tensor:
        return prefix_softmax(s, v, summary(s0, v0), backend=backend)[0]

    def slow(s0: Tensor, v0: Tensor, s: Tensor, v: Tensor) -> Tensor:
        return naive.prefix_softmax(s, v, (s0, v0))

    assert_same(fast, slow, *before, scores, values, tol=1e-11)


@pytest.mark.parametrize("backend", BACKENDS)
@given(st.lists(st.integers(0, 40), max_size=4).filter(any), st.sampled_from([1.0, 1000.0]))
def test_chunks_with_a_carried_state_are_the_whole(
    backend: Any, lengths: list[int], std: float
) -> None:
    scores, values = inputs(sum(lengths), std=std)

    def chunks(s: Tensor, v: Tensor) -> Tensor:
        state, outs = None, []
        for s_part, v_part in zip(s.split(lengths, 1), v.split(lengths, 1), strict=True):
            out, state = prefix_softmax(s_part, v_part, state, backend=backend)
            outs.append(out)
        assert state is not None
        return torch.cat([torch.cat(outs, 1).flatten(), *map(torch.flatten, state[1:])])

    def whole(s: Tensor, v: Tensor) -> Tensor:
        out, state = prefix_softmax(s, v, backend=backend)
        return torch.cat([out.flatten(), *map(torch.flatten, state[1:])])

    assert_same(chunks, whole, scores, values, tol=1e-11)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("std", [1.0, 1000.0])
def test_merging_is_running_on_and_associative(backend: Any, std: float) -> None:
    scores, values = inputs(60, std=std)
    scores[0, :20] = -torch.inf
    runs = [
        prefix_softmax(s, v, backend=backend)[1]
        for s, v in zip(scores.split(20, 1), values.split(20, 1), strict=True)
    ]
    on = prefix_softmax(scores, values, backend=backend)[1]
    left = merge_prefix(merge_prefix(runs[0], runs[1]), runs[2])
    right = merge_prefix(runs[0], merge_prefix(runs[1], runs[2]))
    empty = empty_prefix(2, 3, 5, torch.float64)
    for state in (left, right, merge_prefix(empty, on), merge_prefix(on, empty)):
        torch.testing.assert_close(state, on, rtol=1e-12, atol=1e-12)
    assert all(torch.equal(a, b) for a, b in zip(merge_prefix(empty, empty), empty, strict=True))


def test_merging_passes_gradients_on() -> None:
    def merged(s: Tensor, v: Tensor) -> Tensor:
        first, second = (
            prefix_softmax(s[:, part], v[:, part])[1] for part in (slice(13), slice(13, None))
        )
        state = merge_prefix(first, second)
        return state.weighted / state.sum[..., None]

    assert_same(merged, lambda s, v: naive.prefix_softmax(s, v)[:, -1], *inputs(30, std=2.0))


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradcheck(backend: Any, small_stretches: None) -> None:
    """The state times exp(max) does not depend on the maximum, so its gradient is exact."""
    scores, values = inputs(11, 2, 2, 3)
    scores[0, :3] = scores[1, 5] = -torch.inf
    top, total, weighted = summary(*inputs(4, 2, 2, 3, seed=1))

    def run(s: Tensor, v: Tensor, total: Tensor, weighted: Tensor) -> tuple[Tensor, ...]:
        out, last = prefix_softmax(s, v, PrefixState(top, total, weighted), backend=backend)
        scale = last.max.exp()
        return out, scale * last.sum, scale[..., None] * last.weighted

    finite = scores > -torch.inf

    def on_finite(s: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        return run(scores.masked_scatter(finite, s), *rest)

    leaves = [part.requires_grad_() for part in (scores[finite], values, total, weighted)]
    assert torch.autograd.gradcheck(on_finite, leaves)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_log_sum_has_its_exact_gradient(backend: Any) -> None:
    scores, values = inputs(40, std=3.0)
    assert_same(
        lambda s: (lambda last: last.max + last.sum.log())(
            prefix_softmax(s, values, backend=backend)[1]
        ),
        lambda s: s.logsumexp(1),
        scores,
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_masked_steps_take_no_part(backend: Any) -> None:
    scores, values = inputs(50)
    mask = torch.rand(2, 50, generator=torch.Generator().manual_seed(2)) < 0.6
    mask[0, :10] = False
    mask[1, -5:] = False
    wild_scores = scores.masked_fill(~mask[:, :, None], torch.nan)
    wild_values = values.masked_fill(~mask[:, :, None, None], torch.nan)
    leaves = wild_scores.requires_grad_(), wild_values.requires_grad_()
    out, state = prefix_softmax(*leaves, mask=mask, backend=backend)
    expected = naive.prefix_softmax(scores.masked_fill(~mask[:, :, None], -torch.inf), values)
    torch.testing.assert_close(out.detach(), expected, rtol=1e-12, atol=1e-12)
    assert (out[0, :10] == 0).all()
    assert torch.equal(out[1, -5:], out[1, -6:-5].expand(5, -1, -1)) or backend == "torch"
    sums = out.square().sum() + state.weighted.square().sum()
    for grad in torch.autograd.grad(sums, leaves):
        assert grad.isfinite().all()
        assert (grad[~mask] == 0).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_takes_part(backend: Any) -> None:
    scores, values = inputs(70)
    mask = torch.zeros(2, 70, dtype=torch.bool)
    parts = [part.requires_grad_() for part in (scores, values)]
    out, state = prefix_softmax(*parts, mask=mask, backend=backend)
    assert (out == 0).all()
    assert all(torch.equal(a, b) for a, b in zip(state, empty_prefix(2, 3, 5), strict=True))
    for grad in torch.autograd.grad(out.sum() + state.sum.sum(), parts):
        assert (grad == 0).all()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_score_without_meaning_is_seen(backend: Any, value: float) -> None:
    scores, values = inputs(80)
    scores[0, 50, 1] = value
    parts = [part.requires_grad_() for part in (scores, values)]
    out, state = prefix_softmax(*parts, backend=backend)
    assert out[0, 50:, 1].isnan().all()
    assert out[1].isfinite().all()
    assert out[0, :, [0, 2]].isfinite().all()
    assert out[0, :50, 1].isfinite().all() or backend == "torch"
    assert state.sum[0, 1].isnan()
    grad = torch.autograd.grad(out.sum(), parts)[0]
    assert grad[0, 50, 1].isnan()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("batch", "time", "heads", "channels"), [
    (2, 0, 3, 4), (0, 5, 3, 4), (2, 5, 0, 4), (2, 5, 3, 0), (0, 0, 0, 0),
])  # fmt: skip
def test_sizes_of_zero(backend: Any, batch: int, time: int, heads: int, channels: int) -> None:
    parts = [part.requires_grad_() for part in inputs(time, batch, heads, channels)]
    state = empty_prefix(batch, heads, channels, torch.float64)
    out, last = prefix_softmax(*parts, state, backend=backend)
    assert out.shape == parts[1].shape
    assert [part.shape for part in last] == [part.shape for part in state]
    out.sum().backward()
    assert parts[1].grad is not None


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_steps_leave_the_state(backend: Any) -> None:
    state = summary(*inputs(9, seed=1))
    out, last = prefix_softmax(*inputs(0), state, backend=backend)
    assert out.shape == (2, 0, 3, 5)
    assert all(torch.equal(a, b) for a, b in zip(state, last, strict=True))


@pytest.mark.parametrize("backend", BACKENDS)
def test_later_steps_do_not_change_earlier_ones(backend: Any) -> None:
    scores, values = inputs(70)
    out = prefix_softmax(scores, values, backend=backend)[0]
    scores[:, 40:] += 1000 * torch.randn(2, 30, 3, dtype=torch.float64)
    values[:, 40:] = torch.randn(2, 30, 3, 5, dtype=torch.float64)
    changed = prefix_softmax(scores, values, backend=backend)[0]
    torch.testing.assert_close(changed[:, :40], out[:, :40], rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_shift_of_all_scores_changes_nothing(backend: Any) -> None:
    scores, values = inputs(70)
    shifted = [prefix_softmax(scores + c, values, backend=backend) for c in (0.0, 1e4, -1e4)]
    for out, state in shifted[1:]:
        torch.testing.assert_close(out, shifted[0][0], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(state.sum, shifted[0][1].sum, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("std", [1.0, 100.0, 300.0, 1000.0])
@pytest.mark.parametrize(("backend", "tolerance"), [("numba", 3e-7), ("torch", 4e-5)])
def test_float32_is_near_float64(
    backend: Any, tolerance: float, std: float, in_segments: None
) -> None:
    """The compiled path sums in float64, which the gradient of the scores, a difference, needs."""
    scores, values = (part.float() for part in inputs(700, 1, 2, 9, std))

    def run(s: Tensor, v: Tensor) -> Tensor:
        return prefix_softmax(s, v, backend=backend)[0]

    exact = results(run, scores.double(), values.double())
    for got, expected in zip(results(run, scores, values), exact, strict=True):
        assert got.dtype == torch.float32
        assert (got - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(backend: Any, dtype: torch.dtype) -> None:
    scores, values = (part.to(dtype).requires_grad_() for part in inputs(100))
    out, state = prefix_softmax(scores, values, backend=backend)
    exact = prefix_softmax(scores.double(), values.double())[0]
    assert out.dtype == dtype
    assert all(part.dtype == torch.float32 for part in state)
    torch.testing.assert_close(out, exact.to(dtype), rtol=1e-2, atol=1e-3)
    out.sum().backward()
    assert scores.grad is not None
    assert values.grad is not None
    assert scores.grad.dtype == values.grad.dtype == dtype
    with torch.autocast("cpu", dtype=torch.bfloat16):
        full = prefix_softmax(scores.float(), values.float(), backend=backend)[0]
    torch.testing.assert_close(full.double(), exact, rtol=1e-5, atol=1e-6)
    assert prefix_softmax(scores.double(), values, backend=backend)[1].sum.dtype == torch.float64


@pytest.mark.parametrize("backend", BACKENDS)
def test_any_memory_layout(backend: Any) -> None:
    scores, values = inputs(40)
    strided = scores.transpose(0, 2).contiguous().transpose(0, 2), values.flip(1).flip(1)
    grids = torch.cat([values, values], -1)[..., :5]
    expected = prefix_softmax(scores, values)[0]
    for v in (strided[1], grids, values.permute(3, 1, 0, 2).contiguous().permute(2, 1, 3, 0)):
        v = v.detach().requires_grad_()
        out = prefix_softmax(strided[0], v, backend=backend)[0]
        torch.testing.assert_close(out.detach(), expected, rtol=1e-12, atol=1e-12)
        out.sum().backward()  # the gradient of a sum is an expanded scalar
        assert v.grad is not None
        assert v.grad.isfinite().all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_saved_memory_is_linear_in_time(backend: Any) -> None:
    def saved(time: int) -> int:
        scores, values = (part.requires_grad_() for part in inputs(time, 1, 2, 16))
        storages = {}

        def pack(tensor: Tensor) -> Tensor:
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            out = prefix_softmax(scores, values, backend=backend)[0]
        assert out.requires_grad
        return sum(storages.values())

    per_step = 2 * (2 * 16 + 3) * 8  # scores, values, out or marks, maximum and sum
    for time in (512, 4096):
        assert saved(time) <= per_step * time + 10_000


def test_bitwise_the_same_every_time_and_for_every_number_of_threads() -> None:
    scores, values = (part.float() for part in inputs(900, 4, 4, 33))

    def step() -> list[Tensor]:
        return results(lambda s, v: prefix_softmax(s, v)[0], scores, values)

    first = step()
    for threads in (2, 1):
        torch.set_num_threads(threads)
        assert all(torch.equal(a, b) for a, b in zip(step(), first, strict=True))


def test_many_threads_at_once(in_segments: None) -> None:
    scores, values = inputs(150, 1)

    def step(_: int) -> list[Tensor]:
        torch.set_num_threads(2)  # torch counts per thread, too
        return results(lambda s, v: prefix_softmax(s, v)[0], scores, values)

    expected = step(0)
    with ThreadPoolExecutor(8) as pool:
        for result in pool.map(step, range(40)):
            assert all(torch.equal(a, b) for a, b in zip(result, expected, strict=True))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_second_derivative_is_refused_clearly(backend: Any) -> None:
    parts = [part.requires_grad_() for part in inputs(8)]
    out = prefix_softmax(*parts, backend=backend)[0].square().sum()
    (grad,) = torch.autograd.grad(out, parts[0], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


@pytest.mark.parametrize("backend", BACKENDS)
def test_only_what_asks_for_a_gradient_gets_one(backend: Any) -> None:
    scores, values = inputs(20)
    state = summary(*inputs(5, seed=1))
    with torch.inference_mode():
        prefix_softmax(scores, values, state, backend=backend)
    scores.requires_grad_()
    last = prefix_softmax(scores, values, state, backend=backend)[1]
    assert not last.max.requires_grad
    last.sum.sum().backward()
    assert scores.grad is not None
    assert values.grad is None


@pytest.mark.filterwarnings("ignore:.*should not be instantiated")  # the compiler itself does so
def test_traced_by_the_compiler(small_stretches: None) -> None:
    mask = torch.arange(37) % 5 != 0

    def run(s: Tensor, v: Tensor, total: Tensor, weighted: Tensor) -> Tensor:
        state = PrefixState(top, total, weighted)
        out, last = prefix_softmax(s, v, state, mask=mask.expand(2, -1))
        return torch.cat([out.flatten(), last.sum.flatten(), last.weighted.flatten()])

    top, total, weighted = summary(*inputs(4, seed=1))
    compiled = torch.compile(run, backend="aot_eager", fullgraph=True)
    assert_same(compiled, run, *inputs(37), total, weighted)


def test_errors_name_the_argument() -> None:
    scores, values = inputs(6)
    state = empty_prefix(2, 3, 5, torch.float64)
    with pytest.raises(ValueError, match=r"prefix_softmax: scores has shape \(2, 5, 3\), expected"):
        prefix_softmax(scores[:, 1:], values)
    with pytest.raises(ValueError, match=r"values has shape \(2, 6, 3\)"):
        prefix_softmax(scores, values[..., 0])
    with pytest.raises(ValueError, match=r"state.weighted has shape \(2, 3, 4\)"):
        prefix_softmax(scores, values, state._replace(weighted=state.weighted[..., 1:]))
    with pytest.raises(TypeError, match="state is a tuple; pass a PrefixState"):
        prefix_softmax(scores, values, tuple(state))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"scores has dtype torch\.int64"):
        prefix_softmax(scores.long(), values)
    with pytest.raises(TypeError, match=r"values has dtype torch\.complex128; pass real numbers"):
        prefix_softmax(scores, values.to(torch.complex128))
    with pytest.raises(TypeError, match=r"mask has dtype torch\.float64; pass bool"):
        prefix_softmax(scores, values, mask=scores[..., 0])
    with pytest.raises(ValueError, match=r"mask has shape \(2, 5\)"):
        prefix_softmax(scores, values, mask=torch.ones(2, 5, dtype=torch.bool))
    with pytest.raises(ValueError, match="backend is 'cuda'"):
        prefix_softmax(scores, values, backend="cuda")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match='backend is "numba" but values are on meta'):
        prefix_softmax(scores.to("meta"), values.to("meta"), backend="numba")
    with pytest.raises(ValueError, match="scores is on meta"):
        prefix_softmax(scores.to("meta"), values)
    with pytest.raises(ValueError, match=r"merge_prefix: second.max has shape \(1, 3\)"):
        merge_prefix(state, empty_prefix(1, 3, 5, torch.float64))
    with pytest.raises(TypeError, match="merge_prefix: second is a Tensor"):
        merge_prefix(state, scores)  # type: ignore[arg-type]
