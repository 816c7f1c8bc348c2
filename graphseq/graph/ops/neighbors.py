"""Common and one-sided neighbours of pairs of nodes, as lists: a sparse row for each pair."""

from typing import Any

import torch
from torch import Tensor

from graphseq.graph.csr import CSR
from graphseq.graph.ops.intersection import Lists, intersect
from graphseq.graph.ops.membership import locate
from graphseq.graph.ops.pairs import check_graph, check_pairs, degrees, expand
from graphseq.graph.ops.spmm import Backend, use_numba
from graphseq.kernels import array, kernel, prange


def common_neighbors(graph: CSR, pairs: Tensor, *, backend: Backend = "auto") -> CSR:
    """Row ``b`` holds the columns that rows ``i_b`` and ``j_b`` of the graph share.

    Args:
        graph: sparse ``[N, N]``, no entry twice; row ``i`` is the set N(i), values are ignored.
        pairs: integer ``[2, B]``; a pair may repeat, its ends may be equal.
        backend: "numba" or "torch"; "auto" takes numba on the CPU outside ``torch.compile``.

    Returns:
        Sparse ``[B, N]`` without values, ``edge_id`` in stored order.

    Raises:
        TypeError: if ``pairs`` are not integers.
        ValueError: on a wrong shape or device, a node outside the graph, or repeated entries.
    """
    check_graph("common_neighbors", graph)
    pairs = check_pairs("common_neighbors", graph, pairs)
    if use_numba(backend, pairs):
        return _joined(graph, pairs)
    degree = degrees(graph, pairs)
    swap = degree[0] > degree[1]
    shorter, longer = torch.where(swap, pairs.flip(0), pairs)
    owner, position = expand(graph, shorter)
    col = graph.col[position]
    shared = locate(graph, torch.stack([longer[owner], col.long()]), "torch") >= 0
    counts = torch.bincount(owner[shared], minlength=pairs.size(1))
    return _matrix(_pointers(counts), col[shared], graph)


def one_sided_neighbors(
    graph: CSR, pairs: Tensor, *, backend: Backend = "auto"
) -> tuple[CSR, CSR, CSR]:
    """Splits the neighbours of each pair into the shared ones and those of one end only.

    Args:
        graph: sparse ``[N, N]``, no entry twice; row ``i`` is the set N(i), values are ignored.
        pairs: integer ``[2, B]``.
        backend: "numba" or "torch"; "auto" takes numba on the CPU outside ``torch.compile``.

    Returns:
        Three sparse ``[B, N]`` without values: N(i) & N(j), N(i) - N(j), N(j) - N(i).

    Raises:
        TypeError: if ``pairs`` are not integers.
        ValueError: on a wrong shape or device, a node outside the graph, or repeated entries.
    """
    check_graph("one_sided_neighbors", graph)
    pairs = check_pairs("one_sided_neighbors", graph, pairs)
    common = common_neighbors(graph, pairs, backend=backend)
    left, right = (_without(graph, nodes.contiguous(), common, backend) for nodes in pairs)
    return common, left, right


def _without(graph: CSR, nodes: Tensor, common: CSR, backend: Backend) -> CSR:
    """Row ``b`` is row ``nodes[b]`` of the graph less row ``b`` of ``common``, a part of it."""
    rowptr = _pointers(degrees(graph, nodes) - common.rowptr.diff())
    if not use_numba(backend, nodes):
        owner, position = expand(graph, nodes)
        col = graph.col[position]
        rest = locate(common, torch.stack([owner, col.long()]), "torch") < 0
        return _matrix(rowptr, col[rest], graph)
    col = torch.empty(int(rowptr[-1]), dtype=torch.int32)
    _subtract(
        array(graph.rowptr), array(graph.col), array(nodes), array(common.rowptr),
        array(common.col), array(rowptr), col.numpy(), work=2 * col.numel(),
    )  # fmt: skip
    return _matrix(rowptr, col, graph)


def _joined(graph: CSR, pairs: Tensor) -> CSR:
    """The lists of all blocks, without their gaps and in the order of the pairs."""
    blocks = [_tight(lists) for lists in intersect(graph, pairs)]
    counts = torch.zeros(pairs.size(1), dtype=torch.int64)
    for lists in blocks:
        counts[lists.pair] = lists.length
    rowptr = _pointers(counts)
    col = torch.empty(int(rowptr[-1]), dtype=torch.int32)
    for lists in blocks:
        _copy(lists, rowptr[lists.pair], col)
    return _matrix(rowptr, col, graph)


def _tight(lists: Lists) -> Lists:
    start = lists.length.cumsum(0) - lists.length
    col = torch.empty(int(lists.length.sum()), dtype=torch.int32)
    _copy(lists, start, col)
    return lists._replace(start=start, col=col)


def _copy(lists: Lists, start: Tensor, col: Tensor) -> None:
    """Each list to where it starts in another array."""
    source = array(lists.start), array(lists.length), array(lists.col)
    _copy_lists(*source, array(start), col.numpy(), work=col.numel())


def _pointers(counts: Tensor) -> Tensor:
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def _matrix(rowptr: Tensor, col: Tensor, graph: CSR) -> CSR:
    edge_id = torch.arange(col.numel(), device=col.device)
    return CSR._trusted(rowptr, col, None, (rowptr.numel() - 1, graph.shape[1]), edge_id)


@kernel(parallel=True)
def _copy_lists(start: Any, count: Any, col: Any, target: Any, out: Any) -> None:
    for k in prange(start.shape[0]):
        source, place = col[start[k] :], out[target[k] :]
        for e in range(count[k]):
            place[e] = source[e]


@kernel(parallel=True)
def _subtract(
    rowptr: Any, col: Any, nodes: Any, common_ptr: Any, common: Any, out_ptr: Any, out: Any
) -> None:
    """What is left of each row; a row and its part of ``common`` both ascend."""
    for b in prange(nodes.shape[0]):
        at, known, end = out_ptr[b], common_ptr[b], common_ptr[b + 1]
        for e in range(rowptr[nodes[b]], rowptr[nodes[b] + 1]):
            if known < end and col[e] == common[known]:
                known += 1
            else:
                out[at] = col[e]
                at += 1
