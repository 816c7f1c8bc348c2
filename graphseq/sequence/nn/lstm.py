"""Long short-term memory, in its common form and in its historical ones.

Long short-term memory (S. Hochreiter and J. Schmidhuber, Neural Computation 9, 1997); forget gates:
F. A. Gers, J. Schmidhuber and F. Cummins (2000); peepholes: F. A. Gers and J. Schmidhuber (2000).

    i_t = sigma(W_i [x_t; h_{t-1}] + b_i + p_i * c_{t-1})     input gate
    f_t = sigma(W_f [x_t; h_{t-1}] + b_f + p_f * c_{t-1})     forget gate
    g_t = tanh (W_g [x_t; h_{t-1}] + b_g)                     input node
    c_t = f_t * c_{t-1} + i_t * g_t                           cell, s_t in older papers
    o_t = sigma(W_o [x_t; h_{t-1}] + b_o + p_o * c_t)         output gate
    h_t = o_t * tanh(c_t),      y_t = h_t

The terms with p are there with ``peephole``; ``forget_gate=False`` is the cell of 1997, f_t = 1, in
which an error is carried back unchanged (constant error carousel); ``coupled`` means i_t = 1 - f_t;
``output_activation="identity"`` leaves out the last tanh.

Parameters: with K gates and nodes, K = 4, or 3 without forget gate or with coupled gates,
``K D (D + D + 1)``, and ``(K - 1) D`` for peepholes. torch's module has a second bias vector per
gate, which adds to the first; :meth:`LSTM.from_torch` adds them.

=============  =============  =========================================
symbol         variable       shape
=============  =============  =========================================
x_t            x              ``[T, B, D]``
h_t            hidden[t]      ``[T + 1, B, D]`` with h_0
c_t            cells[t]       ``[T + 1, B, D]`` with c_0
W, left part   weight_input   ``[K D, D]``, rows in the order i, f, g, o
W, right part  weight_hidden  ``[K D, D]``, likewise
b              bias           ``[K D]``, likewise
p              peepholes      ``[K - 1, D]``, in the order i, f, o
=============  =============  =========================================
"""

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from graphseq.sequence.nn.fused_cells import fused_lstm
from graphseq.sequence.nn.lstm_loop import lstm_loop
from graphseq.sequence.nn.recurrent_cell import Carried, RecurrentCell, load_torch, torch_width
from graphseq.sequence.nn.recurrent_loop import activate, check_choice


class LSTM(RecurrentCell):
    """A layer of long short-term memory.

    Args:
        channels: D, the width of input, state and output.
        forget_gate: whether the cell can forget.
        peephole: whether the gates see the cell, each channel its own.
        coupled: i_t = 1 - f_t instead of an input gate.
        output_activation: of the cell on its way to the output.
        forget_bias: b_f at the start. With 1 a cell begins by remembering; without forget gate it
            means nothing.

    Shape:
        x ``[B, T, D]`` -> ``[B, T, D]``; state ``h [B, D]`` and ``c [B, D]``.

    Raises:
        ValueError: an argument is none of its choices, or gates are coupled without a forget gate.
    """

    state_names: ClassVar[tuple[str, ...]] = ("h", "c")

    def __init__(
        self,
        channels: int,
        *,
        forget_gate: bool = True,
        peephole: bool = False,
        coupled: bool = False,
        output_activation: Literal["tanh", "identity"] = "tanh",
        forget_bias: float = 1.0,
    ) -> None:
        super().__init__(channels)
        check_choice("LSTM", "output_activation", output_activation, ("tanh", "identity"))
        if coupled and not forget_gate:
            raise ValueError(
                "LSTM: coupled=True sets the input gate to 1 - forget gate; "
                "pass forget_gate=True or coupled=False"
            )
        self.forget_gate, self.coupled = forget_gate, coupled
        self.output_activation: Literal["tanh", "identity"] = output_activation
        self.forget_bias = forget_bias
        rows = self.num_gates * channels
        self.weight_input = nn.Parameter(torch.empty(rows, channels))
        self.weight_hidden = nn.Parameter(torch.empty(rows, channels))
        self.bias = nn.Parameter(torch.empty(rows))
        shape = (self.num_gates - 1, channels)
        self.peepholes = nn.Parameter(torch.empty(shape)) if peephole else None
        self.reset_parameters()

    @property
    def num_gates(self) -> int:
        """K, the input node included."""
        return 4 if self.forget_gate and not self.coupled else 3

    def reset_parameters(self) -> None:
        """Weights from U(-1/sqrt(D), 1/sqrt(D)), biases 0 but the forget gate's."""
        bound = 1.0 / math.sqrt(self.channels)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)
        with torch.no_grad():
            self.bias.zero_()
            if self.forget_gate:
                gates = self.bias.view(self.num_gates, -1)
                gates[0 if self.coupled else 1] = self.forget_bias

    @classmethod
    def from_torch(cls, module: nn.LSTM, *, reverse: bool = False) -> "LSTM":
        """A copy of a one-layer :class:`torch.nn.LSTM` of equal input and hidden width.

        Args:
            module: the layer, whatever its ``batch_first``; this class is batch first.
            reverse: take the second direction of a bidirectional layer.

        Raises:
            TypeError: it is no ``nn.LSTM``.
            ValueError: its layers or widths cannot be copied.
        """
        made = cls(torch_width("LSTM", module, nn.LSTM))
        weight_input, weight_hidden, first, second = load_torch(made, module, reverse)
        with torch.no_grad():
            made.weight_input.copy_(weight_input)
            made.weight_hidden.copy_(weight_hidden)
            made.bias.copy_(first + second)
        return made

    def cell(self, x_t: Tensor, before: Carried) -> tuple[Tensor, Carried]:
        h, c = before
        w_x, w_h, bias = self.cast(self.weight_input, self.weight_hidden, self.bias)
        gates = (x_t @ w_x.t() + h @ w_h.t() + bias).chunk(self.num_gates, 1)
        peepholes = self._peepholes()
        early = gates[:-2]  # input and forget gate, as far as there are both
        if peepholes is not None:
            early = tuple(a + p * c for a, p in zip(early, peepholes, strict=False))
        early = tuple(a.sigmoid() for a in early)
        node = gates[-2].tanh()
        if self.coupled:
            c = early[0] * c + (1.0 - early[0]) * node
        else:
            c = (early[1] * c if self.forget_gate else c) + early[0] * node
        last = gates[-1] if peepholes is None else gates[-1] + peepholes[-1] * c
        h = last.sigmoid() * activate(self.output_activation, c)
        return h, (h, c)

    def run(self, x: Tensor, before: Carried, mask: Tensor | None) -> tuple[Tensor, Carried]:
        weights = self.cast(self.weight_input, self.weight_hidden, self.bias)
        if self._fused(x, mask):
            y, *after = fused_lstm(x, before[0], before[1], weights, mask)
        else:
            y, *after = lstm_loop(
                x, before[0], before[1], *weights,
                peepholes=self._peepholes(), mask=mask,
                forget_gate=self.forget_gate, coupled=self.coupled,
                squashed=self.output_activation == "tanh",
            )  # fmt: skip
        return y, tuple(after)

    def _fused(self, x: Tensor, mask: Tensor | None) -> bool:
        """Whether torch has it, and faster: on the CPU oneDNN's float32 without lengths."""
        common = self.num_gates == 4 and self.peepholes is None and self.output_activation == "tanh"
        if not common or x.numel() == 0:
            return False
        return x.device.type != "cpu" or (x.dtype == torch.float32 and mask is None)

    def _peepholes(self) -> Tensor | None:
        return None if self.peepholes is None else self.cast(self.peepholes)[0]

    def extra_repr(self) -> str:
        """The arguments."""
        return (
            f"{self.channels}, forget_gate={self.forget_gate}, "
            f"peephole={self.peepholes is not None}, coupled={self.coupled}, "
            f"output_activation={self.output_activation!r}"
        )
