"""Rows of a sparse matrix replaced by samples that keep their sums on average."""

import torch
from torch import Tensor

from graphseq.graph.csr import CSR
from graphseq.graph.ops.pairs import expand


def sample_rows(matrix: CSR, k: int, generator: torch.Generator | None = None) -> CSR:
    """Replaces each row of n > k entries by k draws with replacement, each weighted n / k.

    A row sum over the sample is right on average. Equal draws are added up. Rows of at most k
    entries stay as they are, with weight 1.

    Args:
        matrix: sparse ``[R, C]``.
        k: at least 1.
        generator: of any device; None takes the default one of the matrix's device.

    Returns:
        Sparse ``[R, C]`` whose value is the weight (times the matrix's own value, if it has one).

    Raises:
        ValueError: if ``k`` is below 1.
    """
    if k < 1:
        raise ValueError(f"sample_rows: k is {k}; pass at least 1 draw per row")
    size = matrix.rowptr.diff()
    long = (size > k).nonzero().squeeze(1)
    draws, weight = _draw(matrix.rowptr[long], size[long], k, generator)
    short = torch.where(size > k, 0, 1).nonzero().squeeze(1)
    _, kept = expand(matrix, short)
    position, order = torch.cat([kept, draws]).sort()
    weight = torch.cat([weight.new_ones(kept.numel()), weight])[order].to(matrix.dtype)
    if matrix.value is not None:
        weight = weight * matrix.value[position]
    # Positions ascend, so a new row begins where its first surviving position is.
    rowptr = torch.searchsorted(position, matrix.rowptr)
    edge_id = torch.arange(position.numel(), device=matrix.device)
    return CSR._trusted(rowptr, matrix.col[position], weight, matrix.shape, edge_id)


def _draw(
    start: Tensor, size: Tensor, k: int, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Stored positions drawn in some rows, each once, with their weights (float64)."""
    source = start.device if generator is None else generator.device
    uniform = torch.rand(len(start), k, dtype=torch.float64, generator=generator, device=source)
    uniform = uniform.to(start.device)
    inside = (uniform * size.unsqueeze(1)).long().minimum(size.unsqueeze(1) - 1)
    flat = (start.unsqueeze(1) + inside).flatten()
    position, slot, count = flat.unique(return_inverse=True, return_counts=True)
    each = torch.zeros(len(position), dtype=torch.float64, device=start.device)
    each[slot] = (size.double() / k).repeat_interleave(k)
    return position, count * each
