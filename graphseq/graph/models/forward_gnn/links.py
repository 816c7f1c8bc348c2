"""Forward learning of links: every layer learns to tell links from other pairs (arXiv 2403.11004).

Layers are trained one after the other, as in ``single_forward.py``, with Z_0 = X, no class nodes::

    Y = relu(GNN_l(nrm(Z_{l-1}))),   Z_l = Y
    ce:   logit(u, v) = <Y_u, Y_v>,                    binary cross-entropy
    ff:   logit(u, v) = sum_d (Y_ud Y_vd)^2 - theta,   softplus(-logit) of links, (logit) of others

over a fixed list of links and other pairs. The score of a pair is the mean over the layers of the
logistic function of its logit (FL-CE and FL-FF).

========  =============  ==============  ============================================
symbol    variable       shape           meaning
========  =============  ==============  ============================================
Y, Z      ``states``     ``[N, H]``      states of a layer
theta     ``threshold``                  of "ff"
========  =============  ==============  ============================================

The input of the layer that trains is aggregated once, for the end nodes of the pairs; the dot
products of all pairs are entries of Y Y^T.
"""

from collections.abc import Iterator
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from graphseq.graph.adjacency import Adjacency
from graphseq.graph.csr import CSR
from graphseq.graph.models.forward_gnn.frozen_input import FrozenInput
from graphseq.graph.models.forward_gnn.learner import Learner, LocalLoss, SequentialLearner
from graphseq.graph.models.forward_gnn.link_model import LocalLinkModel
from graphseq.graph.models.forward_gnn.pairs import LinkProblem, PairRows
from graphseq.graph.nn.local_convs import Conv
from graphseq.graph.nn.row_view import RowView

LinkLoss = Literal["ce", "ff"]


class ForwardLinkGNN(LocalLinkModel):
    """Link prediction by layers that learn on their own (FL-CE and FL-FF).

    Args:
        in_channels: number of features F.
        hidden_channels: width H of every layer.
        num_layers: number of layers L.
        conv: "gcn", "sage" (mean) or "gat" (``num_heads`` heads side by side).
        num_heads: heads of "gat".
        loss: "ce" or "ff".
        threshold: theta of "ff".

    Shape:
        - x: ``[N, F]``, graph: ``edge_index [2, E]`` or an Adjacency, pairs: ``[2, B]``
        - output: ``[B]``, the mean over the layers of each one's probability

    Example:
        >>> import torch
        >>> from graphseq.graph.models import ForwardLinkGNN
        >>> path = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
        >>> ForwardLinkGNN(4)(torch.rand(3, 4), path, torch.tensor([[0], [2]])).shape
        torch.Size([1])
    """

    def __init__(
        self,
        in_channels: int,
        *,
        hidden_channels: int = 128,
        num_layers: int = 2,
        conv: Conv = "gcn",
        num_heads: int = 4,
        loss: LinkLoss = "ce",
        threshold: float = 2.0,
    ) -> None:
        super().__init__(
            in_channels,
            hidden_channels=hidden_channels,
            num_layers=num_layers,
            conv=conv,
            num_heads=num_heads,
        )
        if loss not in ("ce", "ff"):
            raise ValueError(f'ForwardLinkGNN: loss is {loss!r}; use "ce" or "ff"')
        self.loss, self.threshold = loss, threshold

    def logits(self, states: Tensor, pairs: PairRows) -> Tensor:
        """``[B]`` from the states of the pairs' nodes ``[R, H]``."""
        if self.loss == "ce":
            return pairs.dots(states)
        return pairs.dots(states.square()) - self.threshold  # (Y_u Y_v)^2 = Y_u^2 Y_v^2

    def _by_depth(
        self, x: Tensor | CSR, adjacency: Adjacency, pairs: PairRows, row_block: int | None
    ) -> Tensor:
        frozen, view = FrozenInput(adjacency, [x], row_block), RowView(adjacency, pairs.nodes)
        chances = []
        for number, layer in enumerate(self.layers):
            if number:
                frozen.advance(self.layers[number - 1], layer)
            states = layer(view, frozen.parts(layer, view, once=True))  # [R, H]
            chances.append(self.logits(states, pairs).sigmoid())
        total = torch.stack(chances, dim=1).cumsum(1)  # [B, L]
        return total / torch.arange(1, total.size(1) + 1, device=total.device)

    def _learner(self, problem: LinkProblem) -> Learner:
        return _ForwardLinkLearner(self, problem)


class _ForwardLinkLearner(SequentialLearner):
    """Keeps the prepared rows of the layer that trains, and what the layers below it say."""

    def __init__(self, model: ForwardLinkGNN, problem: LinkProblem) -> None:
        self.model, self.problem = model, problem
        self.train_pairs, self.val_pairs = PairRows(problem.learned), PairRows(problem.pairs)
        self.train_view = RowView(problem.adjacency, self.train_pairs.nodes)
        self.val_view = RowView(problem.adjacency, self.val_pairs.nodes)

    def start(self, model: Any) -> None:
        problem = self.problem
        self.frozen = FrozenInput(problem.adjacency, [problem.x], problem.row_block)
        self.below: Tensor | float = 0.0
        self._prepare(model.layers[0])

    @torch.no_grad()
    def advance(self, model: Any, number: int) -> None:
        layer, following = model.layers[number], model.layers[number + 1]
        self.below = self.below + self._chances(layer)
        self.frozen.advance(layer, following)
        self._prepare(following)

    def _prepare(self, layer: Any) -> None:
        self.train_parts = self.frozen.parts(layer, self.train_view)
        self.val_parts = self.frozen.parts(layer, self.val_view)

    def _chances(self, layer: Any) -> Tensor:
        states = layer(self.val_view, self.val_parts)
        return self.model.logits(states, self.val_pairs).sigmoid()  # [B]

    def losses(self, model: Any, stage: int) -> Iterator[LocalLoss]:
        self.enter(model, stage)
        states = model.layers[stage](self.train_view, self.train_parts)  # [R, H]
        logits = self.model.logits(states, self.train_pairs)  # [P + M]
        if self.model.loss == "ce":
            per_pair = self.problem.losses(logits)
        else:
            count = self.problem.positive.size(1)
            signed = torch.cat([-logits[:count], logits[count:]])
            per_pair = self.problem.balanced(F.softplus(signed))
        yield LocalLoss(per_pair, f"layers.{stage}")

    @torch.no_grad()
    def scores(self, model: Any, stage: int) -> Tensor:
        self.enter(model, stage)
        return self.below + self._chances(model.layers[stage])
