"""A graph as link prediction sees it: undirected, simple, unweighted."""

import torch
from torch import Tensor

from graphseq.graph.adjacency import Adjacency, as_adjacency
from graphseq.graph.csr import CSR
from graphseq.graph.ops.membership import locate
from graphseq.graph.ops.pairs import check_graph
from graphseq.graph.ops.simple_graph import simple_graph


def undirected(graph: Tensor | Adjacency, num_nodes: int | None = None) -> CSR:
    """Adds missing directions, and drops repeated edges and self loops.

    A prepared :class:`~graphseq.graph.adjacency.Adjacency` that is such a graph already is taken as
    it is; another one keeps the answer for the next call. An ``edge_index`` is sorted every time.

    Args:
        graph: PyG's ``edge_index [2, E]`` or an adjacency.
        num_nodes: N; None means that of the adjacency, or the largest index plus one.

    Returns:
        A symmetric matrix ``[N, N]`` without values.

    Raises:
        TypeError: if it is neither, or indices are no integers.
        ValueError: if a node is outside ``0..N - 1``, or the edges have weights.
    """
    csr = as_adjacency(graph, num_nodes).csr
    if csr.value is not None:
        raise ValueError(
            "undirected: the graph has edge weights, which neighbour sets have no use for; "
            "pass it without weights"
        )
    return csr._once("undirected", lambda: None if _is_simple(csr) else _simplified(csr)) or csr


def _is_simple(csr: CSR) -> bool:
    try:
        check_graph("undirected", csr)
    except ValueError:
        return False
    nodes = torch.arange(csr.shape[0], device=csr.device)
    loops = locate(csr, torch.stack([nodes, nodes])) >= 0
    return not bool(loops.any()) and csr.transpose() is csr


def _simplified(csr: CSR) -> CSR:
    return simple_graph(csr.row, csr.col.long(), csr.shape[0])[0]
