"""One node against many candidates, as ranking metrics need it."""

import torch
from torch import Tensor

from graphseq.graph.csr import CSR
from graphseq.graph.ops.pairs import check_nodes
from graphseq.graph.ops.pooling import count_common, pool_common
from graphseq.graph.ops.spmm import Backend


def count_common_many(
    graph: CSR,
    source: Tensor,
    candidates: Tensor,
    weight: Tensor | None = None,
    *,
    backend: Backend = "auto",
) -> Tensor:
    """Number or total weight of the neighbours that a source shares with each candidate.

    Args:
        graph: sparse ``[N, N]``, no entry twice; row ``i`` is the set N(i), values are ignored.
        source: integer ``[S]``.
        candidates: integer ``[S, M]``.
        weight: floating ``[N]``, differentiable; None counts.
        backend: "numba" or "torch"; "auto" takes numba on the CPU outside ``torch.compile``.

    Returns:
        ``[S, M]``, int64 for counts, else in ``weight``'s dtype.

    Raises:
        TypeError: if ``weight`` is not floating or the nodes are not integers.
        ValueError: on a wrong shape or device, a node outside the graph, or repeated entries.
    """
    pairs = _pairs("count_common_many", graph, source, candidates)
    return count_common(graph, pairs, weight, backend=backend).view(candidates.shape)


def pool_common_many(
    graph: CSR, x: Tensor, source: Tensor, candidates: Tensor, *, backend: Backend = "auto"
) -> Tensor:
    """Sums of ``x`` over the neighbours that a source shares with each candidate.

    Args:
        graph: sparse ``[N, N]``, no entry twice; row ``i`` is the set N(i), values are ignored.
        x: floating ``[N, D]``, differentiable.
        source: integer ``[S]``.
        candidates: integer ``[S, M]``.
        backend: "numba" or "torch"; "auto" takes numba on the CPU outside ``torch.compile``.

    Returns:
        ``[S, M, D]`` in ``x``'s dtype.

    Raises:
        TypeError: if ``x`` is not floating or the nodes are not integers.
        ValueError: on a wrong shape or device, a node outside the graph, or repeated entries.
    """
    pairs = _pairs("pool_common_many", graph, source, candidates)
    return pool_common(graph, x, pairs, backend).view(*candidates.shape, x.size(1))


def _pairs(where: str, graph: CSR, source: Tensor, candidates: Tensor) -> Tensor:
    if source.dim() != 1 or candidates.dim() != 2 or candidates.size(0) != source.size(0):
        raise ValueError(
            f"{where}: source and candidates have shapes {tuple(source.shape)} and "
            f"{tuple(candidates.shape)}; pass source [S] and candidates [S, M]"
        )
    check_nodes(where, graph, "source", source)
    check_nodes(where, graph, "candidates", candidates)
    return torch.stack(
        [source.long().repeat_interleave(candidates.size(1)), candidates.long().reshape(-1)]
    )
