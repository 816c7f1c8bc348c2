"""Dropout of a graph's stored edges, each direction by itself.

Whether an edge ``i <- j`` stays is a hash of the seed and ``i N + j``, see
:mod:`graphseq.graph.ops.dropout`. So the mask of the transposed matrix, which a gradient needs, is
computed where it is needed: on a symmetric graph nothing is sorted and nothing is looked up.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from graphseq.graph.csr import CSR
from graphseq.graph.ops.dropout import (
    draw_seed,
    hash_of,
    hash_torch,
    mask_numbers,
    scale_of,
    threshold_of,
)
from graphseq.graph.ops.spmm import (
    Backend,
    check_dense,
    compute_dtype,
    product,
    restore_dtype,
    use_numba,
)
from graphseq.kernels import kernel, prange


def edge_weights(
    graph: CSR,
    p: float,
    seed: int,
    dtype: torch.dtype = torch.float32,
    *,
    transposed: bool = False,
    backend: Backend = "auto",
) -> Tensor:
    """Weight of each stored entry: 0 with probability ``p``, else ``1 / (1 - p)``.

    Args:
        graph: sparse ``[N, N]``.
        p: probability in ``[0, 1]``.
        seed: any integer, see :func:`~graphseq.graph.ops.dropout.dropout`.
        dtype: of the result.
        transposed: gives entry (i, j) the weight of (j, i).
        backend: "numba" or "torch"; "auto" takes numba on the CPU outside ``torch.compile``.

    Returns:
        ``[nnz]``.

    Raises:
        ValueError: if ``p`` is not a probability.
    """
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"edge_weights: p is {p}; pass a probability between 0 and 1")
    if not use_numba(backend, graph.col):
        row, col = graph.row, graph.col.long()
        position = col * graph.shape[0] + row if transposed else row * graph.shape[1] + col
        kept = hash_torch(position, seed) >= threshold_of(p)
        return kept.to(dtype) * scale_of(p)
    out = torch.empty(graph.nnz, dtype=dtype)
    numbers = mask_numbers(p, seed)
    scale = out.numpy().dtype.type(scale_of(p))
    _weights(*graph.arrays(), transposed, *numbers, scale, out.numpy(), work=4 * graph.nnz)
    return out


def dropped_product(
    graph: CSR, x: Tensor, p: float, seed: int, *, backend: Backend = "auto"
) -> Tensor:
    """``M x``, where M is a symmetric graph after edge dropout; differentiable in ``x``.

    Args:
        graph: sparse ``[N, N]``, symmetric, without values; M need not be symmetric.
        x: dense floating ``[N, D]``.
        p: probability in ``[0, 1]``.
        seed: see :func:`edge_weights`.
        backend: "numba" or "torch"; "auto" takes numba on the CPU outside ``torch.compile``.

    Raises:
        ValueError: if shapes or devices do not fit, or ``p`` is not a probability.
        TypeError: if ``x`` is not floating.
    """
    check_dense("dropped_product", "x", x, graph.shape[1], graph.device)
    with torch.autocast(x.device.type, enabled=False):
        out = _DroppedProduct.apply(graph, x.to(compute_dtype(x)), p, seed, backend)
    return restore_dtype(out, x)


def drop_edges(graph: CSR, p: float, seed: int | None = None, *, backend: Backend = "auto") -> CSR:
    """The graph without the dropped entries, and without weights.

    Args:
        graph: sparse ``[N, N]``, no entry twice.
        p: probability in ``[0, 1]``.
        seed: see :func:`edge_weights`; None draws one from torch's default CPU generator.
        backend: "numba" or "torch"; "auto" takes numba on the CPU outside ``torch.compile``.

    Raises:
        ValueError: if ``p`` is not a probability.
    """
    seed = draw_seed() if seed is None else seed
    kept = edge_weights(graph, p, seed, backend=backend) > 0
    before = torch.cat([graph.rowptr.new_zeros(1), kept.cumsum(0)])
    dropped = CSR._trusted(
        before[graph.rowptr], graph.col[kept], None, graph.shape, graph.edge_id[kept]
    )
    dropped._derived["distinct"] = True
    return dropped


class _DroppedProduct(torch.autograd.Function):
    """Saves the seed; the weights of both directions are computed when they are needed."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, graph: CSR, x: Tensor, p: float, seed: int, backend: Backend
    ) -> Tensor:
        ctx.settings = graph, p, seed, backend
        return _weighted(False, x.detach(), graph, p, seed, backend)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        grad_x = _weighted(True, grad, *ctx.settings)
        return None, grad_x, None, None, None


def _weighted(
    transposed: bool, x: Tensor, graph: CSR, p: float, seed: int, backend: Backend
) -> Tensor:
    weight = edge_weights(graph, p, seed, x.dtype, transposed=transposed, backend=backend)
    if use_numba(backend, x):
        return product(graph, x, weight)
    matrix = CSR._trusted(graph.rowptr, graph.col, weight, graph.shape, graph.edge_id)
    return matrix.to_torch(x.dtype) @ x


@kernel(parallel=True)
def _weights(
    groups: Any, rowptr: Any, col: Any, transposed: bool, a: Any, b: Any, threshold: Any,
    scale: Any, out: Any,
) -> None:  # fmt: skip
    zero, num_nodes = out.dtype.type(0), np.int64(rowptr.shape[0] - 1)
    for group in prange(groups.shape[0] - 1):
        for i in range(groups[group], groups[group + 1]):
            for e in range(rowptr[i], rowptr[i + 1]):
                j = np.int64(col[e])
                position = j * num_nodes + i if transposed else i * num_nodes + j
                low, high = np.uint32(position), np.uint32(b + np.uint32(position >> 32))
                h = hash_of(low, a, high)
                out[e] = scale if h >= threshold else zero
