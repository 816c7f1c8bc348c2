"""Top-to-input: every layer also sees the layer above it (ForwardGNN's SF-T2I; arXiv 2403.11004).

Layers keep their states from one time step to the next. With S_0 = [X; V] (see
``single_forward.py``) and S_{L+1} the labels (one-hot where known and for class nodes, uniform
elsewhere) both constant, layer l computes and learns, in every time step::

    Y    = relu(GNN_l([nrm(S_{l-1}) | nrm(S_{l+1})]))
    loss of Y as in single_forward.py, one step of the optimizer
    S_l  = Y                                            as it was before that step

Layers 1, 3, 5, ... go first, from the states of the step before; then layers 2, 4, ... from the
fresh ones. States start from one pass upwards without the upper half of each input. A node is
classified by the sum of ``softmax(Y_node Y_class^T / tau)`` over all layers and the last time steps
of a fresh run without training.

========  ==================  ==================================  =========================
symbol    variable            shape                               meaning
========  ==================  ==================================  =========================
S_l       ``values[l - 1]``   ``[N + C, H]``, l = 1 .. L          state of layer l
S_{L+1}   ``labels``          ``[N + C, C]``                      the labels
L         ``num_layers``                                          number of layers
========  ==================  ==================================  =========================

The constant halves are aggregated once; while the weights stay, as in classification, they are
multiplied once too. With one layer all inputs are constant, and so are all time steps.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from graphseq.graph.models.forward_gnn.class_nodes import class_logits
from graphseq.graph.models.forward_gnn.learner import Learner, LocalLoss, Problem
from graphseq.graph.models.forward_gnn.single_forward import ForwardGNN
from graphseq.graph.models.forward_gnn.top_down import (
    NUM_STEPS,
    SKIPPED,
    TopDownStates,
    update_order,
)
from graphseq.graph.nn.local_convs import Conv
from graphseq.graph.nn.row_view import RowView
from graphseq.graph.ops.slicing import unit_scale


class TopToInputGNN(ForwardGNN):
    """Node classification by layers that see the layers below and above them (SF-T2I).

    Args:
        in_channels: number of features F.
        out_channels: number of classes C.
        hidden_channels: width H of every layer.
        num_layers: number of layers L, all trained together; fewer are another model.
        conv: "gcn", "sage" (mean) or "gat" (``num_heads`` heads side by side).
        num_heads: heads of "gat".
        temperature: tau.
        start_with_labels: let the last layer see the labels in the first pass upwards too; the
            paper's layers see none there.

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
        temperature: float = 1.0,
        start_with_labels: bool = False,
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
        self.start_with_labels = start_with_labels

    def _widths(self) -> list[int]:
        hidden = [self.hidden_channels] * (self.num_layers - 1)
        return [
            low + up
            for low, up in zip(self.lower_widths, [*hidden, self.out_channels], strict=True)
        ]

    @property
    def lower_widths(self) -> list[int]:
        """For each layer, the width of the lower half of its input."""
        return [self.in_channels] + [self.hidden_channels] * (self.num_layers - 1)

    @property
    def units(self) -> Sequence[tuple[str, ...]]:
        return [tuple(f"layers.{number}" for number in range(self.num_layers))]

    def _by_depth(self, problem: Problem) -> Tensor:
        kept = self.states(problem, once=True)
        return _classify(self, kept, self.layers, problem.nodes).unsqueeze(1)  # [M, 1, C]

    def states(self, problem: Problem, once: bool = False) -> TopDownStates:
        """No states yet, and the two constants that stand below and above them."""
        graph, last = self.join(problem), self.layers[-1]
        view = RowView(graph)
        bottom = self.frozen(problem, graph).parts(self.layers[0], view, once)
        size, dtype = problem.adjacency.num_nodes, self.class_features.dtype
        rows = label_rows(size, problem.known, problem.labels, self.out_channels, dtype)
        top = last.prepare(view, rows, unit_scale(rows))  # type: ignore[operator]
        return TopDownStates(view, bottom, top, self.lower_widths)

    def _learner(self, problem: Problem) -> Learner:
        return _TopToInputLearner(self, problem)


def label_rows(
    num_nodes: int, known: Tensor, labels: Tensor, num_classes: int, dtype: torch.dtype
) -> Tensor:
    """One-hot where known, 1 / C where not, and the identity for the class nodes, ``[N + C, C]``.

    Args:
        num_nodes: N.
        known: nodes with labels ``[K]``.
        labels: their classes ``[K]``.
        num_classes: C.
        dtype: of the result.
    """
    rows = torch.full((num_nodes, num_classes), 1.0 / num_classes, dtype=dtype, device=known.device)
    rows[known] = F.one_hot(labels, num_classes).to(dtype)
    return torch.cat([rows, torch.eye(num_classes, dtype=dtype, device=known.device)])


@torch.no_grad()
def _classify(model: TopToInputGNN, kept: TopDownStates, layers: Any, nodes: Tensor) -> Tensor:
    """Class scores ``[M, C]`` of a fresh run."""
    states = kept.evaluated(layers)
    states.rise(layers, model.start_with_labels)
    total = torch.zeros((), device=nodes.device)
    constant = model.num_layers == 1
    for step, values in enumerate(states.steps(layers, 1 if constant else NUM_STEPS)):
        if constant or step >= SKIPPED:
            total = total + _chances(model, values, nodes)
    return total * (NUM_STEPS - SKIPPED) if constant else total


def _chances(model: TopToInputGNN, values: Sequence[Tensor], nodes: Tensor) -> Tensor:
    """The sum over the layers of what each says of some nodes, ``[M, C]``."""
    classes = model.out_channels
    return sum(
        class_logits(
            torch.cat([state[nodes], state[-classes:]]), classes, model.temperature
        ).softmax(1)
        for state in values
    )  # type: ignore[return-value]


class _TopToInputLearner(Learner):
    """One stage; in each step every layer learns once, in the order of the time step."""

    def __init__(self, model: TopToInputGNN, problem: Problem) -> None:
        self.model, self.nodes = model, problem.nodes
        self.rows, self.y = problem.learned
        self.states = model.states(problem)

    def losses(self, model: Any, stage: int) -> Iterator[LocalLoss]:
        states = self.states
        if not states.values:
            states.rise(model.layers, self.model.start_with_labels)
        for number in update_order(len(model.layers)):
            fresh = model.layers[number](states.view, states.parts(model.layers, number))
            states.put(number, fresh.detach())  # [N + C, H]
            per_row = self._per_row(fresh)
            del fresh  # or it would live until the next layer has its own
            yield LocalLoss(per_row, f"layers.{number}")

    def _per_row(self, fresh: Tensor) -> Tensor:
        rows = torch.cat([fresh[self.rows], fresh[-self.model.out_channels :]])
        logits = class_logits(rows, self.model.out_channels, self.model.temperature)
        return F.cross_entropy(logits, self.y, reduction="none")

    def scores(self, model: Any, stage: int) -> Tensor:
        return _classify(self.model, self.states, model.layers, self.nodes)

    def state(self) -> dict[str, Any]:
        return {"states": self.states.values}

    def load_state(self, state: dict[str, Any]) -> None:
        self.states.load(state["states"])
