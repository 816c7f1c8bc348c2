"""What the models of links share, those that learn layer by layer and backpropagation."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from graphseq.graph.adjacency import Adjacency, as_adjacency
from graphseq.graph.csr import CSR
from graphseq.graph.models.forward_gnn.layer_stack import LayerStack, check_width
from graphseq.graph.models.forward_gnn.learner import Learner
from graphseq.graph.models.forward_gnn.pairs import LinkProblem, PairRows, check_pairs
from graphseq.graph.nn.local_convs import Conv


class LinkLearning(LayerStack, ABC):
    """A model of links that knows what its layers learn.

    Args:
        in_channels: number of features F.
        hidden_channels: width H of every layer.
        num_layers: number of layers L.
        conv: "gcn", "sage" (mean) or "gat" (``num_heads`` heads side by side).
        num_heads: heads of "gat".

    Raises:
        ValueError: if a size is not positive or ``conv`` is unknown.
    """

    learns = "links"
    monitor = "val/auc"

    def __init__(
        self,
        in_channels: int,
        *,
        hidden_channels: int = 128,
        num_layers: int = 2,
        conv: Conv = "gcn",
        num_heads: int = 4,
    ) -> None:
        super().__init__(in_channels, hidden_channels, num_layers, conv, num_heads)

    def scores_by_depth(
        self,
        x: Tensor | CSR,
        graph: Tensor | Adjacency,
        pairs: Tensor,
        row_block: int | None = None,
    ) -> Tensor:
        """The scores of each prefix of the layers that is a model of its own, ``[B, depths]``.

        Args:
            x: features ``[N, F]``.
            graph: PyG's ``edge_index [2, E]`` or an :class:`~graphseq.graph.adjacency.Adjacency`.
            pairs: int64 ``[2, B]``.
            row_block: where the features are mapped from a file, how many rows to read at a time.
        """
        adjacency = as_adjacency(graph, num_nodes=x.shape[0])
        check_width(type(self).__name__, x, self.in_channels)
        check_pairs(type(self).__name__, pairs, adjacency.num_nodes)
        return self._by_depth(x, adjacency, PairRows(pairs), row_block)

    @abstractmethod
    def _by_depth(
        self, x: Tensor | CSR, adjacency: Adjacency, pairs: PairRows, row_block: int | None
    ) -> Tensor: ...

    def learner(
        self,
        x: Tensor | CSR,
        adjacency: Adjacency,
        positive: Tensor,
        negative: Tensor,
        *,
        num_positive: int,
        num_negative: int,
        pairs: Tensor,
        row_block: int | None = None,
    ) -> Learner:
        """What teaches this model on one graph; arguments: :class:`LinkProblem`."""
        check_width(type(self).__name__, x, self.in_channels)
        counts = num_positive, num_negative
        return self._learner(
            LinkProblem(x, adjacency, positive, negative, *counts, pairs, row_block)
        )

    @abstractmethod
    def _learner(self, problem: LinkProblem) -> Learner: ...


class LocalLinkModel(LinkLearning):
    """Link prediction by layers that learn on their own.

    Args:
        in_channels: number of features F.
        hidden_channels: width H of every layer.
        num_layers: number of layers L.
        conv: "gcn", "sage" (mean) or "gat" (``num_heads`` heads side by side).
        num_heads: heads of "gat".
    """

    def __init__(
        self,
        in_channels: int,
        *,
        hidden_channels: int = 128,
        num_layers: int = 2,
        conv: Conv = "gcn",
        num_heads: int = 4,
    ) -> None:
        super().__init__(
            in_channels,
            hidden_channels=hidden_channels,
            num_layers=num_layers,
            conv=conv,
            num_heads=num_heads,
        )
        self.layers = self._make_layers()

    def forward(self, x: Tensor | CSR, graph: Tensor | Adjacency, pairs: Tensor) -> Tensor:
        """The score of each pair, a mean of probabilities ``[B]``."""
        x = x.detach() if isinstance(x, Tensor) else x  # inputs of layers are constants
        return self.scores_by_depth(x, graph, pairs)[:, -1]

    @torch.no_grad()
    def predict(self, x: Tensor | CSR, graph: Tensor | Adjacency, pairs: Tensor) -> Tensor:
        """As :meth:`forward`, without gradients."""
        return self(x, graph, pairs)
