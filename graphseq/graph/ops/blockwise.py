"""A sum over rows, computed and differentiated block by block while the block lies in the cache.

    total = sum over blocks b of f(rows_b)

Where a loss is a sum, the gradient of a block does not depend on the other blocks. So each block
goes forward and backward at once, and its activations are gone before the next block comes: memory
does not grow with the number of rows, and nothing is read back from main memory.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

# Rows of a block. At 256 channels 2 MiB, on two cores one for each; a smaller block computes for
# less time than it takes to wake the other threads for it.
BLOCK = 2048


def blockwise_sum(
    function: Callable[..., Tensor],
    rows: Sequence[Tensor],
    shared: Sequence[Tensor] = (),
    *,
    block: int = BLOCK,
) -> Tensor:
    """Sums ``function(*block of each row tensor, *shared)`` over all blocks; exact gradients.

    The gradients are computed together with the value, by the forward pass; the backward pass only
    scales them. Without gradients (``torch.no_grad``, or nothing requires one) it only sums.

    Args:
        function: maps blocks ``[n, ...]`` of ``rows``, and ``shared``, to a scalar, a sum over the
            n rows. It may draw random numbers.
        rows: tensors with the same number of rows, at least one, cut along the first dimension.
        shared: parameters and other tensors that every block uses as a whole. Parameters are passed
            on as they are, so that ``function`` may as well find them in its modules. What it uses
            besides is a constant.
        block: rows of a block, at least 1.

    Returns:
        The scalar sum; 0 for no rows.

    Raises:
        ValueError: if there is no row tensor, their lengths differ, or ``block`` is below 1.
        RuntimeError: if a second derivative is asked for.
    """
    if not rows or any(tensor.size(0) != rows[0].size(0) for tensor in rows):
        lengths = [tensor.size(0) for tensor in rows]
        raise ValueError(
            f"blockwise_sum: rows have lengths {lengths}; pass one or more tensors of equal length"
        )
    if block < 1:
        raise ValueError(f"blockwise_sum: block is {block}; pass at least 1 row")
    if not torch.is_grad_enabled() or not any(t.requires_grad for t in (*rows, *shared)):
        total = rows[0].new_zeros(())
        for cut in _cuts(rows, block):
            total = total + function(*(tensor[cut] for tensor in rows), *shared)
        return total
    return _BlockwiseSum.apply(function, block, len(rows), *rows, *shared)


def _cuts(rows: Sequence[Tensor], block: int) -> list[slice]:
    return [slice(begin, begin + block) for begin in range(0, rows[0].size(0), block)]


def _leaf(tensor: Tensor, wanted: bool) -> Tensor:
    """A parameter itself; of a computed tensor a leaf, or gradients would run on to its origin."""
    return tensor if tensor.is_leaf and wanted else tensor.detach().requires_grad_(wanted)


def _store(
    grads: list[Tensor | None], k: int, like: Tensor, cut: slice, grad: Tensor | None
) -> None:
    whole = grads[k]
    if whole is None:
        whole = grads[k] = torch.empty_like(like, memory_format=torch.contiguous_format)
    if grad is None:
        whole[cut].zero_()
    else:
        whole[cut] = grad


def _add(grads: list[Tensor | None], k: int, grad: Tensor) -> None:
    total = grads[k]
    if total is None:  # a copy, because autograd may hand out one tensor for several inputs
        grads[k] = grad.clone(memory_format=torch.contiguous_format)
    else:
        total.add_(grad)


class _BlockwiseSum(torch.autograd.Function):
    """Saves the gradients instead of what they are computed from."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, function: Callable[..., Tensor], block: int, num_rows: int, *tensors: Tensor
    ) -> Tensor:
        wanted = ctx.needs_input_grad[3:]
        rows = tensors[:num_rows]
        shared = [_leaf(t, w) for t, w in zip(tensors, wanted, strict=True)][num_rows:]
        grads: list[Tensor | None] = [None] * len(tensors)
        total = rows[0].new_zeros(())
        for cut in _cuts(rows, block):
            parts = [t[cut].detach().requires_grad_(w) for t, w in zip(rows, wanted, strict=False)]
            with torch.enable_grad():
                value = function(*parts, *shared)
            total = total + value.detach()
            leaves = [(k, t) for k, t in enumerate((*parts, *shared)) if wanted[k]]
            found = torch.autograd.grad(value, [t for _, t in leaves], allow_unused=True)
            for (k, _), grad in zip(leaves, found, strict=True):
                if k < num_rows:
                    _store(grads, k, tensors[k], cut, grad)
                elif grad is not None:
                    _add(grads, k, grad)
        ctx.save_for_backward(*grads)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        if torch.is_grad_enabled():  # create_graph: a constant in place of it would go unnoticed
            raise RuntimeError(
                "blockwise_sum: its gradient has no derivative; compute the sum without blocks"
            )
        grads = (None if g is None else g * grad.to(g.dtype) for g in ctx.saved_tensors)
        return None, None, None, *grads
