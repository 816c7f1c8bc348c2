"""What pairs pooled, stored only for those that have neighbours."""

from typing import NamedTuple

import torch
from torch import Tensor


class Pooled(NamedTuple):
    """Projected sums over the neighbours of pairs.

    ``value [R, H]`` belongs to the pairs ``rows [R]``, ascending; all others have no such neighbour
    and the sum 0. ``rows`` None means all pairs.
    """

    value: Tensor
    rows: Tensor | None = None

    def full(self, size: int) -> Tensor:
        """The sums of all pairs, ``[size, H]``."""
        if self.rows is None:
            return self.value
        zeros = self.value.new_zeros(size, self.value.size(1))
        return zeros.index_copy(0, self.rows, self.value)

    def block(self, begin: int, end: int) -> "Pooled":
        """The pairs ``begin..end - 1``, counted from 0."""
        if self.rows is None:
            return Pooled(self.value[begin:end])
        bounds = self.rows.new_tensor([begin, end])
        first, last = torch.searchsorted(self.rows, bounds).tolist()
        return Pooled(self.value[first:last], self.rows[first:last] - begin)


class Mostly(NamedTuple):
    """``[B, H]``, in every row ``rest [H]``, to which the rows ``rows [R]`` add ``change [R, H]``.

    In psi's first layer the rest is a constant.
    """

    rest: Tensor
    rows: Tensor
    change: Tensor
