"""Backpropagation through the whole stack: what forward learning is compared with.

The layers of ``local_convs.py`` with a ReLU between them and none at the end (Park et al., ICLR
2024, baseline BP). ``normalize=True`` gives every layer rows of length 1, as forward learning does;
the published baseline has none, which slows it down.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recompute

from graphseq.graph.adjacency import Adjacency, as_adjacency
from graphseq.graph.csr import CSR
from graphseq.graph.models.forward_gnn.frozen_input import reading
from graphseq.graph.models.forward_gnn.layer_stack import check_width
from graphseq.graph.models.forward_gnn.learner import Learner, LocalLoss, Problem
from graphseq.graph.models.forward_gnn.local_model import NodeLearning
from graphseq.graph.nn.local_conv import Prepared
from graphseq.graph.nn.local_convs import Conv, local_conv
from graphseq.graph.nn.row_view import RowView
from graphseq.graph.ops.slicing import unit_scale


class BackpropGNN(NodeLearning):
    """A stack of graph layers, trained end to end.

    Args:
        in_channels: number of features F.
        out_channels: number of outputs C.
        hidden_channels: width H of the layers between.
        num_layers: number of layers L.
        conv: "gcn", "sage" (mean) or "gat" (``num_heads`` heads side by side).
        num_heads: heads of "gat"; those of the last layer are averaged.
        normalize: bring the input rows of each layer to length 1.
        recompute: keep the inputs of layers only and compute the rest again in the backward pass.

    Shape:
        - x: ``[N, F]``, graph: ``edge_index [2, E]`` or an Adjacency
        - output: ``[N, C]``
    """

    units = (("",),)
    gives_logits = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        hidden_channels: int = 128,
        num_layers: int = 2,
        conv: Conv = "gcn",
        num_heads: int = 4,
        normalize: bool = True,
        recompute: bool = False,
    ) -> None:
        self.normalize, self.recompute = normalize, recompute
        super().__init__(
            in_channels,
            out_channels,
            hidden_channels=hidden_channels,
            num_layers=num_layers,
            conv=conv,
            num_heads=num_heads,
        )

    def _make_layers(self) -> nn.ModuleList:
        widths = [*self._widths(), self.out_channels]
        return nn.ModuleList(
            local_conv(self.conv, low, high, self.num_heads, last=number == self.num_layers)
            for number, (low, high) in enumerate(pairwise(widths), start=1)
        )

    @property
    def monitor(self) -> str:  # type: ignore[override]
        """The loss; without normalised rows, as published, the accuracy."""
        return "val/loss" if self.normalize else "val/acc"

    def use_paper_values(self) -> None:
        """The paper's choice where ours differs."""
        self.normalize = False

    def prepare(
        self, x: Tensor | CSR, adjacency: Adjacency, row_block: int | None = None
    ) -> Prepared:
        """The first layer's input, to be made once and passed to every call."""
        check_width("BackpropGNN", x, self.in_channels)
        options = reading(x, True, row_block)
        scale = unit_scale(x) if self.normalize else None
        first: Any = self.layers[0]
        return first.prepare(RowView(adjacency), x, scale, **options)

    @torch.compiler.disable
    def forward(
        self, x: Tensor | CSR, graph: Tensor | Adjacency, prepared: Prepared | None = None
    ) -> Tensor:
        """``prepared`` is what :meth:`prepare` makes of ``x`` and ``graph``, for many calls."""
        adjacency = as_adjacency(graph, num_nodes=x.shape[0])
        part = self.prepare(x, adjacency) if prepared is None else prepared
        view = RowView(adjacency)
        h = self.layers[0](view, [part])  # [N, H]
        for layer in list(self.layers)[1:]:
            if self.recompute and torch.is_grad_enabled():
                h = recompute(self._apply_layer, layer, view, h, use_reentrant=False)
            else:
                h = self._apply_layer(layer, view, h)
        return h  # [N, C]

    def _apply_layer(self, layer: Any, view: RowView, h: Tensor) -> Tensor:
        if self.normalize:
            h = h / (torch.linalg.vector_norm(h, dim=1, keepdim=True) + 1e-8)
        return layer(view, [layer.prepare(view, h, way="factored")])

    @torch.no_grad()
    def predict(self, x: Tensor | CSR, graph: Tensor | Adjacency) -> Tensor:
        """The likeliest class of every node, int64 ``[N]``."""
        return self(x, graph).argmax(1)

    def _by_depth(self, problem: Problem) -> Tensor:
        prepared = self.prepare(problem.x, problem.adjacency, problem.row_block)
        logits = self(problem.x, problem.adjacency, prepared)
        return logits[problem.nodes].unsqueeze(1)  # [M, 1, C]; known labels do not enter

    def _learner(self, problem: Problem) -> Learner:
        return _BackpropLearner(self, problem)


class _BackpropLearner(Learner):
    """Cross-entropy at the end of the stack."""

    def __init__(self, model: BackpropGNN, problem: Problem) -> None:
        self.problem = problem
        self.nodes, self.y = problem.learned
        self.prepared = model.prepare(problem.x, problem.adjacency, problem.row_block)

    def _logits(self, model: Any) -> Tensor:
        return model(self.problem.x, self.problem.adjacency, self.prepared)  # [N, C]

    def losses(self, model: Any, stage: int) -> Iterator[LocalLoss]:
        logits = self._logits(model)[self.nodes]
        yield LocalLoss(F.cross_entropy(logits, self.y, reduction="none"), "")

    @torch.no_grad()
    def scores(self, model: Any, stage: int) -> Tensor:
        return self._logits(model)[self.problem.nodes]
