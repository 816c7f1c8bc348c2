"""Maps phi of queries and keys whose products phi(q) . phi(k) weigh the past of linear attention.

"elu" is ``elu(x) + 1`` (Katharopoulos et al. 2020, arXiv 2006.16236): positive, so that weights and
their sums are. "relu" is ``max(x, 0)``, "identity" is ``x``. "taylor" makes the product the series
of the softmax kernel up to a given order P, with m the width of q and k:

    phi(q) . phi(k) = sum_{p <= P} (q . k / sqrt(m))^p / p!  ->  exp(q . k / sqrt(m))

The p-th power of a scalar product is the product of all degree-p monomials of q and k; equal ones
are taken once, with weight ``1 / (n_1! n_2! ...)`` for exponents n, so C(m + P, P) features remain
where the outer powers have 1 + m + ... + m^P. A series of even order is positive for every q, k.
"""

from itertools import combinations_with_replacement
from math import factorial, prod
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Features = Literal["elu", "identity", "relu", "taylor"]


class FeatureMap(nn.Module):
    """``[..., m] -> [..., size]``.

    Args:
        kind: "elu", "identity", "relu" or "taylor".
        width: m.
        order: P, the highest power of "taylor"; without meaning for the others.

    Attributes:
        size: number of features.

    Raises:
        ValueError: if the kind has no such name or the order is less than 1.
    """

    def __init__(self, kind: Features, width: int, *, order: int = 2) -> None:
        super().__init__()
        if kind not in ("elu", "identity", "relu", "taylor"):
            raise ValueError(
                f"FeatureMap: feature_map is {kind!r}; pass elu, identity, relu or taylor"
            )
        if order < 1:
            raise ValueError(f"FeatureMap: order is {order}; pass 1 or more")
        self.kind, self.width, self.order, self.size = kind, width, order, width
        if kind == "taylor":
            self.size = 1 + self._list_monomials()

    def forward(self, x: Tensor) -> Tensor:
        """The features, in the precision of ``x``."""
        if self.kind == "elu":
            return F.elu(x) + 1
        if self.kind == "relu":
            return F.relu(x)
        return self._taylor(x) if self.kind == "taylor" else x

    def extra_repr(self) -> str:
        """Its kind and sizes."""
        return f"{self.kind!r}, {self.width} -> {self.size}"

    def _taylor(self, x: Tensor) -> Tensor:
        scaled = x * self.width**-0.25
        powers = [torch.ones_like(x[..., :1]), scaled]
        for p in range(2, self.order + 1):
            first, rest = self.get_buffer(f"first_{p}"), self.get_buffer(f"rest_{p}")
            powers.append(scaled.index_select(-1, first) * powers[-1].index_select(-1, rest))
        weight = self.get_buffer("divisors").to(x.dtype).rsqrt()
        return torch.cat(powers, -1) * weight  # [..., size]

    def _list_monomials(self) -> int:
        """Each monomial as its first variable times one of a degree less, and its n_1! n_2! ...

        The divisors stay integers: a cast of the module would round their roots.
        """
        divisors = [1] * (1 + self.width)
        place: dict[tuple[int, ...], int] = {(i,): i for i in range(self.width)}
        for p in range(2, self.order + 1):
            monomials = list(combinations_with_replacement(range(self.width), p))
            first = torch.tensor([m[0] for m in monomials])
            rest = torch.tensor([place[m[1:]] for m in monomials])
            self.register_buffer(f"first_{p}", first, persistent=False)
            self.register_buffer(f"rest_{p}", rest, persistent=False)
            divisors += [prod(factorial(m.count(i)) for i in set(m)) for m in monomials]
            place = {m: i for i, m in enumerate(monomials)}
        self.register_buffer("divisors", torch.tensor(divisors), persistent=False)
        return len(divisors) - 1
