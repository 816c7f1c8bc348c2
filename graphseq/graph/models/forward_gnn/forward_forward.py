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
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from graphseq.graph.adjacency import Adjacency
from graphseq.graph.csr import CSR
from graphseq.graph.models.forward_gnn.local_model import (
    Learner,
    LocalLoss,
    LocalModel,
    Problem,
    SequentialLearner,
)
from graphseq.graph.nn.local_conv import Branches, Mix, Prepared, Stack
from graphseq.graph.nn.local_convs import Conv
from graphseq.graph.nn.row_view import RowView

GoodnessLoss = Literal["ff", "symba"]

_OUTPUT_NUMBERS = 2**24  # outputs of a layer kept at a time for all labelings: 64 MiB


class Labelings:
    """Several labelings of one graph at one layer, as :meth:`LocalConv.forward` takes them.

    ``shared`` is what they have in common for the rows of ``view``; ``among`` tells them apart.
    """

    view: RowView
    shared: Sequence[Prepared]
    among: Mix | Stack | Branches

    def goodness(self, layer: Any, which: slice | None = None) -> Tensor:
        """The goodness of all labelings or, where each is a branch of its own, of some."""
        among = self.among
        if which is not None:
            assert not isinstance(among, Mix)
            among = among.some(which) if isinstance(among, Stack) else among[which]
        return layer(self.view, self.shared, among)  # [G, R]

    @abstractmethod
    def advance(self, layer: Any, following: Any) -> None:
        """Goes from a layer, which is trained, to the one above it."""


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
        x: Tensor | CSR,
        adjacency: Adjacency,
        labels: Tensor,
        rows: Tensor,
        *,
        training: bool,
        row_block: int | None = None,
    ) -> Labelings:
        """Labelings ``[G, N]`` of the graph (-1: unknown) at the first layer, for some rows.

        Args:
            x: features ``[N, F]``.
            adjacency: the graph.
            labels: int64 ``[G, N]``; all have the same unknown nodes.
            rows: nodes whose goodness is asked for ``[R]``.
            training: whether the first labeling is the right one, to learn from.
            row_block: see :class:`~graphseq.graph.models.forward_gnn.local_model.Problem`.
        """

    def _by_depth(
        self, x: Tensor | CSR, adjacency: Adjacency, known: Tensor, labels: Tensor, nodes: Tensor
    ) -> Tensor:
        tried = try_all(adjacency.num_nodes, known, labels, nodes, self.out_channels)
        inputs = self.labelings(x, adjacency, tried, nodes, training=False)
        depths = []
        for number, layer in enumerate(self.layers):
            if number:
                inputs.advance(self.layers[number - 1], layer)
            depths.append(inputs.goodness(layer).t() / self.hidden_channels)  # [M, C]
        return torch.stack(depths, dim=1).cumsum(1)  # [M, L, C]

    def _learner(self, problem: Problem) -> Learner:
        return _ForwardForwardLearner(self, problem)


def try_all(
    num_nodes: int, known: Tensor, labels: Tensor, nodes: Tensor, num_classes: int
) -> Tensor:
    """For each class a labeling in which all ``nodes`` have it, int64 ``[C, N]``; -1: unknown."""
    tried = torch.full((num_classes, num_nodes), -1, dtype=torch.int64, device=known.device)
    tried[:, known] = labels
    tried[:, nodes] = torch.arange(num_classes, device=known.device).unsqueeze(1)
    return tried


def wrong_labels(labels: Tensor, num_classes: int, num_wrong: int, seed: int) -> Tensor:
    """For each node different wrong classes in random order, int64 ``[num_wrong, K]``.

    Args:
        labels: the right ones ``[K]``.
        num_classes: C.
        num_wrong: at most C - 1.
        seed: of the draw.
    """
    generator = torch.Generator().manual_seed(seed)
    draws = torch.rand(labels.numel(), num_classes - 1, generator=generator)
    others = draws.argsort(1)[:, :num_wrong].to(labels.device)  # 0 .. C - 2
    return (others + (others >= labels.unsqueeze(1))).t().contiguous()


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
        x, adjacency = problem.x, problem.adjacency
        nodes, _ = problem.learned
        tried = try_all(
            adjacency.num_nodes,
            problem.known,
            problem.labels,
            problem.nodes,
            self.model.out_channels,
        )
        self.train = self.model.labelings(
            x, adjacency, self.train_labels, nodes, training=True, row_block=problem.row_block
        )
        self.val = self.model.labelings(
            x, adjacency, tried, problem.nodes, training=False, row_block=problem.row_block
        )
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
        if stage == 0 or isinstance(self.train.among, Mix):  # most of the work is shared
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
        """How many outputs ``[R, H]`` to have at a time: as many on every rank."""
        rows = self.problem.known.numel() * self.model.hidden_channels
        return max(1, _OUTPUT_NUMBERS // max(1, rows))

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
