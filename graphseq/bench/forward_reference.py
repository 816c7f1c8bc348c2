"""Forward learning written straight from the paper, to measure ours against, with our parameters.

The learners that train one layer after the other: SF, FF-LA and FF-VN (arXiv 2403.11004). Features
are dense, with their normalised copy. Every step aggregates the layer's input anew, on one whole
graph for each labeling, and a validation runs all layers below as well. With ``strong`` the graphs
and inputs of the labelings and the matrices of graphs are made once and kept; otherwise they are
made as they are needed.

The learners that hear from above are in ``forward_reference_top.py``, links in
``forward_reference_links.py``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim import Adam

from graphseq.bench.forward_reference_convs import PlainConv, PlainGraph, unit
from graphseq.graph.csr import CSR
from graphseq.graph.data import NodeData
from graphseq.graph.models.forward_gnn.forward_forward import wrong_labels

T = TypeVar("T")
_Case = tuple[PlainGraph, Tensor]  # a graph and the normalised states on it


class PlainLearner(ABC):
    """A model's layers, their optimizers, and what a training step and a validation are.

    Args:
        model: one of ours, whose weights are copied.
        x: its features.
        strong: keep what stays the same between calls.
        lr: of Adam.
        weight_decay: of Adam.
    """

    max_norm: float | None = None

    def __init__(
        self,
        model: Any,
        x: Tensor | CSR,
        *,
        strong: bool = False,
        lr: float = 1e-3,
        weight_decay: float = 5e-4,
    ) -> None:
        self.layers = [PlainConv(layer, strong) for layer in model.layers]
        self.optimizers = [
            Adam(layer.parameters(), lr, weight_decay=weight_decay, fused=True)
            for layer in self.layers
        ]
        self.strong, self._kept = strong, dict[Hashable, Any]()
        dense = x.to_dense() if isinstance(x, CSR) else x
        self.x = dense.to(model.layers[0].bias.dtype)

    @torch.no_grad()
    def load(self, model: Any) -> None:
        """Takes over the weights of ours."""
        for layer, own in zip(self.layers, model.layers, strict=True):
            for name, parameter in own.named_parameters():
                layer.get_parameter(name).copy_(parameter)

    def weights(self) -> list[dict[str, Tensor]]:
        """Copies of all weights, by layer and name."""
        return [
            {name: p.detach().clone() for name, p in layer.named_parameters()}
            for layer in self.layers
        ]

    @abstractmethod
    def enter(self, stage: int) -> None:
        """Makes what a stage of training starts from."""

    @abstractmethod
    def step(self, stage: int) -> None:
        """One step of every layer of the stage."""

    @abstractmethod
    def validate(self, stage: int) -> Tensor:
        """Scores of the validation nodes ``[M, C]``, of the layers up to this stage."""

    def _learn(self, number: int, loss: Tensor) -> None:
        self.optimizers[number].zero_grad()
        loss.backward()
        if self.max_norm is not None:
            clip_grad_norm_(self.layers[number].parameters(), self.max_norm)
        self.optimizers[number].step()

    def _once(self, key: Hashable, make: Callable[[], T]) -> T:
        if not self.strong:
            return make()
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]


class PlainNodes(PlainLearner):
    """On a graph with known labels, which are those of the training nodes.

    Args:
        model: one of ours, whose weights are copied.
        data: the graph and its labels.
        seed: of the wrong labels.
        **options: see :class:`PlainLearner`.
    """

    def __init__(self, model: Any, data: NodeData, *, seed: int = 0, **options: Any) -> None:
        super().__init__(model, data.x, **options)
        self.model, self.seed, self.classes = model, seed, data.num_classes
        self.base = PlainGraph(data.adjacency.edge_index, data.num_nodes)
        self.train, self.y, self.val = data.train, data.y[data.train], data.val
        self.graph = self.base.with_class_nodes(self.train, self.y, self.classes)

    def _bottom(self) -> Tensor:
        return torch.cat([self.x, self.model.class_features])  # [N + C, F]

    def _logits(self, y: Tensor, nodes: Tensor) -> Tensor:
        return y[nodes] @ y[-self.classes :].t() / self.model.temperature


class PlainSF(PlainNodes):
    """Single-forward."""

    @torch.no_grad()
    def enter(self, stage: int) -> None:
        self.first = self.z = unit(self._bottom())
        for layer in self.layers[:stage]:
            self.z = unit(layer(self.graph, self.z))

    def step(self, stage: int) -> None:
        y = self.layers[stage](self.graph, self.z)
        self._learn(stage, F.cross_entropy(self._logits(y, self.train), self.y))

    @torch.no_grad()
    def validate(self, stage: int) -> Tensor:
        total, y = torch.zeros(len(self.val), self.classes, dtype=self.x.dtype), None
        for layer in self.layers[: stage + 1]:
            y = layer(self.graph, self.first if y is None else unit(y))
            total += self._logits(y, self.val).softmax(1)
        return total


class PlainForwardForward(PlainNodes):
    """What the two Forward-Forward learners share; a labeling is a class per node, -1 for none."""

    cases: list[_Case]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        wrong = self.classes - 1
        count = wrong if self.model.num_wrong is None else min(self.model.num_wrong, wrong)
        drawn = wrong_labels(self.y, self.classes, count, self.seed)
        self.labelings = torch.full((count + 1, self.base.num_nodes), -1)
        self.labelings[:, self.train] = torch.cat([self.y.unsqueeze(0), drawn])

    @abstractmethod
    def case(self, labeling: Tensor) -> _Case:
        """A graph and the first layer's normalised input for a labeling."""

    def step(self, stage: int) -> None:
        goodness = [
            self.layers[stage](graph, z)[self.train].square().sum(1) for graph, z in self.cases
        ]
        right, wrong, theta = goodness[0], torch.stack(goodness[1:]), self.model.threshold
        if self.model.loss == "symba":
            loss = F.softplus(self.model.sharpness * (wrong - right)).mean()
        else:
            loss = F.softplus(theta - right).mean() + F.softplus(wrong - theta).mean()
        self._learn(stage, loss)

    def _tried(self, number: int) -> _Case:
        """One class for all validation nodes."""
        labeling = self.labelings[0].clone()
        labeling[self.val] = number
        return self.case(labeling)

    @torch.no_grad()
    def validate(self, stage: int) -> Tensor:
        """Without the ``theta`` of each layer, which no class is told apart by."""
        columns = []
        for number in range(self.classes):
            graph, z = self._once(number, partial(self._tried, number))
            total, y = torch.zeros(len(self.val), dtype=self.x.dtype), None
            for layer in self.layers[: stage + 1]:
                y = layer(graph, z if y is None else unit(y))
                total += y[self.val].square().mean(1)
            columns.append(total)
        return torch.stack(columns, dim=1)


class PlainFFLA(PlainForwardForward):
    """Label appending: one matrix ``[N, F + C]`` per labeling."""

    def case(self, labeling: Tensor) -> _Case:
        appended = torch.full((len(labeling), self.classes), 1.0 / self.classes, dtype=self.x.dtype)
        known = labeling >= 0
        appended[known] = F.one_hot(labeling[known], self.classes).to(self.x.dtype)
        return self.base, unit(torch.cat([self.x, appended], dim=1))

    @torch.no_grad()
    def enter(self, stage: int) -> None:
        self.cases = [self.case(labeling) for labeling in self.labelings]
        for layer in self.layers[:stage]:
            self.cases = [(graph, unit(layer(graph, z))) for graph, z in self.cases]


class PlainFFVN(PlainForwardForward):
    """Virtual nodes: one graph per labeling; in training all have the states of the right one."""

    def case(self, labeling: Tensor) -> _Case:
        known = (labeling >= 0).nonzero()[:, 0]
        graph = self.base.with_class_nodes(known, labeling[known], self.classes)
        return graph, unit(self._bottom())

    @torch.no_grad()
    def enter(self, stage: int) -> None:
        cases = [self.case(labeling) for labeling in self.labelings]
        right, z = cases[0]
        for layer in self.layers[:stage]:
            z = unit(layer(right, z))
        self.cases = [(graph, z) for graph, _ in cases]
