"""Segment: reduce runs of consecutive elements, given where each run starts."""

import torch
from torch import Tensor

from graphseq.graph.ops.reduce_backend import check_arguments, check_integers, reduce_elements


def segment(src: Tensor, ptr: Tensor, reduce: str = "sum", backend: str = "auto") -> Tensor:
    """Reduces ``src[ptr[i] : ptr[i + 1]]`` for every i, over the first dimension.

    The rules on empty groups, ties, zeros, -inf and dtypes are those of
    :func:`~graphseq.graph.ops.scatter.scatter`, with ``index`` in ascending order. Nothing is
    sorted, and each group is reduced without atomics, so a backend gives the same bits on every
    call (but for mul by torch_scatter on a GPU). The gradient of mul on backend "torch" cannot be
    differentiated again.

    Args:
        src: ``[E, ...]`` elements in group order; floating point, or integer for sum, max, min
            and mul.
        ptr: ``[N + 1]`` int64, ascending from 0 to E; group i is empty where two are equal.
        reduce: "sum", "mean", "max", "min", "mul", "softmax" or "logsumexp".
        backend: "auto", "torch" (any device, autocast, torch.compile), "numba" (CPU) or
            "torch_scatter" (extra; computes the forward).

    Returns:
        ``[N, ...]``, for softmax ``[E, ...]``, of src's dtype.

    Raises:
        ValueError: an argument is out of range, of the wrong shape, dtype or device.
        ImportError: torch_scatter was asked for and is not installed.
    """
    check_arguments("segment", src, reduce, backend)
    _check_ptr(src, ptr)
    return reduce_elements(src, None, ptr, ptr.shape[0] - 1, reduce, backend)


def _check_ptr(src: Tensor, ptr: Tensor) -> None:
    check_integers("segment", "ptr", ptr, src)
    if ptr.shape[0] == 0:
        raise ValueError("segment: ptr must hold N + 1 entries, got none; no groups is ptr = [0]")
    if torch.compiler.is_compiling():  # values are not known yet
        return
    ascending = (ptr[1:] >= ptr[:-1]).all()
    first, last, ok = torch.stack([ptr[0], ptr[-1], ascending.to(ptr.dtype)]).tolist()
    if first != 0 or last != src.shape[0]:
        raise ValueError(
            f"segment: ptr must run from 0 to {src.shape[0]}, the length of src, got {first} to "
            f"{last}; build it as the cumulative sum of the group sizes"
        )
    if not ok:
        raise ValueError("segment: ptr must ascend; sort src by group and use scatter's order")
