"""How a sequence of pointers is read: 1-based, up to the stop symbol 0, closed or not."""

from __future__ import annotations

import torch
from torch import Tensor


def read_pointers(where: str, name: str, pointers: Tensor) -> Tensor:
    """How many pointers come before the stop symbol in each row.

    A row ends before its first 0 or negative entry; without one, at its end.

    Args:
        where: Opens the messages.
        name: The argument.
        pointers: ``[N, M]``, int64, 1-based.

    Returns:
        Counts ``[N]``, int64.

    Raises:
        TypeError: The pointers are no int64 tensor.
        ValueError: They have another shape.
    """
    if not isinstance(pointers, Tensor) or pointers.dtype != torch.int64:
        got = pointers.dtype if isinstance(pointers, Tensor) else type(pointers).__name__
        raise TypeError(f"{where}: {name} must be an int64 tensor, got {got}; use {name}.long()")
    if pointers.dim() != 2:
        raise ValueError(
            f"{where}: {name} must be [N, M], got shape {tuple(pointers.shape)}; a single row is "
            f"{name}[None]"
        )
    return (pointers > 0).cumprod(1).sum(1)


def read_loops(where: str, name: str, pointers: Tensor) -> tuple[Tensor, Tensor]:
    """Vertices of closed loops, 0 behind them, and their numbers.

    The repeated first pointer that closes a loop is left out; a loop without it is closed too.

    Args:
        where: Opens the messages.
        name: The argument.
        pointers: ``[N, M]``, int64, 1-based.

    Returns:
        Vertices ``[N, M]``, 1-based, and counts ``[N]``.
    """
    count = read_pointers(where, name, pointers)
    if pointers.shape[1] == 0:
        return pointers, count
    last = pointers.gather(1, (count - 1).clamp(min=0)[:, None])[:, 0]
    count = count - ((count > 1) & (last == pointers[:, 0])).long()
    steps = torch.arange(pointers.shape[1], device=pointers.device)
    return pointers.masked_fill(steps >= count[:, None], 0), count


def check_rows(where: str, first: Tensor, second: Tensor, names: tuple[str, str]) -> None:
    """Refuses two tensors of different numbers of rows.

    Raises:
        ValueError: Naming both.
    """
    if len(first) != len(second):
        raise ValueError(
            f"{where}: {names[0]} has {len(first)} rows, {names[1]} has {len(second)}; give one "
            "each"
        )


def check_points(where: str, points: Tensor) -> None:
    """Refuses what is not ``[N, n, 2]`` of real numbers.

    Raises:
        TypeError: Another type.
        ValueError: Another shape.
    """
    if not isinstance(points, Tensor) or not points.is_floating_point():
        got = points.dtype if isinstance(points, Tensor) else type(points).__name__
        raise TypeError(f"{where}: points must be a float tensor, got {got}; use points.float()")
    if points.dim() != 3 or points.shape[2] != 2:
        raise ValueError(
            f"{where}: points must be [N, n, 2], got shape {tuple(points.shape)}; one instance is "
            "points[None]"
        )


def coordinates(points: Tensor, vertices: Tensor) -> Tensor:
    """Float64 coordinates ``[N, M, 2]`` of 1-based vertices; any point where a pointer has none."""
    places = (vertices - 1).clamp(min=0, max=points.shape[1] - 1)
    return points.double().gather(1, places[:, :, None].expand(-1, -1, 2))


def distinct(vertices: Tensor) -> Tensor:
    """Whether no vertex comes twice in a row ``[N]``; zeros do not count."""
    ordered = vertices.sort(1).values
    return ~((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] > 0)).any(1)


def sizes_of(points: Tensor, lengths: Tensor | None) -> Tensor:
    """True numbers of points ``[N]``."""
    if lengths is not None:
        return lengths
    return torch.full((len(points),), points.shape[1], device=points.device)
