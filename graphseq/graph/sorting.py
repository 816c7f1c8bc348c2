"""Entries in the order of their rows: counting sorts, row pointers, groups of equal work."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphseq.kernels import array, kernel


@kernel()
def counting_sort(index: Any, size: int) -> tuple[Any, Any]:
    """ptr [size + 1] and the stable order [E] of the elements by group."""
    ptr = np.zeros(size + 1, np.int64)
    for group in index:
        ptr[group + 1] += 1
    for i in range(size):
        ptr[i + 1] += ptr[i]
    free = ptr[:size].copy()
    order = np.empty(index.shape[0], np.int64)
    for e in range(index.shape[0]):
        order[free[index[e]]] = e
        free[index[e]] += 1
    return ptr, order


def pointers(row: Tensor, num_rows: int) -> Tensor:
    """Where each row starts, int64 ``[R + 1]``, from the rows of entries in any order."""
    counts = torch.bincount(row, minlength=num_rows)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def row_order(row: Tensor, col: Tensor, shape: tuple[int, int]) -> Tensor:
    """int64 ``[E]``: the entries by row, then column; ties keep the caller's order."""
    order = torch.arange(col.numel(), device=col.device)
    return stable_order(row, shape[0], stable_order(col, shape[1], order))


def stable_order(key: Tensor, size: int, order: Tensor) -> Tensor:
    """``order`` sorted by ``key[order]``, ties as they were: on the CPU a counting sort.

    Args:
        key: int64 ``[E]``, in ``[0, size)``.
        size: how many keys there can be.
        order: int64, positions in ``key``.
    """
    if key.device.type != "cpu" or size > 2**20 + 8 * key.numel():  # or mostly empty counts
        return order[torch.argsort(key[order], stable=True)]
    out = torch.empty_like(order)
    _count_into(array(key), array(order), array(pointers(key, size)), out.numpy())
    return out


@kernel()
def _count_into(key: Any, order: Any, free: Any, out: Any) -> None:
    """Puts each element at the next free position of its key."""
    for position in range(order.shape[0]):
        element = order[position]
        out[free[key[element]]] = element
        free[key[element]] += 1


def equal_work(rowptr: Tensor, num_groups: int) -> Tensor:
    """Splits rows into runs that hold nearly equal numbers of rows and entries together.

    Args:
        rowptr: int64 ``[R + 1]``.
        num_groups: G; some may be empty.

    Returns:
        int64 ``[G + 1]``: group ``g`` is the rows ``groups[g] .. groups[g + 1] - 1``.
    """
    num_rows = rowptr.numel() - 1
    cost = rowptr + torch.arange(num_rows + 1)
    marks = torch.linspace(0, int(cost[-1]), num_groups + 1, dtype=torch.float64).long()
    groups = torch.searchsorted(cost, marks)
    groups[0], groups[-1] = 0, num_rows
    return groups
