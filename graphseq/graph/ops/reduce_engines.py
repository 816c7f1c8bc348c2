"""The three engines behind scatter and segment: torch, compiled CPU loops, torch_scatter.

Plain functions on tensors, called inside autograd functions; gradients live in ``reduce_autograd``.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from graphseq.graph.ops import reduce_kernels as loops
from graphseq.graph.ops import softmax_kernels
from graphseq.kernels import Kernel, array


class Groups(NamedTuple):
    """Which element belongs to which group, as far as the engine needs it.

    Args:
        of_element: ``[E]`` group of each element; None where only ``ptr`` is known yet.
        ptr: ``[N + 1]`` where each group starts, for elements in group order.
        order: ``[E]`` the elements in group order (numba engine only).
        size: N.
        engine: who computes: "torch", "numba" or "torch_scatter".
    """

    of_element: Tensor | None
    ptr: Tensor | None
    order: Tensor | None
    size: int
    engine: str

    @property
    def labels(self) -> Tensor:
        """The group of each element, ``[E]``."""
        if self.of_element is not None:
            return self.of_element
        assert self.ptr is not None
        assert self.order is not None
        return expand(self.ptr, self.order.shape[0])

    @property
    def counts(self) -> Tensor:
        """Elements per group, ``[N, 1]``."""
        if self.ptr is not None:
            return self.ptr.diff().unsqueeze(1)
        counts = self.labels.new_zeros(self.size)
        return counts.index_add_(0, self.labels, torch.ones_like(self.labels)).unsqueeze(1)

    def runs(self, *options: Any) -> tuple[Any, ...]:
        """ptr, order, options and the number of parts, as the loops over groups take them."""
        assert self.ptr is not None
        assert self.order is not None
        return array(self.ptr), array(self.order), *options, torch.get_num_threads()


def expand(ptr: Tensor, elements: int) -> Tensor:
    """The group of each element, ``[E]``, where groups are consecutive runs."""
    groups = torch.arange(ptr.shape[0] - 1, device=ptr.device)
    return groups.repeat_interleave(ptr.diff(), output_size=elements)


def _rows(groups: Groups, src: Tensor) -> Tensor:
    """Memory for a row per group, ``[N, F]``."""
    return src.new_empty(groups.size, src.shape[1])


def _filled(out: Tensor, loop: Kernel, src: Tensor, groups: Groups, cost: int = 1) -> Tensor:
    """``out``, filled by a loop over groups that costs so many multiply-adds an entry."""
    loop(array(src), *groups.runs(), array(out), work=cost * src.numel())
    return out


def total(src: Tensor, groups: Groups) -> Tensor:
    """Sum of each group, ``[N, F]``."""
    if groups.engine == "numba":
        return _filled(_rows(groups, src), loops.sum_groups, src, groups)
    if groups.engine == "torch_scatter":
        return by_torch_scatter(src, groups, "sum")
    if groups.ptr is not None and src.is_floating_point():
        # One thread per group: deterministic on a GPU, where index_add_ is not.
        return torch.segment_reduce(src, "sum", offsets=groups.ptr, initial=0)
    return src.new_zeros(groups.size, src.shape[1]).index_add_(0, groups.labels, src)


def spread(values: Tensor, groups: Groups) -> Tensor:
    """Each element's group's value, ``[E, F]``; the adjoint of the sum."""
    labels = groups.labels
    if groups.engine != "numba":
        return values.index_select(0, labels)
    out = values.new_empty(labels.shape[0], values.shape[1])
    loops.spread_groups(array(values), array(labels), array(out), work=out.numel())
    return out


def extremum(src: Tensor, groups: Groups, reduce: str, count: bool = False) -> tuple[Tensor, ...]:
    """Maximum or minimum of each group, 0 where it is empty; numba can count who reaches it."""
    if groups.engine == "numba":
        out = _rows(groups, src)
        ties = src.new_empty(groups.size, src.shape[1] if count else 0)
        runs = groups.runs(reduce == "max")
        loops.extremum_groups(array(src), *runs, array(out), array(ties), work=src.numel())
        return out, ties
    # torch_scatter's max overlooks NaN and, like its min, cannot tell a group of infinities
    # from an empty one, so such inputs keep torch's forward.
    if groups.engine == "torch_scatter" and bool(src.isfinite().all()):
        return (by_torch_scatter(src, groups, reduce),)
    labels = groups.labels.unsqueeze(1).expand_as(src)
    out = src.new_zeros(groups.size, src.shape[1])
    return (out.scatter_reduce_(0, labels, src, "a" + reduce, include_self=False),)


def product(src: Tensor, groups: Groups) -> Tensor:
    """Product of each group; with engine torch also differentiable, and right at zeros."""
    if groups.engine == "numba":
        return _filled(_rows(groups, src), loops.multiply_groups, src, groups)
    if groups.engine == "torch_scatter":
        return by_torch_scatter(src, groups, "mul")
    if groups.ptr is not None and src.is_floating_point():
        return torch.segment_reduce(src, "prod", offsets=groups.ptr, initial=1)
    labels = groups.labels.unsqueeze(1).expand_as(src)
    return src.new_ones(groups.size, src.shape[1]).scatter_reduce(0, labels, src, "prod")


def softmax(src: Tensor, groups: Groups) -> Tensor:
    """Softmax inside each group, ``[E, F]``; 0 where a group holds nothing but -inf."""
    if groups.engine == "numba":
        return _filled(torch.empty_like(src), softmax_kernels.softmax_groups, src, groups, cost=10)
    exp, _, sums = _exp_sum(src, groups)
    return exp / spread(sums.masked_fill(sums == 0, 1), groups)


def logsumexp(src: Tensor, groups: Groups) -> Tensor:
    """log of each group's sum of exponentials; -inf where it is empty or holds only -inf."""
    if groups.engine == "numba":
        return _filled(_rows(groups, src), softmax_kernels.logsumexp_groups, src, groups, cost=10)
    _, shift, sums = _exp_sum(src, groups)
    return shift + sums.log()


def _exp_sum(src: Tensor, groups: Groups) -> tuple[Tensor, Tensor, Tensor]:
    """exp(x - shift) [E, F], the shift and the sums [N, F]; shift is the maximum where finite."""
    shift = extremum(src, groups, "max")[0]
    shift = shift.masked_fill(shift.isinf(), 0)
    exp = (src - spread(shift, groups)).exp()
    return exp, shift, total(exp, groups)


def by_torch_scatter(src: Tensor, groups: Groups, reduce: str) -> Tensor:
    """torch_scatter's forward, by pointer where there is one (it has no product by pointer)."""
    import torch_scatter

    if groups.ptr is not None and reduce != "mul":
        return torch_scatter.segment_csr(src, groups.ptr, reduce=reduce)
    # Its product of no elements is 0 unless it starts from ones.
    out = src.new_ones(groups.size, src.shape[1]) if reduce == "mul" else None
    return torch_scatter.scatter(src, groups.labels, 0, out, groups.size, reduce)
