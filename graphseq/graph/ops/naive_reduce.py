"""The slow twins of scatter and segment: cut the elements into groups, reduce one after the other.

Differentiable by autograd, whose rules for the extremum of one tensor (ties share evenly) and for
its product (right at zeros) are the rules of the fast paths.
"""

import torch
from torch import Tensor


def scatter(src: Tensor, index: Tensor, dim_size: int, reduce: str = "sum") -> Tensor:
    """Sorts the elements by group, splits them and reduces each group."""
    order = index.argsort(stable=True)
    sizes = index.bincount(minlength=dim_size).tolist()
    values = [reduce_one(group, reduce) for group in src[order].split(sizes)] if sizes else []
    if reduce == "softmax":
        return torch.cat(values)[order.argsort()] if values else src
    return torch.stack(values) if values else src[:0]


def segment(src: Tensor, ptr: Tensor, reduce: str = "sum") -> Tensor:
    """Scatter with each group's number repeated as often as it has elements."""
    size = ptr.shape[0] - 1
    return scatter(src, torch.arange(size).repeat_interleave(ptr.diff()), size, reduce)


def reduce_one(group: Tensor, reduce: str) -> Tensor:
    """The reduction of one group ``[n, ...]``, over the first dimension."""
    if reduce in ("softmax", "logsumexp"):
        return reduce_exp(group, reduce)
    if reduce == "mul":
        return group.prod(0, dtype=group.dtype)
    if reduce == "sum" or group.shape[0] == 0:
        return group.sum(0, dtype=group.dtype)
    if reduce == "mean":
        return group.mean(0)
    return group.amax(0) if reduce == "max" else group.amin(0)


def reduce_exp(group: Tensor, reduce: str) -> Tensor:
    """softmax and logsumexp; where all is -inf, autograd gives NaN instead of gradient 0."""
    dead = (group == -torch.inf).all(0)
    group = group.masked_fill(dead, 0)
    if reduce == "softmax":
        return group.softmax(0).masked_fill(dead, 0)
    return group.logsumexp(0).masked_fill(dead, -torch.inf)
