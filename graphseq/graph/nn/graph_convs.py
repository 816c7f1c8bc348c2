"""One step of message passing over an unweighted, undirected graph.

    gcn:   y_i = d_i^(-1/2) (sum over neighbours j of d_j^(-1/2) x_j + d_i^(-1/2) x_i)
    mean:  y_i = mean of x_j        sum:  y_i = sum of x_j        max:  y_i = maximum of x_j

with d_i = 1 + degree. There is no root term in the last three, and an isolated node gets 0. Edge
dropout keeps each stored direction with probability 1 - p and weight 1 / (1 - p); weights count in
the degrees, a mean is over the kept neighbours, a maximum takes their states as they are.

Degrees follow from the row pointers, and every matrix here is its own transpose, or knows that of a
dropped edge: a graph from which links were just removed needs no sorting.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from graphseq.graph.csr import CSR
from graphseq.graph.ops import dropout, segment, sparse_linear, spmm
from graphseq.graph.ops.dropout import draw_seed
from graphseq.graph.ops.edge_dropout import drop_edges, dropped_product
from graphseq.graph.ops.spmm import compute_dtype, restore_dtype

Aggregation = Literal["gcn", "mean", "sum", "max"]


def aggregate(kind: Aggregation, graph: CSR, x: Tensor, edge_dropout: float = 0.0) -> Tensor:
    """Gathers the states of all neighbours.

    Args:
        kind: see the head of this file.
        graph: symmetric ``[N, N]`` without values.
        x: floating ``[N, D]``.
        edge_dropout: probability in ``[0, 1]`` of dropping a stored direction.

    Shape:
        x ``[N, D]`` -> ``[N, D]``, in ``x``'s dtype (float32 for half precision under autocast).
    """
    return restore_dtype(_aggregate(kind, graph, x, edge_dropout), x)


def _aggregate(kind: Aggregation, graph: CSR, x: Tensor, edge_dropout: float) -> Tensor:
    seed = draw_seed() if edge_dropout > 0.0 else None
    if kind == "max":
        kept = graph if seed is None else drop_edges(graph, edge_dropout, seed)
        return segment(x[kept.col.long()], kept.rowptr, "max")
    if kind == "sum":
        return _product(graph, x, edge_dropout, seed)
    degree = _degree(graph, compute_dtype(x), edge_dropout, seed)  # [N, 1]
    if kind == "mean":
        inverse = torch.where(degree > 0, 1.0 / degree, 0.0)
        return inverse * _product(graph, x, edge_dropout, seed)
    if seed is None:
        return torch.addcmul(spmm(_scaled(graph, degree), x), 1.0 / (degree + 1.0), x)
    scale = (degree + 1.0).rsqrt()
    x = scale * x
    return scale * (_product(graph, x, edge_dropout, seed) + x)


def _scaled(graph: CSR, degree: Tensor) -> CSR:
    """d_i^(-1/2) A_ij d_j^(-1/2), a symmetric matrix like A, computed once per graph."""

    def compute() -> CSR:
        scale = (degree + 1.0).rsqrt().squeeze(1)
        value = scale[graph.row] * scale[graph.col.long()]
        matrix = CSR._trusted(graph.rowptr, graph.col, value, graph.shape, graph.edge_id)
        matrix._derived["transpose"] = None  # it is its own
        return matrix

    return graph._once(("scaled", degree.dtype), compute)


def _product(graph: CSR, x: Tensor, p: float, seed: int | None) -> Tensor:
    return spmm(graph, x) if seed is None else dropped_product(graph, x, p, seed)


def _degree(graph: CSR, dtype: torch.dtype, p: float, seed: int | None) -> Tensor:
    if seed is None:
        return graph.rowptr.diff().to(dtype).unsqueeze(1)
    ones = torch.ones(graph.shape[0], 1, dtype=dtype, device=graph.device)
    return dropped_product(graph, ones, p, seed)


class GraphConv(nn.Module):
    """A linear map, one aggregation, and a bias: ``aggregate(x W) + b``.

    With "gcn" it is the graph convolution of Kipf and Welling (2017). The weight starts from
    Glorot's uniform distribution, the bias from 0.

    Args:
        in_channels: width of the input.
        out_channels: width of the output.
        aggregation: "gcn", "mean", "sum" or "max".
        edge_dropout: probability in [0, 1] of dropping a direction of an edge while training.

    Shape:
        - x: ``[N, in_channels]``, dense or :class:`~graphseq.graph.csr.CSR`
        - graph: symmetric ``[N, N]`` without values
        - output: ``[N, out_channels]``
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        aggregation: Aggregation = "gcn",
        edge_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.aggregation = aggregation
        self.edge_dropout = edge_dropout
        self.weight = nn.Parameter(torch.empty(in_channels, out_channels))
        self.bias = nn.Parameter(torch.empty(out_channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the weight anew and clears the bias."""
        nn.init.xavier_uniform_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor | CSR, graph: CSR, input_dropout: float = 0.0) -> Tensor:
        """``input_dropout`` acts on ``x`` while training."""
        if isinstance(x, CSR):
            h = sparse_linear(x, self.weight, None, p=input_dropout, training=self.training)
        else:
            h = dropout(x, input_dropout, self.training) @ self.weight  # [N, out]
        p = self.edge_dropout if self.training else 0.0
        return aggregate(self.aggregation, graph, h, p) + self.bias

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, {self.aggregation}"
