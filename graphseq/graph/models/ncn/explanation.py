"""Why a pair has its score: each pooled neighbour and what the logit would be without it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from graphseq.graph.csr import CSR
from graphseq.graph.models.ncn.predictor import PairPredictor


@dataclass(frozen=True)
class PooledNeighbor:
    """One node that was summed up for a pair.

    Args:
        node: its number.
        kind: "common"; "left completed" and "right completed" for a neighbour of the first or the
            second node only; "left only", "right only", "two hop" in NCN-diff's and NCN2's pool.
        probability: its weight in the sum: 1, or for a completed one the calibrated probability of
            the link that is missing (which alpha above 1 lets exceed 1).
        contribution: the logit less the logit without this neighbour.
    """

    node: int
    kind: str
    probability: float
    contribution: float


@dataclass(frozen=True)
class Explanation:
    """The logit of a pair and its neighbours, those that speak most for the link first."""

    logit: float
    neighbors: tuple[PooledNeighbor, ...]

    def __str__(self) -> str:
        head = f"logit {self.logit:.3f}\n" + f"{'node':>8}  {'kind':<15} {'P':>6} {'part':>8}"
        rows = [
            f"{n.node:>8}  {n.kind:<15} {n.probability:>6.3f} {n.contribution:>+8.3f}"
            for n in self.neighbors
        ]
        return "\n".join([head, *rows])


def explain_pair(
    predictor: PairPredictor, x: Tensor, graph: CSR, pair: Tensor, depth: int
) -> Explanation:
    """Leaves out one pooled neighbour at a time; all these variants are one batch of the head."""
    head = predictor.head
    z = x[pair[0]] * x[pair[1]]  # [1, H]
    lifted = predictor.lift(x)
    with predictor.unsampled():
        lists = predictor.neighbors(x, lifted, graph, pair, depth)
    labels: list[tuple[int, str, float]] = []
    removed = []  # for each pool [K_p, H]
    for pool, parts in zip(head.pool_mlps, lists, strict=True):
        terms = []
        for part in parts:
            nodes = part.matrix.col.long()
            weight = x.new_ones(len(nodes)) if part.weight is None else part.weight.to(x.dtype)
            terms.append(weight.unsqueeze(1) * predictor.summands(pool, lifted, nodes))
            labels += [
                (n, part.kind, w) for n, w in zip(nodes.tolist(), weight.tolist(), strict=True)
            ]
        removed.append(torch.cat(terms))
    pooled, first = [], 1
    for rows in removed:
        variants = rows.sum(0).repeat(1 + len(labels), 1)  # row 0 leaves out nothing
        variants[first : first + len(rows)] -= rows
        pooled.append(variants)
        first += len(rows)
    logits = head(z.expand(1 + len(labels), -1), pooled)
    contributions = (logits[0] - logits[1:]).tolist()
    neighbors = [
        PooledNeighbor(*label, contribution)
        for label, contribution in zip(labels, contributions, strict=True)
    ]
    neighbors.sort(key=lambda neighbor: -neighbor.contribution)
    return Explanation(float(logits[0]), tuple(neighbors))
