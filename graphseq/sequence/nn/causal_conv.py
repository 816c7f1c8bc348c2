"""A short causal convolution per channel, at once or step by step.

    y_i[c] = bias[c] + sum_{w < W} weight[c, w] x_{i - W + 1 + w}[c]

Steps before the first one count as 0.
"""

import torch
from torch import Tensor, nn

from graphseq.sequence.nn.mixer import at_least_float32


class CausalConv(nn.Module):
    """Depthwise causal convolution whose memory is the last W - 1 inputs.

    Args:
        channels: C.
        width: W, 1 or more.

    Raises:
        ValueError: if the width is not positive.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"CausalConv: width is {width}; pass 1 or more")
        self.channels, self.width = channels, width
        bound = width**-0.5  # as torch.nn.Conv1d
        self.weight = nn.Parameter(torch.empty(channels, width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(channels).uniform_(-bound, bound))

    def forward(
        self, x: Tensor, recent: Tensor, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """All steps at once; a step is the case T = 1.

        Args:
            x: ``[B, T, C]``.
            recent: ``[B, W - 1, C]``, the inputs before the first one; zeros at the start.
            lengths: ``[B]``, the true lengths; T if left out.

        Returns:
            ``[B, T, C]`` in the dtype of ``x``, and the inputs before each sequence's end,
            ``[B, W - 1, C]`` in that of ``recent``.
        """
        time = x.shape[1]
        known = torch.cat([recent, x.to(recent.dtype)], 1)  # [B, W - 1 + T, C]
        weight = at_least_float32(self.weight)
        y = at_least_float32(self.bias).expand(*x.shape)
        # W is 4 or so: a multiply-add per tap needs no transposed copies, as conv1d would.
        for tap in range(self.width):
            y = torch.addcmul(y, known[:, tap : tap + time], weight[:, tap])
        return y.to(x.dtype), self._last(known, time, lengths)

    def _last(self, known: Tensor, time: int, lengths: Tensor | None) -> Tensor:
        if lengths is None:
            return known[:, time:]
        places = lengths[:, None] + torch.arange(self.width - 1, device=known.device)
        return known[torch.arange(known.shape[0], device=known.device)[:, None], places]
