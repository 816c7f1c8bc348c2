"""Blockwise sums: equal to plain autograd, whatever the blocks; nothing is kept for later."""

import pytest
import torch
from torch import Tensor, nn

from graphseq.graph.ops.blockwise import blockwise_sum


def setting() -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1)).double()
        x = torch.randn(11, 4, dtype=torch.float64, requires_grad=True)
        target = torch.randn(11, dtype=torch.float64)
        scale = torch.randn(4, dtype=torch.float64, requires_grad=True)
    return net, x, target, scale


def error(net: nn.Module, x: Tensor, target: Tensor, scale: Tensor) -> Tensor:
    return (net(x * scale).squeeze(1) - target).square().sum()


@pytest.mark.parametrize("block", [1, 4, 11, 100])
def test_equals_plain_autograd(block: int) -> None:
    net, x, target, scale = setting()

    def function(x: Tensor, target: Tensor, doubled: Tensor, *_: Tensor) -> Tensor:
        return error(net, x, target, doubled)

    doubled = 2 * scale  # a computed tensor beside the leaf that it comes from
    inputs = [x, scale, *net.parameters()]
    total = blockwise_sum(function, [x, target], [doubled, scale, *net.parameters()], block=block)
    expected = error(net, x, target, 2 * scale)
    torch.testing.assert_close(total, expected)
    ours = torch.autograd.grad(3 * total.square(), inputs)
    theirs = torch.autograd.grad(3 * expected.square(), inputs)
    for mine, yours in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, yours)


def test_gradcheck() -> None:
    _, x, _, scale = setting()
    weight = torch.randn(4, dtype=torch.float64, requires_grad=True)

    def total(x: Tensor, scale: Tensor, weight: Tensor) -> Tensor:
        def function(x: Tensor, scale: Tensor, weight: Tensor) -> Tensor:
            return ((x * scale).sin() @ weight).exp().sum()

        return blockwise_sum(function, [x], [scale * 1.0, weight * 1.0], block=3)

    assert torch.autograd.gradcheck(total, (x, scale, weight))


def test_equal_gradients_of_two_inputs_do_not_mix() -> None:
    """autograd may return one tensor for both."""
    a, b = (torch.zeros(3, requires_grad=True) for _ in range(2))
    rows = torch.ones(10, 3)
    total = blockwise_sum(lambda r, a, b: (r * (a + b)).sum(), [rows], [a, b], block=2)
    total.backward()
    assert torch.equal(a.grad, torch.full((3,), 10.0))
    assert torch.equal(b.grad, a.grad)


def test_what_a_block_does_not_use_has_no_gradient() -> None:
    used, idle = (torch.ones(3, requires_grad=True) for _ in range(2))
    rows = torch.ones(4, 3, requires_grad=True)
    labels = torch.ones(4)
    total = blockwise_sum(lambda r, y, u, i: (u * y.sum()).sum(), [rows, labels], [used, idle])
    total.backward()
    assert idle.grad is None
    assert torch.equal(rows.grad, torch.zeros(4, 3))
    assert labels.grad is None


def test_without_gradients_it_only_sums() -> None:
    net, x, target, scale = setting()
    seen = []

    def function(x: Tensor, target: Tensor, scale: Tensor) -> Tensor:
        seen.append(torch.is_grad_enabled())
        return error(net, x, target, scale)

    with torch.no_grad():
        total = blockwise_sum(function, [x, target], [scale], block=4)
    assert not total.requires_grad
    assert seen == [False] * 3
    torch.testing.assert_close(total, error(net, x, target, scale).detach())
    net.requires_grad_(False)
    assert not blockwise_sum(function, [x.detach(), target], [scale.detach()]).requires_grad


def test_no_rows() -> None:
    weight = torch.ones(3, requires_grad=True)
    total = blockwise_sum(lambda r, w: (r * w).sum(), [torch.ones(0, 3)], [weight])
    total.backward()
    assert total == 0


def test_a_block_is_gone_before_the_next_comes() -> None:
    """Nothing as large as all hidden rows is kept; only the gradients are."""
    x = torch.ones(64, 2, requires_grad=True)
    weight = torch.ones(2, 1000, requires_grad=True)
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: kept.append(t.numel()) or t, lambda t: t
    ):
        blockwise_sum(lambda x, w: (x @ w).relu().sum(), [x], [weight], block=1).backward()
    assert max(kept) <= weight.numel()


def test_second_derivatives_are_refused() -> None:
    x = torch.ones(4, requires_grad=True)
    total = blockwise_sum(lambda x: x.pow(3).sum(), [x])
    with pytest.raises(RuntimeError, match="its gradient has no derivative"):
        torch.autograd.grad(total, x, create_graph=True)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"lengths \[3, 2\]"):
        blockwise_sum(torch.dot, [torch.ones(3), torch.ones(2)])
    with pytest.raises(ValueError, match=r"lengths \[\]"):
        blockwise_sum(torch.sum, [])
    with pytest.raises(ValueError, match="block is 0"):
        blockwise_sum(torch.sum, [torch.ones(3)], block=0)
