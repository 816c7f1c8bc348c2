"""The rows of a graph that somebody looks at: propagation matrices cut down to those rows, once."""

from typing import Literal

import torch
from torch import Tensor

from graphseq.graph.adjacency import Adjacency
from graphseq.graph.csr import CSR
from graphseq.graph.ops.slicing import select_columns, select_rows

Propagation = Literal["gcn", "mean", "loops", "self"]


class RowView:
    """A graph seen from some of its nodes.

    Args:
        adjacency: the graph of N nodes.
        rows: the nodes whose states are wanted, int64 ``[R]``; None means all, in order.

    The kinds of matrices, each ``[R, N]``:

    - "gcn": ``D^(-1/2) (A + I) D^(-1/2)``, of graph convolutions
    - "mean": ``D^(-1) A``, the mean over neighbours
    - "loops": the pattern of ``A + I``, over which attention runs
    - "self": the rows themselves
    """

    def __init__(self, adjacency: Adjacency, rows: Tensor | None = None) -> None:
        self.adjacency = adjacency
        self.rows = rows
        self._matrices: dict[tuple[Propagation, torch.dtype], CSR] = {}

    @property
    def num_rows(self) -> int:
        """R."""
        return self.adjacency.num_nodes if self.rows is None else self.rows.numel()

    def matrix(self, kind: Propagation, dtype: torch.dtype) -> CSR | None:
        """One of the matrices above; None is the identity."""
        if kind == "self":
            return None if self.rows is None else self._selection(dtype)
        if (kind, dtype) not in self._matrices:
            whole = (
                self.adjacency.normalized("row", self_loops=False, dtype=dtype)
                if kind == "mean"
                else self.adjacency.normalized("sym", dtype=dtype)
            )
            chosen = select_rows(whole, self.rows)
            assert isinstance(chosen, CSR)
            self._matrices[kind, dtype] = chosen
        return self._matrices[kind, dtype]

    def columns(self, kind: Propagation, dtype: torch.dtype, begin: int, end: int) -> CSR | None:
        """A matrix's part that meets the states of the nodes ``begin .. end - 1``."""
        matrix = self.matrix(kind, dtype)
        if matrix is None and (begin, end) != (0, self.adjacency.num_nodes):
            nodes = torch.arange(self.adjacency.num_nodes, device=self.adjacency.device)
            matrix = _selection(nodes, self.adjacency.num_nodes, dtype)
        return matrix if matrix is None else select_columns(matrix, begin, end)

    def _selection(self, dtype: torch.dtype) -> CSR:
        assert self.rows is not None
        return _selection(self.rows, self.adjacency.num_nodes, dtype)


def _selection(rows: Tensor, num_nodes: int, dtype: torch.dtype) -> CSR:
    """The matrix ``[R, N]`` with a 1 in the column of each row's node."""
    rowptr = torch.arange(rows.numel() + 1, device=rows.device)
    value = torch.ones(rows.numel(), dtype=dtype, device=rows.device)
    return CSR(rowptr, rows.int(), value, (rows.numel(), num_nodes))
