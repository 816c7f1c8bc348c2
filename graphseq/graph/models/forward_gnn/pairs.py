"""Pairs of nodes, scored all at once from the states of their end nodes."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from graphseq.graph.adjacency import Adjacency
from graphseq.graph.checks import check_index
from graphseq.graph.csr import CSR
from graphseq.graph.ops.sampled_product import sampled_product


class PairRows:
    """The end nodes of many pairs, each once, and the pairs as entries of a matrix over them.

    Args:
        pairs: int64 ``[2, B]``.

    Raises:
        ValueError: if ``pairs`` has another shape.
    """

    def __init__(self, pairs: Tensor) -> None:
        self.nodes, ends = pairs.unique(return_inverse=True)  # [R], [2, B]
        self.pattern = CSR.from_coo(*ends, shape=(len(self.nodes), len(self.nodes)))
        self.order = torch.empty_like(self.pattern.edge_id)
        self.order[self.pattern.edge_id] = torch.arange(len(self.order), device=pairs.device)

    def dots(self, states: Tensor) -> Tensor:
        """``<Y_u, Y_v>`` of each pair in the caller's order ``[B]``, from ``states [R, H]``."""
        return sampled_product(self.pattern, states, states)[self.order]


@dataclass(frozen=True)
class LinkProblem:
    """A graph with links to learn from.

    Args:
        x: features ``[N, F]``.
        adjacency: the links that are known.
        positive: links to learn from, int64 ``[2, P]``: a rank's share.
        negative: pairs that are none ``[2, M]``: a rank's share.
        num_positive: P of all ranks together.
        num_negative: M of all ranks together.
        pairs: pairs to score while training ``[2, B]``.
        row_block: where the features stay on disk or on another device, how many rows of them to
            take at a time; None where they are in memory.
    """

    x: Tensor | CSR
    adjacency: Adjacency
    positive: Tensor
    negative: Tensor
    num_positive: int
    num_negative: int
    pairs: Tensor
    row_block: int | None = None

    @property
    def learned(self) -> Tensor:
        """Links, then other pairs, ``[2, P + M]``."""
        return torch.cat([self.positive, self.negative], dim=1)

    def losses(self, logits: Tensor) -> Tensor:
        """Binary cross-entropy of :attr:`learned`; their mean is the mean over all pairs."""
        labels = torch.zeros_like(logits)
        labels[: self.positive.size(1)] = 1.0
        return F.binary_cross_entropy_with_logits(logits, labels, reduction="none")

    def balanced(self, per_pair: Tensor) -> Tensor:
        """Weighted so that their mean is the mean over links plus that over other pairs."""
        total = self.num_positive + self.num_negative
        weight = torch.full_like(per_pair, total / self.num_negative)
        weight[: self.positive.size(1)] = total / self.num_positive
        return weight * per_pair


def check_pairs(where: str, pairs: Tensor, num_nodes: int) -> None:
    """Refuses what is no list of pairs of nodes."""
    if pairs.dim() != 2 or pairs.size(0) != 2:
        raise ValueError(
            f"{where}: pairs has shape {tuple(pairs.shape)}, expected [2, B]; "
            "pass one column per pair"
        )
    check_index(where, "pairs", pairs.reshape(-1), num_nodes)
