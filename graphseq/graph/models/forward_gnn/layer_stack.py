"""A stack of layers that are trained by themselves: what models of nodes and of links share."""

from collections.abc import Sequence
from typing import get_args

from torch import Tensor, nn

from graphseq.graph.csr import CSR
from graphseq.graph.nn.local_convs import Conv, local_conv


class LayerStack(nn.Module):
    """Layers, how they are trained, and what a trainer has to know of it.

    Args:
        in_channels: number of features F.
        hidden_channels: width H of every layer.
        num_layers: number of layers L.
        conv: "gcn", "sage" (mean) or "gat" (``num_heads`` heads side by side).
        num_heads: heads of "gat".

    Raises:
        ValueError: if a size is not positive or ``conv`` is unknown.
    """

    monitor: str
    """What chooses the weights."""

    weight_decay = 5e-4
    """The L2 penalty of the published runs."""

    max_norm: float | None = None
    """At which the gradient of each unit is clipped."""

    gives_logits = False
    """Whether scores are logits."""

    def __init__(
        self, in_channels: int, hidden_channels: int, num_layers: int, conv: Conv, num_heads: int
    ) -> None:
        super().__init__()
        check_sizes(
            type(self).__name__,
            in_channels=in_channels,
            hidden_channels=hidden_channels,
            num_layers=num_layers,
        )
        if conv not in get_args(Conv):
            name, choices = type(self).__name__, ", ".join(get_args(Conv))
            raise ValueError(f"{name}: conv is {conv!r}; use one of {choices}")
        self.in_channels, self.hidden_channels = in_channels, hidden_channels
        self.num_layers, self.conv, self.num_heads = num_layers, conv, num_heads

    def _make_layers(self) -> nn.ModuleList:
        return nn.ModuleList(
            local_conv(self.conv, width, self.hidden_channels, self.num_heads)
            for width in self._widths()
        )

    def _widths(self) -> list[int]:
        """Input width of each layer."""
        return [self.in_channels] + [self.hidden_channels] * (self.num_layers - 1)

    @property
    def units(self) -> Sequence[tuple[str, ...]]:
        """For each stage of training the paths under the model that it trains; "" is the model."""
        return [(f"layers.{number}",) for number in range(self.num_layers)]

    def use_paper_values(self) -> None:
        """Takes the paper's choices where ours differ."""

    def reset_parameters(self) -> None:
        """Draws all weights anew."""
        for layer in self.layers:  # type: ignore[union-attr]
            layer.reset_parameters()  # type: ignore[operator, union-attr]


def check_sizes(where: str, **sizes: int) -> None:
    """Refuses sizes below 1."""
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{where}: {name} is {size}; pass 1 or more")


def check_width(where: str, x: Tensor | CSR, in_channels: int) -> None:
    """Refuses features of another width."""
    if len(x.shape) != 2 or x.shape[1] != in_channels:
        raise ValueError(
            f"{where}: x has shape {tuple(x.shape)}, expected [N, {in_channels}]; "
            "pass in_channels=x.shape[1] to the model"
        )
