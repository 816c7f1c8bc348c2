"""Reading TSPLIB: symmetric travelling-salesman instances and tours.

A file is a list of ``KEYWORD : value`` lines, then sections, each a line with its name and numbers
behind it. Source: G. Reinelt, "TSPLIB 95", Universitaet Heidelberg 1995.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from graphseq.files import reading
from graphseq.sequence.data.tsplib_distances import (
    FORMS,
    FUNCTIONS,
    from_coordinates,
    from_weights,
    num_weights,
)

MAX_BYTES = 512 << 20
"""Longest file that is read."""
MAX_CITIES = 100_000
MAX_MATRIX = 5_000
"""Most cities whose distances are held as a matrix, 200 MB."""


@dataclass(frozen=True, eq=False)
class TsplibInstance:
    """A symmetric travelling-salesman instance.

    Args:
        name: As the file says it.
        comment: As the file says it, lines joined.
        num_nodes: Number of cities n.
        weight_type: EDGE_WEIGHT_TYPE, ``"EXPLICIT"`` or how distances follow from coordinates.
        coordinates: ``[n, 2]``, float64; None where the file has none. GEO: degrees.minutes.
        display: ``[n, 2]``, float64, where to draw the cities; None where the file does not say.
        weights: ``[n, n]``, float64, the written distances; None unless they are explicit.
    """

    name: str
    comment: str
    num_nodes: int
    weight_type: str
    coordinates: Tensor | None
    display: Tensor | None
    weights: Tensor | None

    @cached_property
    def distances(self) -> Tensor:
        """Distances ``[n, n]``, float64, with TSPLIB's roundings, zero on the diagonal.

        Raises:
            ValueError: There are more than 5,000 cities.
        """
        if self.weights is not None:
            return self.weights
        if self.num_nodes > MAX_MATRIX:
            raise ValueError(
                f"TsplibInstance: {self.name} has {self.num_nodes} cities, whose matrix is too "
                f"large; distances are computed up to {MAX_MATRIX}"
            )
        assert self.coordinates is not None
        return torch.from_numpy(from_coordinates(self.coordinates.numpy(), self.weight_type))

    def tour_length(self, order: Tensor) -> float:
        """Length of a closed tour ``[n]`` of cities from 0, with TSPLIB's roundings.

        Raises:
            ValueError: It does not visit every city once.
        """
        if not torch.equal(order.sort().values, torch.arange(self.num_nodes)):
            raise ValueError(
                f"TsplibInstance: order must have each of 0 .. {self.num_nodes - 1} once, got "
                f"{order.numel()} cities; leave out the way back"
            )
        return float(self.distances[order, order.roll(-1)].sum())


@dataclass
class _File:
    """The raw content: values by keyword, numbers by section."""

    path: Path
    values: dict[str, str] = field(default_factory=dict)
    sections: dict[str, list[float]] = field(default_factory=dict)

    def get(self, keyword: str, allowed: tuple[str, ...]) -> str:
        value = self.values.get(keyword, "")
        if value not in allowed:
            raise ValueError(
                f"{self.path}: {keyword} is {value!r}; one of {', '.join(allowed)} can be read"
            )
        return value

    def dimension(self) -> int:
        text = self.values.get("DIMENSION", "")
        size = int(text) if text.isdecimal() and len(text) < 10 else 0
        if not 3 <= size <= MAX_CITIES:
            raise ValueError(f"{self.path}: DIMENSION is {text!r}; 3 to {MAX_CITIES} can be read")
        return size

    def array(self, section: str, count: int) -> np.ndarray:
        numbers = self.sections.get(section, [])
        if len(numbers) != count:
            raise ValueError(
                f"{self.path}: {section} has {len(numbers)} numbers, but {count} were expected; is "
                "the file complete?"
            )
        return np.array(numbers)


def read_tsplib(path: Path | str) -> TsplibInstance:
    """Read a ``.tsp`` file.

    Args:
        path: A file of TYPE TSP, with EDGE_WEIGHT_TYPE EUC_2D, CEIL_2D, ATT, GEO, MAN_2D or
            MAX_2D, or EXPLICIT with any EDGE_WEIGHT_FORMAT of a matrix.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is too long, not of the format, of another type, or incomplete.
    """
    file = _read(Path(path))
    file.get("TYPE", ("TSP",))
    size = file.dimension()
    kind = file.get("EDGE_WEIGHT_TYPE", ("EXPLICIT", *FUNCTIONS))
    explicit = kind == "EXPLICIT"
    given = not explicit or "NODE_COORD_SECTION" in file.sections
    shown = "DISPLAY_DATA_SECTION" in file.sections
    return TsplibInstance(
        name=file.values.get("NAME", Path(path).stem),
        comment=file.values.get("COMMENT", ""),
        num_nodes=size,
        weight_type=kind,
        coordinates=_places(file, "NODE_COORD_SECTION", size) if given else None,
        display=_places(file, "DISPLAY_DATA_SECTION", size) if shown else None,
        weights=_weights(file, size) if explicit else None,
    )


def read_tsplib_tour(path: Path | str) -> Tensor:
    """Read the first tour of a ``.tour`` file.

    Returns:
        ``[n]``, int64, cities from 0 in order of visit; the way back is not written.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is too long, not of the format, of another type, or its first tour
            does not visit every city once.
    """
    file = _read(Path(path))
    file.get("TYPE", ("TOUR",))
    numbers = file.sections.get("TOUR_SECTION", [])
    end = numbers.index(-1) if -1 in numbers else len(numbers)
    size = file.dimension() if "DIMENSION" in file.values else end
    if sorted(numbers[:end]) != list(range(1, size + 1)) or not end:
        raise ValueError(
            f"{file.path}: the tour must visit each of the cities 1 .. {size} once, but has {end} "
            "entries; is the file complete?"
        )
    return torch.tensor(numbers[:end]).long() - 1


def _places(file: _File, section: str, size: int) -> Tensor:
    """Coordinates ``[n, 2]`` from lines of a city's number and its place."""
    rows = file.array(section, 3 * size).reshape(size, 3)
    order = rows[:, 0].argsort(kind="stable")
    if not np.array_equal(rows[order, 0], np.arange(1, size + 1)):
        raise ValueError(f"{file.path}: {section} must have each of the cities 1 .. {size} once")
    return torch.from_numpy(rows[order, 1:].copy())


def _weights(file: _File, size: int) -> Tensor:
    form = file.get("EDGE_WEIGHT_FORMAT", FORMS)
    if size > MAX_MATRIX:
        raise ValueError(
            f"{file.path}: DIMENSION is {size}; matrices of up to {MAX_MATRIX} cities can be read"
        )
    out = from_weights(file.array("EDGE_WEIGHT_SECTION", num_weights(size, form)), size, form)
    if (out < 0).any() or not np.array_equal(out, out.T):
        raise ValueError(f"{file.path}: distances must be symmetric and not negative")
    return torch.from_numpy(out)


def _read(path: Path) -> _File:
    """Keywords and sections of a file, up to EOF."""
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path} is longer than {MAX_BYTES} bytes; is it the right file?")
    with reading(path, "text file"):
        lines = path.read_text(encoding="latin-1").splitlines()  # comments have umlauts
    file = _File(path)
    section: list[float] | None = None
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if text == "EOF":
            break
        if text[:1].isalpha():
            section = _keyword(file, text, f"{path}, line {number}")
        elif text and section is not None:
            section.extend(_numbers(text, f"{path}, line {number}"))
        elif text:
            raise ValueError(f"{path}, line {number}: must begin with a keyword, got {text[:40]!r}")
    return file


def _keyword(file: _File, text: str, where: str) -> list[float] | None:
    """Takes a line that begins with a word; the list to fill where it opens a section."""
    keyword, colon, value = (part.strip() for part in text.partition(":"))
    if keyword.endswith("_SECTION"):
        if keyword in file.sections:
            raise ValueError(f"{where}: {keyword} comes twice; keep one")
        return file.sections.setdefault(keyword, [])
    if not colon:
        raise ValueError(f"{where}: must be KEYWORD : value or a section's name, got {text[:40]!r}")
    before = file.values.get(keyword)
    file.values[keyword] = f"{before} {value}" if before and keyword == "COMMENT" else value
    return None


def _numbers(text: str, where: str) -> list[float]:
    try:
        numbers = [float(word) for word in text.split()]
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"{where}: a number is not finite")
    return numbers
