"""Link prediction by backpropagation through the whole stack, to compare forward learning with.

A :class:`BackpropGNN` with H outputs per node and the dot product of the two ends of a pair, as the
baseline of Park et al. (ICLR 2024).
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from graphseq.graph.adjacency import Adjacency, as_adjacency
from graphseq.graph.csr import CSR
from graphseq.graph.models.forward_gnn.backprop import BackpropGNN
from graphseq.graph.models.forward_gnn.learner import Learner, LocalLoss
from graphseq.graph.models.forward_gnn.link_model import LinkLearning
from graphseq.graph.models.forward_gnn.pairs import LinkProblem, PairRows, check_pairs
from graphseq.graph.nn.local_conv import Prepared
from graphseq.graph.nn.local_convs import Conv


class BackpropLinkGNN(LinkLearning):
    """A stack of graph layers and a dot product, trained end to end.

    Args:
        in_channels: number of features F.
        hidden_channels: width H of every layer, the last one too.
        num_layers: number of layers L.
        conv: "gcn", "sage" (mean) or "gat" (``num_heads`` heads side by side).
        num_heads: heads of "gat"; those of the last layer are averaged.
        normalize: bring the input rows of each layer to length 1.

    Shape:
        - x: ``[N, F]``, graph: ``edge_index [2, E]`` or an Adjacency, pairs: ``[2, B]``
        - output: logits ``[B]``
    """

    units = (("",),)
    gives_logits = True

    def __init__(
        self,
        in_channels: int,
        *,
        hidden_channels: int = 128,
        num_layers: int = 2,
        conv: Conv = "gcn",
        num_heads: int = 4,
        normalize: bool = True,
    ) -> None:
        super().__init__(
            in_channels,
            hidden_channels=hidden_channels,
            num_layers=num_layers,
            conv=conv,
            num_heads=num_heads,
        )
        self.encoder = BackpropGNN(
            in_channels,
            hidden_channels,
            hidden_channels=hidden_channels,
            num_layers=num_layers,
            conv=conv,
            num_heads=num_heads,
            normalize=normalize,
        )

    @property
    def monitor(self) -> str:  # type: ignore[override]
        """The loss; without normalised rows, as published, the area under the curve."""
        return "val/loss" if self.normalize else "val/auc"

    @property
    def normalize(self) -> bool:
        """Whether the input rows of each layer have length 1."""
        return self.encoder.normalize

    def reset_parameters(self) -> None:
        """Draws all weights anew."""
        self.encoder.reset_parameters()

    def use_paper_values(self) -> None:
        """The paper's choice where ours differs."""
        self.encoder.use_paper_values()

    def forward(
        self,
        x: Tensor | CSR,
        graph: Tensor | Adjacency,
        pairs: Tensor | PairRows,
        prepared: Prepared | None = None,
    ) -> Tensor:
        """``prepared``: see :meth:`BackpropGNN.prepare`."""
        adjacency = as_adjacency(graph, num_nodes=x.shape[0])
        if isinstance(pairs, Tensor):
            check_pairs("BackpropLinkGNN", pairs, adjacency.num_nodes)
            pairs = PairRows(pairs)
        states = self.encoder(x, adjacency, prepared)  # [N, H]
        return pairs.dots(states[pairs.nodes])  # [B]

    def _by_depth(
        self, x: Tensor | CSR, adjacency: Adjacency, pairs: PairRows, row_block: int | None
    ) -> Tensor:
        prepared = self.encoder.prepare(x, adjacency, row_block)
        return self(x, adjacency, pairs, prepared).unsqueeze(1)  # [B, 1]

    def _learner(self, problem: LinkProblem) -> Learner:
        return _BackpropLinkLearner(self, problem)


class _BackpropLinkLearner(Learner):
    """Cross-entropy at the end of the stack."""

    def __init__(self, model: BackpropLinkGNN, problem: LinkProblem) -> None:
        self.problem = problem
        self.train_pairs, self.val_pairs = PairRows(problem.learned), PairRows(problem.pairs)
        self.prepared = model.encoder.prepare(problem.x, problem.adjacency, problem.row_block)

    def _logits(self, model: Any, pairs: PairRows) -> Tensor:
        return model(self.problem.x, self.problem.adjacency, pairs, self.prepared)

    def losses(self, model: Any, stage: int) -> Iterator[LocalLoss]:
        yield LocalLoss(self.problem.losses(self._logits(model, self.train_pairs)), "")

    @torch.no_grad()
    def scores(self, model: Any, stage: int) -> Tensor:
        return self._logits(model, self.val_pairs)
