"""What a pointer network knows of points that it has read, and each step's use of it."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from graphseq.sequence.nn.point_lstm import Pair

if TYPE_CHECKING:
    from graphseq.sequence.models.pointer_network import PointerNetwork


class Reading:
    """Encoded points, with all that does not change from step to step computed once.

    Args:
        network: whose encoder read the points.
        points: coordinates ``[B, N, F]``.
        encoded: e_1..e_N, ``[B, N, D]``.
        state: h and c after the last point.
        mask: boolean ``[B, N]``, false at padding; None without.
    """

    def __init__(
        self,
        network: "PointerNetwork",
        points: Tensor,
        encoded: Tensor,
        state: Pair,
        mask: Tensor | None,
    ) -> None:
        self.network, self.state = network, state
        batch, self.num_tokens = len(points), points.shape[1] + 1
        start = network.start.to(points.dtype).expand(batch, 1, -1)
        self.inputs = torch.cat([start, points], 1)  # [B, N + 1, F]
        if mask is None:
            mask = torch.ones(batch, points.shape[1], dtype=torch.bool, device=points.device)
        self.counts = mask.sum(1)
        self.mask = torch.cat([torch.ones_like(mask[:, :1]), mask], 1)  # [B, N + 1]
        self.padded = not bool(mask.all())
        encoded = encoded.to(network.start.dtype)
        if network.head == "pointer":
            encoded = torch.cat([network.end.expand(batch, 1, -1), encoded], 1)
        self.memory = encoded  # [B, N + 1, D], e_0 at first; [B, N, D] of the rivals
        self.keys = None if network.attention is None else network.attention.keys(encoded)
        self.look_keys = [look.keys(encoded) for look in network.looks]  # type: ignore[operator]
        self._projected: Tensor | None = None

    def score(self, decoded: Tensor) -> Tensor:
        """``[B, M, D] -> [B, M, N + 1]``, -inf at padding."""
        network = self.network
        decoded = decoded.to(network.start.dtype)
        if network.head == "pointer":
            assert network.attention is not None
            assert self.keys is not None
            mask = self.mask if self.padded else None
            for look, keys in zip(network.looks, self.look_keys, strict=True):
                weights = torch.softmax(look.score(decoded, keys, mask), -1)  # type: ignore[operator]
                decoded = weights @ self.memory
            return network.attention.score(decoded, self.keys, mask)
        if network.attention is not None and self.keys is not None:
            mask = self.mask[:, 1:] if self.padded else None
            weights = torch.softmax(network.attention.score(decoded, self.keys, mask), -1)
            decoded = torch.cat([decoded, weights @ self.memory], -1)  # [B, M, 2 D]
        scores: Tensor = network.dictionary(decoded)[..., : self.num_tokens]
        return scores.masked_fill(~self.mask[:, None], -torch.inf)

    def advance(self, token: Tensor, state: Pair) -> tuple[Tensor, Pair]:
        """Reads ``[B, K]`` tokens; scores ``[B, K, N + 1]``, and the state ``[B K, D]`` after."""
        if self._projected is None:
            self._projected = self.network.decoder.project(self.inputs)  # [B, N + 1, 4 D]
        chosen = gather_rows(self._projected, token).flatten(0, 1)  # [B K, 4 D]
        h, c = self.network.decoder.step(chosen, state)
        return self.score(h.view(*token.shape, -1)), (h, c)


def gather_rows(x: Tensor, index: Tensor) -> Tensor:
    """``[B, N, D]`` at ``[B, M]`` -> ``[B, M, D]``."""
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[-1]))
