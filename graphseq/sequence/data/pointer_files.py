"""The text format in which the data of Pointer Networks were published.

One instance a line, 1-based pointers, loops closed, no stop symbol::

    x1 y1 x2 y2 ... xn yn output i1 i2 ... i1
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from graphseq.files import atomic_write_text, reading
from graphseq.sequence.data.point_sets import STOP, Kind, PointSets
from graphseq.sequence.data.sequence_data import IGNORED

MAX_BYTES = 8 << 30
"""Longest file that is read."""
MAX_POINTS = 1000
MAX_TARGETS = 10 * MAX_POINTS
_PIECE = 1 << 14  # lines turned into arrays together
_MARK = "output"


class PointerFile(NamedTuple):
    """What a file says.

    Args:
        points: ``[N, n, 2]``, float64, 0 behind an instance's length.
        targets: ``[N, M]``, int64, the stop symbol 0 behind what the line has, then -100.
        lengths: ``[N]``, int64.
    """

    points: Tensor
    targets: Tensor
    lengths: Tensor


def read_pointer_file(path: Path | str, *, max_instances: int | None = None) -> PointerFile:
    """Read a file of the published format.

    Args:
        path: A text file.
        max_instances: Read no more lines than this; None: all.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is too long, has no instance, or a line is not of the format; the
            message names file and line.
    """
    path = Path(path)
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path} is longer than {MAX_BYTES} bytes; is it the right file?")
    pieces: list[PointerFile] = []
    lines: list[tuple[list[float], list[int]]] = []
    read = 0
    with reading(path, "text file"), open(path, encoding="ascii") as file:
        # Bounded, so that a file without line ends is not read into one string.
        while max_instances is None or read < max_instances:
            text = file.readline(64 * (MAX_POINTS + MAX_TARGETS))
            if not text:
                break
            read += 1
            lines.append(_parsed(text, f"{path}, line {read}"))
            if len(lines) == _PIECE:
                pieces.append(_arrays(lines))
                lines = []
    if lines:
        pieces.append(_arrays(lines))
    if not pieces:
        raise ValueError(f"{path} holds no instance; is it the right file?")
    return _joined(pieces)


def _parsed(text: str, where: str) -> tuple[list[float], list[int]]:
    """Coordinates and pointers of a line."""
    before, mark, behind = text.partition(_MARK)
    coordinates, pointers = before.split(), behind.split()
    if not mark or not coordinates or len(coordinates) % 2 or not pointers:
        raise ValueError(f"{where}: must be 'x1 y1 ... {_MARK} i1 i2 ...', got {_short(text)}")
    num = len(coordinates) // 2
    if num > MAX_POINTS or len(pointers) > MAX_TARGETS:
        raise ValueError(
            f"{where}: has {num} points and {len(pointers)} pointers; at most {MAX_POINTS} and "
            f"{MAX_TARGETS} can be read"
        )
    try:
        numbers, indices = [float(word) for word in coordinates], [int(word) for word in pointers]
    except ValueError as error:
        raise ValueError(f"{where}: {error}; the line is {_short(text)}") from None
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"{where}: a coordinate is not finite; the line is {_short(text)}")
    if min(indices) < 1 or max(indices) > num:
        raise ValueError(
            f"{where}: pointers must lie in 1 .. {num}, got {min(indices)} .. {max(indices)}; "
            "count points from 1 and leave the stop symbol out"
        )
    return numbers, indices


def _short(text: str) -> str:
    text = text.rstrip("\n")
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _arrays(lines: list[tuple[list[float], list[int]]]) -> PointerFile:
    lengths = np.array([len(numbers) // 2 for numbers, _ in lines])
    points = np.zeros((len(lines), int(lengths.max()) * 2))
    longest = max(len(indices) for _, indices in lines)
    targets = np.full((len(lines), longest + 1), IGNORED)
    for row, (numbers, indices) in enumerate(lines):
        points[row, : len(numbers)] = numbers
        targets[row, : len(indices) + 1] = [*indices, STOP]
    return PointerFile(
        torch.from_numpy(points).unflatten(1, (-1, 2)),
        torch.from_numpy(targets),
        torch.from_numpy(lengths),
    )


def _joined(pieces: list[PointerFile]) -> PointerFile:
    """The pieces one behind the other, padded to common widths."""
    most = max(piece.points.shape[1] for piece in pieces)
    longest = max(piece.targets.shape[1] for piece in pieces)
    pad = torch.nn.functional.pad
    return PointerFile(
        torch.cat([pad(p.points, (0, 0, 0, most - p.points.shape[1])) for p in pieces]),
        torch.cat(
            [pad(p.targets, (0, longest - p.targets.shape[1]), value=IGNORED) for p in pieces]
        ),
        torch.cat([piece.lengths for piece in pieces]),
    )


def write_pointer_file(
    path: Path | str, points: Tensor, targets: Tensor, lengths: Tensor | None = None
) -> None:
    """Write a file of the published format; coordinates come back exactly when it is read.

    Args:
        path: The target; it is whole or unchanged.
        points: ``[N, n, 2]``, float32 or float64.
        targets: ``[N, M]``, int64, 1-based; what comes before the first 0 or -100 is written.
        lengths: ``[N]``, where numbers of points differ.

    Raises:
        ValueError: Shapes do not fit, or a target has no pointer.
        OSError: The file cannot be written.
    """
    rows = (len(points),) if lengths is None else (len(points), len(lengths))
    if points.dim() != 3 or points.shape[2] != 2 or targets.dim() != 2 or {*rows} != {len(targets)}:
        raise ValueError(
            f"write_pointer_file: points must be [N, n, 2], targets [N, M] and lengths [N], got "
            f"{tuple(points.shape)}, {tuple(targets.shape)} and "
            f"{None if lengths is None else tuple(lengths.shape)}"
        )
    # As many digits as tell all numbers of the dtype apart.
    digits = 9 if points.dtype == torch.float32 else 17
    sizes = [points.shape[1]] * len(points) if lengths is None else lengths.tolist()
    counts = (targets > 0).cumprod(1).sum(1).tolist()
    if 0 in counts:
        raise ValueError(
            f"write_pointer_file: target {counts.index(0)} has no pointer; leave the instance out"
        )
    lines = []
    for instance, target, size, count in zip(points, targets, sizes, counts, strict=True):
        numbers = " ".join(f"{number:.{digits}g}" for number in instance[:size].ravel().tolist())
        lines.append(f"{numbers} {_MARK} {' '.join(map(str, target[:count].tolist()))}\n")
    atomic_write_text(path, "".join(lines))


def pointer_files(
    *,
    kind: Kind,
    train: Path | str,
    test: Path | str,
    val: Path | str | None = None,
    num_val: int | None = None,
) -> PointSets:
    """A problem from files of the published format, points rounded to float32.

    Args:
        kind: What the targets are: ``"hull"``, ``"delaunay"`` or ``"tour"``.
        train: File to learn from.
        test: File to test.
        val: File to validate; None: the last lines of ``train``.
        num_val: How many lines of ``train`` validate where there is no ``val``; None: 5 %.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A file is not of the format, a line is no answer of the kind, or ``num_val``
            leaves nothing to learn from.
    """
    files = [read_pointer_file(path) for path in (train, *([] if val is None else [val]), test)]
    sizes = [len(file.lengths) for file in files]
    if val is None:
        held = max(1, sizes[0] // 20) if num_val is None else num_val
        if not 1 <= held < sizes[0]:
            raise ValueError(
                f"pointer_files: num_val is {held}, but {train} has {sizes[0]} instances; pass 1 "
                "or more and leave some to learn from"
            )
        sizes = [sizes[0] - held, held, sizes[1]]
    every = _joined(files)
    parts = torch.arange(sum(sizes)).split(sizes)
    equal = bool((every.lengths == every.points.shape[1]).all())
    return PointSets(
        points=every.points.float(),
        targets=every.targets,
        train=parts[0],
        val=parts[1],
        test=parts[2],
        kind=kind,
        lengths=None if equal else every.lengths,
        name=Path(train).stem,
    )
