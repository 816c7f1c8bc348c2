"""Which token may come next, for answers that must have a form.

Tokens are 0, which ends an answer, and the points 1..n. An answer must be

* ``"tour"``: ``1 a b .. 1 0``, each point once, beginning with point 1 and closed by it;
* ``"hull"``: ``s a b .. s 0``, distinct points, three at least (all, where there are fewer), closed
  by the first of them;
* ``"delaunay"``: ``a b c d e f .. 0``, groups of three in increasing order, one group at least.

Answers that stop early only because the steps were used up are not completed.
"""

from dataclasses import dataclass
from typing import Literal, cast, get_args

import torch
from torch import Tensor

Constraint = Literal["hull", "delaunay", "tour"]


@dataclass
class Progress:
    """What the constraints need to know of answers that are under way.

    Args:
        counts: number of points, ``[B, 1]``.
        visited: tokens that were given, ``[B, K, N + 1]``.
        first: the first token, ``[B, K]``; 0 before there is one.
        last: the token before, ``[B, K]``; 0 before there is one.
        done: whether the answer has ended, ``[B, K]``.
        step: number of tokens so far.
    """

    counts: Tensor
    visited: Tensor
    first: Tensor
    last: Tensor
    done: Tensor
    step: int = 0

    @classmethod
    def start(cls, counts: Tensor, beams: int, tokens: int) -> "Progress":
        """Nothing yet, of ``[B]`` instances with K beams and N + 1 tokens."""
        zeros = counts.new_zeros(len(counts), beams)
        visited = torch.zeros(*zeros.shape, tokens, dtype=torch.bool, device=counts.device)
        return cls(counts[:, None], visited, zeros, zeros, zeros.bool())

    def select(self, parent: Tensor) -> "Progress":
        """The answers ``parent [B, K]`` of each instance."""
        rows = parent[..., None].expand(-1, -1, self.visited.shape[-1])
        first, last, done = (x.gather(1, parent) for x in (self.first, self.last, self.done))
        return Progress(self.counts, self.visited.gather(1, rows), first, last, done, self.step)

    def extend(self, token: Tensor) -> "Progress":
        """With one token ``[B, K]`` more each."""
        visited = self.visited.scatter(2, token[..., None], True)
        first = token if self.step == 0 else self.first
        return Progress(self.counts, visited, first, token, self.done | (token == 0), self.step + 1)


def check_constraint(where: str, constraint: str | None) -> Constraint | None:
    """Refuses a name that is none.

    Args:
        where: name of the caller, for the error.
        constraint: what was passed.

    Raises:
        ValueError: it is unknown.
    """
    if constraint is not None and constraint not in get_args(Constraint):
        raise ValueError(
            f"{where}: constraint is {constraint!r}; pass None, hull, delaunay or tour"
        )
    return cast("Constraint | None", constraint)


def longest(constraint: Constraint | None, num_points: int) -> int:
    """The number of tokens that every answer has room in, the end included.

    Without a constraint there is no such number; that of a closed tour is given.
    """
    if constraint == "delaunay":  # at most 2 n - 5 triangles
        return 3 * max(2 * num_points - 5, 0) + 1
    return num_points + 2


def allowed(constraint: Constraint | None, progress: Progress) -> Tensor:
    """Where an answer may go on, boolean ``[B, K, N + 1]``; one that has ended gives only 0.

    Args:
        constraint: the form; None for any order of any points.
        progress: the answers so far.
    """
    token = torch.arange(progress.visited.shape[-1], device=progress.counts.device)
    points = (token > 0) & (token <= progress.counts[..., None])  # [B, 1, N + 1]
    if constraint is None:
        now = (points | (token == 0)).expand_as(progress.visited)
    elif constraint == "delaunay":
        now = _group(progress, token, points)
    else:
        now = _cycle(progress, token, points, constraint == "tour")
    return torch.where(progress.done[..., None], token == 0, now)


def _cycle(progress: Progress, token: Tensor, points: Tensor, tour: bool) -> Tensor:
    """Distinct points, closed by the first, after all points (tour) or three of them (hull)."""
    if progress.step == 0:
        now = points & (token == 1) if tour else points
        return now.expand_as(progress.visited)
    first = token == progress.first[..., None]  # [B, K, N + 1]
    closed = (progress.last == progress.first) & (progress.step > 1)
    least = progress.counts if tour else progress.counts.clamp(max=3)
    closable = (progress.step >= least)[..., None]  # [B, 1, 1]
    now = (points & ~progress.visited) | (first & closable)
    return torch.where(closed[..., None], token == 0, now)


def _group(progress: Progress, token: Tensor, points: Tensor) -> Tensor:
    """Increasing in each group of three, with room for the rest of the group."""
    place = progress.step % 3
    now = points & (token <= progress.counts[..., None] - 2 + place)
    if place:
        return now & (token > progress.last[..., None])
    may_end = (progress.counts < 3) | (progress.step > 0)  # [B, 1]
    return (now | ((token == 0) & may_end[..., None])).expand_as(progress.visited)
