"""``(S X) W`` for constant S and X and a weight that changes: the linear half of a frozen layer.

While one layer of a graph network trains and the layers below it stay, what it aggregates is the
same in every step. Three ways give the same numbers, up to the order of sums::

    dense:     A = S X once, then A W             R F H multiply-adds a step
    stored:    the same A, its non-zeros only     nnz(A) H
    factored:  S (X W)                            nnz(X) H + nnz(S) H       (N F H for a dense X)

Which is cheapest follows from the matrices: bag-of-words features are a few per cent dense, and
only the rows that are asked for (R of N) have to be computed. The backward pass costs the same
again and, unlike that of a graph convolution, has no gradient with respect to X.

Features that do not fit in memory take a fourth way, "streamed": the factored one with X W and its
gradient made from a few rows of X at a time, from a memory-mapped file or from another device.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from graphseq.graph.csr import CSR
from graphseq.graph.ops.slicing import scale_rows, select_rows
from graphseq.graph.ops.sparse_linear import sparse_linear
from graphseq.graph.ops.spmm import spmm

# A multiply-add on a stored value gathers a row of the weight; it costs about as much as so many of
# a dense product that is blocked for the cache.
STORED = 5

Way = Literal["dense", "stored", "factored", "streamed"]


class FrozenProduct:
    """Computes ``(S X)[R] W`` for one weight after the other.

    Args:
        matrix: S, sparse ``[R, N]`` with its rows already chosen; None is the identity.
        x: X, constant ``[N, F]``, dense or sparse.
        scale: a factor ``[N]`` for each row of X, or None; saves a scaled copy of a dense X.
        way: see the head of this file; None takes the cheapest of the first three.
        row_block: of the fourth way, rows of X at a time.

    Raises:
        ValueError: if the shapes do not fit.
    """

    def __init__(
        self,
        matrix: CSR | None,
        x: Tensor | CSR,
        scale: Tensor | None = None,
        way: Way | None = None,
        row_block: int = 65536,
    ) -> None:
        if matrix is not None and matrix.shape[1] != x.shape[0]:
            raise ValueError(
                f"FrozenProduct: matrix has shape {matrix.shape}, x {tuple(x.shape)}; the matrix "
                "needs a column for each row of x"
            )
        self.scale = scale if way == "streamed" and matrix is None else None  # no copy of x
        if scale is not None and self.scale is None:
            matrix, x = _scaled(matrix, x, scale)
        x = x if way == "streamed" else _cheap_form(x)
        self.width, self.row_block = int(x.shape[1]), row_block
        self.way = _cheapest(matrix, x) if way is None else way
        kept = self.way in ("factored", "streamed")
        self.matrix = matrix if kept else None
        self.x = x if kept else _aggregated(matrix, x, self.way)

    def __call__(self, weight: Tensor) -> Tensor:
        """``weight [F, H]`` -> ``[R, H]``, differentiable in the weight."""
        if isinstance(self.x, CSR):
            out = sparse_linear(self.x, weight)
        elif self.way == "streamed" or _elsewhere(self.x, weight):
            out = _Streamed.apply(self.x, weight, self.row_block)
        else:
            out = self.x @ weight
        if self.scale is not None:
            out = out * self.scale.to(out).unsqueeze(1)
        return out if self.matrix is None else spmm(self.matrix, out)

    @classmethod
    def stacked(cls, products: Sequence["FrozenProduct"], rows: Tensor) -> "FrozenProduct":
        """Some rows of several dense products, those of each below those of the one before.

        Args:
            products: each with a dense S X of the same width.
            rows: int64 ``[M]``.
        """
        if any(p.matrix is not None or isinstance(p.x, CSR) for p in products):
            raise ValueError("FrozenProduct.stacked: only dense products can be stacked")
        matrices: list[Tensor] = [p.x for p in products]  # type: ignore[misc]
        size = rows.numel()
        stack = matrices[0].new_empty(len(products) * size, products[0].width)
        for matrix, place in zip(matrices, stack.split(size) if size else (), strict=False):
            torch.index_select(matrix, 0, rows, out=place)
        return cls(None, stack)

    def at(self, rows: Tensor | slice) -> "FrozenProduct":
        """The same for some of the rows, int64 ``[M]``; a slice of dense rows is a view."""
        part = object.__new__(FrozenProduct)
        part.width, part.way, part.row_block = self.width, self.way, self.row_block
        part.scale = None if self.scale is None else self.scale[rows]
        if self.matrix is None:
            part.matrix, part.x = None, select_rows(self.x, rows)  # type: ignore[arg-type]
        else:
            part.matrix, part.x = select_rows(self.matrix, rows), self.x  # type: ignore
        return part


class _Streamed(torch.autograd.Function):
    """X W from some rows of X at a time, brought to where the weight is."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, row_block: int) -> Tensor:  # type: ignore[override]
        ctx.x, ctx.row_block, ctx.like = x, row_block, weight
        out = weight.new_empty(x.size(0), weight.size(1))
        for block, rows in zip(x.split(row_block), out.split(row_block), strict=True):
            torch.mm(block.to(weight), weight, out=rows)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, None]:  # type: ignore[override]
        grad_weight = torch.zeros_like(ctx.like)
        for block, rows in zip(ctx.x.split(ctx.row_block), grad.split(ctx.row_block), strict=True):
            grad_weight.addmm_(block.to(grad).t(), rows)
        return None, grad_weight, None


def _scaled(matrix: CSR | None, x: Tensor | CSR, scale: Tensor) -> tuple[CSR | None, Tensor | CSR]:
    """S diag(scale), X; or, without S, diag(scale) X."""
    if matrix is None:
        return None, scale_rows(x, scale)
    scale = scale.to(matrix.device, scale.dtype if matrix.value is None else matrix.dtype)
    value = matrix.values(scale.dtype) * scale[matrix.col.long()]
    return CSR._trusted(matrix.rowptr, matrix.col, value, matrix.shape, matrix.edge_id), x


def _elsewhere(x: Tensor, weight: Tensor) -> bool:
    """Whether constant features have another type than the weight, or lie on another device."""
    return (x.dtype, x.device) != (weight.dtype, weight.device) and not x.requires_grad


def _cheap_form(x: Tensor | CSR) -> Tensor | CSR:
    """Dense where most values would be stored anyway."""
    if isinstance(x, CSR) and x.nnz * STORED > x.shape[0] * x.shape[1]:
        return x.to_dense()
    return x


def _cheapest(matrix: CSR | None, x: Tensor | CSR) -> Way:
    """By multiply-adds per column of the weight, on stored values counted ``STORED`` times."""
    if matrix is None:
        return "stored" if isinstance(x, CSR) else "dense"
    size, width = matrix.shape[0], int(x.shape[1])
    if isinstance(x, Tensor):
        factored = x.size(0) * width + STORED * matrix.nnz
        return "dense" if size * width <= factored else "factored"
    in_rows = x.rowptr.diff()[matrix.col.long()]  # values of X that each entry of S meets
    sums = in_rows.new_zeros(size).index_add_(0, matrix.row, in_rows)
    costs: dict[Way, int] = {
        "dense": size * width,
        "stored": STORED * int(sums.clamp(max=width).sum()),  # no two of them in one place
        "factored": STORED * (x.nnz + matrix.nnz),
    }
    return min(costs, key=lambda way: costs[way])


def _aggregated(matrix: CSR | None, x: Tensor | CSR, way: Way) -> Tensor | CSR:
    """S X, as :class:`Way` wants it."""
    if isinstance(x, Tensor):
        return x if matrix is None else spmm(matrix, x)
    if matrix is None:
        return x.to_dense() if way == "dense" else x
    if way == "dense":
        return spmm(matrix, x.to_dense())
    from scipy.sparse import csr_matrix

    def scipy(part: CSR) -> csr_matrix:
        arrays = part.values(x.dtype), part.col, part.rowptr
        return csr_matrix(tuple(array.cpu().numpy() for array in arrays), shape=part.shape)

    joined = (scipy(matrix) @ scipy(x)).sorted_indices()
    return CSR(
        torch.from_numpy(joined.indptr.astype(np.int64)).to(x.device),
        torch.from_numpy(joined.indices.astype(np.int32)).to(x.device),
        torch.from_numpy(joined.data).to(x.device),
        joined.shape,
    )
