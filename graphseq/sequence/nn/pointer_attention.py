"""Additive attention that points at what it looks at (Vinyals, Fortunato and Jaitly, 2015).

    u_ij = v^T tanh(W_1 e_j + W_2 d_i)

Keys ``W_1 e`` do not depend on the queries: compute them once, with :meth:`PointerAttention.keys`,
however many steps and beams ask. ``clip`` is a variant of I. Bello et al. (arXiv 1611.09940),
``clip * tanh(u)``, which keeps the probabilities away from 0 and 1.

======  ========  =============
symbol  variable  shape
======  ========  =============
e       encoded   ``[B, N, D]``
d       decoded   ``[B, M, D]``
W_1 e   keys      ``[B, N, D]``
u       scores    ``[B, M, N]``
======  ========  =============
"""

import torch
from torch import Tensor, nn

from graphseq.sequence.ops import pointer_scores


class PointerAttention(nn.Module):
    """Scores of all encoded positions, for each decoded one.

    Args:
        channels: D.
        clip: bound of the scores' size; None for none.

    Shape:
        decoded ``[B, M, D]``, encoded ``[B, N, D]`` -> ``[B, M, N]``.

    Raises:
        ValueError: clip is not positive.
    """

    def __init__(self, channels: int, *, clip: float | None = None) -> None:
        super().__init__()
        if clip is not None and clip <= 0:
            raise ValueError(f"PointerAttention: clip is {clip}; pass a positive number or None")
        self.channels, self.clip = channels, clip
        self.key = nn.Linear(channels, channels, bias=False)
        self.query = nn.Linear(channels, channels, bias=False)
        self.v = nn.Parameter(torch.empty(channels))
        nn.init.uniform_(self.v, -(channels**-0.5), channels**-0.5)

    def forward(self, decoded: Tensor, encoded: Tensor, mask: Tensor | None = None) -> Tensor:
        """Scores from what was encoded.

        Args:
            decoded: d.
            encoded: e.
            mask: boolean, ``[B, N]`` or ``[B, M, N]``; -inf where it is false.

        Returns:
            ``[B, M, N]``.
        """
        return self.score(decoded, self.keys(encoded), mask)

    def keys(self, encoded: Tensor) -> Tensor:
        """``W_1 e``, ``[B, N, D]``."""
        keys: Tensor = self.key(encoded)
        return keys

    def score(self, decoded: Tensor, keys: Tensor, mask: Tensor | None = None) -> Tensor:
        """Scores from keys that are there already; arguments as of :meth:`forward`."""
        scores = pointer_scores(self.query(decoded), keys, self.v)
        if self.clip is not None:
            scores = self.clip * torch.tanh(scores)
        if mask is None:
            return scores
        mask = mask[:, None] if mask.dim() == 2 else mask
        return scores.masked_fill(~mask, -torch.inf)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"{self.channels}, clip={self.clip}"
