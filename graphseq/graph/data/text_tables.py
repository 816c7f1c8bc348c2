"""Reading tables of numbers that people write by hand, with errors that name the line."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import numpy as np

from graphseq.files import reading

_EXACT = 2**53  # floats above have lost digits


def read_numbers(
    path: Path | str, dtype: type[np.integer] | type[np.floating], *, columns: int | None = None
) -> np.ndarray:
    """Read a text table, plain or gzipped.

    Between numbers stand commas, semicolons or white space; numbers may be quoted, and whole ones
    may be written ``3.0``. What follows a ``#`` is a comment. The first line is a header if no
    field of it is a number.

    Args:
        path: The file; it is unpacked if it ends in ``.gz``.
        dtype: Type of the numbers.
        columns: Expected number of columns, or None for any.

    Returns:
        The numbers, ``[rows, columns]``.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The table is empty, or a line is too long, too short or not numeric; the
            message names the file and the line.
    """
    with reading(path, "text table"):
        with open_text(path) as file:
            lines = _data_lines(file)
            number, first = next(lines, (0, ""))
            if number and _is_header(first):
                number, first = next(lines, (0, ""))
        if not number:
            raise ValueError(f"{path} holds no lines of numbers; is it the right file?")
        delimiter = _delimiter(first)
        columns = columns or len(first.split(delimiter))
        try:
            table = _load(path, dtype, delimiter, number - 1)
        except ValueError as error:
            raise ValueError(_first_fault(path, number, columns, delimiter, dtype)) from error
        if table.shape[1] != columns:
            raise ValueError(_first_fault(path, number, columns, delimiter, dtype))
    return table


def line_of_row(path: Path | str, row: int) -> int:
    """Line number, counted from 1, of a row of the table that :func:`read_numbers` returned."""
    with open_text(path) as file:
        lines = [(number, line) for number, line in _data_lines(file)]
    if _is_header(lines[0][1]):
        lines = lines[1:]
    return lines[row][0]


def read_words(path: Path | str) -> list[tuple[int, str]]:
    """Line number and content of each line, without comments and empty lines.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not text.
    """
    with reading(path, "text file"), open_text(path) as file:
        return list(_data_lines(file))


def open_text(path: Path | str) -> TextIO:
    """A text file, unpacked if it ends in ``.gz``."""
    # utf-8-sig: spreadsheets put a mark at the beginning of the csv files that they export.
    if str(path).endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8-sig")
    return open(path, encoding="utf-8-sig")


def _data_lines(file: TextIO) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(file, start=1):
        content = line.partition("#")[0].strip()
        if content:
            yield number, content


def _load(
    path: Path | str,
    dtype: type[np.integer] | type[np.floating],
    delimiter: str | None,
    skip: int,
) -> np.ndarray:
    def load(kind: type[np.integer] | type[np.floating]) -> np.ndarray:
        with open_text(path) as file:
            return np.loadtxt(
                file,
                kind,
                delimiter=delimiter,
                skiprows=skip,
                ndmin=2,
                encoding=None,
                quotechar='"',
            )

    try:
        return load(dtype)
    except ValueError:
        if not issubclass(dtype, np.integer):
            raise
    table = load(np.float64)  # whole numbers as 3.0, which is how a table with gaps is exported
    if not (np.abs(table) < _EXACT).all() or (table % 1 != 0).any():
        raise ValueError("not whole numbers")
    return table.astype(dtype)


def _delimiter(line: str) -> str | None:
    return next((mark for mark in ",;" if mark in line), None)


def _is_header(line: str) -> bool:
    """Whether no field is a number: a line with one is data, perhaps with a slip of the pen."""
    return not any(_is_number(word, float) for word in line.split(_delimiter(line)))


def _is_number(word: str, kind: type[int] | type[float]) -> bool:
    try:
        value = float(word.strip().strip('"'))
    except ValueError:
        return False
    return kind is float or value.is_integer()


def _first_fault(
    path: Path | str,
    start: int,
    columns: int,
    delimiter: str | None,
    dtype: type[np.integer] | type[np.floating],
) -> str:
    """What is wrong with the first line that does not fit."""
    convert = int if issubclass(dtype, np.integer) else float
    kind = "a whole number" if convert is int else "a number"
    with open_text(path) as file:
        for number, line in _data_lines(file):
            words = line.split(delimiter)
            if number < start:
                continue
            if len(words) != columns:
                return (
                    f"{path}, line {number}: {len(words)} columns, expected {columns}; drop what "
                    "is too much, fill what lacks, and separate all alike"
                )
            for word in words:
                if not _is_number(word, convert):
                    return f"{path}, line {number}: {word.strip()!r} is not {kind}"
    return f"{path} holds a number that does not fit into {dtype.__name__}"
