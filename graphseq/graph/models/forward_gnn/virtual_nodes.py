"""Virtual nodes: Forward-Forward with labels as edges to class nodes (FF-VN; arXiv 2403.11004).

A labeling joins each labelled node with its class node (see ``class_nodes.py``). In training the
graphs of the right and of the wrong labels share one input, the output of the layer below on the
right graph; only the edges to the class nodes differ. See ``forward_forward.py`` for what layers
learn; goodness is asked of nodes, not of class nodes.

Every labelled node has exactly one such edge in every graph. So its degree, and all that it hears
from other nodes, are the same in all of them::

    row i of S X W  =  (sum over nodes j of S_ij x_j) W  +  S_{i,c} (v_c W)        c: its class

The first term is computed once for all graphs; the second is a multiple of one of C rows. To
classify, each class is tried in a graph with features of its own above the first layer.
"""

from typing import Any

import torch
from torch import Tensor

from graphseq.graph.csr import CSR
from graphseq.graph.models.forward_gnn.class_nodes import join_class_nodes
from graphseq.graph.models.forward_gnn.forward_forward import ForwardForwardModel, GoodnessLoss
from graphseq.graph.models.forward_gnn.frozen_input import reading
from graphseq.graph.models.forward_gnn.labelings import Labelings
from graphseq.graph.models.forward_gnn.learner import Problem
from graphseq.graph.nn.local_conv import LocalConv, Mix, Prepared
from graphseq.graph.nn.local_convs import Conv
from graphseq.graph.nn.row_view import RowView
from graphseq.graph.ops.slicing import scale_rows, unit_scale


class VirtualNodeGNN(ForwardForwardModel):
    """Node classification by Forward-Forward with labels as edges to class nodes (FF-VN).

    Args:
        in_channels: number of features F.
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
            threshold=threshold,
            num_wrong=num_wrong,
            loss=loss,
            sharpness=sharpness,
        )
        self.register_buffer("class_features", torch.randn(out_channels, in_channels))

    def labelings(
        self, problem: Problem, labels: Tensor, rows: Tensor, *, training: bool
    ) -> Labelings:
        return _Joined(self, problem, labels, rows, training)


class _Joined(Labelings):
    """One graph per labeling; with ``follow`` all have the states of the first."""

    def __init__(
        self,
        model: VirtualNodeGNN,
        problem: Problem,
        labels: Tensor,
        rows: Tensor,
        follow: bool,
    ) -> None:
        known = (labels[0] >= 0).nonzero()[:, 0]
        self.graphs = [
            join_class_nodes(problem.adjacency, known, own[known], model.out_channels)
            for own in labels
        ]
        self.views = [RowView(graph, rows) for graph in self.graphs]
        self.view = self.views[0]
        self.follow, self.classes = follow, model.out_channels
        self.row_block = problem.row_block
        drawn: Any = model.class_features
        self.features: tuple[Tensor | CSR, Tensor] | None = (problem.x, drawn)
        self._share(model.layers[0])

    def _share(self, layer: Any) -> None:
        """One set of features for all graphs: nodes in common, class nodes by mixtures."""
        assert self.features is not None
        nodes, classes = self.features
        options = reading(nodes, False, self.row_block)
        self.shared = [layer.prepare(self.view, nodes, unit_scale(nodes), **options)]
        if layer.linear:
            self.among = self._mix(layer, classes)
        else:
            first = int(nodes.shape[0])
            self.shared.append(layer.prepare(self.view, classes, unit_scale(classes), node=first))
            self.among = [(view, []) for view in self.views]

    def _mix(self, layer: LocalConv, classes: Tensor) -> Mix:
        """A node's edge to its class node in each graph; no node is a class node itself."""
        size, kind, dtype = self.graphs[0].num_nodes, layer.kinds[0], classes.dtype
        edges = [view.columns(kind, dtype, size - self.classes, size) for view in self.views]
        matrix = torch.stack([part.to_dense() for part in edges if part is not None])
        unit = scale_rows(classes, unit_scale(classes))
        assert isinstance(unit, Tensor)
        return Mix(matrix, ((0, unit),))

    @torch.no_grad()
    def advance(self, layer: Any, following: Any) -> None:
        graphs = self.graphs[:1] if self.follow else self.graphs
        inputs = [self._whole(layer, number) for number in range(len(graphs))]
        states = [
            layer(RowView(graph), parts) for graph, parts in zip(graphs, inputs, strict=True)
        ]  # [N + C, H] each
        del inputs
        if self.follow:
            self.features = (states[0][: -self.classes], states[0][-self.classes :])
            self.row_block = None  # states are in memory
            self._share(following)
            return
        self.features, self.shared = None, []
        self.whole = [
            following.prepare(RowView(graph), state, unit_scale(state))
            for graph, state in zip(graphs, states, strict=True)
        ]
        rows = self.view.rows
        assert rows is not None
        self.among = following.branches(self.views, self.whole, rows)

    def _whole(self, layer: Any, number: int) -> list[Prepared]:
        """The input of all nodes and class nodes in one of the graphs."""
        if self.features is None:
            return [self.whole[number]]
        nodes, classes = self.features
        view = RowView(self.graphs[number])
        first = int(nodes.shape[0])
        options = reading(nodes, True, self.row_block)
        return [
            layer.prepare(view, nodes, unit_scale(nodes), **options),
            layer.prepare(view, classes, unit_scale(classes), node=first),
        ]
