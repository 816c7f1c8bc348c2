"""Batch norm, ReLU, dropout and a linear layer in blocks: the same as one after the other."""

import copy
import importlib
from collections.abc import Callable

import pytest
import torch
from torch import nn

from graphseq.graph.ops import norm_linear
from graphseq.graph.ops.norm_linear import _MIN_ROWS

WIDTH, CLASSES = 33, 5


def layers(
    dtype: torch.dtype = torch.float64, bias: bool = True
) -> tuple[nn.BatchNorm1d, nn.Linear]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        norm, linear = nn.BatchNorm1d(WIDTH), nn.Linear(WIDTH, CLASSES, bias=bias)
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return norm.to(dtype), linear.to(dtype)


def hidden(num_rows: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    draws = torch.Generator().manual_seed(1)
    return 3 + 2 * torch.randn(num_rows, WIDTH, dtype=dtype, generator=draws)


def outcome(
    backend: str, num_rows: int, p: float, training: bool, bias: bool = True
) -> list[torch.Tensor]:
    """Output, running statistics after it, and every gradient."""
    norm, linear = layers(bias=bias)
    norm.train(training)
    h = hidden(num_rows).requires_grad_()
    out = norm_linear(h, norm, linear, p, seed=7, backend=backend)
    inputs = [h, *norm.parameters(), *linear.parameters()]
    weights = torch.randn(out.shape, dtype=out.dtype, generator=torch.Generator().manual_seed(2))
    grads = torch.autograd.grad((out * weights).sum(), inputs)
    return [out, *norm.buffers(), *grads]


@pytest.fixture
def smallest_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few hundred rows make several blocks."""
    module = importlib.import_module("graphseq.graph.ops.norm_linear")
    monkeypatch.setattr(module, "_ELEMENTS", 1)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("num_rows", [2, 63, 64, 65, _MIN_ROWS, 2 * _MIN_ROWS + 1])
@pytest.mark.usefixtures("smallest_blocks", "always_parallel")
def test_equals_the_layers_one_after_the_other(num_rows: int, p: float, training: bool) -> None:
    fast, plain = (outcome(backend, num_rows, p, training) for backend in ("numba", "torch"))
    for ours, theirs in zip(fast, plain, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_without_bias_and_without_rows() -> None:
    for ours, theirs in zip(
        *(outcome(b, 9, 0.3, True, False) for b in ("numba", "torch")), strict=True
    ):
        torch.testing.assert_close(ours, theirs)
    norm, linear = layers()
    assert norm_linear(hidden(0), norm.eval(), linear).shape == (0, CLASSES)


def test_gradcheck() -> None:
    norm, linear = layers()

    def function(h: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        state = dict(zip(["weight", "bias"], parameters[:2], strict=True))
        fresh = copy.deepcopy(norm)
        return torch.func.functional_call(
            _Call(fresh), {f"norm.{k}": v for k, v in state.items()}, (h, linear)
        )

    h = hidden(6).requires_grad_()
    assert torch.autograd.gradcheck(function, (h, *norm.parameters()))


class _Call(nn.Module):
    def __init__(self, norm: nn.BatchNorm1d) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, h: torch.Tensor, linear: nn.Linear) -> torch.Tensor:
        return norm_linear(h, self.norm, linear, 0.4, seed=3, backend="numba")


@pytest.mark.parametrize("momentum", [0.1, 0.0, None])
def test_running_statistics_follow_the_momentum(momentum: float | None) -> None:
    pair = [layers() for _ in range(2)]
    for (norm, linear), backend in zip(pair, ("numba", "torch"), strict=True):
        norm.momentum = momentum
        for step in range(3):
            norm_linear(hidden(10 + step), norm, linear, backend=backend)
    for ours, theirs in zip(pair[0][0].buffers(), pair[1][0].buffers(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_mask_follows_positions_across_2_to_the_32(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block in which the high half of the position changes inside a row."""
    import numpy as np

    from graphseq.graph.ops.dropout import hash_torch, keys
    from graphseq.graph.ops.norm_linear import _hidden

    first = 2**32 - WIDTH - 5
    h, out = np.ones((3, WIDTH), np.float32), np.empty((3, WIDTH), np.float32)
    one, zero = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)
    numbers = [np.uint32(number) for number in (*keys(11), 2**31)]
    _hidden(h, one, zero, first, *numbers, np.float32(2.0), out)
    kept = hash_torch(first + torch.arange(3 * WIDTH), 11) >= 2**31
    assert torch.equal(torch.from_numpy(out).flatten() != 0, kept)


def test_nothing_of_the_size_of_the_input_is_kept() -> None:
    norm, linear = layers()
    h = hidden(1000).requires_grad_()
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: kept.append(t.data_ptr()) or t if t.numel() >= h.numel() else t, lambda t: t
    ):
        norm_linear(h, norm, linear, 0.5)
    assert set(kept) == {h.data_ptr()}


def test_a_single_row_cannot_be_normalised() -> None:
    norm, linear = layers()
    for backend in ("numba", "torch"):
        with pytest.raises(ValueError, match="1"):
            norm_linear(hidden(1), norm, linear, backend=backend)
    with pytest.raises(ValueError, match="p is 1"):
        norm_linear(hidden(4), norm, linear, 1.5)


def test_other_layers_take_the_plain_path(assert_same: Callable[..., None]) -> None:
    norm, linear = nn.BatchNorm1d(WIDTH, affine=False).double(), layers()[1]
    h = hidden(20)
    torch.testing.assert_close(norm_linear(h, norm, linear), linear(torch.relu(norm(h))))
    with torch.autocast("cpu", torch.bfloat16):
        assert norm_linear(h.float(), *layers(torch.float32)).dtype == torch.bfloat16


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("training", [True, False])
def test_what_is_not_finite_stays_so(bad: float, training: bool) -> None:
    """The training loop must see a model that has diverged."""
    found = []
    for backend in ("numba", "torch"):
        norm, linear = layers()
        norm.weight.data.fill_(1.0)
        h = hidden(4)
        h[1, 2] = bad
        found.append(norm_linear(h, norm.train(training), linear, backend=backend).isfinite())
    assert torch.equal(*found)
    assert not found[0].all()


@pytest.mark.parametrize("training", [True, False])
def test_widths_must_agree(training: bool) -> None:
    norm, linear = layers()
    norm.train(training)
    for wrong in (hidden(4)[:, :5], hidden(4)[None]):
        with pytest.raises(ValueError, match="norm_linear: h has shape"):
            norm_linear(wrong, norm, linear)
    with pytest.raises(ValueError, match="7 inputs"):
        norm_linear(hidden(4), norm, nn.Linear(7, 2).double())
