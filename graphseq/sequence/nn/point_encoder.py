"""One or two recurrent layers over a list of points."""

import torch
from torch import Tensor, nn

from graphseq.sequence.nn.point_lstm import Pair, PointLSTM


class PointEncoder(nn.Module):
    """Reads points in their order, and with ``bidirectional`` from the end too.

    Args:
        in_channels: F, coordinates of a point.
        hidden_channels: D; each direction has half of it where there are two.
        bidirectional: whether there are two.

    Shape:
        points ``[B, N, F]`` -> ``[B, N, D]``, and h and c ``[B, D]`` after the last step.
    """

    def __init__(self, in_channels: int, hidden_channels: int, *, bidirectional: bool) -> None:
        super().__init__()
        width = hidden_channels // 2 if bidirectional else hidden_channels
        self.ahead = PointLSTM(in_channels, width)
        self.back = PointLSTM(in_channels, width) if bidirectional else None

    def forward(self, points: Tensor, mask: Tensor | None) -> tuple[Tensor, Pair]:
        """What each point is encoded to, and the state at the end of both directions.

        Args:
            points: coordinates.
            mask: boolean ``[B, N]``, false at padding, which is behind the points; or none.
        """
        encoded, state = self.ahead(points, mask=mask)
        if self.back is None:
            return encoded, state
        order = _backwards(points, mask)
        y, last = self.back(_reorder(points, order), mask=mask)
        encoded = torch.cat([encoded, _reorder(y, order)], -1)  # [B, N, D]
        return encoded, (torch.cat([state[0], last[0]], -1), torch.cat([state[1], last[1]], -1))


def _backwards(points: Tensor, mask: Tensor | None) -> Tensor:
    """``[B, N]``: each list's points from its end; padding stays behind. It is its own inverse."""
    batch, time = points.shape[:2]
    steps = torch.arange(time, device=points.device).expand(batch, -1)
    if mask is None:
        return steps.flip(1)
    lengths = mask.sum(1, keepdim=True)
    return torch.where(steps < lengths, lengths - 1 - steps, steps)


def _reorder(x: Tensor, order: Tensor) -> Tensor:
    return x.gather(1, order[..., None].expand(-1, -1, x.shape[-1]))
