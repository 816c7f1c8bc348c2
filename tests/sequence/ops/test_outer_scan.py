"""The outer-product scan equals its slow twin, on both paths, from any state and with any split."""

import pytest
import torch
from torch import Tensor

from graphseq.sequence.ops import AffineState, merge_affine, naive, outer_scan

paths = pytest.mark.parametrize("backend", ["numba", "torch"])


def drawn(time: int, decay: str, sizes: tuple[int, ...] = (2, 3, 4, 5)) -> list[Tensor | None]:
    """q, k, v, log decays and an initial value, in float64."""
    batch, heads, wide, high = sizes
    generator = torch.Generator().manual_seed(time)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    logs = -normal(batch, time, heads).abs()
    if decay == "extreme":
        logs[:, ::3], logs[:, 1::5] = -torch.inf, 0.0
    return [
        normal(batch, time, heads, wide).requires_grad_(),
        normal(batch, time, heads, wide).requires_grad_(),
        normal(batch, time, heads, high).requires_grad_(),
        None if decay == "none" else logs.requires_grad_(),
        normal(batch, heads, wide, high).requires_grad_(),
    ]


def start(value: Tensor) -> AffineState:
    return AffineState(torch.ones(value.shape[:2], dtype=value.dtype), value)


def twin(q: Tensor, k: Tensor, v: Tensor, logs: Tensor | None, value: Tensor) -> tuple:
    return naive.outer_scan(
        q, k, v, torch.zeros(q.shape[:3]).to(q) if logs is None else logs, value
    )


@paths
@pytest.mark.parametrize("decay", ["none", "drawn", "extreme"])
@pytest.mark.parametrize("time", [1, 2, 63, 64, 65, 130])
def test_values_and_gradients(backend: str, decay: str, time: int) -> None:
    q, k, v, logs, value = drawn(time, decay)
    y, last = outer_scan(q, k, v, logs, start(value), backend=backend)
    expected, after = twin(q, k, v, logs, value)
    torch.testing.assert_close(y, expected, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(last.value, after.value, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(last.decay, after.decay.detach())
    assert not last.decay.requires_grad
    inputs = [x for x in (q, k, v, logs, value) if x is not None]
    weights = [torch.randn_like(y), torch.randn_like(value)]
    ours = torch.autograd.grad([y, last.value], inputs, weights)
    theirs = torch.autograd.grad([expected, after.value], inputs, weights)
    for mine, other in zip(ours, theirs, strict=True):
        # The twin's derivative of exp(-inf) is 0 * inf where nothing was kept; the limit is 0.
        torch.testing.assert_close(mine, other.nan_to_num(0.0), atol=1e-9, rtol=1e-9)


@paths
@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (2, 1, 3, 1), (1, 2, 1, 3)])
def test_gradcheck(backend: str, sizes: tuple[int, ...]) -> None:
    q, k, v, logs, value = drawn(5, "drawn", sizes)

    def function(*inputs: Tensor) -> tuple[Tensor, Tensor]:
        y, last = outer_scan(*inputs[:4], start(inputs[4]), backend=backend)
        return y, last.value

    assert torch.autograd.gradcheck(function, (q, k, v, logs, value))


@paths
@pytest.mark.parametrize("split", [0, 1, 64, 100, 130])
def test_any_split_is_the_whole(backend: str, split: int) -> None:
    q, k, v, logs, value = (x.detach() for x in drawn(130, "drawn"))
    whole, last = outer_scan(q, k, v, logs, start(value), backend=backend)
    parts = [
        tuple(x[:, :split] for x in (q, k, v, logs)),
        tuple(x[:, split:] for x in (q, k, v, logs)),
    ]
    first, middle = outer_scan(*parts[0], start(value), backend=backend)
    second, end = outer_scan(*parts[1], middle, backend=backend)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)
    torch.testing.assert_close(end.value, last.value)
    torch.testing.assert_close(end.decay, last.decay)
    alone = [outer_scan(*part, backend=backend)[1] for part in parts]
    joined = merge_affine(merge_affine(start(value), alone[0]), alone[1])
    torch.testing.assert_close(joined.value, last.value)


@paths
def test_masked_steps_leave_the_state(backend: str) -> None:
    q, k, v, logs, value = (x.detach() for x in drawn(70, "drawn"))
    lengths = torch.tensor([41, 0])
    mask = torch.arange(70) < lengths[:, None]
    y, last = outer_scan(q, k, v, logs, start(value), mask=mask, backend=backend)
    assert not y[~mask].any()
    for row, length in enumerate(lengths.tolist()):
        one = [x[row : row + 1, :length] for x in (q, k, v, logs)]
        alone, after = outer_scan(*one, start(value[row : row + 1]), backend=backend)
        torch.testing.assert_close(y[row : row + 1, :length], alone)
        torch.testing.assert_close(last.value[row : row + 1], after.value)
        torch.testing.assert_close(last.decay[row : row + 1], after.decay)


@paths
@pytest.mark.parametrize("decay", ["none", "drawn"])
def test_float32_is_close_at_length(backend: str, decay: str) -> None:
    q, k, v, logs, value = (None if x is None else x.detach() for x in drawn(1024, decay))
    exact, _ = twin(q, k, v, logs, value)
    y, _ = outer_scan(
        *(None if x is None else x.float() for x in (q, k, v, logs)),
        start(value.float()),
        backend=backend,
    )
    assert (y - exact).abs().max() <= 2e-6 * exact.abs().max()


@paths
def test_half_precision_and_no_steps(backend: str) -> None:
    q, k, v, logs, value = (x.detach() for x in drawn(9, "drawn"))
    half = [x.bfloat16() for x in (q, k, v, logs)]
    y, last = outer_scan(*half, backend=backend)
    assert (y.dtype, last.value.dtype) == (torch.bfloat16, torch.float32)
    exact, _ = outer_scan(*(x.float() for x in half), backend=backend)
    assert torch.equal(y, exact.bfloat16())
    empty, state = outer_scan(*(x[:, :0] for x in (q, k, v, logs)), start(value), backend=backend)
    assert empty.shape == (2, 0, 3, 5)
    assert torch.equal(state.value, value)


@paths
def test_what_is_kept_is_linear_in_time(backend: str) -> None:
    kept: dict[int, int] = {}
    for time in (256, 512):
        q, k, v, logs, value = (
            x.detach().requires_grad_() for x in drawn(time, "drawn", (1, 2, 8, 8))
        )
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t, sizes=sizes: sizes.append(t.numel()) or t, lambda t: t
        ):
            outer_scan(q, k, v, logs, start(value), backend=backend)
        kept[time] = sum(sizes)
    assert kept[512] < 2.1 * kept[256]
    assert kept[512] < 512 * 2 * 8 * 8  # no [B, T, H, N, P]


def test_wrong_arguments() -> None:
    q, k, v, logs, value = (x.detach() for x in drawn(4, "drawn"))
    with pytest.raises(ValueError, match=r"outer_scan: k has shape \(2, 4, 3, 2\), expected"):
        outer_scan(q, k[..., :2], v, logs)
    with pytest.raises(TypeError, match=r"outer_scan: q has dtype torch\.int64"):
        outer_scan(q.long(), k, v)
    with pytest.raises(ValueError, match="backend is 'cuda'"):
        outer_scan(q, k, v, backend="cuda")
    with pytest.raises(TypeError, match="mask has dtype"):
        outer_scan(q, k, v, mask=torch.ones(2, 4))
    with pytest.raises(ValueError, match="state"):
        outer_scan(q, k, v, state=start(value[:1]))
