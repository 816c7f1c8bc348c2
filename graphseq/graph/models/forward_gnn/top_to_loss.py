"""Top-to-loss: the losses see the layers above (ForwardGNN's SF-T2L; arXiv 2403.11004).

States S_0 = nrm([X; V]), S_1 .. S_L; in a time step each layer l uses those of the step before::

    Y    = relu(GNN_l(S_{l-1}))
    M    = mean of Y and S_{l+1}, ..., S_L                 the latter constant
    loss of M as in single_forward.py, one step of the optimizer, gradient norm at most 1
    S_l  = nrm(Y)

To classify, states are computed once from below, and ``softmax(M_node M_class^T / tau)`` is added
up over the layers. The authors' pass from below feeds the output of each layer to the next as it
is, and the features too, although training normalises them: ``bottom_up="paper"``; "normalised"
does what training does.

========  ==================  =================  ==========================
symbol    variable            shape              meaning
========  ==================  =================  ==========================
S_l       ``states[l - 1]``   ``[N + C, H]``     state of layer l
M         ``mixed``           ``[M + C, H]``     what the loss sees
========  ==================  =================  ==========================
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from graphseq.graph.adjacency import Adjacency
from graphseq.graph.csr import CSR
from graphseq.graph.models.forward_gnn.class_nodes import class_logits, join_class_nodes
from graphseq.graph.models.forward_gnn.local_model import Learner, LocalLoss, Problem
from graphseq.graph.models.forward_gnn.single_forward import ForwardGNN, FrozenInput
from graphseq.graph.nn.local_conv import Prepared
from graphseq.graph.nn.local_convs import Conv
from graphseq.graph.nn.row_view import RowView
from graphseq.graph.ops.slicing import unit_rows

BottomUp = Literal["normalised", "paper"]


class TopToLossGNN(ForwardGNN):
    """Node classification by layers whose losses hear from the layers above (SF-T2L).

    Args:
        in_channels: number of features F.
        out_channels: number of classes C.
        hidden_channels: width H of every layer.
        num_layers: number of layers L, all trained together; fewer are another model.
        conv: "gcn", "sage" (mean) or "gat" (``num_heads`` heads side by side).
        num_heads: heads of "gat".
        temperature: tau.
        bottom_up: how states are made to classify: "normalised" or "paper".

    Shape:
        as :class:`ForwardGNN`
    """

    max_norm = 1.0
    """At which the gradient of each layer is clipped."""

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
        bottom_up: BottomUp = "normalised",
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            hidden_channels=hidden_channels,
            num_layers=num_layers,
            conv=conv,
            num_heads=num_heads,
            temperature=temperature,
        )
        if bottom_up not in ("normalised", "paper"):
            raise ValueError(
                f'TopToLossGNN: bottom_up is {bottom_up!r}; use "normalised" or "paper"'
            )
        self.bottom_up = bottom_up

    def use_paper_values(self) -> None:
        """The paper's choice where ours differs."""
        self.bottom_up = "paper"

    @property
    def units(self) -> Sequence[tuple[str, ...]]:
        return [tuple(f"layers.{number}" for number in range(self.num_layers))]

    def _by_depth(
        self, x: Tensor | CSR, adjacency: Adjacency, known: Tensor, labels: Tensor, nodes: Tensor
    ) -> Tensor:
        graph = join_class_nodes(adjacency, known, labels, self.out_channels)
        frozen = FrozenInput(graph, x, self.class_features)
        view = RowView(graph)
        bottom = frozen.parts(self.layers[0], view, once=True)
        return _classify(self, view, bottom, frozen, self.layers, nodes).unsqueeze(1)  # [M, 1, C]

    def _learner(self, problem: Problem) -> Learner:
        return _TopToLossLearner(self, problem)


@torch.no_grad()
def _classify(
    model: TopToLossGNN,
    view: RowView,
    bottom: Sequence[Prepared],
    frozen: FrozenInput,
    layers: Any,
    nodes: Tensor,
) -> Tensor:
    """Class scores ``[M, C]``."""
    states, outputs = [], []
    below = frozen.plain(layers[0], view) if model.bottom_up == "paper" else bottom
    for number, layer in enumerate(layers):
        fresh = layer(view, below)  # [N + C, H]
        states.append(unit_rows(fresh))
        if model.bottom_up == "paper":
            again = bottom if number == 0 else [layer.prepare(view, states[number - 1])]
            outputs.append(layer(view, again))
        else:
            outputs.append(fresh)
        if number + 1 < model.num_layers:
            passed = fresh if model.bottom_up == "paper" else states[-1]
            below = [layers[number + 1].prepare(view, passed)]
    total = torch.zeros((), device=nodes.device)
    for number, output in enumerate(outputs):
        mixed = _mixed(output, states[number + 1 :], nodes, model.out_channels)
        total = total + class_logits(mixed, model.out_channels, model.temperature).softmax(1)
    return total


def _mixed(output: Tensor, above: Sequence[Tensor], nodes: Tensor, num_classes: int) -> Tensor:
    """The mean of a layer's output and the states above it, of some nodes and the class nodes."""
    rows = [torch.cat([part[nodes], part[-num_classes:]]) for part in (output, *above)]
    return torch.stack(rows).mean(0) if above else rows[0]  # [M + C, H]


class _TopToLossLearner(Learner):
    """One stage; in each step every layer learns once, from the states of the step before."""

    def __init__(self, model: TopToLossGNN, problem: Problem) -> None:
        self.model, self.nodes = model, problem.nodes
        self.rows, self.y = problem.learned
        graph = join_class_nodes(
            problem.adjacency, problem.known, problem.labels, model.out_channels
        )
        drawn: Any = model.class_features
        self.view = RowView(graph)
        self.frozen = FrozenInput(graph, problem.x, drawn, problem.row_block)
        self.bottom = self.frozen.parts(model.layers[0], self.view)
        self.states: list[Tensor] = []

    def _inputs(self, layers: Any) -> list[Sequence[Prepared]]:
        above = [
            [layers[number].prepare(self.view, self.states[number - 1])]
            for number in range(1, len(layers))
        ]
        return [self.bottom, *above]

    @torch.no_grad()
    def _rise(self, layers: Any) -> None:
        below: Sequence[Prepared] = self.bottom
        for number, layer in enumerate(layers):
            if number:
                below = [layer.prepare(self.view, self.states[-1])]
            fresh = layer(self.view, below)
            self.states.append(unit_rows(fresh))

    def losses(self, model: Any, stage: int) -> Iterator[LocalLoss]:
        if not self.states:
            self._rise(model.layers)
        classes, before, after = self.model.out_channels, self.states, []
        for number, parts in enumerate(self._inputs(model.layers)):
            fresh = model.layers[number](self.view, parts)  # [N + C, H]
            after.append(unit_rows(fresh.detach()))
            mixed = _mixed(fresh, before[number + 1 :], self.rows, classes)
            del fresh
            logits = class_logits(mixed, classes, self.model.temperature)
            yield LocalLoss(F.cross_entropy(logits, self.y, reduction="none"), f"layers.{number}")
        self.states = after  # type: ignore[assignment]

    def scores(self, model: Any, stage: int) -> Tensor:
        return _classify(self.model, self.view, self.bottom, self.frozen, model.layers, self.nodes)

    def state(self) -> dict[str, Any]:
        return {"states": self.states}

    def load_state(self, state: dict[str, Any]) -> None:
        self.states = [value.to(self.nodes.device) for value in state["states"]]
