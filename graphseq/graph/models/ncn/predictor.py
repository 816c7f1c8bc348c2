"""Scores of pairs from node states: what GAE, NCN and NCNC have in common."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn

from graphseq.graph.csr import CSR
from graphseq.graph.nn.pair_head import PairHead
from graphseq.graph.nn.pair_mlps import NodeMLP, PoolMLP
from graphseq.graph.nn.pooled import Pooled
from graphseq.graph.ops import spmm
from graphseq.graph.ops.edge_dropout import drop_edges
from graphseq.graph.ops.pair_product import pair_product

CHUNK = 1 << 16  # pairs scored at a time without gradients
_MANY = 64 * CHUNK  # pairs divided into portions at a time: ogbl-citation2 ranks 87 million


class Neighbors(NamedTuple):
    """Neighbours of each pair, ``matrix [B, N]``, and their weights (None: ones)."""

    kind: str
    matrix: CSR
    weight: Tensor | None = None


class PairPredictor(nn.Module):
    """Logits of pairs of nodes from their states; pools over nothing, which is GAE's predictor.

    Args:
        head: the networks on pairs.
        node: phi_x; neighbours then count as ``x' = x + phi_x(x)``, without it as ``x``.
        edge_dropout: probability in [0, 1] that a stored direction of an edge is overlooked while
            training, so that the neighbour sets change.

    Shape:
        - x: ``[N, H]``
        - graph: symmetric :class:`~graphseq.graph.csr.CSR` ``[N, N]`` without values
        - pairs: int64 ``[2, B]``, checked; labels: ``[B]``
        - output: logits ``[B]``, or with labels the scalar sum of the cross-entropies
    """

    def __init__(
        self, head: PairHead, node: NodeMLP | None = None, edge_dropout: float = 0.0
    ) -> None:
        super().__init__()
        if not 0.0 <= edge_dropout <= 1.0:
            raise ValueError(
                f"{type(self).__name__}: edge_dropout is {edge_dropout}; pass a probability"
            )
        self.head = head
        self.node = node
        self.edge_dropout = edge_dropout

    @torch.compiler.disable  # as in LinkModel, for where only the predictor is trained
    def forward(
        self, x: Tensor, graph: CSR, pairs: Tensor, labels: Tensor | None = None, depth: int = 0
    ) -> Tensor:
        """``depth``: how many completions are nested, where there is any."""
        graph = self.drop(graph)
        if labels is None and not torch.is_grad_enabled():
            return self.score(x, graph, pairs, depth)
        pooled = self.pool(x, graph, pairs, depth)
        if labels is not None and len(pooled) == 1 and pooled[0].rows is not None:
            return self._split_loss(x, pairs, labels, pooled[0].value, pooled[0].rows)
        sums = [part.full(pairs.size(1)) for part in pooled]  # [B, H] each
        z = pair_product(x, pairs)  # [B, H]
        return self.head(z, sums) if labels is None else self.head.loss(z, sums, labels)

    def _split_loss(
        self, x: Tensor, pairs: Tensor, labels: Tensor, value: Tensor, rows: Tensor
    ) -> Tensor:
        """The loss of the pairs ``rows``, which have neighbours, plus that of the others."""
        empty = torch.ones(pairs.size(1), dtype=torch.bool, device=pairs.device)
        empty[rows] = False
        others = empty.nonzero().squeeze(1)
        filled = self.head.loss(pair_product(x, pairs[:, rows]), [value], labels[rows])
        return filled + self.head.loss(pair_product(x, pairs[:, others]), [], labels[others])

    @torch.no_grad()
    def score(
        self, x: Tensor, graph: CSR, pairs: Tensor, depth: int = 0, chunk: int = CHUNK
    ) -> Tensor:
        """Logits without gradients, some pairs at a time; for many, all nodes are lifted once."""
        lifted = self.lift(x) if pairs.size(1) > chunk else None
        parts = []
        for some in self._portions(graph, pairs, depth, chunk):
            pooled = self.pool(x, graph, some, depth, lifted)
            products = lambda rows, some=some: pair_product(x, some[:, rows])  # noqa: E731
            parts.append(self.head.logits(products, pooled, some.size(1)))
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    def _portions(self, graph: CSR, pairs: Tensor, depth: int, chunk: int) -> Iterator[Tensor]:
        for many in pairs.split(_MANY, dim=1):
            yield from many.split(self.portions(graph, many, depth, chunk), dim=1)

    def portions(self, graph: CSR, pairs: Tensor, depth: int, chunk: int) -> int | list[int]:
        """How many pairs to score at a time, as ``Tensor.split`` takes it."""
        return chunk

    def unsampled(self) -> AbstractContextManager[None]:
        """A context in which no neighbour is left to chance."""
        return nullcontext()

    def drop(self, graph: CSR) -> CSR:
        """The graph after edge dropout."""
        if not self.training or self.edge_dropout == 0.0:
            return graph
        return drop_edges(graph, self.edge_dropout)

    def lift(self, x: Tensor) -> Tensor:
        """``x'``, the states that neighbours contribute."""
        if self.node is None:
            return x
        if torch.is_grad_enabled() or len(x) <= CHUNK:
            return x + self.node(x)
        return torch.cat([part + self.node(part) for part in x.split(CHUNK)])

    def pool(
        self, x: Tensor, graph: CSR, pairs: Tensor, depth: int = 0, lifted: Tensor | None = None
    ) -> list[Pooled]:
        """The projected sums of each pool of the head, all from the same ``lifted`` states."""
        if not self.head.pools:
            return []
        lifted = self.lift(x) if lifted is None else lifted
        lists = self.neighbors(x, lifted, graph, pairs, depth)
        return [
            Pooled(_weighted_sums(parts, lifted, pool))
            for parts, pool in zip(lists, self.head.pool_mlps, strict=True)
        ]

    def neighbors(
        self, x: Tensor, lifted: Tensor, graph: CSR, pairs: Tensor, depth: int
    ) -> list[list[Neighbors]]:
        """For each pool what it sums up, in one or more lists."""
        return []

    def summands(self, pool: PoolMLP, lifted: Tensor, nodes: Tensor) -> Tensor:
        """What each neighbour adds to a pool before its weight, ``[R, H]``."""
        return pool.project(lifted[nodes])


def _weighted_sums(parts: list[Neighbors], lifted: Tensor, pool: PoolMLP) -> Tensor:
    """The projection goes to the nodes or behind the sum, whichever are fewer."""
    early = lifted.size(0) <= parts[0].matrix.shape[0]
    table = pool.project(lifted) if early else lifted
    total = sum(spmm(part.matrix, table, part.weight) for part in parts)
    assert isinstance(total, Tensor)
    return total if early else pool.project(total)
