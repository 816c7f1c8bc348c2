"""Target-link removal: the graph of all training links but those of one batch, without a sort.

The graph of all links is sorted once. A batch's links are found in it by binary search, and the
stretches between their entries are copied: the result is the adjacency that would come from
building it anew.
"""

from typing import Any

import torch
from torch import Tensor

from graphseq.graph.adjacency import Adjacency
from graphseq.graph.checks import check_columns, check_index
from graphseq.graph.csr import CSR
from graphseq.graph.ops.membership import locate
from graphseq.graph.ops.simple_graph import simple_graph, symmetric
from graphseq.kernels import array, kernel, prange


class LinkRemoval:
    """Training links that can be taken out of their own graph, batch by batch.

    Args:
        train_edges: integer ``[2, E]``, each link in one direction; a link may be listed more than
            once, and self pairs are no edges of the graph.
        num_nodes: N.
        strict: a link that is listed several times disappears as soon as one of its listings is
            removed; by default only with the last.

    Attributes:
        adjacency: the graph of all links, symmetric, each once, without self loops.

    Raises:
        TypeError: if the links are not integers.
        ValueError: on a wrong shape or a node outside the graph.
    """

    def __init__(self, train_edges: Tensor, num_nodes: int, strict: bool = False) -> None:
        if train_edges.dim() != 2 or train_edges.size(0) != 2:
            raise ValueError(
                f"LinkRemoval: train_edges has shape {tuple(train_edges.shape)}, expected [2, E]; "
                "one column per link"
            )
        check_index("LinkRemoval", "train_edges", train_edges.reshape(-1), num_nodes)
        check_columns("LinkRemoval", num_nodes)
        self.train_edges = train_edges.long()
        self.strict = strict
        source, target = self.train_edges
        csr, self._copies = simple_graph(source, target, num_nodes)
        self.adjacency = Adjacency(csr)

    @property
    def num_repeated(self) -> int:
        """How many links are listed more than once, in one direction or in both."""
        return 0 if self._copies is None else int((self._copies > 1).sum()) // 2

    def without(self, index: Tensor) -> Adjacency:
        """The graph of the other training links.

        Args:
            index: integer ``[B]``, positions in ``train_edges``; a position may repeat.

        Returns:
            A symmetric adjacency of all nodes, equal to one built from the other links.

        Raises:
            TypeError: if ``index`` is not integers.
            ValueError: if a position is outside ``train_edges``.
        """
        check_index("LinkRemoval.without", "index", index, self.train_edges.size(1))
        links = self.train_edges[:, index.long().unique()]
        links = links[:, links[0] != links[1]]
        csr = self.adjacency.csr
        position = locate(csr, torch.cat([links, links.flip(0)], dim=1))
        position, removed = position.unique(return_counts=True)
        if not self.strict and self._copies is not None:
            position = position[removed >= self._copies[position]]
        rowptr, col = _compact(csr, position)
        # A part of the numbers 0, 1, ...: nothing to compute, nothing to store.
        return Adjacency(symmetric(rowptr, col, csr.edge_id[: col.numel()]))


def _compact(csr: CSR, removed: Tensor) -> tuple[Tensor, Tensor]:
    """rowptr and col less the entries at some positions, which ascend."""
    gone = torch.searchsorted(removed, csr.rowptr)
    if csr.device.type != "cpu":
        kept = torch.ones(csr.nnz, dtype=torch.bool, device=csr.device)
        kept[removed] = False
        return csr.rowptr - gone, csr.col[kept]
    col = torch.empty(csr.nnz - removed.numel(), dtype=torch.int32)
    _copy_between(array(removed), array(csr.col), col.numpy(), work=col.numel())
    return csr.rowptr - gone, col


@kernel(parallel=True)
def _copy_between(removed: Any, col: Any, out: Any) -> None:
    """Stretch ``s`` lies between the removed positions ``s - 1`` and ``s``, and moves by ``s``."""
    for s in prange(removed.shape[0] + 1):
        begin = removed[s - 1] + 1 if s > 0 else 0
        end = removed[s] if s < removed.shape[0] else col.shape[0]
        source, target = col[begin:end], out[begin - s :]
        for e in range(source.shape[0]):
            target[e] = source[e]
