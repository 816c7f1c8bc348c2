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

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphseq.graph.adjacency import Adjacency, as_adjacency
from graphseq.graph.csr import CSR
from graphseq.graph.models.forward_gnn.local_model import (
    Learner,
    LocalLoss,
    SequentialLearner,
    check_features_of,
    check_sizes,
)
from graphseq.graph.models.forward_gnn.pairs import LinkProblem, PairRows, check_pairs
from graphseq.graph.nn.local_conv import Prepared
from graphseq.graph.nn.local_convs import Conv, local_conv
from graphseq.graph.nn.row_view import RowView
from graphseq.graph.ops.slicing import unit_scale

LinkLoss = Literal["ce", "ff"]


class LocalLinkModel(nn.Module):
    """What the forward-learning models of links share.

    Args:
        in_channels: number of features F.
        hidden_channels: width H of every layer.
        num_layers: number of layers L.
        conv: "gcn", "sage" (mean) or "gat" (``num_heads`` heads side by side).
        num_heads: heads of "gat".
    """

    monitor = "val/auc"
    max_norm: float | None = None

    def __init__(
        self,
        in_channels: int,
        *,
        hidden_channels: int = 128,
        num_layers: int = 2,
        conv: Conv = "gcn",
        num_heads: int = 4,
    ) -> None:
        super().__init__()
        check_sizes(
            type(self).__name__,
            in_channels=in_channels,
            hidden_channels=hidden_channels,
            num_layers=num_layers,
        )
        self.in_channels, self.hidden_channels = in_channels, hidden_channels
        self.num_layers, self.conv, self.num_heads = num_layers, conv, num_heads
        self.layers = nn.ModuleList(
            local_conv(conv, width, hidden_channels, num_heads) for width in self._widths()
        )

    def _widths(self) -> list[int]:
        return [self.in_channels] + [self.hidden_channels] * (self.num_layers - 1)

    @property
    def units(self) -> Sequence[tuple[str, ...]]:
        """For each stage of training the paths under the model that it trains."""
        return [(f"layers.{number}",) for number in range(self.num_layers)]

    def reset_parameters(self) -> None:
        """Draws all weights anew."""
        for layer in self.layers:
            layer.reset_parameters()  # type: ignore[operator]

    def use_paper_values(self) -> None:
        """Takes the paper's choices where ours differ."""

    def forward(self, x: Tensor | CSR, graph: Tensor | Adjacency, pairs: Tensor) -> Tensor:
        """The score of each pair, the mean of probabilities: ``[B]``."""
        return self.scores_by_depth(x, graph, pairs)[:, -1]

    def predict(self, x: Tensor | CSR, graph: Tensor | Adjacency, pairs: Tensor) -> Tensor:
        """As :meth:`forward`, without gradients."""
        with torch.no_grad():
            return self(x, graph, pairs)

    def scores_by_depth(self, x: Tensor | CSR, graph: Tensor | Adjacency, pairs: Tensor) -> Tensor:
        """The scores of each prefix of the layers that is a model of its own, ``[B, depths]``."""
        adjacency = as_adjacency(graph, num_nodes=x.shape[0])
        x = x.detach() if isinstance(x, Tensor) else x  # inputs of layers are constants
        check_features_of(type(self).__name__, x, self.in_channels)
        check_pairs(type(self).__name__, pairs, adjacency.num_nodes)
        return self._by_depth(x, adjacency, PairRows(pairs))

    @abstractmethod
    def _by_depth(self, x: Tensor | CSR, adjacency: Adjacency, pairs: PairRows) -> Tensor: ...

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
        check_features_of(type(self).__name__, x, self.in_channels)
        counts = num_positive, num_negative
        return self._learner(
            LinkProblem(x, adjacency, positive, negative, *counts, pairs, row_block)
        )

    @abstractmethod
    def _learner(self, problem: LinkProblem) -> Learner: ...


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

    def _by_depth(self, x: Tensor | CSR, adjacency: Adjacency, pairs: PairRows) -> Tensor:
        frozen, view, chances = FrozenFeatures(adjacency, x), RowView(adjacency, pairs.nodes), []
        for number, layer in enumerate(self.layers):
            if number:
                frozen.advance(self.layers[number - 1], layer)
            states = layer(view, [frozen.part(layer, view, once=True)])  # [R, H]
            chances.append(self.logits(states, pairs).sigmoid())
        total = torch.stack(chances, dim=1).cumsum(1)  # [B, L]
        return total / torch.arange(1, total.size(1) + 1, device=total.device)

    def _learner(self, problem: LinkProblem) -> Learner:
        return _ForwardLinkLearner(self, problem)


class FrozenFeatures:
    """The constant input of one layer after the other.

    Args:
        adjacency: the graph.
        x: features ``[N, F]``.
        row_block: see :class:`LinkProblem`.
    """

    def __init__(self, adjacency: Adjacency, x: Tensor | CSR, row_block: int | None = None) -> None:
        self.adjacency, self.x, self.row_block = adjacency, x, row_block
        self.whole: Prepared | None = None  # of all rows, above the first layer

    def part(self, layer: Any, view: RowView, once: bool = False) -> Prepared:
        """What ``layer`` needs for the rows of a view; ``once``: nothing to be kept for reuse."""
        if self.whole is not None:
            return self.whole if view.rows is None else layer.at(self.whole, view.rows)
        options: dict[str, Any] = {"way": "factored"} if once else {}
        if self.row_block is not None and isinstance(self.x, Tensor):
            options = {"way": "streamed", "row_block": self.row_block}
        return layer.prepare(view, self.x, unit_scale(self.x), **options)

    @torch.no_grad()
    def advance(self, layer: Any, following: Any) -> None:
        """Puts the output of ``layer``, all rows, in the place of its input."""
        view = RowView(self.adjacency)
        states = layer(view, [self.part(layer, view, once=True)])  # [N, H]
        self.whole = None  # freed before the next comes
        self.whole = following.prepare(view, states, unit_scale(states))


class _ForwardLinkLearner(SequentialLearner):
    """Keeps the prepared rows of the layer that trains, and what the layers below it say."""

    def __init__(self, model: ForwardLinkGNN, problem: LinkProblem) -> None:
        self.model, self.problem = model, problem
        self.train_pairs, self.val_pairs = PairRows(problem.learned), PairRows(problem.pairs)
        self.train_view = RowView(problem.adjacency, self.train_pairs.nodes)
        self.val_view = RowView(problem.adjacency, self.val_pairs.nodes)

    def start(self, model: Any) -> None:
        problem = self.problem
        self.frozen = FrozenFeatures(problem.adjacency, problem.x, problem.row_block)
        self.below: Tensor | float = 0.0
        self._prepare(model.layers[0])

    @torch.no_grad()
    def advance(self, model: Any, number: int) -> None:
        layer, following = model.layers[number], model.layers[number + 1]
        self.below = self.below + self._chances(layer)
        self.frozen.advance(layer, following)
        self._prepare(following)

    def _prepare(self, layer: Any) -> None:
        self.train_part = self.frozen.part(layer, self.train_view)
        self.val_part = self.frozen.part(layer, self.val_view)

    def _chances(self, layer: Any) -> Tensor:
        states = layer(self.val_view, [self.val_part])
        return self.model.logits(states, self.val_pairs).sigmoid()  # [B]

    def losses(self, model: Any, stage: int) -> Iterator[LocalLoss]:
        self.enter(model, stage)
        states = model.layers[stage](self.train_view, [self.train_part])  # [R, H]
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
