"""The simple recurrent network: the state is the hidden layer of the step before.

Finding structure in time (J. L. Elman, Cognitive Science 14, 1990).

    h_t = phi(W_x x_t + W_h h_{t-1} + b),      y_t = h_t

Parameters: ``D (D + D + 1)`` for input and hidden width D. torch's module has a second bias vector,
which adds to the first; :meth:`Elman.from_torch` adds them.

========  =============  ===========
symbol    variable       shape
========  =============  ===========
x_t       x              ``[T, B, D]``
h_t       hidden[t]      ``[T + 1, B, D]`` with h_0
W_x, W_h  weight_input,  ``[D, D]``
          weight_hidden
b         bias           ``[D]``
========  =============  ===========
"""

import math
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from graphseq.sequence.nn.fused_cells import fused_rnn
from graphseq.sequence.nn.recurrent_cell import Carried, RecurrentCell, load_torch, torch_width
from graphseq.sequence.nn.recurrent_loop import (
    Activation,
    activate,
    activate_,
    back_in_time,
    check_choice,
    freeze_,
    input_gradients,
    project,
    slope,
    time_buffer,
    weight_gradient,
)


class Elman(RecurrentCell):
    """A layer of the simple recurrent network.

    Args:
        channels: D, the width of input, hidden state and output.
        activation: phi.
        init: of W_h. "uniform": from U(-1/sqrt(D), 1/sqrt(D)), as all else; "orthogonal": a random
            rotation, which keeps norms while phi is nearly linear; "identity": with b = 0, meant
            for "relu" (Le, Jaitly and Hinton, 2015, arXiv:1504.00941), so that the state is kept
            until an input changes it.

    Shape:
        x ``[B, T, D]`` -> ``[B, T, D]``; state ``h [B, D]``.

    Raises:
        ValueError: an argument is none of its choices.
    """

    def __init__(
        self,
        channels: int,
        *,
        activation: Literal["tanh", "relu", "sigmoid"] = "tanh",
        init: Literal["uniform", "orthogonal", "identity"] = "uniform",
    ) -> None:
        super().__init__(channels)
        check_choice("Elman", "activation", activation, ("tanh", "relu", "sigmoid"))
        check_choice("Elman", "init", init, ("uniform", "orthogonal", "identity"))
        self.activation: Literal["tanh", "relu", "sigmoid"] = activation
        self.init = init
        self.weight_input = nn.Parameter(torch.empty(channels, channels))
        self.weight_hidden = nn.Parameter(torch.empty(channels, channels))
        self.bias = nn.Parameter(torch.empty(channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """See ``init``."""
        bound = 1.0 / math.sqrt(self.channels)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)
        if self.init == "orthogonal":
            nn.init.orthogonal_(self.weight_hidden)
        elif self.init == "identity":
            nn.init.eye_(self.weight_hidden)
            nn.init.zeros_(self.bias)

    @classmethod
    def from_torch(cls, module: nn.RNN, *, reverse: bool = False) -> "Elman":
        """A copy of a one-layer :class:`torch.nn.RNN` of equal input and hidden width.

        Args:
            module: the layer, whatever its ``batch_first``; this class is batch first.
            reverse: take the second direction of a bidirectional layer.

        Raises:
            TypeError: it is no ``nn.RNN``.
            ValueError: its layers or widths cannot be copied.
        """
        width = torch_width("Elman", module, nn.RNN)
        made = cls(width, activation="relu" if module.nonlinearity == "relu" else "tanh")
        weight_input, weight_hidden, first, second = load_torch(made, module, reverse)
        with torch.no_grad():
            made.weight_input.copy_(weight_input)
            made.weight_hidden.copy_(weight_hidden)
            made.bias.copy_(first + second)
        return made

    def cell(self, x_t: Tensor, before: Carried) -> tuple[Tensor, Carried]:
        w_x, w_h, bias = self.cast(self.weight_input, self.weight_hidden, self.bias)
        h = activate(self.activation, x_t @ w_x.t() + before[0] @ w_h.t() + bias)
        return h, (h,)

    def run(self, x: Tensor, before: Carried, mask: Tensor | None) -> tuple[Tensor, Carried]:
        weights = self.cast(self.weight_input, self.weight_hidden, self.bias)
        if x.device.type != "cpu" and self.activation != "sigmoid" and x.numel():
            y, h = fused_rnn(self.activation, x, before[0], weights, mask)
        else:
            y, h = elman_loop(x, before[0], *weights, mask=mask, activation=self.activation)
        return y, (h,)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"{self.channels}, activation={self.activation!r}, init={self.init!r}"


def elman_loop(
    x: Tensor,
    h: Tensor,
    weight_input: Tensor,
    weight_hidden: Tensor,
    bias: Tensor,
    *,
    mask: Tensor | None,
    activation: Activation,
) -> tuple[Tensor, Tensor]:
    """All h and the last one; a false mask leaves h as it is.

    Shape:
        ``[T, B, D], [B, D], [D, D], [D, D], [D]``, mask ``[T, B, 1]`` -> ``[T, B, D]`` and
        ``[B, D]``.
    """
    return _ElmanLoop.apply(x, h, weight_input, weight_hidden, bias, mask, activation)


class _ElmanLoop(torch.autograd.Function):
    """All steps, and the way back: g_t = phi' * dh_t, dh_{t-1} = g_t W_h + dy_{t-1}."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        x: Tensor,
        h: Tensor,
        weight_input: Tensor,
        weight_hidden: Tensor,
        bias: Tensor,
        mask: Tensor | None,
        activation: Activation,
    ) -> tuple[Tensor, Tensor]:
        hidden = time_buffer(h, x.shape[0])  # [T + 1, B, D]
        project(x, weight_input, bias, out=hidden[1:])
        recurrent = weight_hidden.t()
        for t, (old, new) in enumerate(pairwise(hidden.unbind(0))):
            activate_(activation, new.addmm_(old, recurrent))
            if mask is not None:
                freeze_(new, old, mask[t])
        ctx.save_for_backward(x, weight_input, weight_hidden, mask, hidden)
        ctx.activation = activation
        return hidden[1:], hidden[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, grad_last: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, weight_input, weight_hidden, mask, hidden = ctx.saved_tensors
        gates = slope(ctx.activation, hidden[1:])
        if mask is not None:
            gates.masked_fill_(~mask, 0.0)
        dh = grad_last
        for t, (incoming, gate) in back_in_time([grad.unbind(0), gates.unbind(0)]):
            kept = dh = dh + incoming
            dh = gate.mul_(dh) @ weight_hidden
            if mask is not None:
                dh = torch.where(mask[t], dh, kept)
        grad_x, grad_input, grad_bias = input_gradients(
            gates, x, weight_input, ctx.needs_input_grad[0]
        )
        grad_hidden = weight_gradient(gates, hidden[:-1])
        return grad_x, dh, grad_input, grad_hidden, grad_bias, None, None
