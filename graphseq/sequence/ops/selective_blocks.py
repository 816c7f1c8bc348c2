"""The selective scan in torch operations; :mod:`graphseq.sequence.ops.selective_scan` derives it.

One block of 64 steps after the other: its decays and what is added are laid out as two tensors
``[B, 64, D N]``, to which the gated scan's lockstep applies, forward and back. Only the states
between blocks are kept; the backward pass lays each block out again.
"""

import torch
from torch import Tensor

from graphseq.sequence.ops.gated_blocks import lockstep, lockstep_gradients

Inputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def blocked(inputs: Inputs, before: Tensor, block: int) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs ``[B, T, D]``, the states before each block ``[S, B, D, N]``, and the last one.

    Args:
        inputs: u, delta ``[B, T, D]``, a ``[D, N]``, b, c ``[B, T, N]``.
        before: the state to start from ``[B, D, N]``.
        block: steps of a block.
    """
    outputs, states = [inputs[0][:, :0]], [before]
    for begin in range(0, inputs[0].shape[1], block):
        part = _steps(inputs, slice(begin, begin + block))
        h, last = _states(*_layout(*part[:4]), states[-1])
        outputs.append(torch.einsum("btdn,btn->btd", h, part[4]))
        states.append(last)
    return torch.cat(outputs, 1), torch.stack(states), states[-1]


def blocked_gradients(
    inputs: Inputs, states: Tensor, block: int, grad_y: Tensor, grad_last: Tensor
) -> tuple[Tensor, ...]:
    """Gradients of u, delta, a, b, c and of the state to start from.

    Args:
        inputs: as for :func:`blocked`.
        states: what :func:`blocked` returned.
        block: steps of a block.
        grad_y: gradient of the outputs ``[B, T, D]``.
        grad_last: gradient of the last state ``[B, D, N]``.
    """
    grads = [torch.zeros_like(x) for x in inputs]
    begins = range(0, inputs[0].shape[1], block)
    for begin, before in reversed(list(zip(begins, states[: len(begins)], strict=True))):
        steps = slice(begin, begin + block)
        *parts, grad_last = _block_gradients(
            _steps(inputs, steps), before, grad_y[:, steps], grad_last
        )
        for i, part in enumerate(parts):
            if i == 2:
                grads[i] += part
            else:
                grads[i][:, steps] = part
    return *grads, grad_last


def _steps(inputs: Inputs, steps: slice) -> Inputs:
    u, delta, a, b, c = inputs
    return u[:, steps], delta[:, steps], a, b[:, steps], c[:, steps]


def _layout(u: Tensor, delta: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Decay and addition of each step and state, ``[B, t, D, N]``."""
    return torch.exp(delta[..., None] * a), (delta * u)[..., None] * b[:, :, None]


def _states(decay: Tensor, value: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """All states of a block, and the last one."""
    h, last, _ = lockstep(decay.flatten(2), value.flatten(2), before.flatten(1))
    return h.view_as(decay), last.view_as(before)


def _block_gradients(
    inputs: Inputs, before: Tensor, grad_y: Tensor, grad_last: Tensor
) -> tuple[Tensor, ...]:
    u, delta, a, b, c = inputs
    decay, value = _layout(u, delta, a, b)
    h, _ = _states(decay, value, before)
    grad_c = torch.einsum("btdn,btd->btn", h, grad_y)
    grad_h = grad_y[..., None] * c[:, :, None]
    parts = lockstep_gradients(
        decay.flatten(2), h.flatten(2), before.flatten(1), grad_h.flatten(2), grad_last.flatten(1)
    )
    grad_decay, grad_value, grad_before = (part.unflatten(-1, a.shape) for part in parts)
    log = grad_decay * decay  # the gradient by delta_t a
    grad_a = torch.einsum("btdn,btd->dn", log, delta)
    grad_x = torch.einsum("btdn,btn->btd", grad_value, b)
    grad_b = torch.einsum("btdn,btd->btn", grad_value, delta * u)
    grad_delta = torch.einsum("btdn,dn->btd", log, a) + grad_x * u
    return grad_x * delta, grad_delta, grad_a, grad_b, grad_c, grad_before
