"""Scatter: reduce elements by an index that names each element's group."""

import torch
from torch import Tensor

from graphseq.graph.ops.reduce_backend import check_arguments, check_integers, reduce_elements


def scatter(
    src: Tensor,
    index: Tensor,
    dim_size: int | None = None,
    reduce: str = "sum",
    backend: str = "auto",
) -> Tensor:
    """Reduces the elements of ``src`` that share an index, over the first dimension.

    One rule holds for every backend:

    - An empty group gives 0 for sum, mean, max and min, 1 for mul, -inf for logsumexp.
    - The gradient of max and min is split evenly among the elements that tie.
    - The gradient of mul is the product of the others, zeros or not.
    - softmax and logsumexp subtract the group's maximum first. A group of nothing but -inf has
      softmax 0, logsumexp -inf and gradient 0.
    - NaN makes its group NaN. float16 and bfloat16 are accumulated in float32.

    Backends: "torch" runs on any device, under autocast and torch.compile (``dim_size`` is then
    required, and index is not checked); "numba" is compiled for the CPU and sorts the index first,
    so its results do not depend on threads; "torch_scatter" computes the forward with that package,
    if installed, and differentiates as the others do; "auto" takes the faster of the first two.
    All can be differentiated repeatedly. Two exceptions belong to torch's product: the gradient of
    mul cannot be differentiated again in a group with several zeros, and divides (backend "numba"
    does not), so it loses elements whose group's product underflows.

    Args:
        src: ``[E, ...]`` elements; floating point, or integer for sum, max, min and mul.
        index: ``[E]`` int64, group of each element, in any order.
        dim_size: number of groups N; default: largest index + 1.
        reduce: "sum", "mean", "max", "min", "mul", "softmax" or "logsumexp".
        backend: "auto", "torch", "numba" or "torch_scatter".

    Returns:
        ``[N, ...]``, for softmax ``[E, ...]``, of src's dtype.

    Raises:
        ValueError: an argument is out of range, of the wrong shape, dtype or device.
        ImportError: torch_scatter was asked for and is not installed.
    """
    check_arguments("scatter", src, reduce, backend)
    size = _checked_size(src, index, dim_size)
    return reduce_elements(src, index, None, size, reduce, backend)


def _checked_size(src: Tensor, index: Tensor, dim_size: int | None) -> int:
    check_integers("scatter", "index", index, src)
    if index.shape[0] != src.shape[0]:
        raise ValueError(
            f"scatter: index must name a group for each of src's {src.shape[0]} elements, "
            f"got {index.shape[0]}"
        )
    if dim_size is not None and dim_size < 0:
        raise ValueError(f"scatter: dim_size must be at least 0, got {dim_size}")
    if torch.compiler.is_compiling():
        if dim_size is None:
            raise ValueError("scatter: dim_size must be given under torch.compile")
        return dim_size
    if index.numel() == 0:
        return dim_size or 0
    low, high = torch.stack(torch.aminmax(index)).tolist()
    size = high + 1 if dim_size is None else dim_size
    if low < 0 or high >= size:
        raise ValueError(
            f"scatter: index must lie in [0, dim_size) = [0, {size}), got values from {low} to "
            f"{high}; raise dim_size or mend index"
        )
    return size
