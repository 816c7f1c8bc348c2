"""The slow twins of the ops on pairs of nodes, as Python sets or dense boolean matrices."""

import torch
from torch import Tensor

from graphseq.graph.csr import CSR


def stored(graph: CSR) -> Tensor:
    """Which entries are stored, bool ``[N, N]``."""
    dense = torch.zeros(graph.shape, dtype=torch.bool)
    return dense.index_put((graph.row, graph.col.long()), torch.tensor(True))


def common_neighbors(graph: CSR, pairs: Tensor) -> Tensor:
    """Bool ``[B, N]``: both ends have the neighbour."""
    rows = stored(graph)[pairs]
    return rows[0] & rows[1]


def one_sided_neighbors(graph: CSR, pairs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Bool ``[B, N]`` each: both ends, only the first, only the second."""
    left, right = stored(graph)[pairs]
    return left & right, left & ~right, right & ~left


def pool_common(graph: CSR, x: Tensor, pairs: Tensor) -> Tensor:
    """The dense product."""
    return common_neighbors(graph, pairs).to(x.dtype) @ x


def count_common(graph: CSR, pairs: Tensor, weight: Tensor | None = None) -> Tensor:
    """Row sums."""
    common = common_neighbors(graph, pairs)
    return common.sum(1) if weight is None else common.to(weight.dtype) @ weight


def count_common_many(
    graph: CSR, source: Tensor, candidates: Tensor, weight: Tensor | None = None
) -> Tensor:
    """One source after the other."""
    rows = [
        count_common(graph, torch.stack([i.expand(len(row)), row]), weight)
        for i, row in zip(source, candidates, strict=True)
    ]
    return torch.stack(rows)


def is_edge(graph: CSR, pairs: Tensor) -> Tensor:
    """A look into the dense matrix."""
    return stored(graph)[pairs[0], pairs[1]]


def non_edges(graph: CSR, exclude_loops: bool = True) -> Tensor:
    """All pairs that may be drawn, ``[2, K]``, row by row."""
    free = ~stored(graph)
    if exclude_loops:
        free.fill_diagonal_(False)
    return free.nonzero().t()


def without(train_edges: Tensor, num_nodes: int, index: Tensor, strict: bool = False) -> set:
    """The edges of the graph of the other links, both directions, as a set of pairs."""
    removed = set(index.tolist())
    links = [tuple(sorted(link)) for link in train_edges.t().tolist()]
    rest = {link for e, link in enumerate(links) if e not in removed}
    if strict:
        rest -= {links[e] for e in removed}
    return {(i, j) for a, b in rest if a != b for i, j in ((a, b), (b, a))}
