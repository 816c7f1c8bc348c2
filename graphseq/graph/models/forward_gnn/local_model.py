"""What all forward-learning models for nodes share, and how they are taught.

A model is a stack of layers and a rule of its own for what each layer learns. The rule lives in a
:class:`Learner`: the model at work on one graph with known labels. It makes the losses, one layer
at a time; whoever trains only steps.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from graphseq.graph.adjacency import Adjacency, as_adjacency
from graphseq.graph.checks import check_index
from graphseq.graph.csr import CSR
from graphseq.graph.nn.local_convs import Conv, local_conv


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
    """A graph with known labels to learn from.

    Args:
        x: features ``[N, F]``.
        adjacency: the graph.
        known: nodes with labels to learn from, int64 ``[K]``.
        labels: their classes ``[K]``.
        rows: positions in ``known`` whose losses are made here: a rank's share.
        nodes: nodes to score while training ``[M]``.
        seed: of what is drawn.
        row_block: where the features stay on disk or on another device, how many rows of them to
            take at a time; None where they are in memory.
    """

    x: Tensor | CSR
    adjacency: Adjacency
    known: Tensor
    labels: Tensor
    rows: Tensor
    nodes: Tensor
    seed: int = 0
    row_block: int | None = None

    @property
    def learned(self) -> tuple[Tensor, Tensor]:
        """The nodes of ``rows`` and their classes."""
        return self.known[self.rows], self.labels[self.rows]


class Learner(ABC):
    """A model at work on one training problem; it keeps what stays the same between steps.

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


class LocalModel(nn.Module, ABC):
    """Node classification by layers that learn on their own.

    Args:
        in_channels: number of features F.
        out_channels: number of classes C.
        hidden_channels: width H of every layer.
        num_layers: number of layers L.
        conv: "gcn", "sage" (mean) or "gat" (``num_heads`` heads side by side).
        num_heads: heads of "gat".

    Raises:
        ValueError: if a size is not positive or ``conv`` is unknown.
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
    ) -> None:
        super().__init__()
        check_sizes(
            type(self).__name__,
            in_channels=in_channels,
            out_channels=out_channels,
            hidden_channels=hidden_channels,
            num_layers=num_layers,
        )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.hidden_channels, self.num_layers = hidden_channels, num_layers
        self.conv, self.num_heads = conv, num_heads
        self.layers = nn.ModuleList(
            local_conv(conv, width, hidden_channels, num_heads) for width in self._widths()
        )

    @property
    def units(self) -> Sequence[tuple[str, ...]]:
        """For each stage of training the paths under the model that it trains; "" is the model."""
        return [(f"layers.{number}",) for number in range(self.num_layers)]

    monitor = "val/acc"
    """What chooses the weights."""

    max_norm: float | None = None
    """At which the gradient of each unit is clipped."""

    hears_validation = False
    """Whether the paper lets known labels of validation nodes help when the test is scored."""

    gives_logits = False
    """Whether scores are logits of a distribution over the classes."""

    def use_paper_values(self) -> None:
        """Takes the paper's choices where ours differ."""

    def _widths(self) -> list[int]:
        """Input width of each layer."""
        return [self.in_channels] + [self.hidden_channels] * (self.num_layers - 1)

    def reset_parameters(self) -> None:
        """Draws all weights anew."""
        for layer in self.layers:
            layer.reset_parameters()  # type: ignore[operator]

    def forward(
        self,
        x: Tensor | CSR,
        graph: Tensor | Adjacency,
        known: Tensor,
        labels: Tensor,
        nodes: Tensor | None = None,
    ) -> Tensor:
        """Class scores of nodes whose labels are not known.

        Args:
            x: features ``[N, F]``.
            graph: PyG's ``edge_index [2, E]`` or an :class:`~graphseq.graph.adjacency.Adjacency`.
            known: nodes with known labels, int64 ``[K]``.
            labels: their classes, int64 ``[K]``.
            nodes: the nodes to score, int64 ``[M]``; None means all that are not known.

        Shape:
            ``[M, C]``, the larger the likelier.
        """
        return self.scores_by_depth(x, graph, known, labels, nodes)[:, -1]

    def scores_by_depth(
        self,
        x: Tensor | CSR,
        graph: Tensor | Adjacency,
        known: Tensor,
        labels: Tensor,
        nodes: Tensor | None = None,
    ) -> Tensor:
        """The scores of each prefix of the layers that is a model of its own, ``[M, depths, C]``.

        Args:
            x: see :meth:`forward`.
            graph: see :meth:`forward`.
            known: see :meth:`forward`.
            labels: see :meth:`forward`.
            nodes: see :meth:`forward`.
        """
        adjacency = as_adjacency(graph, num_nodes=x.shape[0])
        x = x.detach() if isinstance(x, Tensor) else x  # inputs of layers are constants
        where = type(self).__name__
        check_features_of(where, x, self.in_channels)
        check_known(where, known, labels, adjacency.num_nodes, self.out_channels)
        if nodes is None:
            unknown = torch.ones(adjacency.num_nodes, dtype=torch.bool, device=known.device)
            unknown[known] = False
            nodes = unknown.nonzero()[:, 0]
        check_index(where, "nodes", nodes, adjacency.num_nodes)
        return self._by_depth(x, adjacency, known, labels, nodes)

    @abstractmethod
    def _by_depth(
        self, x: Tensor | CSR, adjacency: Adjacency, known: Tensor, labels: Tensor, nodes: Tensor
    ) -> Tensor: ...

    @torch.no_grad()
    def predict(
        self,
        x: Tensor | CSR,
        graph: Tensor | Adjacency,
        known: Tensor,
        labels: Tensor,
        nodes: Tensor | None = None,
    ) -> Tensor:
        """The likeliest class of each node, int64 ``[M]``; arguments as for :meth:`forward`.

        Args:
            x: see :meth:`forward`.
            graph: see :meth:`forward`.
            known: see :meth:`forward`.
            labels: see :meth:`forward`.
            nodes: see :meth:`forward`.
        """
        return self(x, graph, known, labels, nodes).argmax(1)

    def learner(
        self,
        x: Tensor | CSR,
        adjacency: Adjacency,
        known: Tensor,
        labels: Tensor,
        *,
        rows: Tensor,
        nodes: Tensor,
        seed: int = 0,
        row_block: int | None = None,
    ) -> Learner:
        """What teaches this model on one graph with known labels; arguments: :class:`Problem`."""
        check_features_of(type(self).__name__, x, self.in_channels)
        return self._learner(Problem(x, adjacency, known, labels, rows, nodes, seed, row_block))

    @abstractmethod
    def _learner(self, problem: Problem) -> Learner: ...


def check_sizes(where: str, **sizes: int) -> None:
    """Refuses sizes below 1."""
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{where}: {name} is {size}; pass 1 or more")


def check_features_of(where: str, x: Tensor | CSR, in_channels: int) -> None:
    """Refuses features of another width."""
    if len(x.shape) != 2 or x.shape[1] != in_channels:
        raise ValueError(
            f"{where}: x has shape {tuple(x.shape)}, expected [N, {in_channels}]; "
            "pass in_channels=x.shape[1] to the model"
        )


def check_known(where: str, known: Tensor, labels: Tensor, num_nodes: int, classes: int) -> None:
    """Refuses known labels that are no nodes or no classes."""
    check_index(where, "known", known, num_nodes)
    check_index(where, "labels", labels, classes)
    if known.shape != labels.shape or known.dim() != 1:
        raise ValueError(
            f"{where}: known and labels have shapes {tuple(known.shape)} and "
            f"{tuple(labels.shape)}; pass one class for each known node, [K] and [K]"
        )
    if known.unique().numel() != known.numel():
        raise ValueError(f"{where}: known lists a node twice; list each once")
