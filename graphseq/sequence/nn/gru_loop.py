"""Both gated recurrent units over all steps, and the way back; equations in ``gru.py``.

Given the forward pass, the gradients are linear in dh_t. For the arguments of the gates

    d n = A_n * dh_t                     A_n = (1 - z) (1 - n^2)
    d z = A_z * dh_t                     A_z = (h_{t-1} - n) z (1 - z)

and with the reset gate after the product, where m = U_n h_{t-1} + b_U and d m = r * d n,

    d r = m r (1 - r) * d n
    dh_{t-1} = dy_{t-1} + z * dh_t + [d r, d z, d m] U

or before it, where d (r h) = d n U_n,

    d r = h_{t-1} r (1 - r) * d (r h)
    dh_{t-1} = dy_{t-1} + z * dh_t + r * d (r h) + [d r, d z] U_{r,z}.

At padding A = 0 and dh_{t-1} = dh_t.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from graphseq.sequence.nn.recurrent_loop import (
    back_in_time,
    freeze_,
    input_gradients,
    project,
    sigmoid_slope,
    slope,
    time_buffer,
    weight_gradient,
)


def gru_after_loop(
    x: Tensor,
    h: Tensor,
    weight_input: Tensor,
    weight_hidden: Tensor,
    bias: Tensor,
    *,
    candidate_bias: Tensor,
    mask: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """All h and the last one, with the reset gate after the recurrent product.

    Shape:
        ``[T, B, D], [B, D], [3 D, D], [3 D, D], [3 D], [D]``, mask ``[T, B, 1]`` -> ``[T, B, D]``
        and ``[B, D]``.
    """
    return _AfterLoop.apply(x, h, weight_input, weight_hidden, bias, candidate_bias, mask)


def gru_before_loop(
    x: Tensor,
    h: Tensor,
    weight_input: Tensor,
    weight_hidden: Tensor,
    bias: Tensor,
    *,
    mask: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """All h and the last one, with the reset gate before the recurrent product.

    Shape:
        as :func:`gru_after_loop`.
    """
    return _BeforeLoop.apply(x, h, weight_input, weight_hidden, bias, mask)


class _AfterLoop(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        x: Tensor,
        h: Tensor,
        weight_input: Tensor,
        weight_hidden: Tensor,
        bias: Tensor,
        candidate_bias: Tensor,
        mask: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        width, hidden = h.shape[1], time_buffer(h, x.shape[0])
        gates = project(x, weight_input, bias)  # [T, B, 3 D]
        products = gates.new_empty(hidden[1:].shape)  # m
        split = weight_hidden.t().split([2 * width, width], 1)
        steps = zip(
            pairwise(hidden.unbind(0)), products.unbind(0), _views(gates, width), strict=True
        )
        for t, ((old, new), m, (reset_update, r, z, n)) in enumerate(steps):
            torch.addmm(candidate_bias, old, split[1], out=m)
            reset_update.addmm_(old, split[0]).sigmoid_()
            n.addcmul_(r, m).tanh_()
            torch.lerp(n, old, z, out=new)
            if mask is not None:
                freeze_(new, old, mask[t])
        ctx.save_for_backward(x, weight_input, weight_hidden, mask, gates, products, hidden)
        return hidden[1:], hidden[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, dh: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, weight_input, weight_hidden, mask, gates, products, hidden = ctx.saved_tensors
        r, z, _ = gates.unflatten(2, (3, -1)).unbind(2)
        grads, factor = _factors(gates, hidden, mask)
        part = grads.unbind(2)
        torch.mul(products, sigmoid_slope(r), out=part[0]).mul_(factor)
        torch.mul(factor, r, out=part[2])
        flat, states = grads.flatten(2), torch.empty_like(factor)
        steps = [part.unbind(0) for part in (grad, states, grads, flat, z)]
        for t, (incoming, total, three, row, kept) in back_in_time(steps):
            dh = torch.add(dh, incoming, out=total)
            three.mul_(dh[:, None])
            back = (row @ weight_hidden).addcmul_(dh, kept)
            dh = back if mask is None else torch.where(mask[t], back, dh)
        grad_hidden = weight_gradient(flat, hidden[:-1])
        grad_candidate = part[2].sum((0, 1))
        part[2].copy_(states.mul_(factor))  # what the input sees of the candidate
        grad_x, grad_input, grad_bias = input_gradients(
            flat, x, weight_input, ctx.needs_input_grad[0]
        )
        return grad_x, dh, grad_input, grad_hidden, grad_bias, grad_candidate, None


class _BeforeLoop(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        x: Tensor,
        h: Tensor,
        weight_input: Tensor,
        weight_hidden: Tensor,
        bias: Tensor,
        mask: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        width, hidden = h.shape[1], time_buffer(h, x.shape[0])
        gates = project(x, weight_input, bias)  # [T, B, 3 D]
        split = weight_hidden.t().split([2 * width, width], 1)
        steps = zip(pairwise(hidden.unbind(0)), _views(gates, width), strict=True)
        for t, ((old, new), (reset_update, r, z, n)) in enumerate(steps):
            reset_update.addmm_(old, split[0]).sigmoid_()
            n.addmm_(r * old, split[1]).tanh_()
            torch.lerp(n, old, z, out=new)
            if mask is not None:
                freeze_(new, old, mask[t])
        ctx.save_for_backward(x, weight_input, weight_hidden, mask, gates, hidden)
        return hidden[1:], hidden[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, dh: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, weight_input, weight_hidden, mask, gates, hidden = ctx.saved_tensors
        width = hidden.shape[2]
        r, z, _ = gates.unflatten(2, (3, -1)).unbind(2)
        grads, factor = _factors(gates, hidden, mask)
        part = grads.unbind(2)
        torch.mul(hidden[:-1], sigmoid_slope(r), out=part[0])
        part[2].copy_(factor)
        flat, split = grads.flatten(2), weight_hidden.split([2 * width, width])
        rows = grad, grads[:, :, 1:], *part, flat[..., : 2 * width], r, z
        for t, views in back_in_time([row.unbind(0) for row in rows]):
            incoming, update_candidate, reset, _, n, reset_update, r_t, z_t = views
            dh = dh + incoming
            update_candidate.mul_(dh[:, None])
            seen = n @ split[1]  # d (r h)
            reset.mul_(seen)
            back = (reset_update @ split[0]).addcmul_(dh, z_t).addcmul_(seen, r_t)
            dh = back if mask is None else torch.where(mask[t], back, dh)
        gated = weight_gradient(flat[..., : 2 * width], hidden[:-1])
        candidate = weight_gradient(part[2], r * hidden[:-1])
        grad_x, grad_input, grad_bias = input_gradients(
            flat, x, weight_input, ctx.needs_input_grad[0]
        )
        return grad_x, dh, grad_input, torch.cat([gated, candidate]), grad_bias, None


def _views(gates: Tensor, width: int) -> Iterator[tuple[Tensor, ...]]:
    """Step by step the parts r and z together, r, z, n; made at once, which is half the price."""
    parts = gates[..., : 2 * width], *gates.split(width, 2)
    return zip(*(part.unbind(0) for part in parts), strict=True)


def _factors(gates: Tensor, hidden: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """A buffer ``[T, B, 3, D]`` for the factors of r, z, n, with A_z in its place; and A_n."""
    _, z, n = gates.unflatten(2, (3, -1)).unbind(2)
    factors = gates.new_empty(*gates.shape[:2], 3, hidden.shape[2])
    torch.mul(hidden[:-1] - n, sigmoid_slope(z), out=factors[:, :, 1])
    candidate = (1.0 - z).mul_(slope("tanh", n))
    if mask is not None:
        factors[:, :, 1].masked_fill_(~mask, 0.0)
        candidate.masked_fill_(~mask, 0.0)
    return factors, candidate
