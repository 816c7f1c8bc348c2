"""Reading tables of numbers that people write by hand, with errors that name the line."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import numpy as np

from graphseq.files import reading


def read_numbers(
    path: Path | str, dtype: type[np.integer] | type[np.floating], *, columns: int | None = None
) -> np.ndarray:
    """Read a text table, plain or gzipped: commas or spaces, ``#`` comments, an optional header.

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
        with _open(path) as file:
            lines = _data_lines(file)
            number, first = next(lines, (0, ""))
            if number and not _is_numeric(first):  # a header
                number, first = next(lines, (0, ""))
        if not number:
            raise ValueError(f"{path} holds no lines of numbers; is it the right file?")
        delimiter = "," if "," in first else None
        columns = columns or len(first.split(delimiter))
        try:
            with _open(path) as file:
                table = np.loadtxt(
                    file, dtype, delimiter=delimiter, skiprows=number - 1, ndmin=2, encoding=None
                )
        except ValueError as error:
            raise ValueError(_first_fault(path, number, columns, delimiter, dtype)) from error
        if table.shape[1] != columns:
            raise ValueError(_first_fault(path, number, columns, delimiter, dtype))
    return table


def line_of_row(path: Path | str, row: int) -> int:
    """Line number, counted from 1, of a row of the table that :func:`read_numbers` returned."""
    with _open(path) as file:
        lines = [(number, line) for number, line in _data_lines(file)]
    if not _is_numeric(lines[0][1]):
        lines = lines[1:]
    return lines[row][0]


def read_words(path: Path | str) -> list[tuple[int, str]]:
    """Line number and content of each line, without comments and empty lines.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not text.
    """
    with reading(path, "text file"), _open(path) as file:
        return list(_data_lines(file))


def _open(path: Path | str) -> TextIO:
    # utf-8-sig: spreadsheets put a mark at the beginning of the csv files that they export.
    if str(path).endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8-sig")
    return open(path, encoding="utf-8-sig")


def _data_lines(file: TextIO) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(file, start=1):
        content = line.partition("#")[0].strip()
        if content:
            yield number, content


def _is_numeric(line: str) -> bool:
    try:
        [float(word) for word in line.replace(",", " ").split()]
    except ValueError:
        return False
    return True


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
    with _open(path) as file:
        for number, line in _data_lines(file):
            words = line.split(delimiter)
            if number < start:
                continue
            if len(words) != columns:
                return f"{path}, line {number}: {len(words)} columns, expected {columns}"
            for word in words:
                try:
                    convert(word)
                except ValueError:
                    return f"{path}, line {number}: {word.strip()!r} is not {kind}"
    return f"{path} holds a number that does not fit into {dtype.__name__}"
