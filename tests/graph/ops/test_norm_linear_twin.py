"""Batch norm, ReLU, dropout and a linear layer against the equations, and where it may be used."""

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from graphseq.graph.ops import naive, norm_linear
from graphseq.graph.ops.dropout import keep_mask
from graphseq.graph.ops.norm_linear import rows_of_block
from graphseq.graph.ops.norm_relu import norm_relu
from graphseq.kernels import SERIAL_WORK

BACKENDS = ("numba", "torch")
CPU = torch.device("cpu")


def layers(width: int, affine: bool = True, bias: bool = True) -> tuple[nn.BatchNorm1d, nn.Linear]:
    with torch.random.fork_rng():
        torch.manual_seed(width)
        norm = nn.BatchNorm1d(width, affine=affine, dtype=torch.float64)
        linear = nn.Linear(width, 3, bias=bias, dtype=torch.float64)
        for values in norm.parameters():
            nn.init.normal_(values)
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    return norm, linear


def hidden(num_rows: int, width: int) -> Tensor:
    draws = torch.Generator().manual_seed(num_rows)
    return 1 + 2 * torch.randn(num_rows, width, dtype=torch.float64, generator=draws)


def outcome(
    op: Callable[[Tensor, nn.BatchNorm1d, nn.Linear], Tensor],
    h: Tensor,
    norm: nn.BatchNorm1d,
    linear: nn.Linear,
) -> list[Tensor]:
    """Output, running statistics after it, and every gradient."""
    h, norm = h.clone().requires_grad_(), copy.deepcopy(norm)
    out = op(h, norm, linear)
    direction = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view_as(out)
    inputs = [h, *norm.parameters(), *linear.parameters()]
    grads = torch.autograd.grad(out, inputs, direction)
    return [out, norm.running_mean, norm.running_var, *grads]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("p", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(
    ("num_rows", "width", "training"),
    [(0, 4, False), (1, 5, False), (2, 1, True), (2, 1, False), (65, 7, True), (65, 7, False),
     (300, 16, True), (300, 16, False)],
)  # fmt: skip
def test_equals_the_twin(
    num_rows: int, width: int, training: bool, affine: bool, p: float, backend: str
) -> None:
    norm, linear = layers(width, affine, bias=width != 7)
    norm.train(training)
    h = hidden(num_rows, width)
    mask = keep_mask(h.shape, p, 7, CPU)
    ours = outcome(lambda *args: norm_linear(*args, p, seed=7, backend=backend), h, norm, linear)
    twin = outcome(lambda *args: naive.norm_linear(*args, p, mask), h, norm, linear)
    for fast, slow in zip(ours, twin, strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("num_rows", [0, 1])
@pytest.mark.parametrize("backend", BACKENDS)
def test_training_needs_two_rows(num_rows: int, backend: str) -> None:
    norm, linear = layers(5)
    before = norm.running_mean.clone()
    with pytest.raises(ValueError, match=r"norm_linear: h has [01] rows"):
        norm_linear(hidden(num_rows, 5), norm, linear, backend=backend)
    assert torch.equal(norm.running_mean, before)
    assert norm.num_batches_tracked == 0


@pytest.mark.parametrize("training", [True, False])
def test_gradcheck_of_all_inputs(training: bool) -> None:
    norm, linear = layers(3)
    norm.train(training)

    def function(h: Tensor, gamma: Tensor, beta: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        fresh, last = copy.deepcopy(norm), copy.deepcopy(linear)
        for module, name, value in (
            (fresh, "weight", gamma),
            (fresh, "bias", beta),
            (last, "weight", weight),
            (last, "bias", bias),
        ):
            delattr(module, name)
            setattr(module, name, value)
        return norm_linear(h, fresh, last, 0.4, seed=3, backend="numba")

    inputs = hidden(6, 3).requires_grad_(), *norm.parameters(), *linear.parameters()
    assert torch.autograd.gradcheck(function, inputs)


def test_no_block_is_too_small_to_share() -> None:
    for width in (1, 7, 64, 100, 128, 196, 256, 1639, 2047, 5000):
        rows = rows_of_block(width)
        assert rows % 64 == 0
        assert rows >= 256
        assert rows * width >= SERIAL_WORK


Hook = Callable[[nn.Module, list[str]], object]
HOOKS: dict[str, Hook] = {
    "forward": lambda m, log: m.register_forward_hook(lambda *_: log.append("call")),
    "forward_pre": lambda m, log: m.register_forward_pre_hook(lambda *_: log.append("call")),
    "backward": lambda m, log: m.register_full_backward_hook(lambda *_: log.append("call")),
    "backward_pre": lambda m, log: m.register_full_backward_pre_hook(lambda *_: log.append("call")),
}


@pytest.fixture(params=[*HOOKS, "any_module"])
def register(request: pytest.FixtureRequest) -> Iterator[Hook]:
    handles = []

    def on_any_module(module: nn.Module, log: list[str]) -> None:
        handles.append(
            register_module_forward_hook(lambda m, *_: log.append("call") if m is module else None)
        )

    yield HOOKS.get(request.param, on_any_module)
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize("which", [0, 1])
def test_hooks_of_the_layers_fire(register: Hook, which: int) -> None:
    pair, log = layers(5), []
    h = hidden(6, 5).requires_grad_()
    expected = norm_linear(h, *pair, 0.4, seed=3)
    register(pair[which], log)
    out = norm_linear(h, *pair, 0.4, seed=3)
    out.sum().backward()
    assert log == ["call"]
    torch.testing.assert_close(out, expected)


def test_hooks_of_a_layer_norm_fire(register: Hook) -> None:
    norm, log = nn.LayerNorm(5, dtype=torch.float64), []
    h = hidden(6, 5).requires_grad_()
    expected = norm_relu(h, norm, 0.4, seed=3)
    register(norm, log)
    out = norm_relu(h, norm, 0.4, seed=3)
    out.sum().backward()
    assert log == ["call"]
    torch.testing.assert_close(out, expected)


def test_changing_the_input_before_the_backward_pass_raises() -> None:
    norm, linear = layers(5)
    h = hidden(6, 5).requires_grad_() * 1
    out = norm_linear(h, norm, linear, backend="numba").sum()
    h.detach().zero_()
    with pytest.raises(RuntimeError, match="inplace"):
        out.backward()
