"""From a pair's product and its pooled neighbours to its logit, or straight to the loss.

    s = psi(phi_p(z) + beta phi_c(c) + phi_c'(c') ...)

Pairs go through in blocks that stay in the cache, wherever that changes nothing: in the loss, where
each block goes forward and backward at once, and without gradients. The tails of phi_p and phi_c
are folded into psi's first layer.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphseq.graph.nn.pair_mlps import PairMLP, PoolMLP, ScoreMLP, fold
from graphseq.graph.nn.pooled import Mostly, Pooled
from graphseq.graph.ops.blockwise import BLOCK, blockwise_sum


class _Joint(NamedTuple):
    """How the hidden states of phi_p and the phi_c enter psi: by own weights, or added up."""

    weights: tuple[Tensor, ...]
    bias: Tensor | None


class PairHead(nn.Module):
    """The pair networks of a link predictor.

    Args:
        channels: H.
        p: dropout probability in [0, 1].
        layer_norm: whether the networks have norms.
        tails: whether phi_p and phi_c end in a linear layer.
        two_layers: whether psi has two hidden layers.
        beta: initial weight of the first pooled part.
        pools: width of each pooled part; none leaves phi_p alone.

    Shape:
        - z: ``[B, H]``
        - pooled: for each pool ``[B, H]``, as ``self.pool_mlps[k].project`` gives it
        - output: logits ``[B]``
    """

    def __init__(
        self,
        channels: int,
        *,
        p: float = 0.0,
        layer_norm: bool = True,
        tails: bool = False,
        two_layers: bool = False,
        beta: float = 1.0,
        pools: Sequence[int] = (),
    ) -> None:
        super().__init__()
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"PairHead: p is {p}; pass a probability in [0, 1]")
        self.channels = channels
        self.pair = PairMLP(channels, p, layer_norm, tails)
        self.pools = nn.ModuleList(PoolMLP(d, channels, p, layer_norm, tails) for d in pools)
        self.score = ScoreMLP(channels, p, layer_norm, two_layers)
        self.beta = nn.Parameter(torch.tensor([float(beta)])) if pools else None

    @property
    def pool_mlps(self) -> list[PoolMLP]:
        """The phi_c of each pool."""
        return [cast(PoolMLP, pool) for pool in self.pools]

    def forward(self, z: Tensor, pooled: Sequence[Tensor]) -> Tensor:
        """Logits, by plain autograd on all pairs at once."""
        parts = [pool(c) for pool, c in zip(self.pools, pooled, strict=True)]
        return self._logits(z, parts, self._joint())

    def loss(self, z: Tensor, pooled: Sequence[Tensor], labels: Tensor) -> Tensor:
        """Sum over all pairs of the binary cross-entropy, block by block.

        With no ``pooled`` at all every pair counts as one without neighbours.
        """
        joint = self._joint()
        count, folded = len(pooled), [*joint.weights] + ([] if joint.bias is None else [joint.bias])

        def of_block(z: Tensor, labels: Tensor, *others: Tensor) -> Tensor:
            if pooled:
                parts = [pool(c) for pool, c in zip(self.pools, others[:count], strict=True)]
            else:
                parts = [pool.empty(len(z)) for pool in self.pool_mlps]
            rest = others[count : count + len(folded)]
            logits = self._logits(z, parts, _Joint(rest[:-1], rest[-1]) if rest else joint)
            labels = labels.to(logits.dtype)
            return F.binary_cross_entropy_with_logits(logits, labels, reduction="sum")

        shared = [*folded, *self.parameters()]
        return blockwise_sum(of_block, [z, labels, *pooled], shared, block=BLOCK)

    @torch.no_grad()
    def logits(self, z: Callable[[slice], Tensor], pooled: Sequence[Pooled], size: int) -> Tensor:
        """Logits without gradients, block by block.

        Args:
            z: gives the products of a slice of the pairs.
            pooled: for pairs that they leave out phi_c costs little, in evaluation nothing.
            size: number of pairs.
        """
        joint, out = self._joint(), []
        empty = [None if self.training else pool.empty(1) for pool in self.pool_mlps]
        for begin in range(0, size, BLOCK):
            rows = slice(begin, min(begin + BLOCK, size))
            parts = [
                _apply(pool, p.block(rows.start, rows.stop), e, rows.stop - begin)
                for pool, p, e in zip(self.pool_mlps, pooled, empty, strict=True)
            ]
            out.append(self._logits(z(rows), parts, joint))
        return torch.cat(out) if out else self.score.last.weight.new_zeros(0)

    def _joint(self) -> _Joint:
        """Weights of phi_p's and each phi_c's hidden state in psi's first layer."""
        first, scales = self.score.first, self._scales()
        if self.pair.tail is None:
            return _Joint((), None)
        weight, bias = fold(first, self.pair.tail)
        weights = [weight]
        for pool, scale in zip(self.pool_mlps, scales, strict=True):
            assert pool.tail is not None
            weight, more = fold(first, pool.tail, scale)
            weights.append(weight)
            bias = bias + more
        return _Joint(tuple(weights), bias + first.bias)

    def _scales(self) -> list[Tensor]:
        """beta for the first pool, 1 for the others."""
        if self.beta is None:
            return []
        return [self.beta, *[torch.ones_like(self.beta)] * (len(self.pools) - 1)]

    def _logits(self, z: Tensor, parts: Sequence[Tensor | Mostly], joint: _Joint) -> Tensor:
        hidden = self.pair(z)
        if joint.bias is None:
            first = self.score.first
            bias: Tensor = first.bias
            for part, scale in zip(parts, self._scales(), strict=True):
                if isinstance(part, Mostly):
                    hidden.index_add_(0, part.rows, (scale * part.change).to(hidden.dtype))
                    bias = torch.addmv(bias, first.weight, scale * part.rest)
                else:
                    hidden = hidden.addcmul(part, scale)
            return self.score(F.linear(hidden, first.weight, bias))
        bias = joint.bias
        for part, weight in zip(parts, joint.weights[1:], strict=True):
            bias = torch.addmv(bias, weight, part.rest) if isinstance(part, Mostly) else bias
        joined = F.linear(hidden, joint.weights[0], bias)
        for part, weight in zip(parts, joint.weights[1:], strict=True):
            if isinstance(part, Mostly):
                joined.index_add_(0, part.rows, F.linear(part.change, weight).to(joined.dtype))
            else:
                joined = torch.addmm(joined, part, weight.t())
        return self.score(joined)


def _apply(pool: PoolMLP, block: Pooled, empty: Tensor | None, size: int) -> Tensor | Mostly:
    """phi_c of a block; where most sums are empty, little more than that of the others.

    ``empty [1, H]`` is phi_c of an empty sum, or None where dropout makes each its own.
    """
    if block.rows is None or 2 * block.rows.numel() > size:
        return pool(block.full(size))
    filled = pool(block.value)
    if empty is not None:
        return Mostly(empty[0], block.rows, filled - empty)
    return pool.empty(size).to(filled.dtype).index_copy(0, block.rows, filled)
