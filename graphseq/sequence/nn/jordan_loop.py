"""Jordan's network over all steps, and the way back; equations in ``jordan.py``.

With a_t the argument of phi and u_t that of psi, and ds_t the gradient at the context of step t:

    d u_t = psi' * (dy_t + ds_{t+1})
    d a_t = phi' * (d u_t W_y)
    ds_t  = d a_t W_s + alpha ds_{t+1}

At padding d u_t = d a_t = 0 and ds_t = ds_{t+1}.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from graphseq.sequence.nn.recurrent_loop import (
    Activation,
    activate_,
    back_in_time,
    freeze_,
    input_gradients,
    project,
    slope,
    time_buffer,
    weight_gradient,
)


def jordan_loop(
    x: Tensor,
    context: Tensor,
    weight_input: Tensor,
    weight_context: Tensor,
    bias: Tensor,
    weight_output: Tensor,
    bias_output: Tensor,
    *,
    mask: Tensor | None,
    activation: Activation,
    output_activation: Activation,
    self_connection: float,
) -> tuple[Tensor, Tensor]:
    """All outputs and the context of the step to come.

    Args:
        x: inputs.
        context: s_1.
        weight_input: W_x.
        weight_context: W_s.
        bias: b.
        weight_output: W_y.
        bias_output: b_y.
        mask: false at padding, where the context stays as it is; or none.
        activation: phi.
        output_activation: psi.
        self_connection: alpha.

    Shape:
        ``[T, B, D], [B, D]``, weights ``[D, D]`` and ``[D]``, mask ``[T, B, 1]`` ->
        ``[T, B, D]`` and ``[B, D]``.
    """
    weights = weight_input, weight_context, bias, weight_output, bias_output
    form = activation, output_activation, self_connection
    return _JordanLoop.apply(x, context, *weights, mask, form)


class _JordanLoop(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        x: Tensor,
        context: Tensor,
        weight_input: Tensor,
        weight_context: Tensor,
        bias: Tensor,
        weight_output: Tensor,
        bias_output: Tensor,
        mask: Tensor | None,
        form: tuple[Activation, Activation, float],
    ) -> tuple[Tensor, Tensor]:
        activation, output_activation, alpha = form
        contexts = time_buffer(context, x.shape[0])  # [T + 1, B, D]
        hidden = project(x, weight_input, bias)  # [T, B, D]
        outputs = torch.empty_like(hidden)
        recurrent, outward = weight_context.t(), weight_output.t()
        steps = zip(pairwise(contexts.unbind(0)), hidden.unbind(0), outputs.unbind(0), strict=True)
        for t, ((old, new), h, y) in enumerate(steps):
            activate_(activation, h.addmm_(old, recurrent))
            activate_(output_activation, torch.addmm(bias_output, h, outward, out=y))
            torch.add(y, old, alpha=alpha, out=new)
            if mask is not None:
                freeze_(new, old, mask[t])
        weights = weight_input, weight_context, weight_output
        ctx.save_for_backward(x, *weights, mask, contexts, hidden, outputs)
        ctx.form = form
        return outputs, contexts[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, ds: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, weight_input, weight_context, weight_output, mask, contexts, hidden, outputs = (
            ctx.saved_tensors
        )
        activation, output_activation, alpha = ctx.form
        inner, outer = slope(activation, hidden), slope(output_activation, outputs)
        if mask is not None:
            outer.masked_fill_(~mask, 0.0)
        rows = [part.unbind(0) for part in (grad, outer, inner)]
        for t, (incoming, du, da) in back_in_time(rows):
            du.mul_(incoming + ds)
            da.mul_(du @ weight_output)
            back = torch.add(da @ weight_context, ds, alpha=alpha)
            ds = back if mask is None else torch.where(mask[t], back, ds)
        grad_x, grad_input, grad_bias = input_gradients(
            inner, x, weight_input, ctx.needs_input_grad[0]
        )
        grad_context = weight_gradient(inner, contexts[:-1])
        grad_output, grad_bias_output = weight_gradient(outer, hidden), outer.sum((0, 1))
        weights = grad_input, grad_context, grad_bias, grad_output, grad_bias_output
        return grad_x, ds, *weights, None, None
