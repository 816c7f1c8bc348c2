"""Sums of node states over common neighbours, with as few linear maps as possible.

A pool needs ``W sum of x'_u`` with ``x' = x + phi_x(x)``. Three things are exact and save most of
it: phi_x is computed only at nodes that are somebody's common neighbour; W goes through the sum to
the nodes wherever there are fewer nodes than pairs; pairs without common neighbours take no part.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from graphseq.graph.csr import CSR
from graphseq.graph.nn.pooled import Pooled
from graphseq.graph.ops import common_neighbors, pool_common, spmm
from graphseq.graph.ops.pairs import degrees

LISTED = 1 << 20  # possible common neighbours up to which a batch is pooled by its lists

Lift = Callable[[Tensor], Tensor]


def pool_neighbors(graph: CSR, x: Tensor, pairs: Tensor, lift: Lift, project: Lift) -> Pooled:
    """``project(sum of lift(x_u))`` over the common neighbours u of each pair.

    Args:
        graph: ``[N, N]``.
        x: node states ``[N, H]``.
        pairs: int64 ``[2, B]``, checked.
        lift: a map of states, row by row.
        project: a linear map without bias, row by row.
    """
    if is_listed(graph, pairs):
        return pool_lists(common_neighbors(graph, pairs), x, lift, project)
    table, size = lift(x), pairs.size(1)
    if graph.shape[0] <= size:
        return Pooled(pool_common(graph, project(table), pairs))
    return Pooled(project(pool_common(graph, table, pairs)))


def is_listed(graph: CSR, pairs: Tensor) -> bool:
    """Whether listing the common neighbours of a batch is cheap beside the states of all nodes."""
    possible = int(torch.minimum(*degrees(graph, pairs)).sum())
    return possible <= max(LISTED, 4 * graph.shape[0])


def pool_lists(
    matrix: CSR, x: Tensor, lift: Lift, project: Lift, weight: Tensor | None = None
) -> Pooled:
    """``project(M(weight) lift(x))`` for lists of neighbours ``[B, N]``.

    Only the nodes in the lists are lifted, and only the rows that hold any are returned.
    """
    filled = matrix.rowptr.diff().nonzero().squeeze(1)
    rowptr = torch.cat([matrix.rowptr[filled], matrix.rowptr[-1:]])
    nodes, col = _listed_nodes(matrix)
    table = lift(x if nodes is None else x.index_select(0, nodes))
    lists = CSR._trusted(rowptr, col, None, (len(filled), len(table)), matrix.edge_id)
    if len(table) <= len(filled):
        return Pooled(spmm(lists, project(table), weight), filled)
    return Pooled(project(spmm(lists, table, weight)), filled)


def _listed_nodes(matrix: CSR) -> tuple[Tensor | None, Tensor]:
    """The nodes in the lists and the lists in terms of them; None where most nodes are."""
    col = matrix.col.long()
    seen = torch.zeros(matrix.shape[1], dtype=torch.bool, device=matrix.device)
    seen[col] = True
    nodes = seen.nonzero().squeeze(1)
    if 2 * len(nodes) > matrix.shape[1]:
        return None, matrix.col
    place = seen.cumsum(0) - 1
    return nodes, place[col].int()


def two_hop_rows(graph: CSR) -> CSR:
    """``[2 N, N]``: the neighbours of each node, then the nodes that two steps reach, itself too.

    Computed once per graph.
    """
    return graph._once("two_hop_rows", lambda: _two_hop_rows(graph))


def _two_hop_rows(graph: CSR) -> CSR:
    num_nodes = graph.shape[0]
    one = graph.to_torch(torch.float32)
    two = (one @ one).to_sparse_coo().coalesce().indices()
    row = torch.cat([graph.row, two[0] + num_nodes])
    col = torch.cat([graph.col.long(), two[1]])
    return CSR.from_coo(row, col, shape=(2 * num_nodes, num_nodes))
