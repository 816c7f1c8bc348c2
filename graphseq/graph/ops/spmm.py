"""Sparse matrix times dense matrix: ``out[i] = sum_j M[i, j] x[j]``.

On the CPU one compiled pass over the rows; its gradient with respect to ``x`` is the same pass with
the transpose, which the matrix keeps, and with respect to the values a sampled dense-dense product,
``dvalue[e] = <dout[row e], x[col e]>``. Nothing of size nnz x D is ever made. Elsewhere (other
devices, ``torch.compile``) plain torch operations compute the same.
"""

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from graphseq.graph.csr import CSR
from graphseq.kernels import array, kernel, prange

Backend = Literal["auto", "numba", "torch"]


def spmm(
    matrix: CSR, x: Tensor, value: Tensor | None = None, *, backend: Backend = "auto"
) -> Tensor:
    """Multiplies a sparse matrix with a dense one, differentiable in ``x`` and ``value``.

    Args:
        matrix: sparse ``[R, C]``.
        x: dense floating ``[C, D]``. Its dtype decides: the matrix is converted to it, half
            precision is computed in float32.
        value: floating ``[nnz]`` in the matrix's stored order, used instead of ``matrix.value``
            (reorder a vector in the caller's order by ``vector[matrix.edge_id]``).
        backend: "numba" or "torch"; "auto" takes numba on the CPU outside ``torch.compile``.

    Shape:
        x ``[C, D]`` -> ``[R, D]``.

    Returns:
        ``M @ x`` in ``x``'s dtype (float32 for half precision under autocast).

    Raises:
        ValueError: if shapes or devices do not fit.
        TypeError: if ``x`` is not floating.
    """
    check_dense("spmm", "x", x, matrix.shape[1], matrix.device)
    if x.dim() != 2:
        raise ValueError(f"spmm: x has shape {tuple(x.shape)}, expected [C, D]; add a dimension")
    if value is not None and (value.shape != (matrix.nnz,) or value.device != matrix.device):
        raise ValueError(
            f"spmm: value has shape {tuple(value.shape)} on {value.device}, expected "
            f"({matrix.nnz},) on {matrix.device}; pass one value per stored entry"
        )
    dtype = compute_dtype(x)
    dense = x.to(dtype)
    if use_numba(backend, x):
        value = matrix.values(dtype) if value is None else value.to(dtype)
        return restore_dtype(_Product.apply(matrix, dense, value), x)
    with torch.autocast(x.device.type, enabled=False):
        if value is None and not torch.compiler.is_compiling():
            out = _LibraryProduct.apply(matrix, dense)
        else:
            out = _gathered_product(matrix, dense, value)
    return restore_dtype(out, x)


def check_dense(where: str, name: str, x: Tensor, rows: int, device: torch.device) -> None:
    """Refuses a dense operand of the wrong kind, height or device.

    Raises:
        TypeError: if ``x`` is not floating.
        ValueError: if the number of rows or the device differs.
    """
    if not x.is_floating_point():
        raise TypeError(f"{where}: {name} has dtype {x.dtype}; pass floats, {name}.float()")
    if x.dim() == 0 or x.size(0) != rows:
        raise ValueError(
            f"{where}: {name} has shape {tuple(x.shape)}, expected {rows} rows; "
            "the matrix and the dense operand must belong together"
        )
    if x.device != device:
        raise ValueError(
            f"{where}: {name} is on {x.device}, the matrix on {device}; move them to one device"
        )


def use_numba(backend: Backend, x: Tensor) -> bool:
    """Whether compiled loops can serve: CPU memory, and no compiler tracing the call."""
    if backend == "auto":
        return x.device.type == "cpu" and not torch.compiler.is_compiling()
    if backend not in ("numba", "torch"):
        raise ValueError(f'backend is {backend!r}; use "auto", "numba" or "torch"')
    return backend == "numba"


def compute_dtype(x: Tensor) -> torch.dtype:
    """Half precision is summed in float32: over many neighbours its 8 to 11 bits run out."""
    return torch.float32 if x.dtype in (torch.bfloat16, torch.float16) else x.dtype


def restore_dtype(out: Tensor, x: Tensor) -> Tensor:
    """Back to the caller's dtype, except under autocast, where float32 results stay float32."""
    return out if torch.is_autocast_enabled(x.device.type) else out.to(x.dtype)


def lanes(width: int) -> tuple[int, ...]:
    """Tells compiled loops a narrow row's width at compile time.

    numba knows the length of a tuple when it compiles, so the loop over up to 8 columns unrolls
    into registers: Cora's 7 classes take half the time. Empty for wider rows, where the ordinary
    loop fills vector registers.
    """
    return (0,) * width if width <= 8 else ()


def product(matrix: CSR, x: Tensor, value: Tensor) -> Tensor:
    """``M(value) @ x`` by the compiled loop, outside autograd; checked arguments only."""
    x = x.contiguous()
    out = x.new_empty(matrix.shape[0], x.size(1))
    _rows(
        *matrix.arrays(), array(value), x.numpy(), lanes(x.size(1)), out.numpy(),
        work=matrix.nnz * x.size(1),
    )  # fmt: skip
    return out


def sampled(matrix: CSR, left: Tensor, right: Tensor) -> Tensor:
    """``<left[row e], right[col e]>`` for each stored entry e, by the compiled loop; as above."""
    out = left.new_empty(matrix.nnz)
    _sampled(
        *matrix.arrays(), array(left), array(right), out.numpy(), work=matrix.nnz * left.size(1)
    )
    return out


class _Product(torch.autograd.Function):
    """The product with its two gradients."""

    @staticmethod
    def forward(ctx: Any, matrix: CSR, x: Tensor, value: Tensor) -> Tensor:  # type: ignore[override]
        ctx.matrix, ctx.own = matrix, value is matrix.values(value.dtype)
        keep_x = x if ctx.needs_input_grad[2] else None
        ctx.save_for_backward(keep_x, value)
        return product(matrix, x.detach(), value)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor | None, Tensor | None]:  # type: ignore[override]
        x, value = ctx.saved_tensors
        matrix: CSR = ctx.matrix
        grad_x = grad_value = None
        if ctx.needs_input_grad[1]:
            value_t = transposed_values(matrix, None if ctx.own else value, grad.dtype)
            grad_x = product(matrix.transpose(), grad, value_t)
        if ctx.needs_input_grad[2]:
            grad_value = sampled(matrix, grad, x)
        return None, grad_x, grad_value


def transposed_values(matrix: CSR, value: Tensor | None, dtype: torch.dtype) -> Tensor:
    """``value``, or the matrix's own values, in the stored order of ``matrix.transpose()``."""
    if value is None:
        return matrix.transpose().values(dtype)
    return value[matrix.transpose_order]


class _LibraryProduct(torch.autograd.Function):
    """torch's own sparse product (cuSPARSE, MKL), with the transpose that the matrix keeps."""

    @staticmethod
    def forward(ctx: Any, matrix: CSR, x: Tensor) -> Tensor:  # type: ignore[override]
        ctx.matrix = matrix
        return matrix.to_torch(x.dtype) @ x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:  # type: ignore[override]
        return None, ctx.matrix.transpose().to_torch(grad.dtype) @ grad


def _gathered_product(matrix: CSR, x: Tensor, value: Tensor | None) -> Tensor:
    """Gather and add; differentiable in both by autograd, traceable by ``torch.compile``."""
    value = matrix.values(x.dtype) if value is None else value.to(x.dtype)
    messages = value.unsqueeze(1) * x[matrix.col.long()]  # [nnz, D]
    return x.new_zeros(matrix.shape[0], x.size(1)).index_add(0, matrix.row, messages)


@kernel()
def gather_row(
    i: int, rowptr: Any, col: Any, value: Any, x: Any, lanes: tuple[int, ...], out: Any
) -> None:
    """out[:] = sum of value[e] x[col[e]] over the entries e of row i."""
    begin, end = rowptr[i], rowptr[i + 1]
    if len(lanes) > 0:
        for d in range(len(lanes)):
            out[d] = 0
        for e in range(begin, end):
            scale, source = value[e], x[np.uint32(col[e])]  # unsigned: no test for negatives
            for d in range(len(lanes)):
                out[d] += scale * source[d]
        return
    for d in range(out.shape[0]):
        out[d] = 0
    for e in range(begin, end - 1, 2):  # two at a time: half the loads and stores of out
        scale, source = value[e], x[np.uint32(col[e])]
        scale2, source2 = value[e + 1], x[np.uint32(col[e + 1])]
        for d in range(out.shape[0]):
            out[d] += scale * source[d] + scale2 * source2[d]
    if (end - begin) % 2 == 1:
        scale, source = value[end - 1], x[np.uint32(col[end - 1])]
        for d in range(out.shape[0]):
            out[d] += scale * source[d]


@kernel(parallel=True)
def _rows(
    groups: Any, rowptr: Any, col: Any, value: Any, x: Any, lanes: tuple[int, ...], out: Any
) -> None:
    for group in prange(groups.shape[0] - 1):
        for i in range(groups[group], groups[group + 1]):
            gather_row(i, rowptr, col, value, x, lanes, out[i])


@kernel(parallel=True)
def _sampled(groups: Any, rowptr: Any, col: Any, left: Any, right: Any, out: Any) -> None:
    """out[e] = <left[row of e], right[col[e]]> for each stored entry e."""
    for group in prange(groups.shape[0] - 1):
        for i in range(groups[group], groups[group + 1]):
            for e in range(rowptr[i], rowptr[i + 1]):
                a, b = left[i], right[np.uint32(col[e])]
                total = out.dtype.type(0)
                for d in range(left.shape[1]):
                    total += a[d] * b[d]
                out[e] = total
