"""Scores of pairs without anything to learn.

CommonNeighbors       |N(i) & N(j)|
AdamicAdar            sum over common neighbours u of 1 / log(degree of u)      (2003)
ResourceAllocation    sum over common neighbours u of 1 / degree of u           (2009)
Katz                  sum over lengths l = 1, 2, ... of beta^l (A^l)_ij         (1953)
PersonalizedPageRank  p_i(j) + p_j(i),  p_i = alpha sum_k (1 - alpha)^k (e_i D^-1 A^k)
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from graphseq.graph.adjacency import Adjacency
from graphseq.graph.csr import CSR
from graphseq.graph.ops import count_common
from graphseq.graph.ops.pairs import check_pairs
from graphseq.graph.ops.undirected import undirected

CHUNK = 1 << 20  # pairs scored at a time
MAX_NODES = 10_000  # of dense matrices: 0.8 GB each, of which four exist at a time


class CommonNeighbors(nn.Module):
    """The number of common neighbours.

    Shape:
        - x: ignored, or None; graph: ``edge_index [2, E]`` or an
          :class:`~graphseq.graph.adjacency.Adjacency`
        - edge_label_index: ``[2, B]`` -> ``[B]``, float32
    """

    def __init__(self) -> None:
        super().__init__()

    def forward(
        self, x: Tensor | CSR | None, graph: Tensor | Adjacency, edge_label_index: Tensor
    ) -> Tensor:
        csr = _prepared(x, graph)
        pairs = check_pairs(type(self).__name__, csr, edge_label_index, "edge_label_index")
        weight = self.weight(csr)
        parts = [count_common(csr, some, weight).float() for some in pairs.split(CHUNK, dim=1)]
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    def weight(self, graph: CSR) -> Tensor | None:
        """What each node counts, ``[N]``; None means 1."""
        return None


class AdamicAdar(CommonNeighbors):
    """Common neighbours weighted by 1 / log degree.

    A node of degree 1 is nobody's common neighbour, except of its own neighbour's self pair, where
    it counts 0.

    Shape:
        as :class:`CommonNeighbors`
    """

    def weight(self, graph: CSR) -> Tensor:
        degree = graph.rowptr.diff()
        return torch.where(degree > 1, 1.0 / degree.clamp(min=2).double().log(), 0.0)


class ResourceAllocation(CommonNeighbors):
    """Common neighbours weighted by 1 / degree.

    Shape:
        as :class:`CommonNeighbors`
    """

    def weight(self, graph: CSR) -> Tensor:
        return 1.0 / graph.rowptr.diff().clamp(min=1).double()


class _AllPairs(nn.Module, ABC):
    """Scores of all pairs of nodes, computed once for each graph; pairs are looked up in them.

    The graph keeps the scores of the last setting.
    """

    @property
    @abstractmethod
    def setting(self) -> float:
        """What the scores depend on besides the graph."""

    @abstractmethod
    def scores(self, csr: CSR) -> Tensor:
        """The score of each pair, ``[N, N]``, float64."""

    def forward(
        self, x: Tensor | CSR | None, graph: Tensor | Adjacency, edge_label_index: Tensor
    ) -> Tensor:
        csr, name = _prepared(x, graph), type(self).__name__
        i, j = check_pairs(name, csr, edge_label_index, "edge_label_index")
        key = (name, self.setting)
        for other in [
            k for k in csr._derived if isinstance(k, tuple) and k[0] == name and k != key
        ]:
            del csr._derived[other]
        return csr._once(key, lambda: self.scores(csr))[i, j].float()  # [B]


class Katz(_AllPairs):
    """The number of walks of all lengths, longer ones counting less; for small graphs.

    Args:
        beta: factor per step, below 1 / (largest eigenvalue of the adjacency).

    Shape:
        as :class:`CommonNeighbors`
    """

    def __init__(self, beta: float = 0.005) -> None:
        super().__init__()
        if not beta > 0.0:
            raise ValueError(f"Katz: beta is {beta}; pass a positive factor per step")
        self.beta = beta

    @property
    def setting(self) -> float:
        """The factor per step."""
        return self.beta

    def scores(self, csr: CSR) -> Tensor:
        """``(1 - beta A)^-1 - 1``, which is symmetric."""
        matrix = _dense(csr, "Katz").mul_(-self.beta)
        matrix.diagonal().add_(1.0)
        root, info = torch.linalg.cholesky_ex(matrix)
        if int(info) != 0:  # not positive definite: an eigenvalue of beta A is 1 or more
            largest = float(torch.linalg.eigvalsh(_dense(csr, "Katz"))[-1])
            raise ValueError(
                f"Katz: beta is {self.beta}, but walks in this graph grow by {largest:.4g} a step; "
                f"pass less than {1.0 / largest:.4g}"
            )
        walks = torch.cholesky_inverse(root)
        walks.diagonal().sub_(1.0)
        return walks


class PersonalizedPageRank(_AllPairs):
    """How often random walks with restart from either end are at the other; for small graphs.

    Args:
        alpha: probability in (0, 1] of a restart at each step.

    Shape:
        as :class:`CommonNeighbors`
    """

    def __init__(self, alpha: float = 0.15) -> None:
        super().__init__()
        if not 0.0 < alpha <= 1.0:
            raise ValueError(f"PersonalizedPageRank: alpha is {alpha}; pass a number in (0, 1]")
        self.alpha = alpha

    @property
    def setting(self) -> float:
        """The probability of a restart."""
        return self.alpha

    def scores(self, csr: CSR) -> Tensor:
        """``p + p^T`` with ``p = alpha (1 - (1 - alpha) D^-1 A)^-1``."""
        walk = _dense(csr, "PersonalizedPageRank")
        degree = walk.sum(1)
        walk /= degree.clamp(min=1.0).unsqueeze(1)
        walk.diagonal().add_(degree == 0)  # nowhere to go: it stays
        walk *= self.alpha - 1.0
        walk.diagonal().add_(1.0)
        p = torch.linalg.inv(walk).mul_(self.alpha)
        return p + p.t()


def _prepared(x: Tensor | CSR | None, graph: Tensor | Adjacency) -> CSR:
    return undirected(graph, None if x is None else x.shape[0])


def _dense(csr: CSR, name: str) -> Tensor:
    if csr.shape[0] > MAX_NODES:
        raise ValueError(
            f"{name}: the graph has {csr.shape[0]} nodes, and dense matrices end at {MAX_NODES}; "
            "use CommonNeighbors, AdamicAdar or ResourceAllocation"
        )
    dense = torch.zeros(csr.shape, dtype=torch.float64, device=csr.device)
    dense[csr.row, csr.col.long()] = 1.0
    return dense
