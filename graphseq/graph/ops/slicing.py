"""Parts of sparse matrices, and their rows brought to length 1."""

import torch
from torch import Tensor

from graphseq.graph.csr import CSR
from graphseq.graph.sorting import pointers

_PIECE = 1 << 24  # numbers read at a time


def select_rows(x: Tensor | CSR, rows: Tensor | None) -> Tensor | CSR:
    """Rows of a dense or sparse matrix in the order given; ``None`` means all.

    Args:
        x: ``[N, F]``.
        rows: int64 ``[R]``, in ``0 .. N - 1``, which the caller has checked.

    Shape:
        x ``[N, F]`` -> ``[R, F]``. Entries of a sparse result are numbered anew.
    """
    if rows is None:
        return x
    if isinstance(x, Tensor):
        return x[rows]
    count = x.rowptr.diff()[rows]
    rowptr = torch.cat([count.new_zeros(1), count.cumsum(0)])
    start = (x.rowptr[rows] - rowptr[:-1]).repeat_interleave(count)
    entries = start + torch.arange(start.numel(), device=start.device)
    return _entries(x, rowptr, entries, (rows.numel(), x.shape[1]))


def select_columns(matrix: CSR, begin: int, end: int) -> CSR:
    """The columns ``begin .. end - 1`` of ``[R, C]`` as ``[R, end - begin]``.

    Args:
        matrix: sparse ``[R, C]``.
        begin: first column.
        end: one past the last.
    """
    if (begin, end) == (0, matrix.shape[1]):
        return matrix
    entries = ((matrix.col >= begin) & (matrix.col < end)).nonzero()[:, 0]
    rowptr = pointers(matrix.row[entries], matrix.shape[0])
    part = _entries(matrix, rowptr, entries, (matrix.shape[0], end - begin))
    if begin == 0:
        return part
    return CSR._trusted(part.rowptr, part.col - begin, part.value, part.shape, part.edge_id)


def scale_rows(x: Tensor | CSR, scale: Tensor) -> Tensor | CSR:
    """``diag(scale) x`` for ``x [N, F]`` and ``scale [N]``."""
    if isinstance(x, Tensor):
        return x * scale.unsqueeze(1)
    value = x.values(scale.dtype) * scale.repeat_interleave(x.rowptr.diff())
    return CSR._trusted(x.rowptr, x.col, value, x.shape, x.edge_id)


def square_norms(x: Tensor | CSR) -> Tensor:
    """The squared length of each row ``[N]``, in float32 at least; stored entries do not repeat.

    A dense matrix is read in pieces, for it may be mapped from a file.
    """
    with torch.autocast(x.device.type, enabled=False):
        if isinstance(x, Tensor):
            dtype = torch.promote_types(x.dtype, torch.float32)
            rows = max(1, _PIECE // max(1, x.size(1)))
            norms = [torch.linalg.vector_norm(p, dim=1, dtype=dtype) for p in x.split(rows)]
            return torch.cat(norms).square() if norms else x.new_zeros(0, dtype=dtype)
        square = x.values(torch.promote_types(x.dtype, torch.float32)).square()
        return square.new_zeros(x.shape[0]).index_add_(0, x.row, square)


def unit_scale(x: Tensor | CSR, eps: float = 1e-8) -> Tensor:
    """The factor ``[N]`` that brings each row to length 1; a row of zeros stays one."""
    return 1.0 / (square_norms(x).sqrt() + eps)


def unit_rows(x: Tensor) -> Tensor:
    """Each row brought to length 1; a row of zeros stays one."""
    return x * unit_scale(x).unsqueeze(1)


def _entries(matrix: CSR, rowptr: Tensor, entries: Tensor, shape: tuple[int, int]) -> CSR:
    value = None if matrix.value is None else matrix.value[entries]
    order = torch.arange(entries.numel(), device=entries.device)
    return CSR._trusted(rowptr, matrix.col[entries], value, shape, order)
