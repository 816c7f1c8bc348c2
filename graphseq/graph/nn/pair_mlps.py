"""The small networks of a link predictor; dropout comes before each ReLU.

    phi_x   ``NodeMLP``:   Linear, dropout, ReLU, Linear, norm, dropout, ReLU
    phi_c   ``PoolMLP``:   Linear, dropout, ReLU, Linear, norm, dropout, ReLU (, Linear)
    phi_p   ``PairMLP``:   Linear, norm, dropout, ReLU (, Linear)
    psi     ``ScoreMLP``:  Linear, norm, dropout, ReLU (, Linear, norm, dropout, ReLU), Linear to 1

What may be moved is apart: the first linear map of phi_c may go through the sum over neighbours
(``project``), and the last ones of phi_c and phi_p, the tails, into the first one of psi.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphseq.graph.ops import dropout
from graphseq.graph.ops.norm_relu import norm_relu
from graphseq.graph.ops.repeated_linear import repeated_linear


def _norm(channels: int, layer_norm: bool) -> nn.LayerNorm | None:
    return nn.LayerNorm(channels) if layer_norm else None


class NodeMLP(nn.Module):
    """phi_x: what a common neighbour adds to its state.

    Args:
        channels: H.
        p: dropout probability in [0, 1].
        layer_norm: whether there is a norm.

    Shape:
        x ``[R, H]`` -> ``[R, H]``
    """

    def __init__(self, channels: int, p: float = 0.0, layer_norm: bool = True) -> None:
        super().__init__()
        self.p = p
        self.first = nn.Linear(channels, channels)
        self.second = nn.Linear(channels, channels)
        self.norm = _norm(channels, layer_norm)

    def forward(self, x: Tensor) -> Tensor:
        h = dropout(self.first(x), self.p, self.training, relu=True)
        return norm_relu(self.second(h), self.norm, self.p, self.training)


class PoolMLP(nn.Module):
    """phi_c, in two parts: ``forward(pooled)`` expects ``project`` to have been applied before.

    Args:
        in_channels: D, the width of what is pooled.
        channels: H.
        p: dropout probability in [0, 1].
        layer_norm: whether there is a norm.
        tail: whether there is a last linear layer, ``self.tail``, which ``forward`` leaves out.

    Shape:
        - project: ``[R, D]`` -> ``[R, H]``
        - forward: ``[R, H]`` -> ``[R, H]``
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        p: float = 0.0,
        layer_norm: bool = True,
        tail: bool = False,
    ) -> None:
        super().__init__()
        self.p = p
        self.first = nn.Linear(in_channels, channels)
        self.second = nn.Linear(channels, channels)
        self.norm = _norm(channels, layer_norm)
        self.tail = nn.Linear(channels, channels) if tail else None

    def project(self, x: Tensor) -> Tensor:
        """The first linear map without its bias, which must be added once, not per neighbour."""
        return F.linear(x, self.first.weight)

    def forward(self, pooled: Tensor) -> Tensor:
        h = dropout(pooled + self.first.bias, self.p, self.training, relu=True)
        return norm_relu(self.second(h), self.norm, self.p, self.training)

    def empty(self, size: int) -> Tensor:
        """``forward`` of so many rows of zeros, the sums of pairs without neighbours."""
        second = self.second
        h = repeated_linear(
            self.first.bias, size, second.weight, second.bias, self.p, self.training
        )
        if self.training and self.p > 0.0:
            return norm_relu(h, self.norm, self.p)
        return norm_relu(h[:1], self.norm, training=False).expand(size, -1)


class PairMLP(nn.Module):
    """phi_p, on the product of the states of both nodes.

    Args:
        channels: H.
        p: dropout probability in [0, 1].
        layer_norm: whether there is a norm.
        tail: whether there is a last linear layer, ``self.tail``, which ``forward`` leaves out.

    Shape:
        z ``[R, H]`` -> ``[R, H]``
    """

    def __init__(
        self, channels: int, p: float = 0.0, layer_norm: bool = True, tail: bool = False
    ) -> None:
        super().__init__()
        self.p = p
        self.first = nn.Linear(channels, channels)
        self.norm = _norm(channels, layer_norm)
        self.tail = nn.Linear(channels, channels) if tail else None

    def forward(self, z: Tensor) -> Tensor:
        return norm_relu(self.first(z), self.norm, self.p, self.training)


class ScoreMLP(nn.Module):
    """psi: the logit of a pair; ``forward`` expects ``self.first`` to have been applied before.

    Args:
        channels: H.
        p: dropout probability in [0, 1].
        layer_norm: whether there are norms.
        two_layers: whether there is a second hidden layer.

    Shape:
        h ``[R, H]`` -> ``[R]``
    """

    def __init__(
        self, channels: int, p: float = 0.0, layer_norm: bool = True, two_layers: bool = False
    ) -> None:
        super().__init__()
        self.p = p
        self.first = nn.Linear(channels, channels)
        self.norm = _norm(channels, layer_norm)
        self.second = nn.Linear(channels, channels) if two_layers else None
        self.second_norm = _norm(channels, layer_norm) if two_layers else None
        self.last = nn.Linear(channels, 1)

    def forward(self, h: Tensor) -> Tensor:
        h = norm_relu(h, self.norm, self.p, self.training)
        if self.second is not None:
            h = norm_relu(self.second(h), self.second_norm, self.p, self.training)
        with torch.autocast(h.device.type, enabled=False):  # half precision would tie the scores
            return self.last(h.to(self.last.weight.dtype)).squeeze(1)


def fold(outer: nn.Linear, inner: nn.Linear, scale: Tensor | float = 1.0) -> tuple[Tensor, Tensor]:
    """Weight and bias of ``outer.weight (scale inner(x))``, one linear map instead of two."""
    with torch.autocast(outer.weight.device.type, enabled=False):
        weight = outer.weight @ (scale * inner.weight)
        bias = outer.weight @ (scale * inner.bias)
    return weight, bias
