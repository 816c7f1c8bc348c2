"""NCNC's predictor: neighbours of one end count, too, as far as the missing link is probable."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphseq.graph.csr import CSR
from graphseq.graph.models.ncn.neighbor_predictor import NeighborPredictor
from graphseq.graph.models.ncn.predictor import CHUNK, Neighbors
from graphseq.graph.nn.pair_head import PairHead
from graphseq.graph.nn.pair_mlps import NodeMLP
from graphseq.graph.ops import one_sided_neighbors, sample_rows
from graphseq.graph.ops.pair_product import pair_product
from graphseq.graph.ops.pairs import degrees

_INNER = 1 << 22  # inner pairs that one chunk of scored pairs may lead to


class CompletionPredictor(NeighborPredictor):
    """Soft common neighbours, whose missing links this very predictor judges.

    The inner scores have no gradient, but dropout while training. They start from the lifted states
    ``x'``, so that phi_x acts once more at every level.

    Args:
        head: the networks on pairs, with one pool.
        node: phi_x or None.
        edge_dropout: see :class:`~graphseq.graph.models.ncn.predictor.PairPredictor`; the graph is
            thinned again at every level.
        alpha: factor of the probability.
        scale: slope of the calibration.
        offset: logit that the calibration takes for even odds.
        prior: factor of the odds.
        learn_prior: compute that factor for each pair from the product of its states instead.
        train_samples: completed neighbours drawn per end while training; None takes all.
        eval_samples: the same in evaluation.
        chunk_size: inner pairs scored at a time.
    """

    def __init__(
        self,
        head: PairHead,
        node: NodeMLP | None = None,
        edge_dropout: float = 0.0,
        *,
        alpha: float = 1.0,
        scale: float = 1.0,
        offset: float = 0.0,
        prior: float = 1.0,
        learn_prior: bool = False,
        train_samples: int | None = None,
        eval_samples: int | None = None,
        chunk_size: int = CHUNK,
    ) -> None:
        super().__init__(head, node, edge_dropout)
        self.alpha = alpha
        self.scale = scale
        self.offset = offset
        self.odds = prior
        self.learn_prior = learn_prior
        self.train_samples = train_samples
        self.eval_samples = eval_samples
        self.chunk_size = chunk_size
        channels = head.channels
        self.prior = nn.Sequential(nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, 1))

    @property
    def log_prior(self) -> float:
        """Logarithm of the factor of the odds."""
        return math.log(self.odds) if self.odds > 0.0 else -math.inf

    def portions(self, graph: CSR, pairs: Tensor, depth: int, chunk: int) -> int | list[int]:
        """Not more inner pairs at a time than memory should hold, however uneven the degrees."""
        if depth == 0:
            return chunk
        inner = degrees(graph, pairs).sum(0).cumsum(0)  # [B]
        sizes, begin = [], 0
        while begin < len(inner):
            limit = _INNER + (int(inner[begin - 1]) if begin > 0 else 0)
            end = int(torch.searchsorted(inner, limit, right=True))
            end = min(max(end, begin + 1), begin + chunk, len(inner))
            sizes.append(end - begin)
            begin = end
        return sizes or chunk

    @contextmanager
    def unsampled(self) -> Iterator[None]:
        samples = self.train_samples, self.eval_samples
        self.train_samples = self.eval_samples = None
        try:
            yield
        finally:
            self.train_samples, self.eval_samples = samples

    def neighbors(
        self, x: Tensor, lifted: Tensor, graph: CSR, pairs: Tensor, depth: int
    ) -> list[list[Neighbors]]:
        if depth == 0:
            return super().neighbors(x, lifted, graph, pairs, depth)
        common, *sides = one_sided_neighbors(graph, pairs)
        sides = [self._sample(side) for side in sides]
        # A neighbour of the left end lacks its link to the right end, and the other way round.
        inner = [
            torch.stack([end[side.row], side.col.long()])
            for end, side in zip(pairs.flip(0), sides, strict=True)
        ]
        logits = self.inner_logits(lifted, graph, torch.cat(inner, dim=1), depth - 1)
        log_prior = self._log_prior(x, pairs)
        kinds = ("left completed", "right completed")
        completed = [
            Neighbors(kind, side, self._weight(r, side, log_prior))
            for kind, side, r in zip(
                kinds, sides, logits.split([s.nnz for s in sides]), strict=True
            )
        ]
        return [[Neighbors("common", common), *completed]]

    @torch.no_grad()
    def inner_logits(self, lifted: Tensor, graph: CSR, pairs: Tensor, depth: int) -> Tensor:
        """Logits of the missing links, constants for the outer level."""
        kind = lifted.device.type
        # A cache would hand weights that were cast without gradients to the outer level.
        with torch.autocast(
            kind,
            torch.get_autocast_dtype(kind),
            torch.is_autocast_enabled(kind),
            cache_enabled=False,
        ):
            return self.score(lifted.detach(), self.drop(graph), pairs, depth, self.chunk_size)

    def probability(self, logits: Tensor, log_prior: Tensor | float) -> Tensor:
        """``alpha pi q / (pi q + 1 - q)`` with ``q = sigmoid(scale (logits - offset))``."""
        return self.alpha * torch.sigmoid(self.scale * (logits - self.offset) + log_prior)

    def _sample(self, side: CSR) -> CSR:
        samples = self.train_samples if self.training else self.eval_samples
        if samples is None:
            return side
        fixed = None if self.training else torch.Generator(side.device).manual_seed(0)
        return sample_rows(side, samples, fixed)

    def _log_prior(self, x: Tensor, pairs: Tensor) -> Tensor | None:
        """The logarithm of pi for each pair, where it is learned, ``[B]``."""
        if not self.learn_prior:
            return None
        return F.logsigmoid(self.prior(pair_product(x, pairs)).squeeze(1).to(x.dtype))

    def _weight(self, logits: Tensor, side: CSR, log_prior: Tensor | None) -> Tensor:
        prior = self.log_prior if log_prior is None else log_prior[side.row]
        weight = self.probability(logits, prior)
        return weight if side.value is None else weight * side.value.to(weight.dtype)
