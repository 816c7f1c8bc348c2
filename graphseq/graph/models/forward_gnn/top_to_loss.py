"""Top-to-loss: the losses see the layers above (ForwardGNN's SF-T2L; arXiv 2403.11004).

States S_0 = nrm([X; V]), S_1 .. S_L; in a time step each layer l uses those of the step before::

    Y    = relu(GNN_l(S_{l-1}))
    M    = mean of Y and S_{l+1}, ..., S_L                 the latter constant
    loss of M as in single_forward.py, one step of the optimizer, gradient norm at most 1
    S_l  = nrm(Y)

To classify, states are computed once from below, and ``softmax(M_node M_class^T / tau)`` is added
up over the layers. The authors' pass from below feeds the output of each layer to the next as it
is, and the features too, although training normalises them: ``bottom_up="paper"``; "normalised"
does what training does. The first states of training come from the same pass.

========  ==================  =================  ==========================
symbol    variable            shape              meaning
========  ==================  =================  ==========================
S_l       ``states[l - 1]``   ``[N + C, H]``     state of layer l
M         ``mixed``           ``[M + C, H]``     what the loss sees
========  ==================  =================  ==========================
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from graphseq.graph.models.forward_gnn.class_nodes import class_logits
from graphseq.graph.models.forward_gnn.learner import Learner, LocalLoss, Problem
from graphseq.graph.models.forward_gnn.single_forward import ForwardGNN
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
        bottom_up: how a pass from below goes on: "normalised" or "paper".

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

    def _by_depth(self, problem: Problem) -> Tensor:
        bottom = self.bottom(problem, once=True)
        return bottom.classify(self, self.layers, problem.nodes).unsqueeze(1)  # [M, 1, C]

    def bottom(self, problem: Problem, once: bool = False) -> "_Bottom":
        """The graph with its class nodes, and what the first layer needs of the features."""
        graph = self.join(problem)
        frozen, view = self.frozen(problem, graph), RowView(graph)
        plain = frozen.plain(self.layers[0], view) if self.bottom_up == "paper" else None
        return _Bottom(view, frozen.parts(self.layers[0], view, once), plain)

    def _learner(self, problem: Problem) -> Learner:
        return _TopToLossLearner(self, problem)


class _Bottom(NamedTuple):
    """The graph and the features as the first layer sees them; ``plain``: not normalised."""

    view: RowView
    parts: Sequence[Prepared]
    plain: Sequence[Prepared] | None

    @torch.no_grad()
    def rise(self, layers: Any) -> tuple[list[Tensor], list[Tensor]]:
        """One pass from below: what each layer puts out, and S_1 .. S_L, all rows."""
        outputs: list[Tensor] = []
        states: list[Tensor] = []
        below = self.parts if self.plain is None else self.plain
        for number, layer in enumerate(layers):
            if number:
                passed = states[-1] if self.plain is None else outputs[-1]
                below = [layer.prepare(self.view, passed)]
            outputs.append(layer(self.view, below))  # [N + C, H]
            states.append(unit_rows(outputs[-1]))
        return outputs, states

    @torch.no_grad()
    def classify(self, model: TopToLossGNN, layers: Any, nodes: Tensor) -> Tensor:
        """Class scores ``[M, C]``."""
        outputs, states = self.rise(layers)
        if self.plain is not None:  # what layers make of normalised states is still to come
            below = [self.parts, *([layers[0].prepare(self.view, s)] for s in states[:-1])]
            outputs = [layer(self.view, parts) for layer, parts in zip(layers, below, strict=True)]
        total = torch.zeros((), device=nodes.device)
        for number, output in enumerate(outputs, start=1):
            mixed = _mixed(output, states[number:], nodes, model.out_channels)
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
        self.bottom = model.bottom(problem)
        self.states: list[Tensor] = []

    def _inputs(self, layers: Any) -> Iterator[Sequence[Prepared]]:
        """Of one layer after the other, from the states of the step before."""
        yield self.bottom.parts
        for number in range(1, len(layers)):
            yield [layers[number].prepare(self.bottom.view, self.states[number - 1])]

    def losses(self, model: Any, stage: int) -> Iterator[LocalLoss]:
        if not self.states:
            self.states = self.bottom.rise(model.layers)[1]
        before, after = self.states, []
        for number, parts in enumerate(self._inputs(model.layers)):
            fresh = model.layers[number](self.bottom.view, parts)  # [N + C, H]
            after.append(unit_rows(fresh.detach()))
            per_row = self._per_row(fresh, before[number + 1 :])
            del fresh  # or it would live until the next layer has its own
            yield LocalLoss(per_row, f"layers.{number}")
        self.states = after

    def _per_row(self, fresh: Tensor, above: Sequence[Tensor]) -> Tensor:
        classes = self.model.out_channels
        mixed = _mixed(fresh, above, self.rows, classes)
        logits = class_logits(mixed, classes, self.model.temperature)
        return F.cross_entropy(logits, self.y, reduction="none")

    def scores(self, model: Any, stage: int) -> Tensor:
        return self.bottom.classify(self.model, model.layers, self.nodes)

    def state(self) -> dict[str, Any]:
        return {"states": self.states}

    def load_state(self, state: dict[str, Any]) -> None:
        self.states = [value.to(self.nodes.device) for value in state["states"]]
