"""Top-down learning of links: layers also see the layer above (FL-CE-TopDown; arXiv 2403.11004).

As ``top_to_input.py``, without class nodes and labels: S_0 = X, layer l < L sees
``[nrm(S_{l-1}) | nrm(S_{l+1})]``, the top layer ``nrm(S_{L-1})`` only, and each learns the links by
the cross-entropy of ``links.py``. The score of a pair is the mean of the probabilities over all
layers and the last time steps of a fresh run without training.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from graphseq.graph.adjacency import Adjacency
from graphseq.graph.csr import CSR
from graphseq.graph.models.forward_gnn.frozen_input import FrozenInput
from graphseq.graph.models.forward_gnn.learner import Learner, LocalLoss
from graphseq.graph.models.forward_gnn.link_model import LocalLinkModel
from graphseq.graph.models.forward_gnn.pairs import LinkProblem, PairRows
from graphseq.graph.models.forward_gnn.top_down import (
    NUM_STEPS,
    SKIPPED,
    TopDownStates,
    update_order,
)
from graphseq.graph.nn.row_view import RowView


class TopDownLinkGNN(LocalLinkModel):
    """Link prediction by layers that see the layers below and above them.

    Args:
        in_channels: number of features F.
        hidden_channels: width H of every layer.
        num_layers: number of layers L, all trained together; fewer are another model.
        conv: "gcn", "sage" (mean) or "gat" (``num_heads`` heads side by side).
        num_heads: heads of "gat".

    Shape:
        as :class:`ForwardLinkGNN`
    """

    weight_decay = 0.0

    @property
    def lower_widths(self) -> list[int]:
        """For each layer, the width of the lower half of its input."""
        return super()._widths()

    def _widths(self) -> list[int]:
        upper = [self.hidden_channels] * (self.num_layers - 1) + [0]
        return [low + up for low, up in zip(self.lower_widths, upper, strict=True)]

    @property
    def units(self) -> Sequence[tuple[str, ...]]:
        return [tuple(f"layers.{number}" for number in range(self.num_layers))]

    def states(
        self,
        x: Tensor | CSR,
        adjacency: Adjacency,
        row_block: int | None = None,
        once: bool = False,
    ) -> TopDownStates:
        """No states yet, and the features as the first layer sees them."""
        view = RowView(adjacency)
        bottom = FrozenInput(adjacency, [x], row_block).parts(self.layers[0], view, once)
        return TopDownStates(view, bottom, None, self.lower_widths)

    @torch.no_grad()
    def run(self, kept: TopDownStates, layers: Any, pairs: PairRows) -> Tensor:
        """Scores ``[B]`` of a fresh run."""
        states = kept.evaluated(layers)
        states.rise(layers)
        total = torch.zeros((), device=pairs.nodes.device)
        constant = self.num_layers == 1  # all time steps are the same
        for step, values in enumerate(states.steps(layers, 1 if constant else NUM_STEPS)):
            if constant or step >= SKIPPED:
                chances = [pairs.dots(value[pairs.nodes]).sigmoid() for value in values]
                total = total + torch.stack(chances).mean(0)
        return total / (1 if constant else NUM_STEPS - SKIPPED)

    def _by_depth(
        self, x: Tensor | CSR, adjacency: Adjacency, pairs: PairRows, row_block: int | None
    ) -> Tensor:
        kept = self.states(x, adjacency, row_block, once=True)
        return self.run(kept, self.layers, pairs).unsqueeze(1)  # [B, 1]

    def _learner(self, problem: LinkProblem) -> Learner:
        return _TopDownLinkLearner(self, problem)


class _TopDownLinkLearner(Learner):
    """One stage; in each step every layer learns once, in the order of the time step."""

    def __init__(self, model: TopDownLinkGNN, problem: LinkProblem) -> None:
        self.model, self.problem = model, problem
        self.train_pairs, self.val_pairs = PairRows(problem.learned), PairRows(problem.pairs)
        self.states = model.states(problem.x, problem.adjacency, problem.row_block)

    def losses(self, model: Any, stage: int) -> Iterator[LocalLoss]:
        states = self.states
        if not states.values:
            states.rise(model.layers)
        for number in update_order(len(model.layers)):
            fresh = model.layers[number](states.view, states.parts(model.layers, number))
            states.put(number, fresh.detach())  # [N, H]
            logits = self.train_pairs.dots(fresh[self.train_pairs.nodes])
            del fresh
            yield LocalLoss(self.problem.losses(logits), f"layers.{number}")

    def scores(self, model: Any, stage: int) -> Tensor:
        return self.model.run(self.states, model.layers, self.val_pairs)

    def state(self) -> dict[str, Any]:
        return {"states": self.states.values}

    def load_state(self, state: dict[str, Any]) -> None:
        self.states.load(state["states"])
