"""Forward-Forward on graphs: right labels shall excite a layer, wrong ones shall not.

What the learners of ``label_appending.py`` and ``virtual_nodes.py`` share (ForwardGNN's FF-LA and
FF-VN; arXiv 2403.11004). There are K + 1 inputs that differ in the labels of the training nodes
only: the right ones and K wrong ones. A layer's goodness for node i is ``g_i = sum_d Y_id^2``, and
it learns by one of::

    ff:     mean_i softplus(theta - g_i+) + 1/K sum_k mean_i softplus(g_i^k - theta)
    symba:  1/K sum_k mean_i softplus(-alpha (g_i+ - g_i^k))         only the gap counts

To classify a node every class is tried, of all nodes that are asked about at a time; the likeliest
is the one with the largest sum over the layers of the mean ``g_i / H``.

========  ===============  ==============  ==================================================
symbol    variable         shape           meaning
========  ===============  ==============  ==================================================
g         ``goodness``     ``[G, R]``      of G labelings of the graph, for the rows asked for
K         ``num_wrong``                    wrong labels per node, C - 1 unless told otherwise
theta     ``threshold``                    what a goodness is compared with
========  ===============  ==============  ==================================================
"""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from graphseq.graph.models.forward_gnn.labelings import Labelings, try_all, wrong_labels
from graphseq.graph.models.forward_gnn.learner import (
    Learner,
    LocalLoss,
    Problem,
    SequentialLearner,
)
from graphseq.graph.models.forward_gnn.local_model import LocalModel
from graphseq.graph.nn.local_conv import Mix
from graphseq.graph.nn.local_convs import Conv

GoodnessLoss = Literal["ff", "symba"]

_OUTPUT_NUMBERS = 2**24  # outputs of a layer kept at a time for all labelings: 64 MiB


class ForwardForwardModel(LocalModel):
    """What the two Forward-Forward models share.

    Args:
        in_channels: number of features F.
        out_channels: number of classes C, at least 2.
        hidden_channels: width H of every layer.
        num_layers: number of layers L.
        conv: "gcn", "sage" (mean) or "gat" (``num_heads`` heads side by side).
        num_heads: heads of "gat".
        threshold: theta.
        num_wrong: K; None means all C - 1 wrong labels.
        loss: "ff" or "symba".
        sharpness: alpha of "symba".
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
        threshold: float = 2.0,
        num_wrong: int | None = None,
        loss: GoodnessLoss = "ff",
        sharpness: float = 1.0,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            hidden_channels=hidden_channels,
            num_layers=num_layers,
            conv=conv,
            num_heads=num_heads,
        )
        name = type(self).__name__
        if out_channels < 2:
            raise ValueError(f"{name}: out_channels is {out_channels}; no label can be wrong")
        if num_wrong is not None and num_wrong < 1:
            raise ValueError(f"{name}: num_wrong is {num_wrong}; pass 1 or more, or None for all")
        if loss not in ("ff", "symba"):
            raise ValueError(f'{name}: loss is {loss!r}; use "ff" or "symba"')
        if not sharpness > 0:
            raise ValueError(f"{name}: sharpness is {sharpness}; pass a number above 0")
        self.threshold, self.num_wrong = threshold, num_wrong
        self.loss, self.sharpness = loss, sharpness

    hears_validation = True

    @abstractmethod
    def labelings(
        self,
        problem: Problem,
        labels: Tensor,
        rows: Tensor,
        *,
        training: bool,
    ) -> Labelings:
        """Labelings of the problem's graph at the first layer, for some rows.

        Args:
            problem: the graph and its features.
            labels: int64 ``[G, N]``, -1 where unknown; all have the same unknown nodes.
            rows: nodes whose goodness is asked for ``[R]``.
            training: whether the first labeling is the right one, to learn from.
        """

    def _by_depth(self, problem: Problem) -> Tensor:
        tried = try_all(problem, self.out_channels)
        inputs = self.labelings(problem, tried, problem.nodes, training=False)
        depths = []
        for number, layer in enumerate(self.layers):
            if number:
                inputs.advance(self.layers[number - 1], layer)
            depths.append(inputs.goodness(layer).t() / self.hidden_channels)  # [M, C]
        return torch.stack(depths, dim=1).cumsum(1)  # [M, L, C]

    def _learner(self, problem: Problem) -> Learner:
        return _ForwardForwardLearner(self, problem)


class _ForwardForwardLearner(SequentialLearner):
    """Keeps the labelings of training and validation at the layer that trains."""

    def __init__(self, model: ForwardForwardModel, problem: Problem) -> None:
        self.model, self.problem = model, problem
        classes = model.out_channels
        count = classes - 1 if model.num_wrong is None else min(model.num_wrong, classes - 1)
        wrong = wrong_labels(problem.labels, classes, count, problem.seed)
        size = (count + 1, problem.adjacency.num_nodes)
        self.train_labels = torch.full(size, -1, dtype=torch.int64, device=problem.known.device)
        self.train_labels[0, problem.known] = problem.labels
        self.train_labels[1:, problem.known] = wrong

    def start(self, model: Any) -> None:
        problem = self.problem
        nodes, _ = problem.learned
        tried = try_all(problem, self.model.out_channels)
        self.train = self.model.labelings(problem, self.train_labels, nodes, training=True)
        self.val = self.model.labelings(problem, tried, problem.nodes, training=False)
        self.below: Tensor | float = 0.0

    @torch.no_grad()
    def advance(self, model: Any, number: int) -> None:
        layer, following = model.layers[number], model.layers[number + 1]
        self.below = self.below + self.val.goodness(layer)
        self.train.advance(layer, following)
        self.val.advance(layer, following)

    def losses(self, model: Any, stage: int) -> Iterator[LocalLoss]:
        self.enter(model, stage)
        layer, unit = model.layers[stage], f"layers.{stage}"
        if isinstance(self.train.among, Mix):  # outputs are never kept
            goodness = self.train.goodness(layer)  # [K + 1, R]
            yield LocalLoss(self._loss(goodness[0], goodness[1:]), unit)
            return
        yield from self._in_portions(layer, unit)

    def _in_portions(self, layer: Any, unit: str) -> Iterator[LocalLoss]:
        """A few wrong labelings at a time: their gradients add up, their outputs do not."""
        count, each = len(self.train_labels) - 1, self._at_once
        for begin in range(1, count + 1, each):
            end = min(begin + each, count + 1)
            first = begin == 1
            goodness = self.train.goodness(layer, slice(begin - first, end))  # the right one too
            right = goodness[0] if first else None
            if right is None and self.model.loss == "symba":
                right = self.train.goodness(layer, slice(0, 1))[0]
            part = self._loss(right, goodness[int(first) :], count)
            yield LocalLoss(part, unit, step=end == count + 1)

    @property
    def _at_once(self) -> int:
        """How many outputs to have at a time: as many on every rank."""
        problem, layer = self.problem, self.model.layers[0]
        size = problem.known.numel() if layer.linear else problem.adjacency.num_nodes
        return max(1, _OUTPUT_NUMBERS // (size * self.model.hidden_channels))

    def _loss(self, right: Tensor | None, wrong: Tensor, count: int | None = None) -> Tensor:
        """Per row; a part of it, where ``wrong`` holds some of ``count`` labelings."""
        count = wrong.size(0) if count is None else count
        if self.model.loss == "symba":
            assert right is not None
            return F.softplus(-self.model.sharpness * (right - wrong)).sum(0) / count
        part = F.softplus(wrong - self.model.threshold).sum(0) / count
        return part if right is None else part + F.softplus(self.model.threshold - right)

    @torch.no_grad()
    def scores(self, model: Any, stage: int) -> Tensor:
        self.enter(model, stage)
        return (self.below + self.val.goodness(model.layers[stage])).t()  # [M, C]
