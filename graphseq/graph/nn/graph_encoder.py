"""A message passing encoder: from node features, or none, to node states."""

from typing import Literal

import torch
from torch import Tensor, nn

from graphseq.graph.csr import CSR
from graphseq.graph.nn.feature_linear import FeatureLinear
from graphseq.graph.nn.graph_convs import Aggregation, GraphConv, aggregate
from graphseq.graph.nn.node_input import NodeEmbedding, check_features
from graphseq.graph.ops import dropout
from graphseq.graph.ops.norm_relu import norm_relu

Conv = Literal[
    "gcn", "sage", "gin", "max", "pure_gcn", "pure_mean", "pure_sum", "pure_max", "none"
]  # fmt: skip
WEIGHTED: dict[str, Aggregation] = {"gcn": "gcn", "sage": "mean", "gin": "sum", "max": "max"}
PURE: dict[str, Aggregation] = {
    "pure_gcn": "gcn", "pure_mean": "mean", "pure_sum": "sum", "pure_max": "max"
}  # fmt: skip


class GraphEncoder(nn.Module):
    """Node states ``[N, H]`` from L steps of message passing.

    Convolutions with weights ("gcn", "sage", "gin", "max"; the names say how neighbours are
    reduced: normalised sum, mean, sum, maximum, none of them with a root term) are each followed by
    layer norm, dropout and ReLU, except the last of two or more. The "pure" ones only propagate;
    features go through a linear layer before. "none" does not look at the graph.

    Args:
        in_channels: number of features F; None for nodes without features.
        hidden_channels: H.
        num_embeddings: rows of the embedding table of nodes without features.
        num_layers: L.
        conv: "gcn", "sage", "gin", "max", "pure_gcn", "pure_mean", "pure_sum", "pure_max", "none".
        feature_dropout: probability in [0, 1] on the features.
        dropout: probability behind the input layer or table, and inside layers with weights.
        edge_dropout: probability of dropping a direction of an edge, drawn anew for every layer.
        output_dropout: probability behind the last "pure" layer.
        layer_norm: normalise the layers with weights.
        residual: add a layer's input to its output where widths agree.
        jumping_knowledge: the sum of all layers' outputs with trainable weights, instead of the
            last one's.

    Shape:
        - x: ``[N, F]`` dense or :class:`~graphseq.graph.csr.CSR`; int64 ``[N]`` rows of the table,
          or None for row i at node i
        - graph: symmetric :class:`~graphseq.graph.csr.CSR` ``[N, N]`` without values
        - output: ``[N, H]``
    """

    def __init__(
        self,
        in_channels: int | None,
        hidden_channels: int,
        *,
        num_embeddings: int | None = None,
        num_layers: int = 1,
        conv: Conv = "pure_gcn",
        feature_dropout: float = 0.0,
        dropout: float = 0.0,
        edge_dropout: float = 0.0,
        output_dropout: float = 0.0,
        layer_norm: bool = True,
        residual: bool = False,
        jumping_knowledge: bool = False,
    ) -> None:
        super().__init__()
        _check_sizes(in_channels, hidden_channels, num_embeddings, num_layers, conv)
        for name, p in (
            ("feature_dropout", feature_dropout), ("dropout", dropout),
            ("edge_dropout", edge_dropout), ("output_dropout", output_dropout),
        ):  # fmt: skip
            if not 0.0 <= p <= 1.0:
                raise ValueError(f"GraphEncoder: {name} is {p}; pass a probability in [0, 1]")
        self.in_channels = in_channels
        self.hidden_channels = hidden_channels
        self.num_layers = 0 if conv == "none" else num_layers
        self.conv = conv
        self.feature_dropout = feature_dropout
        self.dropout = dropout
        self.edge_dropout = edge_dropout
        self.output_dropout = output_dropout
        self.residual = residual
        weighted = conv in WEIGHTED and self.num_layers > 0
        self.input: nn.Module | None = None
        if num_embeddings is not None:
            self.input = NodeEmbedding(num_embeddings, hidden_channels)
        elif not weighted:
            assert in_channels is not None
            self.input = FeatureLinear(in_channels, hidden_channels, feature_dropout)
        self.convs = nn.ModuleList()
        self.norms = nn.ModuleList()
        if weighted:
            widths = [in_channels or hidden_channels] + [hidden_channels] * self.num_layers
            for width in widths[:-1]:
                layer = GraphConv(width, hidden_channels, WEIGHTED[conv], edge_dropout)
                self.convs.append(layer)
            activated = max(1, self.num_layers - 1) if layer_norm else 0
            self.norms.extend(nn.LayerNorm(hidden_channels) for _ in range(activated))
        self.layer_weights = None
        if jumping_knowledge and self.num_layers > 0:
            self.layer_weights = nn.Parameter(torch.randn(self.num_layers))

    def reset_parameters(self) -> None:
        """Draws all parameters anew."""
        for module in (self.input, *self.convs, *self.norms):
            if module is not None:
                module.reset_parameters()  # type: ignore[operator]
        if self.layer_weights is not None:
            nn.init.normal_(self.layer_weights)

    def forward(self, x: Tensor | CSR | None, graph: CSR) -> Tensor:
        check_features("GraphEncoder", x, self.in_channels)
        h = self._input(x, graph)  # [N, H], or the features where a convolution takes them
        states = []
        for index in range(self.num_layers):
            h = self._layer(index, h, graph)  # [N, H]
            states.append(h)
        if self.layer_weights is not None:
            h = self.layer_weights[0] * states[0]
            for weight, state in zip(self.layer_weights[1:], states[1:], strict=True):
                h = h + weight * state
        assert isinstance(h, Tensor)
        return h

    def _input(self, x: Tensor | CSR | None, graph: CSR) -> Tensor | CSR:
        if isinstance(self.input, NodeEmbedding):
            assert not isinstance(x, CSR)
            return dropout(self.input(x, graph.shape[0]), self.dropout, self.training)
        if self.input is not None:
            return dropout(self.input(x), self.dropout, self.training)
        assert x is not None
        if isinstance(x, CSR) and not (self.residual and self.in_channels == self.hidden_channels):
            return x  # the first convolution drops
        x = x.to_dense() if isinstance(x, CSR) else x
        return dropout(x, self.feature_dropout, self.training)

    def _layer(self, index: int, x: Tensor | CSR, graph: CSR) -> Tensor:
        h = self._convolve(index, x, graph)
        if self.residual and isinstance(x, Tensor) and x.shape == h.shape:
            h = h + x
        return h

    def _convolve(self, index: int, x: Tensor | CSR, graph: CSR) -> Tensor:
        last = index == self.num_layers - 1
        if not self.convs:
            assert isinstance(x, Tensor)
            p = self.edge_dropout if self.training else 0.0
            h = aggregate(PURE[self.conv], graph, x, p)
            return dropout(h, self.output_dropout, self.training) if last else h
        h = self.convs[index](x, graph, self.feature_dropout if isinstance(x, CSR) else 0.0)
        if last and self.num_layers > 1:
            return h
        norm = self.norms[index] if self.norms else None
        return norm_relu(h, norm, self.dropout, self.training)  # type: ignore[arg-type]


def _check_sizes(
    in_channels: int | None,
    hidden_channels: int,
    num_embeddings: int | None,
    num_layers: int,
    conv: str,
) -> None:
    if (in_channels is None) == (num_embeddings is None):
        raise ValueError(
            f"GraphEncoder: in_channels is {in_channels} and num_embeddings {num_embeddings}; pass "
            "the first for nodes with features, the second for nodes without"
        )
    if hidden_channels < 1 or num_layers < 0:
        raise ValueError(
            f"GraphEncoder: hidden_channels is {hidden_channels} and num_layers {num_layers}; pass "
            "at least 1 and 0"
        )
    if conv not in (*WEIGHTED, *PURE, "none"):
        names = ", ".join((*WEIGHTED, *PURE, "none"))
        raise ValueError(f"GraphEncoder: conv is {conv!r}; use one of {names}")
