"""Class nodes: one more node per class, joined in both directions with the nodes of that class.

They carry labels into the graph (ForwardGNN's "virtual nodes"). Their features are drawn once from
N(0, 1) and never trained. A node that is asked about has no such edge.
"""

import torch
from torch import Tensor

from graphseq.graph.adjacency import Adjacency
from graphseq.graph.nn.row_view import RowView


def join_class_nodes(
    adjacency: Adjacency, nodes: Tensor, labels: Tensor, num_classes: int
) -> Adjacency:
    """The graph with the class nodes ``N .. N + C - 1``.

    Args:
        adjacency: the graph of N nodes.
        nodes: nodes with labels, int64 ``[M]``.
        labels: their classes, int64 ``[M]``.
        num_classes: C.
    """
    num_nodes = adjacency.num_nodes
    to_class = torch.stack([nodes, num_nodes + labels])
    joined = torch.cat([adjacency.edge_index, to_class, to_class.flip(0)], dim=1)
    weight = adjacency.csr.value
    if weight is not None:
        weight = torch.cat([weight, weight.new_ones(2 * nodes.numel())])
    return Adjacency.from_edge_index(joined, num_nodes + num_classes, weight)


def class_view(graph: Adjacency, nodes: Tensor, num_classes: int) -> RowView:
    """Some nodes ``[M]`` and, below them, the class nodes: ``M + C`` rows."""
    classes = torch.arange(graph.num_nodes - num_classes, graph.num_nodes, device=nodes.device)
    return RowView(graph, torch.cat([nodes, classes]))


def class_logits(states: Tensor, num_classes: int, temperature: float) -> Tensor:
    """Dot products of nodes and class nodes, the last C rows: ``[M + C, H] -> [M, C]``."""
    own, classes = states[:-num_classes], states[-num_classes:]
    return own @ classes.t() / temperature
