"""Labelings of a graph: right and wrong labels to learn from, and classes to try."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from graphseq.graph.models.forward_gnn.learner import Problem
from graphseq.graph.nn.local_conv import Branches, Mix, Prepared, Stack
from graphseq.graph.nn.row_view import RowView


class Labelings(ABC):
    """Several labelings of one graph at one layer, as :meth:`LocalConv.forward` takes them.

    ``shared`` is what they have in common for the rows of ``view``; ``among`` tells them apart.
    """

    view: RowView
    shared: Sequence[Prepared]
    among: Mix | Stack | Branches

    def goodness(self, layer: Any, which: slice | None = None) -> Tensor:
        """The goodness ``[G, R]`` of all labelings or, where each is a branch of its own, of some.

        Args:
            layer: the layer that is asked.
            which: the labelings from ``which.start`` to ``which.stop - 1``; None means all.
        """
        among = self.among
        if which is not None:
            assert not isinstance(among, Mix)
            among = among.some(which) if isinstance(among, Stack) else among[which]
        return layer(self.view, self.shared, among)  # [G, R]

    @abstractmethod
    def advance(self, layer: Any, following: Any) -> None:
        """Goes from a layer, which is trained, to the one above it."""


def try_all(problem: Problem, num_classes: int) -> Tensor:
    """For each class a labeling in which all nodes to score have it, int64 ``[C, N]``; -1: unknown.

    Args:
        problem: the graph, its known labels and the nodes to score.
        num_classes: C.
    """
    size, device = (num_classes, problem.adjacency.num_nodes), problem.known.device
    tried = torch.full(size, -1, dtype=torch.int64, device=device)
    tried[:, problem.known] = problem.labels
    tried[:, problem.nodes] = torch.arange(num_classes, device=device).unsqueeze(1)
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
