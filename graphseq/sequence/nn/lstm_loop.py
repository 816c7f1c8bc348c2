"""The LSTM over all steps, and the way back, for all its forms; equations in ``lstm.py``.

Given the forward pass, the gradients are linear in dh_t and dc_t. With K_t, F_t and A the factors

    dc_t    += K_t * dh_t                K_t = o (1 - tanh(c_t)^2) + A_o p_o
    d i, d f = A_i * dc_t, A_f * dc_t    A_i = g i (1 - i),  A_f = c_{t-1} f (1 - f)
    d g, d o = A_g * dc_t, A_o * dh_t    A_g = i (1 - g^2),  A_o = tanh(c_t) o (1 - o)
    dh_{t-1} = dy_{t-1} + [d i, d f, d g, d o] W_h
    dc_{t-1} = F_t * dc_t                F_t = f + A_i p_i + A_f p_f

(d i .. d o at the arguments of the gates). Without forget gate F_t = 1 + A_i p_i; coupled, A_i is
absent, A_f = (c_{t-1} - g) f (1 - f) and A_g = (1 - f) (1 - g^2). At padding A = K = 0, F = 1 and
dh_{t-1} = dh_t.
"""

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


def lstm_loop(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    weight_input: Tensor,
    weight_hidden: Tensor,
    bias: Tensor,
    *,
    peepholes: Tensor | None,
    mask: Tensor | None,
    forget_gate: bool,
    coupled: bool,
    squashed: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """All h, the last h and the last c.

    Args:
        x: inputs.
        h: h_0.
        c: c_0.
        weight_input: its rows are gates in the order i, f, g, o, without those that are absent.
        weight_hidden: likewise.
        bias: likewise.
        peepholes: in the order i, f, o, likewise; or none.
        mask: false at padding, where h and c stay as they are; or none.
        forget_gate: whether there is one.
        coupled: whether i = 1 - f.
        squashed: whether tanh is applied to the cell on its way out.

    Shape:
        ``[T, B, D]``, twice ``[B, D]``, twice ``[K D, D]``, ``[K D]``, ``[K - 1, D]``,
        ``[T, B, 1]`` -> ``[T, B, D]`` and twice ``[B, D]``.
    """
    return _LSTMLoop.apply(
        x, h, c, weight_input, weight_hidden, bias, peepholes, mask, forget_gate, coupled, squashed
    )


class _LSTMLoop(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        x: Tensor,
        h: Tensor,
        c: Tensor,
        weight_input: Tensor,
        weight_hidden: Tensor,
        bias: Tensor,
        peepholes: Tensor | None,
        mask: Tensor | None,
        forget_gate: bool,
        coupled: bool,
        squashed: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        hidden, cells = time_buffer(h, x.shape[0]), time_buffer(c, x.shape[0])
        gates = project(x, weight_input, bias)  # [T, B, K D]
        recurrent, width, early = weight_hidden.t(), h.shape[1], gates.shape[2] // h.shape[1] - 2
        # Views of single steps, made at once, which is half the price.
        parts = gates, gates[..., : early * width], *gates.split(width, 2)
        views = zip(*(part.unbind(0) for part in parts), strict=True)
        steps = zip(pairwise(hidden.unbind(0)), pairwise(cells.unbind(0)), views, strict=True)
        for t, ((h, h_new), (c, c_new), (row, seeing, *gate, node, out)) in enumerate(steps):
            row.addmm_(h, recurrent)
            if peepholes is not None:
                seeing.unflatten(1, (early, width)).addcmul_(c[:, None], peepholes[:early])
            seeing.sigmoid_()
            node.tanh_()
            if coupled:
                torch.lerp(node, c, gate[0], out=c_new)
            elif forget_gate:
                torch.mul(gate[1], c, out=c_new).addcmul_(gate[0], node)
            else:
                torch.addcmul(c, gate[0], node, out=c_new)
            if peepholes is not None:
                out.addcmul_(c_new, peepholes[-1])
            torch.mul(out.sigmoid_(), c_new.tanh() if squashed else c_new, out=h_new)
            if mask is not None:
                freeze_(c_new, c, mask[t])
                freeze_(h_new, h, mask[t])
        ctx.save_for_backward(x, weight_input, weight_hidden, peepholes, mask, gates, hidden, cells)
        ctx.form = forget_gate, coupled, squashed
        return hidden[1:], hidden[-1].clone(), cells[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(  # type: ignore[override]
        ctx: Any, grad: Tensor, dh: Tensor, dc: Tensor
    ) -> tuple[Tensor | None, ...]:
        x, weight_input, weight_hidden, peepholes, mask, gates, hidden, cells = ctx.saved_tensors
        grads, inward, onward = _factors(gates, cells, peepholes, mask, *ctx.form)
        flat, dc = grads.flatten(2), dc.clone()
        rows = grad, inward, grads[:, :, :-1], grads[:, :, -1], flat
        for t, views in back_in_time([row.unbind(0) for row in rows]):
            incoming, inward_t, through_cell, out, row = views
            kept = dh = dh + incoming
            dc.addcmul_(dh, inward_t)
            through_cell.mul_(dc[:, None])
            out.mul_(dh)
            dh = row @ weight_hidden
            if onward is not None:
                dc.mul_(onward[t])
            if mask is not None:
                dh = torch.where(mask[t], dh, kept)
        grad_peepholes = None
        if peepholes is not None:
            early = torch.einsum("tbkd,tbd->kd", grads[:, :, :-2], cells[:-1])
            late = torch.einsum("tbd,tbd->d", grads[:, :, -1], cells[1:])
            grad_peepholes = torch.cat([early, late[None]])
        grad_x, grad_input, grad_bias = input_gradients(
            flat, x, weight_input, ctx.needs_input_grad[0]
        )
        grad_hidden = weight_gradient(flat, hidden[:-1])
        grads_of_weights = grad_input, grad_hidden, grad_bias, grad_peepholes
        return grad_x, dh, dc, *grads_of_weights, None, None, None, None


def _factors(
    gates: Tensor,
    cells: Tensor,
    peepholes: Tensor | None,
    mask: Tensor | None,
    forget_gate: bool,
    coupled: bool,
    squashed: bool,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """A ``[T, B, K, D]``, K_t and F_t ``[T, B, D]`` of all steps; no F_t where it is 1."""
    old, new = cells[:-1], cells[1:]
    gate = gates.unflatten(2, (-1, cells.shape[2])).unbind(2)
    node, out = gate[-2], gate[-1]
    shown = new.tanh() if squashed else new
    factors = gates.new_empty(*gates.shape[:2], len(gate), cells.shape[2])
    part = factors.unbind(2)
    if coupled:
        torch.mul(old - node, sigmoid_slope(gate[0]), out=part[0])
        torch.mul(1.0 - gate[0], slope("tanh", node), out=part[1])
    else:
        torch.mul(node, sigmoid_slope(gate[0]), out=part[0])
        torch.mul(gate[0], slope("tanh", node), out=part[-2])
        if forget_gate:
            torch.mul(old, sigmoid_slope(gate[1]), out=part[1])
    torch.mul(shown, sigmoid_slope(out), out=part[-1])
    inward = out * slope("tanh", shown) if squashed else out
    onward = gate[len(gate) - 3] if forget_gate else None
    if peepholes is not None:
        inward = torch.addcmul(inward, part[-1], peepholes[-1])
        seen = torch.einsum("tbkd,kd->tbd", factors[:, :, :-2], peepholes[:-1])
        onward = seen + (1.0 if onward is None else onward)
    if mask is not None:
        factors.masked_fill_(~mask[:, :, None], 0.0)
        inward = inward.masked_fill(~mask, 0.0)
        onward = None if onward is None else onward.masked_fill(~mask, 1.0)
    return factors, inward, onward
