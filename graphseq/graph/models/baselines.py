"""The baselines that DAGNN is compared with, made of PyG's own layers.

MLP; GCN (Kipf and Welling, 2017); GAT (Velickovic et al., 2018); APPNP (Gasteiger et al., 2019);
SGC (Wu et al., 2019). All have the signature of :class:`~graphseq.graph.models.dagnn.DAGNN`:
``forward(x [N, F], graph) -> logits [N, C]``, so one task trains them all. PyG's layers take dense
features only: load the data with ``sparse=False``.
"""

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import APPNP as APPNPLayer
from torch_geometric.nn import GATConv, GCNConv, SGConv

from graphseq.graph.adjacency import Adjacency
from graphseq.graph.csr import CSR
from graphseq.graph.ops import dropout


def _dense(x: Tensor | CSR, model: nn.Module) -> Tensor:
    if isinstance(x, Tensor):
        return x
    name = type(model).__name__
    raise TypeError(f"{name}: x must be a dense tensor, got {x!r}; load the data with sparse=False")


def _edges(graph: Tensor | Adjacency) -> tuple[Tensor, Tensor | None]:
    """``edge_index [2, E]`` and, of a weighted adjacency, ``edge_weight [E]``."""
    return (graph.edge_index, graph.csr.value) if isinstance(graph, Adjacency) else (graph, None)


class _TwoLayers(nn.Module):
    """Two layers of one kind around a hidden width.

    Args:
        in_channels: number of node features F.
        out_channels: number of classes C.
        hidden_channels: width of the hidden layer.
        dropout: probability on features and hidden layer.
    """

    layer: ClassVar[type[nn.Module]]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        hidden_channels: int = 64,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.hidden_channels, self.dropout = hidden_channels, dropout
        self.input = self.layer(in_channels, hidden_channels)
        self.output = self.layer(hidden_channels, out_channels)


class MLP(_TwoLayers):
    """Two linear layers that never look at the graph.

    Args:
        in_channels: number of node features F.
        out_channels: number of classes C.
        hidden_channels: width of the hidden layer.
        dropout: probability on features and hidden layer.
    """

    layer = nn.Linear

    def forward(self, x: Tensor | CSR, graph: Tensor | Adjacency) -> Tensor:
        h = dropout(_dense(x, self), self.dropout, self.training)
        h = dropout(self.input(h), self.dropout, self.training, relu=True)  # [N, hidden]
        return self.output(h)  # [N, C]


class GCN(_TwoLayers):
    """Two graph convolutions: ``A_hat relu(A_hat X W0) W1``.

    Args:
        in_channels: number of node features F.
        out_channels: number of classes C.
        hidden_channels: width of the hidden layer.
        dropout: probability on features and hidden layer.
    """

    layer = GCNConv

    def forward(self, x: Tensor | CSR, graph: Tensor | Adjacency) -> Tensor:
        edges = _edges(graph)
        h = dropout(_dense(x, self), self.dropout, self.training)
        h = dropout(self.input(h, *edges), self.dropout, self.training, relu=True)  # [N, hidden]
        return self.output(h, *edges)  # [N, C]


class GAT(nn.Module):
    """Two graph attention layers, the first with several concatenated heads.

    Args:
        in_channels: number of node features F.
        out_channels: number of classes C.
        hidden_channels: width of each head of the first layer.
        num_heads: heads of the first layer; the second has one.
        dropout: probability on features, hidden layer and attention coefficients.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        hidden_channels: int = 8,
        num_heads: int = 8,
        dropout: float = 0.6,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.hidden_channels, self.num_heads = hidden_channels, num_heads
        self.dropout = dropout
        self.input = GATConv(in_channels, hidden_channels, heads=num_heads, dropout=dropout)
        self.output = GATConv(hidden_channels * num_heads, out_channels, dropout=dropout)

    def forward(self, x: Tensor | CSR, graph: Tensor | Adjacency) -> Tensor:
        edge_index, edge_weight = _edges(graph)
        if edge_weight is not None:
            raise ValueError("GAT: attention replaces edge weights; pass a graph without weights")
        h = dropout(_dense(x, self), self.dropout, self.training)
        h = F.elu(self.input(h, edge_index))  # [N, heads * hidden]
        return self.output(dropout(h, self.dropout, self.training), edge_index)  # [N, C]


class APPNP(MLP):
    """An MLP whose class scores follow personalised PageRank with fixed weights.

    Args:
        in_channels: number of node features F.
        out_channels: number of classes C.
        hidden_channels: width of the hidden layer.
        num_hops: power iterations.
        alpha: teleport probability in (0, 1).
        dropout: probability on features and hidden layer.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        hidden_channels: int = 64,
        num_hops: int = 10,
        alpha: float = 0.1,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(
            in_channels, out_channels, hidden_channels=hidden_channels, dropout=dropout
        )
        self.num_hops, self.alpha = num_hops, alpha
        self.propagation = APPNPLayer(num_hops, alpha)

    def forward(self, x: Tensor | CSR, graph: Tensor | Adjacency) -> Tensor:
        h = super().forward(x, graph)  # [N, C]
        return self.propagation(h, *_edges(graph))  # [N, C]


class SGC(nn.Module):
    """Logistic regression on features that were propagated once: ``A_hat^K X W``.

    The propagated features are kept for as long as the same features and graph come in.

    Args:
        in_channels: number of node features F.
        out_channels: number of classes C.
        num_hops: K, the number of propagation steps.
    """

    def __init__(self, in_channels: int, out_channels: int, *, num_hops: int = 2) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.num_hops = in_channels, out_channels, num_hops
        self.layer = SGConv(in_channels, out_channels, K=num_hops, cached=True)
        self._cached_for: tuple[object, object] = (None, None)

    def forward(self, x: Tensor | CSR, graph: Tensor | Adjacency) -> Tensor:
        x = _dense(x, self)
        same = self._cached_for[0] is x and self._cached_for[1] is graph
        if x.requires_grad or not same:  # PyG's cache notices no other graph and has no gradient
            self.layer._cached_x = None
            self._cached_for = (x, graph)
        return self.layer(x, *_edges(graph))  # [N, C]
