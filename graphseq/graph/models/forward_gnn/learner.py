"""How forward-learning models are taught: a learner makes the losses, whoever trains only steps.

A learner is a model at work on one problem. It keeps what stays the same between steps, above all
the aggregated inputs of the layer that trains.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from graphseq.graph.adjacency import Adjacency
from graphseq.graph.csr import CSR


class LocalLoss(NamedTuple):
    """A loss of one layer.

    Args:
        per_row: losses whose mean over all rows of all ranks is meant, ``[n]``.
        unit: path under the model of what it trains; empty for the whole model.
        step: False only adds to the gradient.
    """

    per_row: Tensor
    unit: str
    step: bool = True


@dataclass(frozen=True)
class Problem:
    """A graph with known labels, and nodes to score.

    Args:
        x: features ``[N, F]``.
        adjacency: the graph.
        known: nodes with labels, int64 ``[K]``.
        labels: their classes ``[K]``.
        nodes: nodes to score ``[M]``, none of them known.
        rows: positions in ``known`` whose losses are made here: a rank's share; None where nothing
            is learnt.
        seed: of what is drawn.
        row_block: where the features stay in a file or on another device, how many rows of them to
            take at a time; None where they are in memory.
    """

    x: Tensor | CSR
    adjacency: Adjacency
    known: Tensor
    labels: Tensor
    nodes: Tensor
    rows: Tensor | None = None
    seed: int = 0
    row_block: int | None = None

    @property
    def learned(self) -> tuple[Tensor, Tensor]:
        """The nodes of ``rows`` and their classes, ``[R]`` and ``[R]``."""
        assert self.rows is not None
        return self.known[self.rows], self.labels[self.rows]


class Learner(ABC):
    """A model at work on one training problem.

    What it keeps is right as long as weights change only in the order of the model's ``units``:
    those of one entry are trained while those before it stay.
    """

    @abstractmethod
    def losses(self, model: Any, stage: int) -> Iterator[LocalLoss]:
        """The losses of one step.

        Args:
            model: the model, whose units may be wrapped.
            stage: position in the model's ``units``.
        """

    @abstractmethod
    def scores(self, model: Any, stage: int) -> Tensor:
        """What the layers up to this stage say of the rows to validate, for choosing weights."""

    def state(self) -> dict[str, Any]:
        """What a later session needs beside the weights."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restores :meth:`state`."""
        assert not state


class SequentialLearner(Learner):
    """Teaches one layer after the other."""

    _stage: int | None = None

    def enter(self, model: Any, stage: int) -> None:
        """Makes the constant input of a layer: from that of the layer below, if it is at hand."""
        if self._stage is None or stage not in (self._stage, self._stage + 1):
            self.start(model)
            self._stage = 0
        while self._stage < stage:
            self.advance(model, self._stage)
            self._stage += 1

    @abstractmethod
    def start(self, model: Any) -> None:
        """Prepares for the first layer."""

    @abstractmethod
    def advance(self, model: Any, number: int) -> None:
        """Goes from a layer, which is trained, to the next."""
