"""Compiled loops of :mod:`graphseq.sequence.ops.pointing`, which has the equations.

A task is one part of the queries of one sequence. The loops over channels have no function calls
and at most two arrays that they write, so they become vector code; a division per term is left.
"""

from typing import Any

from graphseq.kernels import kernel, prange


@kernel(parallel=True)
def forward_pass(b: Any, a: Any, v: Any, parts: int, out: Any) -> None:
    """Fills ``out [B, M, N]`` from ``b = exp(2 q)``, ``a = exp(2 k)`` and v."""
    batch, rows, columns = out.shape
    for task in prange(batch * parts):
        s, part = task // parts, task % parts
        for i in range(part * rows // parts, (part + 1) * rows // parts):
            for j in range(columns):
                out[s, i, j] = _score(b[s, i], a[s, j], v)


@kernel(parallel=True)
def backward_pass(
    b: Any, a: Any, grad: Any, row: Any, grad_b: Any, grad_a: Any, grad_v: Any
) -> None:
    """Adds up the gradients, without their common factors.

    For each pair, with r = 1 / (1 + a b): ``grad_b [B, M, H]`` and ``grad_a [B, P, N, H]`` receive
    g r (1 - r), ``grad_v [B P, H]`` receives g r; P are the parts of the queries. ``row`` is
    memory for one r of each task.
    """
    rows, columns, parts = b.shape[1], a.shape[1], grad_a.shape[1]
    for task in prange(b.shape[0] * parts):
        s, part = task // parts, task % parts
        for i in range(part * rows // parts, (part + 1) * rows // parts):
            for j in range(columns):
                g = grad[s, i, j]
                if g != 0:  # as of keys that are masked
                    _inverses(b[s, i], a[s, j], g, row[task], grad_v[task])
                    _add_slopes(row[task], g, grad_b[s, i], grad_a[s, part, j])


@kernel()
def _score(b: Any, a: Any, v: Any) -> Any:
    total = v.dtype.type(0)
    for h in range(v.shape[0]):
        x = a[h] * b[h]
        total += v[h] * ((x - v.dtype.type(1)) / (x + v.dtype.type(1)))
    return total


@kernel()
def _inverses(b: Any, a: Any, g: Any, row: Any, grad_v: Any) -> None:
    one = row.dtype.type(1)
    for h in range(row.shape[0]):
        row[h] = one / (one + a[h] * b[h])
        grad_v[h] += g * row[h]


@kernel()
def _add_slopes(row: Any, g: Any, grad_b: Any, grad_a: Any) -> None:
    for h in range(row.shape[0]):
        slope = g * (row[h] - row[h] * row[h])
        grad_b[h] += slope
        grad_a[h] += slope
