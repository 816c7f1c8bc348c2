"""What all forward-learning models for nodes share.

A model is a stack of layers and a rule of its own for what each layer learns; the rule lives in its
:class:`~graphseq.graph.models.forward_gnn.learner.Learner`.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from graphseq.graph.adjacency import Adjacency, as_adjacency
from graphseq.graph.checks import check_index
from graphseq.graph.csr import CSR
from graphseq.graph.models.forward_gnn.layer_stack import LayerStack, check_sizes, check_width
from graphseq.graph.models.forward_gnn.learner import Learner, Problem
from graphseq.graph.nn.local_convs import Conv


class NodeLearning(LayerStack, ABC):
    """A model of nodes that knows what its layers learn.

    Args:
        in_channels: number of features F.
        out_channels: number of classes C.
        hidden_channels: width H of every layer.
        num_layers: number of layers L.
        conv: "gcn", "sage" (mean) or "gat" (``num_heads`` heads side by side).
        num_heads: heads of "gat".

    Raises:
        ValueError: if a size is not positive or ``conv`` is unknown.
    """

    learns = "nodes"
    monitor = "val/acc"

    hears_validation = False
    """Whether the paper lets known labels of validation nodes help when the test is scored."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        hidden_channels: int = 128,
        num_layers: int = 2,
        conv: Conv = "gcn",
        num_heads: int = 4,
    ) -> None:
        super().__init__(in_channels, hidden_channels, num_layers, conv, num_heads)
        check_sizes(type(self).__name__, out_channels=out_channels)
        self.out_channels = out_channels
        self.layers = self._make_layers()

    def scores_by_depth(
        self,
        x: Tensor | CSR,
        graph: Tensor | Adjacency,
        known: Tensor,
        labels: Tensor,
        nodes: Tensor | None = None,
        row_block: int | None = None,
    ) -> Tensor:
        """The scores of each prefix of the layers that is a model of its own, ``[M, depths, C]``.

        Args:
            x: features ``[N, F]``.
            graph: PyG's ``edge_index [2, E]`` or an :class:`~graphseq.graph.adjacency.Adjacency`.
            known: nodes with known labels, int64 ``[K]``.
            labels: their classes, int64 ``[K]``.
            nodes: the nodes to score, int64 ``[M]``; None means all that are not known. Nodes that
                are known and asked for are not known here.
            row_block: where the features are mapped from a file, how many rows to read at a time.
        """
        adjacency, where = as_adjacency(graph, num_nodes=x.shape[0]), type(self).__name__
        x = x.detach() if isinstance(x, Tensor) else x  # inputs of layers are constants
        check_width(where, x, self.in_channels)
        check_known(where, known, labels, adjacency.num_nodes, self.out_channels)
        if nodes is None:
            unknown = torch.ones(adjacency.num_nodes, dtype=torch.bool, device=known.device)
            unknown[known] = False
            nodes = unknown.nonzero()[:, 0]
        check_index(where, "nodes", nodes, adjacency.num_nodes)
        kept = ~torch.isin(known, nodes)
        problem = Problem(x, adjacency, known[kept], labels[kept], nodes, row_block=row_block)
        return self._by_depth(problem)

    @abstractmethod
    def _by_depth(self, problem: Problem) -> Tensor: ...

    def learner(
        self,
        x: Tensor | CSR,
        adjacency: Adjacency,
        known: Tensor,
        labels: Tensor,
        *,
        rows: Tensor,
        nodes: Tensor,
        seed: int = 0,
        row_block: int | None = None,
    ) -> Learner:
        """What teaches this model on one graph with known labels; arguments: :class:`Problem`."""
        check_width(type(self).__name__, x, self.in_channels)
        check_known(type(self).__name__, known, labels, adjacency.num_nodes, self.out_channels)
        return self._learner(Problem(x, adjacency, known, labels, nodes, rows, seed, row_block))

    @abstractmethod
    def _learner(self, problem: Problem) -> Learner: ...


class LocalModel(NodeLearning):
    """Node classification by layers that learn on their own.

    Args:
        in_channels: number of features F.
        out_channels: number of classes C.
        hidden_channels: width H of every layer.
        num_layers: number of layers L.
        conv: "gcn", "sage" (mean) or "gat" (``num_heads`` heads side by side).
        num_heads: heads of "gat".
    """

    def forward(
        self,
        x: Tensor | CSR,
        graph: Tensor | Adjacency,
        known: Tensor,
        labels: Tensor,
        nodes: Tensor | None = None,
    ) -> Tensor:
        """Class scores of nodes whose labels are not known.

        Forward-Forward models try each class for all of ``nodes`` at a time, so that the answer for
        a node depends on which others are asked about.

        Args:
            x: features ``[N, F]``.
            graph: PyG's ``edge_index [2, E]`` or an :class:`~graphseq.graph.adjacency.Adjacency`.
            known: nodes with known labels, int64 ``[K]``.
            labels: their classes, int64 ``[K]``.
            nodes: the nodes to score, int64 ``[M]``; None means all that are not known. Nodes that
                are known and asked for are not known here.

        Shape:
            ``[M, C]``, the larger the likelier.
        """
        return self.scores_by_depth(x, graph, known, labels, nodes)[:, -1]

    @torch.no_grad()
    def predict(
        self,
        x: Tensor | CSR,
        graph: Tensor | Adjacency,
        known: Tensor,
        labels: Tensor,
        nodes: Tensor | None = None,
    ) -> Tensor:
        """The likeliest class of each node, int64 ``[M]``; arguments as for :meth:`forward`.

        Args:
            x: see :meth:`forward`.
            graph: see :meth:`forward`.
            known: see :meth:`forward`.
            labels: see :meth:`forward`.
            nodes: see :meth:`forward`.
        """
        return self(x, graph, known, labels, nodes).argmax(1)


def check_known(where: str, known: Tensor, labels: Tensor, num_nodes: int, classes: int) -> None:
    """Refuses known labels that are no nodes or no classes."""
    check_index(where, "known", known, num_nodes)
    check_index(where, "labels", labels, classes)
    if known.shape != labels.shape or known.dim() != 1:
        raise ValueError(
            f"{where}: known and labels have shapes {tuple(known.shape)} and "
            f"{tuple(labels.shape)}; pass one class for each known node, [K] and [K]"
        )
    if known.unique().numel() != known.numel():
        raise ValueError(f"{where}: known lists a node twice; list each once")
