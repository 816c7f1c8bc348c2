"""ForwardGNN: Forward Learning of Graph Neural Networks (Park et al.; ICLR 2024; arXiv 2403.11004).

Layers are trained one after the other, each by a loss of its own, and no gradient ever crosses
from one to the next. This file is the single-forward learner (SF). With class nodes joined to the
training nodes (see ``class_nodes.py``), layer l learns to put a node near the node of its class:

    nrm(z) = z / (|z| + 1e-8)                                   per row
    Z_0    = [X; V]                                             features of nodes and class nodes
    Y      = relu(GNN_l(nrm(Z_{l-1})))                          Z_{l-1} is constant
    O      = Y_train Y_class^T / tau
    loss   = mean cross-entropy(O, y)                           gradients through both factors
    Z_l    = Y with the best weights

A node is classified by the sum over the layers of ``softmax(Y_node Y_class^T / tau)``. A training
node hears its own class node, a node that is asked about does not: training accuracy means nothing.

========  ==================  ===================  ==========================================
symbol    variable            shape                meaning
========  ==================  ===================  ==========================================
X         ``x``               ``[N, F]``           node features, dense or sparse
V         ``class_features``  ``[C, F]``           drawn from N(0, 1), never trained
Z, Y      ``states``          ``[N + C, H]``       states of a layer
tau       ``temperature``                          of the softmax
========  ==================  ===================  ==========================================

Since the input of the layer that trains is constant, it is aggregated once, for the rows that the
loss touches, and every step is one product with the weights.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from graphseq.graph.adjacency import Adjacency
from graphseq.graph.models.forward_gnn.class_nodes import (
    class_logits,
    class_view,
    join_class_nodes,
)
from graphseq.graph.models.forward_gnn.frozen_input import FrozenInput
from graphseq.graph.models.forward_gnn.learner import (
    Learner,
    LocalLoss,
    Problem,
    SequentialLearner,
)
from graphseq.graph.models.forward_gnn.local_model import LocalModel
from graphseq.graph.nn.local_conv import Prepared
from graphseq.graph.nn.local_convs import Conv


class ForwardGNN(LocalModel):
    """Node classification by layers that learn on their own, one forward pass a step (SF).

    Its siblings differ in what a layer sees and learns:
    :class:`~graphseq.graph.models.TopToInputGNN` and :class:`~graphseq.graph.models.TopToLossGNN`
    (layers hear from the layers above), :class:`~graphseq.graph.models.LabelAppendingGNN` and
    :class:`~graphseq.graph.models.VirtualNodeGNN` (Forward-Forward with right and wrong labels).

    Args:
        in_channels: number of features F.
        out_channels: number of classes C.
        hidden_channels: width H of every layer.
        num_layers: number of layers L.
        conv: "gcn", "sage" (mean) or "gat" (``num_heads`` heads side by side).
        num_heads: heads of "gat".
        temperature: tau.

    Shape:
        - x: ``[N, F]``, graph: ``edge_index [2, E]`` or an Adjacency
        - known, labels: ``[K]``, the nodes whose classes are known
        - output: class scores ``[M, C]`` of the other nodes, or of those asked for

    Example:
        >>> import torch
        >>> from graphseq import ForwardGNN
        >>> path = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
        >>> model = ForwardGNN(in_channels=4, out_channels=2)
        >>> known, labels = torch.tensor([0, 2]), torch.tensor([0, 1])
        >>> model(torch.rand(3, 4), path, known, labels).shape  # of node 1
        torch.Size([1, 2])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        hidden_channels: int = 128,
        num_layers: int = 2,
        conv: Conv = "gcn",
        num_heads: int = 4,
        temperature: float = 1.0,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            hidden_channels=hidden_channels,
            num_layers=num_layers,
            conv=conv,
            num_heads=num_heads,
        )
        if not temperature > 0:
            name = type(self).__name__
            raise ValueError(f"{name}: temperature is {temperature}; pass a number above 0")
        self.temperature = temperature
        self.class_features: Tensor
        self.register_buffer("class_features", torch.randn(out_channels, in_channels))

    def join(self, problem: Problem) -> Adjacency:
        """The problem's graph with the class nodes of the known labels."""
        known, labels = problem.known, problem.labels
        return join_class_nodes(problem.adjacency, known, labels, self.out_channels)

    def frozen(self, problem: Problem, graph: Adjacency) -> FrozenInput:
        """The first layer's input: features of nodes and class nodes."""
        return FrozenInput(graph, [problem.x, self.class_features], problem.row_block)

    def _by_depth(self, problem: Problem) -> Tensor:
        graph = self.join(problem)
        frozen = self.frozen(problem, graph)
        view, depths = class_view(graph, problem.nodes, self.out_channels), []
        for number, layer in enumerate(self.layers):
            if number:
                frozen.advance(self.layers[number - 1], layer)
            states = layer(view, frozen.parts(layer, view, once=True))  # [M + C, H]
            depths.append(class_logits(states, self.out_channels, self.temperature).softmax(1))
        return torch.stack(depths, dim=1).cumsum(1)  # [M, L, C]

    def _learner(self, problem: Problem) -> Learner:
        return _SingleForwardLearner(self, problem)


class _SingleForwardLearner(SequentialLearner):
    """Keeps the prepared rows of the layer that trains, and what the layers below it say."""

    def __init__(self, model: ForwardGNN, problem: Problem) -> None:
        self.model, self.problem = model, problem
        self.graph = model.join(problem)
        nodes, self.y = problem.learned
        self.train_parts: list[Prepared] = []
        self.val_parts: list[Prepared] = []
        self.train_view = class_view(self.graph, nodes, model.out_channels)
        self.val_view = class_view(self.graph, problem.nodes, model.out_channels)

    def start(self, model: Any) -> None:
        self.frozen = self.model.frozen(self.problem, self.graph)
        self.below: Tensor | float = 0.0
        self._prepare(model.layers[0])

    def advance(self, model: Any, number: int) -> None:
        layer, following = model.layers[number], model.layers[number + 1]
        self.below = self.below + self._chances(layer)
        self.train_parts, self.val_parts = [], []  # freed before the next come
        self.frozen.advance(layer, following)
        self._prepare(following)

    def _prepare(self, layer: Any) -> None:
        self.train_parts = self.frozen.parts(layer, self.train_view)
        self.val_parts = self.frozen.parts(layer, self.val_view)

    def _logits(self, states: Tensor) -> Tensor:
        return class_logits(states, self.model.out_channels, self.model.temperature)

    @torch.no_grad()
    def _chances(self, layer: Any) -> Tensor:
        return self._logits(layer(self.val_view, self.val_parts)).softmax(1)  # [M, C]

    def losses(self, model: Any, stage: int) -> Iterator[LocalLoss]:
        self.enter(model, stage)
        states = model.layers[stage](self.train_view, self.train_parts)  # [R + C, H]
        per_row = F.cross_entropy(self._logits(states), self.y, reduction="none")
        yield LocalLoss(per_row, f"layers.{stage}")

    def scores(self, model: Any, stage: int) -> Tensor:
        self.enter(model, stage)
        return self.below + self._chances(model.layers[stage])
