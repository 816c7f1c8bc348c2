"""Jordan's network: what comes back is the output of the step before, not the hidden layer.

Serial order: a parallel distributed processing approach (M. I. Jordan, 1986).

    s_t = alpha s_{t-1} + y_{t-1}                   context units
    h_t = phi(W_x x_t + W_s s_t + b)
    y_t = psi(W_y h_t + b_y)

Where the true outputs are known they can stand for y_{t-1} (teacher forcing). Then the context
depends on nothing that the network computes, and all steps run at once: one scan for the context
and two matrix products.

Parameters: ``D (D + D + 1) + D (D + 1)``. The state is s_{t+1}, the context of the step to come.

========  ==============  ================================
symbol    variable        shape
========  ==============  ================================
x_t       x               ``[T, B, D]``
s_t       contexts[t]     ``[T + 1, B, D]``
h_t       hidden[t]       ``[T, B, D]``
y_t       outputs[t]      ``[T, B, D]``
W_x, W_s  weight_input,   ``[D, D]``
          weight_context
W_y       weight_output   ``[D, D]``
b, b_y    bias,           ``[D]``
          bias_output
========  ==============  ================================
"""

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from graphseq.sequence.nn.jordan_loop import jordan_loop
from graphseq.sequence.nn.mixer import zero_padding
from graphseq.sequence.nn.recurrent_cell import Carried, RecurrentCell
from graphseq.sequence.nn.recurrent_loop import activate, check_choice
from graphseq.sequence.nn.state import State
from graphseq.sequence.ops import AffineState, gated_scan

Hidden = Literal["tanh", "relu", "sigmoid"]
Output = Literal["identity", "tanh", "sigmoid"]


class Jordan(RecurrentCell):
    """A layer of Jordan's network.

    Args:
        channels: D, the width of input, hidden layer, context and output.
        activation: phi.
        output_activation: psi.
        self_connection: alpha in [0, 1), how much of the context stays; 0 feeds back the last
            output alone.

    Shape:
        x ``[B, T, D]`` -> ``[B, T, D]``; state ``context [B, D]``.

    Raises:
        ValueError: an argument is none of its choices, or alpha lies outside [0, 1).
    """

    state_names: ClassVar[tuple[str, ...]] = ("context",)

    def __init__(
        self,
        channels: int,
        *,
        activation: Hidden = "tanh",
        output_activation: Output = "identity",
        self_connection: float = 0.0,
    ) -> None:
        super().__init__(channels)
        check_choice("Jordan", "activation", activation, ("tanh", "relu", "sigmoid"))
        outputs = ("identity", "tanh", "sigmoid")
        check_choice("Jordan", "output_activation", output_activation, outputs)
        if not 0.0 <= self_connection < 1.0:
            raise ValueError(
                f"Jordan: self_connection is {self_connection}; pass 0 or more and less than 1"
            )
        self.activation: Hidden = activation
        self.output_activation: Output = output_activation
        self.self_connection = self_connection
        self.weight_input = nn.Parameter(torch.empty(channels, channels))
        self.weight_context = nn.Parameter(torch.empty(channels, channels))
        self.bias = nn.Parameter(torch.empty(channels))
        self.weight_output = nn.Parameter(torch.empty(channels, channels))
        self.bias_output = nn.Parameter(torch.empty(channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """All from U(-1/sqrt(D), 1/sqrt(D))."""
        bound = 1.0 / math.sqrt(self.channels)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(
        self,
        x: Tensor,
        state: State | None = None,
        *,
        lengths: Tensor | None = None,
        targets: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """All steps at once; see :meth:`Mixer.forward`.

        Args:
            x: inputs.
            state: what came before.
            lengths: true lengths.
            targets: the true outputs, which take the place of the network's own in the context.
        """
        if targets is None or x.numel() == 0:
            return super().forward(x, state, lengths=lengths)
        before, mask = self.check(x, state, lengths)
        if targets.shape != x.shape:
            raise ValueError(
                f"Jordan: targets have shape {tuple(targets.shape)}, expected that of x, "
                f"{tuple(x.shape)}"
            )
        with torch.autocast(x.device.type, enabled=False):
            y, context = self._forced(x, self.carried(before)[0], targets, mask)
        return zero_padding(y, mask).to(x.dtype), self.make_state(context=context)

    def step(
        self, x_t: Tensor, state: State, *, target: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """One step; see :meth:`Mixer.step`.

        Args:
            x_t: input.
            state: what came before.
            target: ``[B, D]``, the true output, which takes the place of the network's own in the
                context.
        """
        y, after = super().step(x_t, state)
        if target is None:
            return y, after
        if target.shape != y.shape:
            raise ValueError(
                f"Jordan: target has shape {tuple(target.shape)}, expected {tuple(y.shape)}"
            )
        kept = self.self_connection * self.carried(state)[0]
        return y, self.make_state(context=kept + target.to(kept.dtype))

    def cell(self, x_t: Tensor, before: Carried) -> tuple[Tensor, Carried]:
        (context,) = before
        y = self._output(x_t, context)
        return y, (self.self_connection * context + y,)

    def run(self, x: Tensor, before: Carried, mask: Tensor | None) -> tuple[Tensor, Carried]:
        y, context = jordan_loop(
            x, before[0], *self._weights(), mask=mask,
            activation=self.activation, output_activation=self.output_activation,
            self_connection=self.self_connection,
        )  # fmt: skip
        return y, (context,)

    def _forced(
        self, x: Tensor, context: Tensor, targets: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        targets = zero_padding(targets, mask).to(context.dtype)
        decay = torch.full_like(targets, self.self_connection)
        before = AffineState(torch.ones_like(context), context)
        later, last = gated_scan(decay, targets, before, mask=mask)  # [B, T, D]: s_2 .. s_{T+1}
        contexts = torch.cat([context[:, None], later[:, :-1]], 1)
        return self._output(zero_padding(x, mask).to(context.dtype), contexts), last.value

    def _output(self, x: Tensor, context: Tensor) -> Tensor:
        w_x, w_s, bias, w_y, bias_output = self._weights()
        h = activate(self.activation, x @ w_x.t() + context @ w_s.t() + bias)
        return activate(self.output_activation, h @ w_y.t() + bias_output)

    def _weights(self) -> Carried:
        return self.cast(
            self.weight_input, self.weight_context, self.bias, self.weight_output, self.bias_output
        )

    def extra_repr(self) -> str:
        """The arguments."""
        return (
            f"{self.channels}, activation={self.activation!r}, "
            f"output_activation={self.output_activation!r}, "
            f"self_connection={self.self_connection}"
        )
