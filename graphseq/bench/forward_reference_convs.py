"""Graph layers written straight from their equations, to measure forward learning against.

Every call multiplies, gathers and adds up anew, over the whole graph and all rows. ``strong`` keeps
the normalised matrix of a graph and multiplies with it by torch's sparse product.
"""

import warnings
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn


def unit(z: Tensor) -> Tensor:
    """Rows of length 1."""
    return z / (torch.linalg.vector_norm(z, dim=1, keepdim=True) + 1e-8)


class PlainGraph:
    """Edges ``[2, E]`` (sources, targets) over some nodes."""

    def __init__(self, edge_index: Tensor, num_nodes: int) -> None:
        self.edge_index, self.num_nodes = edge_index, num_nodes

    def with_class_nodes(self, nodes: Tensor, labels: Tensor, classes: int) -> "PlainGraph":
        """Both directions of an edge from each node to that of its class, ``N + class``."""
        virtual = torch.stack([nodes, self.num_nodes + labels])
        joined = torch.cat([self.edge_index, virtual, virtual.flip(0)], dim=1)
        return PlainGraph(joined, self.num_nodes + classes)

    def with_loops(self) -> tuple[Tensor, Tensor]:
        """Sources and targets, with exactly one self loop per node."""
        source, target = self.edge_index[:, self.edge_index[0] != self.edge_index[1]]
        nodes = torch.arange(self.num_nodes)
        return torch.cat([source, nodes]), torch.cat([target, nodes])

    def gcn(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Sources, targets and weights of ``D^(-1/2) (A + I) D^(-1/2)``."""
        source, target = self.with_loops()
        degree = torch.zeros(self.num_nodes, dtype=dtype)
        degree.index_add_(0, target, torch.ones(len(target), dtype=dtype))
        scale = degree.rsqrt()
        return source, target, scale[source] * scale[target]

    def mean(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """The same of ``D^(-1) A``."""
        source, target = self.edge_index
        degree = torch.zeros(self.num_nodes, dtype=dtype)
        degree.index_add_(0, target, torch.ones(len(target), dtype=dtype))
        return source, target, degree.clamp(min=1.0).reciprocal()[target]

    @cached_property
    def matrices(self) -> dict[Any, Tensor]:
        """Where the strong reference keeps its matrices."""
        return {}


class PlainConv(nn.Module):
    """``forward(graph, z [N, D]) -> relu(GNN(z)) [N, H]`` with the weights of one of our layers.

    Args:
        ours: a ``LocalGCN``, ``LocalSAGE`` or ``LocalGAT``.
        strong: keep the matrices of graphs.
    """

    def __init__(self, ours: nn.Module, strong: bool = False) -> None:
        super().__init__()
        self.kind = type(ours).__name__.removeprefix("Local")
        self.heads: Any = getattr(ours, "num_heads", None)
        self.in_channels: Any = ours.in_channels
        self.strong = strong
        for name, parameter in ours.named_parameters():
            self.register_parameter(name, nn.Parameter(parameter.detach().clone()))

    def forward(self, graph: PlainGraph, z: Tensor) -> Tensor:
        own: Any = self
        if self.kind == "GCN":
            return (self._aggregate(graph, "gcn", z @ own.weight) + own.bias).relu()
        if self.kind == "SAGE":
            heard = self._aggregate(graph, "mean", z @ own.neighbor_weight)
            return (heard + z @ own.root_weight + own.bias).relu()
        return (self._attend(graph, z @ own.weight) + own.bias).relu()

    def _aggregate(self, graph: PlainGraph, kind: str, h: Tensor) -> Tensor:
        if self.strong:
            if (kind, h.dtype) not in graph.matrices:
                with torch.no_grad():
                    graph.matrices[kind, h.dtype] = _csr(graph, *getattr(graph, kind)(h.dtype))
            return torch.sparse.mm(graph.matrices[kind, h.dtype], h)
        source, target, weight = getattr(graph, kind)(h.dtype)
        return torch.zeros_like(h).index_add(0, target, h[source] * weight.unsqueeze(1))

    def _attend(self, graph: PlainGraph, h: Tensor) -> Tensor:
        own: Any = self
        source, target = graph.with_loops()
        h = h.view(graph.num_nodes, self.heads, -1)  # [N, heads, H / heads]
        score = (h * own.source).sum(2)[source] + (h * own.target).sum(2)[target]
        score = torch.nn.functional.leaky_relu(score, 0.2)  # [E, heads]
        index = target.unsqueeze(1).expand_as(score)
        largest = score.new_full((graph.num_nodes, self.heads), -torch.inf)
        largest = largest.scatter_reduce(0, index, score.detach(), "amax")
        weight = (score - largest[target]).exp()
        total = torch.zeros_like(largest).index_add(0, target, weight)
        weight = weight / total[target]
        out = torch.zeros_like(h).index_add(0, target, h[source] * weight.unsqueeze(2))
        return out.flatten(1)


def _csr(graph: PlainGraph, source: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    shape = (graph.num_nodes, graph.num_nodes)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        coo = torch.sparse_coo_tensor(
            torch.stack([target, source]), weight, shape, check_invariants=False
        )
        return coo.to_sparse_csr()
