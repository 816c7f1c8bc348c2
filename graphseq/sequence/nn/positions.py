"""Learned absolute positions, which end somewhere and say so."""

import torch
from torch import Tensor, nn


class Positions(nn.Module):
    """A learned vector for each position.

    Args:
        max_length: number of positions.
        channels: D.

    Raises:
        ValueError: if a size is not positive.
    """

    def __init__(self, max_length: int, channels: int) -> None:
        super().__init__()
        if max_length < 1:
            raise ValueError(f"Positions: max_length is {max_length}; pass 1 or more")
        self.max_length = max_length
        self.weight = nn.Parameter(torch.randn(max_length, channels) * 0.02)

    def forward(self, length: int, start: Tensor | None = None) -> Tensor:
        """The vectors of ``length`` positions from ``start`` on.

        Args:
            length: T.
            start: ``[B]``, the first position of each sequence; 0 if left out.

        Shape:
            ``[T, D]``, with a start ``[B, T, D]``.

        Raises:
            ValueError: if a position lies past the last one.
        """
        first = 0 if start is None or not len(start) else int(start.max())
        if first + length > self.max_length:
            raise ValueError(
                f"Positions: got a sequence of {first + length} steps, but max_length is "
                f"{self.max_length}; build the model with a larger max_length, or with None for no "
                "positions"
            )
        if start is None:
            return self.weight[:length]
        return self.weight[start[:, None] + torch.arange(length, device=start.device)]
