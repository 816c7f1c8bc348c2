"""NCN's predictor: pools over common neighbours, and in two variants over more."""

from typing import Literal

import torch
from torch import Tensor

from graphseq.graph.csr import CSR
from graphseq.graph.models.ncn.pooling import pool_neighbors, two_hop_rows
from graphseq.graph.models.ncn.predictor import Neighbors, PairPredictor
from graphseq.graph.nn.pair_head import PairHead
from graphseq.graph.nn.pair_mlps import NodeMLP
from graphseq.graph.nn.pooled import Pooled
from graphseq.graph.ops import common_neighbors, one_sided_neighbors

Neighborhood = Literal["common", "two_hop", "difference"]
NEIGHBORHOODS = ("common", "two_hop", "difference")


class NeighborPredictor(PairPredictor):
    """The predictor of NCN, NCN2 and NCN-diff.

    Args:
        head: the networks on pairs, with a pool for the common neighbours and, except with
            "common", a second one.
        node: phi_x or None.
        edge_dropout: see :class:`~graphseq.graph.models.ncn.predictor.PairPredictor`.
        neighborhood: what the second pool sums up: "two_hop", nodes that neighbour one end and lie
            two steps from the other; "difference", neighbours of one end only; "common": no such.
    """

    def __init__(
        self,
        head: PairHead,
        node: NodeMLP | None = None,
        edge_dropout: float = 0.0,
        neighborhood: Neighborhood = "common",
    ) -> None:
        super().__init__(head, node, edge_dropout)
        self.neighborhood = neighborhood

    def pool(
        self, x: Tensor, graph: CSR, pairs: Tensor, depth: int = 0, lifted: Tensor | None = None
    ) -> list[Pooled]:
        if self.neighborhood != "common" or depth > 0:
            return super().pool(x, graph, pairs, depth, lifted)
        project = self.head.pool_mlps[0].project
        if lifted is not None:
            return [pool_neighbors(graph, lifted, pairs, _same, project)]
        return [pool_neighbors(graph, x, pairs, self.lift, project)]

    def neighbors(
        self, x: Tensor, lifted: Tensor, graph: CSR, pairs: Tensor, depth: int
    ) -> list[list[Neighbors]]:
        if self.neighborhood == "difference":
            common, left, right = one_sided_neighbors(graph, pairs)
            only = [Neighbors("left only", left), Neighbors("right only", right)]
            return [[Neighbors("common", common)], only]
        lists = [[Neighbors("common", common_neighbors(graph, pairs))]]
        if self.neighborhood == "two_hop":
            rows, (left_end, right_end) = two_hop_rows(graph), pairs
            lists.append(
                [
                    Neighbors("two hop", common_neighbors(rows, torch.stack([near, far])))
                    for near, far in (
                        (left_end, right_end + graph.shape[0]),
                        (right_end, left_end + graph.shape[0]),
                    )
                ]
            )
        return lists


def _same(x: Tensor) -> Tensor:
    return x
