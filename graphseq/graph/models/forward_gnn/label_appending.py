"""Label appending: Forward-Forward with the label beside the features (FF-LA; arXiv 2403.11004).

A labeling ``a`` of some nodes becomes C more columns: row i is one-hot where the label is known or
tried, and uniform, 1 / C, elsewhere. See ``forward_forward.py`` for what layers learn::

    Z_0 = [X | P(a)],   Y = relu(GNN_l(nrm(Z_{l-1}))),   Z_l = Y                for each labeling

The length of a row of Z_0 is sqrt(|x|^2 + 1), or sqrt(|x|^2 + 1/C) where the label is unknown: it
does not depend on the labeling. So the first layer's product with the features, nearly all of its
work, is shared by all labelings, in training and in classification.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from graphseq.graph.models.forward_gnn.forward_forward import ForwardForwardModel
from graphseq.graph.models.forward_gnn.frozen_input import reading
from graphseq.graph.models.forward_gnn.labelings import Labelings
from graphseq.graph.models.forward_gnn.learner import Problem
from graphseq.graph.nn.local_conv import Branches, LocalConv, Mix, Prepared
from graphseq.graph.nn.row_view import RowView
from graphseq.graph.ops.slicing import square_norms, unit_scale
from graphseq.graph.ops.spmm import spmm

EPS = 1e-8


class LabelAppendingGNN(ForwardForwardModel):
    """Node classification by Forward-Forward with labels appended to the features (FF-LA).

    Args:
        in_channels: number of features F; the first layer has C more inputs.
        out_channels: number of classes C, at least 2.
        hidden_channels: width H of every layer.
        num_layers: number of layers L.
        conv: "gcn", "sage" (mean) or "gat" (``num_heads`` heads side by side).
        num_heads: heads of "gat".
        threshold: what a goodness is compared with.
        num_wrong: wrong labels per training node; None means all C - 1.
        loss: "ff" or "symba".
        sharpness: of "symba".

    Shape:
        as :class:`ForwardGNN`
    """

    def _widths(self) -> list[int]:
        widths = super()._widths()
        return [widths[0] + self.out_channels, *widths[1:]]

    def labelings(
        self, problem: Problem, labels: Tensor, rows: Tensor, *, training: bool
    ) -> Labelings:
        return _Appended(self, problem, labels, rows)


class _Appended(Labelings):
    """Every labeling has states of its own; in the first layer they share those of the features."""

    def __init__(
        self,
        model: LabelAppendingGNN,
        problem: Problem,
        labels: Tensor,
        rows: Tensor,
    ) -> None:
        x, adjacency = problem.x, problem.adjacency
        self.view, self.all_rows = RowView(adjacency, rows), RowView(adjacency)
        self.x, self.width, self.row_block = x, model.in_channels, problem.row_block
        layer: Any = model.layers[0]
        dtype = layer.bias.dtype
        classes, known = model.out_channels, labels[0] >= 0
        squares = square_norms(x).to(labels.device, dtype)
        label_length = torch.full_like(squares, 1.0 / classes).masked_fill(known, 1.0)
        length = (squares + label_length).sqrt()
        self.scale = 1.0 / (length + EPS)  # [N]
        appended = F.one_hot(labels.clamp(min=0), classes).to(dtype)  # [G, N, C]
        appended[:, ~known] = 1.0 / classes
        self.appended = appended * self.scale.unsqueeze(1)
        self.states: list[Prepared] = []  # of all rows, above the first layer
        self.shared = [self._features(layer, self.view)]
        self.among = self._mix(layer) if layer.linear else self._branches(layer, self.view)

    def _features(self, layer: Any, view: RowView, once: bool = False) -> Prepared:
        options = reading(self.x, once, self.row_block)
        return layer.prepare(view, self.x, self.scale, **options)

    def _mix(self, layer: LocalConv) -> Mix:
        """The aggregated label columns of each labeling, one block of columns per weight."""
        matrices = [self.view.matrix(kind, self.scale.dtype) for kind in layer.kinds]
        blocks = [
            torch.cat([one if m is None else spmm(m, one) for m in matrices], dim=1)
            for one in self.appended
        ]
        bases = tuple((number, self.appended.size(2)) for number in range(len(layer.kinds)))
        return Mix(torch.stack(blocks), bases, first=self.width)

    def _branches(self, layer: Any, view: RowView) -> Branches:
        return [(view, [layer.prepare(view, one, first=self.width)]) for one in self.appended]

    @torch.no_grad()
    def advance(self, layer: Any, following: Any) -> None:
        view = self.all_rows
        if not self.states:
            features = layer.evaluated(self._features(layer, view, once=True))
            inputs = [[features, *own] for _, own in self._branches(layer, view)]
        else:
            inputs = [[part] for part in self.states]
        self.states = []
        for number, parts in enumerate(inputs):
            inputs[number] = []  # each is freed when the next state has taken its place
            state = layer(view, parts)  # [N, H]
            self.states.append(following.prepare(view, state, unit_scale(state)))
        rows = self.view.rows
        assert rows is not None
        self.shared = []
        self.among = following.branches([self.view] * len(self.states), self.states, rows)
