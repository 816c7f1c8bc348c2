"""The gated recurrent unit, with the reset gate after or before the recurrent product.

Learning phrase representations using RNN encoder-decoder for statistical machine translation (Cho
et al., 2014, arXiv:1406.1078).

    r_t = sigma(W_r x_t + U_r h_{t-1} + b_r)                    reset gate
    z_t = sigma(W_z x_t + U_z h_{t-1} + b_z)                    update gate
    n_t = tanh(W_n x_t + b_n + r_t * (U_n h_{t-1} + b_U))       candidate, reset "after"
    n_t = tanh(W_n x_t + b_n + U_n (r_t * h_{t-1}))             candidate, reset "before"
    h_t = (1 - z_t) * n_t + z_t * h_{t-1},      y_t = h_t

"before" is the published form (with z for 1 - z), "after" that of torch and cuDNN, in which one
matrix product serves all three. They are different functions of the same weights.

Parameters: ``3 D (D + D + 1)``, and D more for b_U with "after". torch's module has a second bias
vector for r and z too, which adds to the first; :meth:`GRU.from_torch` adds them.

=============  ==============  =====================================
symbol         variable        shape
=============  ==============  =====================================
x_t            x               ``[T, B, D]``
h_t            hidden[t]       ``[T + 1, B, D]`` with h_0
W              weight_input    ``[3 D, D]``, rows in the order r, z, n
U              weight_hidden   ``[3 D, D]``, likewise
b              bias            ``[3 D]``, likewise
b_U            candidate_bias  ``[D]``
=============  ==============  =====================================
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from graphseq.sequence.nn.fused_cells import fused_gru
from graphseq.sequence.nn.gru_loop import gru_after_loop, gru_before_loop
from graphseq.sequence.nn.recurrent_cell import Carried, RecurrentCell, load_torch, torch_width
from graphseq.sequence.nn.recurrent_loop import check_choice


class GRU(RecurrentCell):
    """A layer of gated recurrent units.

    Args:
        channels: D, the width of input, state and output.
        reset: where the reset gate acts.

    Shape:
        x ``[B, T, D]`` -> ``[B, T, D]``; state ``h [B, D]``.

    Raises:
        ValueError: ``reset`` is neither "after" nor "before".
    """

    def __init__(self, channels: int, *, reset: Literal["after", "before"] = "after") -> None:
        super().__init__(channels)
        check_choice("GRU", "reset", reset, ("after", "before"))
        self.reset: Literal["after", "before"] = reset
        self.weight_input = nn.Parameter(torch.empty(3 * channels, channels))
        self.weight_hidden = nn.Parameter(torch.empty(3 * channels, channels))
        self.bias = nn.Parameter(torch.empty(3 * channels))
        self.candidate_bias = nn.Parameter(torch.empty(channels)) if reset == "after" else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """All from U(-1/sqrt(D), 1/sqrt(D))."""
        bound = 1.0 / math.sqrt(self.channels)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    @classmethod
    def from_torch(cls, module: nn.GRU, *, reverse: bool = False) -> "GRU":
        """A copy of a one-layer :class:`torch.nn.GRU` of equal input and hidden width.

        Args:
            module: the layer, whatever its ``batch_first``; this class is batch first.
            reverse: take the second direction of a bidirectional layer.

        Raises:
            TypeError: it is no ``nn.GRU``.
            ValueError: its layers or widths cannot be copied.
        """
        width = torch_width("GRU", module, nn.GRU)
        made = cls(width)
        weight_input, weight_hidden, first, second = load_torch(made, module, reverse)
        assert made.candidate_bias is not None
        with torch.no_grad():
            made.weight_input.copy_(weight_input)
            made.weight_hidden.copy_(weight_hidden)
            made.bias.copy_(first)
            made.bias[: 2 * width] += second[: 2 * width]
            made.candidate_bias.copy_(second[2 * width :])
        return made

    def cell(self, x_t: Tensor, before: Carried) -> tuple[Tensor, Carried]:
        (h,) = before
        w_x, w_h, bias = self.cast(self.weight_input, self.weight_hidden, self.bias)
        (u_r, u_z, u_n) = w_h.chunk(3)
        x_r, x_z, x_n = (x_t @ w_x.t() + bias).chunk(3, 1)
        r, z = torch.sigmoid(x_r + h @ u_r.t()), torch.sigmoid(x_z + h @ u_z.t())
        if self.candidate_bias is None:
            n = torch.tanh(x_n + (r * h) @ u_n.t())
        else:
            n = torch.tanh(x_n + r * (h @ u_n.t() + self.cast(self.candidate_bias)[0]))
        h = (1.0 - z) * n + z * h
        return h, (h,)

    def run(self, x: Tensor, before: Carried, mask: Tensor | None) -> tuple[Tensor, Carried]:
        weights = self.cast(self.weight_input, self.weight_hidden, self.bias)
        if self.candidate_bias is None:
            y, h = gru_before_loop(x, before[0], *weights, mask=mask)
            return y, (h,)
        (candidate_bias,) = self.cast(self.candidate_bias)
        if x.device.type != "cpu" and x.numel():
            gates = torch.zeros_like(weights[2][: 2 * self.channels])
            second = torch.cat([gates, candidate_bias])
            y, h = fused_gru(x, before[0], (*weights, second), mask)
        else:
            y, h = gru_after_loop(x, before[0], *weights, candidate_bias=candidate_bias, mask=mask)
        return y, (h,)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"{self.channels}, reset={self.reset!r}"
