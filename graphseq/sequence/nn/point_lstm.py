"""An LSTM whose input is narrower than its state, as coordinates of points are.

    [i; f; g; o] = W_x x_t + W_h h_{t-1} + b,   c_t = f * c_{t-1} + i * g,   h_t = o * tanh(c_t)

with i, f, o through the sigmoid and g through tanh. :class:`~graphseq.sequence.nn.LSTM` is a mixer,
which has one width; both run on the same code. A decoder's inputs are chosen among few points, so
``W_x x + b`` of all of them is computed once (:meth:`PointLSTM.project`) and looked up at each
step.

=============  =============  ====================================
symbol         variable       shape
=============  =============  ====================================
x              x              ``[B, T, F]``
h_t, c_t       state          ``[B, D]`` each
W_x            weight_input   ``[4 D, F]``, rows in the order i, f, g, o
W_h            weight_hidden  ``[4 D, D]``, likewise
b              bias           ``[4 D]``, likewise
=============  =============  ====================================
"""

import torch
from torch import Tensor, nn

from graphseq.sequence.nn.fused_cells import fused_lstm
from graphseq.sequence.nn.lstm_loop import lstm_loop
from graphseq.sequence.nn.mixer import no_autocast, state_dtype

Pair = tuple[Tensor, Tensor]


class PointLSTM(nn.Module):
    """A layer of long short-term memory, computed in float32 at least.

    Args:
        in_channels: F.
        hidden_channels: D.

    Shape:
        x ``[B, T, F]`` -> ``[B, T, D]``, and h and c ``[B, D]`` after each sequence's last step.
    """

    def __init__(self, in_channels: int, hidden_channels: int) -> None:
        super().__init__()
        self.in_channels, self.hidden_channels = in_channels, hidden_channels
        rows, bound = 4 * hidden_channels, hidden_channels**-0.5
        self.weight_input = nn.Parameter(torch.empty(rows, in_channels))
        self.weight_hidden = nn.Parameter(torch.empty(rows, hidden_channels))
        self.bias = nn.Parameter(torch.empty(rows))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(
        self, x: Tensor, state: Pair | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Pair]:
        """All steps at once.

        Args:
            x: inputs.
            state: h and c before the first step; zeros if left out.
            mask: boolean ``[B, T]``, false at padding, which leaves the state as it is.

        Returns:
            All h, 0 at padding, and the last h and c.
        """
        dtype = state_dtype(self)
        zeros = torch.zeros(len(x), self.hidden_channels, dtype=dtype, device=x.device)
        h, c = (zeros, zeros) if state is None else state
        weights = [w.to(dtype) for w in (self.weight_input, self.weight_hidden, self.bias)]
        mask = None if mask is None or bool(mask.all()) else mask
        with no_autocast(x):
            outside = None if mask is None else ~mask[:, :, None]
            x = x.to(dtype) if outside is None else x.to(dtype).masked_fill(outside, 0.0)
            steps = x.transpose(0, 1).contiguous()  # [T, B, F]
            y, h, c = _run(steps, h, c, weights, None if mask is None else mask.t()[:, :, None])
            y = y.transpose(0, 1)  # [B, T, D]
        return (y if outside is None else y.masked_fill(outside, 0.0)), (h, c)

    def project(self, x: Tensor) -> Tensor:
        """``W_x x + b``, ``[..., F] -> [..., 4 D]``."""
        with no_autocast(x):
            dtype = state_dtype(self)
            return x.to(dtype) @ self.weight_input.to(dtype).t() + self.bias.to(dtype)

    def step(self, projected: Tensor, state: Pair) -> Pair:
        """One step: ``W_x x_t + b`` ``[B, 4 D]`` and h, c before it give h, c after it."""
        h, c = state
        with no_autocast(h):
            gates = projected + h @ self.weight_hidden.to(h.dtype).t()
            i, f, g, o = gates.chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            return o.sigmoid() * c.tanh(), c

    def extra_repr(self) -> str:
        """The arguments."""
        return f"{self.in_channels}, {self.hidden_channels}"


@torch.compiler.disable  # a compiler would unroll the loop over time, for minutes
def _run(
    x: Tensor, h: Tensor, c: Tensor, weights: list[Tensor], mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """torch's fused layer where it is the faster one: on the CPU in float32 without padding."""
    fused = x.device.type != "cpu" or (x.dtype == torch.float32 and mask is None)
    if fused and x.numel():
        return fused_lstm(x, h, c, weights, mask)
    w_x, w_h, bias = weights
    return lstm_loop(
        x, h, c, w_x, w_h, bias,
        peepholes=None, mask=mask, forget_gate=True, coupled=False, squashed=True,
    )  # fmt: skip
