"""Goodness of many labelings of one graph that differ only in the label part of each row.

A linear layer on features and label, ``x W + label V``, costs its first part once for all labelings
of a graph; what a labeling k adds to row i is a mixture of a few rows of a table, one per class.
The Forward-Forward algorithm (Hinton, 2022) then asks how active the layer is::

    z_kic = base_i + sum_c mix_kic table_c,   out_ki = sum_d relu(z_kid)^2

All z together would take G R H numbers. Here a row is formed, squared and forgotten, in the
backward pass again. With g the gradient of out::

    dz_kid = 2 g_ki relu(z_kid),   dbase_i = sum_k dz_ki,   dtable_c = sum_ki mix_kic dz_ki

========  ==========  =============
symbol    variable    shape
========  ==========  =============
base      base        ``[R, H]``
mix       mix         ``[G, R, K]``
table     table       ``[K, H]``
z         row         ``[H]``
out, g    out, grad   ``[G, R]``
========  ==========  =============
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from graphseq.graph.ops.spmm import Backend, compute_dtype, restore_dtype, use_numba
from graphseq.kernels import array, kernel, prange

_GROUPS = 64  # of rows, whatever the number of threads: sums repeat bit by bit


def shared_goodness(
    base: Tensor, mix: Tensor, table: Tensor, *, backend: Backend = "auto"
) -> Tensor:
    """Sums the squares of ``relu(base + mix @ table)`` over each row, for G mixtures.

    Differentiable in ``base`` and ``table``.

    Args:
        base: what all labelings share, floating ``[R, H]``; its dtype decides, half precision is
            computed in float32.
        mix: constant, floating ``[G, R, K]``; zeros cost next to nothing.
        table: ``[K, H]``.
        backend: "numba" or "torch"; "auto" takes numba on the CPU outside ``torch.compile``.

    Shape:
        base ``[R, H]``, mix ``[G, R, K]``, table ``[K, H]`` -> ``[G, R]``.

    Returns:
        The goodness in ``base``'s dtype (float32 for half precision under autocast).

    Raises:
        ValueError: if shapes or devices do not fit, or ``mix`` asks for a gradient.
        TypeError: if one of the three is not floating.
    """
    _check(base, mix, table)
    dtype = compute_dtype(base)
    base_, mix, table = base.to(dtype), mix.to(dtype), table.to(dtype)
    if use_numba(backend, base):
        out = _Goodness.apply(base_, mix, table)
    else:
        with torch.autocast(base.device.type, enabled=False):
            # A compiler decides itself what to compute again.
            run = _goodness if torch.compiler.is_compiling() else _GoodnessTorch.apply
            out = run(base_, mix, table)
    return restore_dtype(out, base)


def _check(base: Tensor, mix: Tensor, table: Tensor) -> None:
    where = "shared_goodness"
    for name, part in (("base", base), ("mix", mix), ("table", table)):
        if not part.is_floating_point():
            raise TypeError(f"{where}: {name} has dtype {part.dtype}; pass floats, {name}.float()")
        if part.device != base.device:
            raise ValueError(
                f"{where}: {name} is on {part.device}, base on {base.device}; "
                "move them to one device"
            )
    fits = base.dim() == 2 and mix.dim() == 3 and table.dim() == 2
    if not fits or base.shape != (mix.size(1), table.size(1)) or mix.size(2) != table.size(0):
        raise ValueError(
            f"{where}: base, mix and table have shapes {tuple(base.shape)}, {tuple(mix.shape)} and "
            f"{tuple(table.shape)}; pass base [R, H], mix [G, R, K] and table [K, H]"
        )
    if mix.requires_grad:
        raise ValueError(f"{where}: mix asks for a gradient, but is a constant; pass mix.detach()")


class _Goodness(torch.autograd.Function):
    """The compiled passes; saves its inputs."""

    @staticmethod
    def forward(ctx: Any, base: Tensor, mix: Tensor, table: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(base, mix, table)
        out = base.new_empty(mix.shape[:2])
        _forward(array(base), array(mix), array(table), out.numpy(), work=_work(mix, table))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        base, mix, table = ctx.saved_tensors
        grad_base = torch.zeros(base.shape, dtype=base.dtype)
        sums = table.new_zeros(_GROUPS, *table.shape)
        _backward(
            array(base), array(mix), array(table), array(grad), grad_base.numpy(), sums.numpy(),
            work=2 * _work(mix, table),
        )  # fmt: skip
        return grad_base, None, sums.sum(0)


def _work(mix: Tensor, table: Tensor) -> int:
    return mix.size(0) * mix.size(1) * (1 + mix.size(2)) * table.size(1)


class _GoodnessTorch(torch.autograd.Function):
    """Torch operations for other devices, one labeling at a time."""

    @staticmethod
    def forward(ctx: Any, base: Tensor, mix: Tensor, table: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(base, mix, table)
        return _goodness(base, mix, table)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        base, mix, table = ctx.saved_tensors
        grad_base, grad_table = torch.zeros_like(base), torch.zeros_like(table)
        for k in range(mix.size(0)):
            row = torch.addmm(base, mix[k], table).relu_()  # [R, H]
            row *= 2 * grad[k].unsqueeze(1)
            grad_base += row
            grad_table.addmm_(mix[k].t(), row)
        return grad_base, None, grad_table


def _goodness(base: Tensor, mix: Tensor, table: Tensor) -> Tensor:
    rows = [torch.addmm(base, part, table).relu().square().sum(1) for part in mix]  # G of [R]
    return torch.stack(rows) if rows else base.new_empty(mix.shape[:2])


@kernel(parallel=True)
def _forward(base: Any, mix: Any, table: Any, out: Any) -> None:
    for group in prange(_GROUPS):
        row = np.empty(base.shape[1], base.dtype)
        begin, end = _bounds(group, base.shape[0])
        for i in range(begin, end):
            for k in range(mix.shape[0]):
                _form(base[i], mix[k, i], table, row)
                total = base.dtype.type(0)
                for d in range(row.shape[0]):
                    total += row[d] * row[d]
                out[k, i] = total


@kernel(parallel=True)
def _backward(base: Any, mix: Any, table: Any, grad: Any, grad_base: Any, sums: Any) -> None:
    """Adds to ``grad_base`` [R, H] and, one part for each group of rows, ``sums`` [64, K, H]."""
    for group in prange(_GROUPS):
        row = np.empty(base.shape[1], base.dtype)
        begin, end = _bounds(group, base.shape[0])
        for i in range(begin, end):
            for k in range(mix.shape[0]):
                _form(base[i], mix[k, i], table, row)
                twice = grad[k, i] + grad[k, i]
                _add_scaled(row, twice, grad_base[i])
                for c in range(table.shape[0]):
                    if mix[k, i, c] != 0:
                        _add_scaled(row, twice * mix[k, i, c], sums[group, c])


@kernel()
def _bounds(group: int, size: int) -> tuple[int, int]:
    """The rows of a group."""
    return group * size // _GROUPS, (group + 1) * size // _GROUPS


@kernel()
def _form(base: Any, mix: Any, table: Any, row: Any) -> None:
    """row = relu(base + sum of mix[c] table[c])."""
    zero = row.dtype.type(0)
    for d in range(row.shape[0]):
        row[d] = base[d]
    for c in range(mix.shape[0]):
        if mix[c] != 0:
            _add_scaled(table[c], mix[c], row)
    for d in range(row.shape[0]):
        row[d] = zero if row[d] < zero else row[d]  # NaN stays NaN


@kernel()
def _add_scaled(x: Any, scale: Any, out: Any) -> None:
    for d in range(out.shape[0]):
        out[d] += scale * x[d]
