"""Adjacency: a graph prepared once, so that no training step sorts or normalises anything.

Rows are targets: row ``i`` of the matrix lists the sources ``j`` of the edges ``j -> i``, so that
``A @ x`` gathers each node's incoming messages, as PyG does with ``edge_index = [source, target]``.
"""

from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch_geometric import EdgeIndex

from graphseq.graph.checks import check_index, check_value
from graphseq.graph.csr import CSR


class Adjacency:
    """A directed graph with optional edge weights; undirected graphs store both directions.

    Args:
        csr: square matrix with one entry per edge, rows are targets.

    Raises:
        ValueError: if the matrix is not square.
    """

    def __init__(self, csr: CSR) -> None:
        if csr.shape[0] != csr.shape[1]:
            raise ValueError(
                f"Adjacency: csr has shape {csr.shape}, not square; a graph needs as many rows as "
                "columns"
            )
        self.csr = csr
        self._normalized: dict[tuple[str, bool, torch.dtype], CSR] = {}

    @classmethod
    def from_edge_index(
        cls,
        edge_index: Tensor,
        num_nodes: int | None = None,
        edge_weight: Tensor | None = None,
    ) -> "Adjacency":
        """Sorts PyG's edge list. Repeated edges and self loops are kept.

        Args:
            edge_index: integer ``[2, E]``, row 0 the sources and row 1 the targets.
            num_nodes: number of nodes; None means the largest index plus one.
            edge_weight: floating ``[E]``, or None for ones.

        Raises:
            ValueError: if a shape is wrong, an index outside ``0..num_nodes - 1`` or a weight NaN.
            TypeError: if the indices are not integers or the weights not floating.
        """
        where = "Adjacency.from_edge_index"
        if isinstance(edge_index, EdgeIndex):  # a subclass whose every operation costs more
            edge_index = edge_index.as_tensor()
        if edge_index.dim() != 2 or edge_index.size(0) != 2:
            raise ValueError(
                f"{where}: edge_index has shape {tuple(edge_index.shape)}, expected [2, E]; "
                "row 0 holds the sources, row 1 the targets"
            )
        if num_nodes is None:
            num_nodes = int(edge_index.max()) + 1 if edge_index.numel() else 0
        for name, index in zip(("edge_index[0]", "edge_index[1]"), edge_index, strict=True):
            check_index(where, name, index, num_nodes)
        if edge_weight is not None and edge_weight.dim() == 2 and edge_weight.size(1) == 1:
            edge_weight = edge_weight.squeeze(1)
        source, target = edge_index
        check_value(where, "edge_weight", edge_weight, source)
        return cls(CSR.from_coo(target, source, edge_weight, shape=(num_nodes, num_nodes)))

    @property
    def num_nodes(self) -> int:
        """N."""
        return self.csr.shape[0]

    @property
    def num_edges(self) -> int:
        """Stored (directed) edges E, repeated ones counted each time."""
        return self.csr.nnz

    @property
    def device(self) -> torch.device:
        """Where the graph lives."""
        return self.csr.device

    @cached_property
    def degree(self) -> Tensor:
        """Number of incoming edges of each node, int64 ``[N]``."""
        return self.csr.rowptr.diff()

    @cached_property
    def edge_index(self) -> Tensor:
        """PyG's ``[2, E]`` (sources, targets), sorted by target, then source."""
        return torch.stack([self.csr.col.long(), self.csr.row])

    @property
    def is_symmetric(self) -> bool:
        """Whether every edge has its reverse with the same weight."""
        return self.csr.transpose() is self.csr

    def normalized(
        self, kind: str = "sym", self_loops: bool = True, dtype: torch.dtype = torch.float32
    ) -> CSR:
        """The propagation matrix of graph convolutions, computed once per set of arguments.

        With A~ = A, plus a self loop of weight 1 where a node has none, and D~ its row sums::

            sym:  D~^{-1/2} A~ D~^{-1/2}        row:  D~^{-1} A~

        The inverse of an isolated node's degree (0) is 0. The sums are taken in float64, so that
        the result is the rounded exact matrix, and ``sym`` keeps a symmetric graph symmetric.

        Args:
            kind: "sym" (Kipf and Welling, 2017) or "row" (a random walk's).
            self_loops: whether missing self loops are added; existing ones keep their weight.
            dtype: of the values.

        Raises:
            ValueError: on an unknown kind or a negative degree.
        """
        if kind not in ("sym", "row"):
            raise ValueError(f'Adjacency.normalized: kind is {kind!r}; use "sym" or "row"')
        key = (kind, self_loops, dtype)
        if key not in self._normalized:
            with torch.inference_mode(False):  # what an evaluation computes, training may reuse
                matrix = self._with_self_loops() if self_loops else self.csr
                self._normalized[key] = _normalize(matrix, kind, dtype)
        return self._normalized[key]

    def _with_self_loops(self) -> CSR:
        """A~: the added loops get the edge ids E, E + 1, ... in the order of their nodes."""
        csr, nodes = self.csr, torch.arange(self.num_nodes, device=self.device)
        has_loop = torch.zeros(self.num_nodes, dtype=torch.bool, device=self.device)
        has_loop[csr.row[csr.row == csr.col]] = True
        missing = nodes[~has_loop]
        row, col = torch.cat([csr.row, missing]), torch.cat([csr.col.long(), missing])
        value = csr.value
        if value is not None:
            value = torch.cat([value, value.new_ones(missing.numel())])
        joined = CSR.from_coo(row, col, value, shape=csr.shape)
        added = torch.arange(csr.nnz, csr.nnz + missing.numel(), device=self.device)
        edge_id = torch.cat([csr.edge_id, added])[joined.edge_id]
        return CSR._trusted(joined.rowptr, joined.col, joined.value, joined.shape, edge_id)

    def to(self, device: torch.device | str) -> "Adjacency":
        """The graph on another device."""
        csr = self.csr.to(device)
        return self if csr is self.csr else Adjacency(csr)

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles carry the graph, not what was computed from it."""
        return {"csr": self.csr}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.csr = state["csr"]
        self._normalized = {}

    def __repr__(self) -> str:
        weighted = "" if self.csr.value is None else ", weighted"
        return (
            f"Adjacency(num_nodes={self.num_nodes}, num_edges={self.num_edges}{weighted}, "
            f"device={self.device})"
        )


def as_adjacency(graph: Tensor | Adjacency, num_nodes: int | None = None) -> Adjacency:
    """Accepts a graph as models do: a PyG ``edge_index`` or a prepared :class:`Adjacency`.

    A plain ``edge_index`` is sorted on every call; prepare it once where speed matters.

    Raises:
        ValueError: if an index is outside the nodes, or the adjacency has another number of nodes.
        TypeError: if it is neither.
    """
    if isinstance(graph, Adjacency):
        if num_nodes is not None and graph.num_nodes != num_nodes:
            raise ValueError(
                f"as_adjacency: the graph has {graph.num_nodes} nodes, x has {num_nodes} rows; "
                "pass the graph that x belongs to"
            )
        return graph
    if not isinstance(graph, Tensor):
        raise TypeError(
            f"as_adjacency: graph is a {type(graph).__name__}; pass edge_index [2, E] or an "
            "Adjacency"
        )
    return Adjacency.from_edge_index(graph, num_nodes)


def _normalize(matrix: CSR, kind: str, dtype: torch.dtype) -> CSR:
    """Scales the entries of A~ by its row sums."""
    row, col = matrix.row, matrix.col.long()
    weight = matrix.values(torch.float64)
    degree = torch.zeros(matrix.shape[0], dtype=torch.float64, device=matrix.device)
    degree.index_add_(0, row, weight)
    if bool((degree < 0).any()):
        node = int((degree < 0).nonzero()[0])
        raise ValueError(
            f"Adjacency.normalized: node {node} has the negative degree {float(degree[node]):g}; "
            "edge weights of a node must not sum to less than 0"
        )
    inverse = degree.pow(-0.5 if kind == "sym" else -1.0)
    inverse[degree == 0] = 0.0
    # The product of the two factors first: it is the same number for (i, j) and (j, i).
    scale = inverse[row] * inverse[col] if kind == "sym" else inverse[row]
    value = (scale * weight).to(dtype)
    return CSR._trusted(matrix.rowptr, matrix.col, value, matrix.shape, matrix.edge_id)
