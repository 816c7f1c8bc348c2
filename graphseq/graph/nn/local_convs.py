"""The layers that forward learning trains: GCN, GraphSAGE and GAT, each with a ReLU at the end.

    gcn:   Y = relu(S X W + b),                  S = D^(-1/2) (A + I) D^(-1/2)
    sage:  Y = relu(M X W_1 + X W_2 + b),        M = D^(-1) A
    gat:   Y = relu(P X W + b),                  P: softmax over neighbours and self, per head

They start from the distributions of PyG's layers.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from graphseq.graph.nn.local_conv import LocalConv, Prepared
from graphseq.graph.nn.row_view import RowView
from graphseq.graph.ops.graph_attention import graph_attention

Conv = Literal["gcn", "sage", "gat"]


class LocalGCN(LocalConv):
    """Graph convolution (Kipf and Welling, 2017): weight ``[D, H]``, bias ``[H]``."""

    kinds = ("gcn",)

    def __init__(self, in_channels: int, out_channels: int, activation: bool = True) -> None:
        super().__init__(in_channels, out_channels, activation)
        self.weight = nn.Parameter(torch.empty(in_channels, out_channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Glorot's uniform distribution, no bias."""
        nn.init.xavier_uniform_(self.weight)
        nn.init.zeros_(self.bias)

    def weights(self) -> tuple[Tensor, ...]:
        return (self.weight,)


class LocalSAGE(LocalConv):
    """GraphSAGE with the mean (Hamilton et al., 2017): neighbour and root weight ``[D, H]``."""

    kinds = ("mean", "self")

    def __init__(self, in_channels: int, out_channels: int, activation: bool = True) -> None:
        super().__init__(in_channels, out_channels, activation)
        self.neighbor_weight = nn.Parameter(torch.empty(in_channels, out_channels))
        self.root_weight = nn.Parameter(torch.empty(in_channels, out_channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """U(-1/sqrt(D), 1/sqrt(D)), as ``torch.nn.Linear``."""
        bound = 1.0 / math.sqrt(self.in_channels)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def weights(self) -> tuple[Tensor, ...]:
        return self.neighbor_weight, self.root_weight


class LocalGAT(LocalConv):
    """Graph attention (Velickovic et al., 2018) with several heads.

    Args:
        in_channels: width D of the input.
        out_channels: width H of the output.
        activation: whether a ReLU ends the layer.
        num_heads: number of heads.
        concat: heads lie side by side, H / num_heads wide; or each has width H and they are
            averaged.

    Raises:
        ValueError: if ``num_heads`` does not divide H where it has to.
    """

    kinds = ("self",)
    linear = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        activation: bool = True,
        num_heads: int = 4,
        concat: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, activation)
        if num_heads < 1 or (concat and out_channels % num_heads):
            raise ValueError(
                f"LocalGAT: num_heads is {num_heads}, which does not divide the width "
                f"{out_channels}; change one of them"
            )
        self.num_heads, self.concat = num_heads, concat
        width = out_channels // num_heads if concat else out_channels
        self.weight = nn.Parameter(torch.empty(in_channels, num_heads * width))
        self.source = nn.Parameter(torch.empty(num_heads, width))
        self.target = nn.Parameter(torch.empty(num_heads, width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Glorot's uniform distribution, no bias."""
        for parameter in (self.weight, self.source, self.target):
            nn.init.xavier_uniform_(parameter)
        nn.init.zeros_(self.bias)

    def weights(self) -> tuple[Tensor, ...]:
        return (self.weight,)

    def prepare(self, view: RowView, *features: Any, **options: Any) -> Prepared:
        # Attention needs the projected states of all nodes, whatever rows are wanted.
        return super().prepare(RowView(view.adjacency), *features, **options)

    def at(self, part: Prepared, rows: Tensor) -> Prepared:
        return part

    def activate(self, view: RowView, projected: Sequence[Tensor]) -> Tensor:
        h = projected[0].unflatten(1, (self.num_heads, -1))  # [N, heads, width]
        source = (h * self.source).sum(-1)  # [N, heads]
        own = h if view.rows is None else h[view.rows]
        target = (own * self.target).sum(-1)  # [R, heads]
        pattern = view.matrix("loops", h.dtype)
        assert pattern is not None
        out = graph_attention(pattern, h, source, target)  # [R, heads, width]
        return self._end((out.flatten(1) if self.concat else out.mean(1)) + self.bias)


def local_conv(
    conv: Conv,
    in_channels: int,
    out_channels: int,
    num_heads: int = 4,
    last: bool = False,
) -> LocalConv:
    """The layer that a name means.

    Args:
        conv: "gcn", "sage" or "gat".
        in_channels: width of the input.
        out_channels: width of the output.
        num_heads: of "gat".
        last: no ReLU at the end, and heads are averaged.

    Raises:
        ValueError: if the name means none.
    """
    if conv == "gat":
        return LocalGAT(in_channels, out_channels, not last, num_heads, concat=not last)
    kinds: dict[str, type[LocalConv]] = {"gcn": LocalGCN, "sage": LocalSAGE}
    if conv not in kinds:
        raise ValueError(f'conv is {conv!r}; use "gcn", "sage" or "gat"')
    return kinds[conv](in_channels, out_channels, not last)
