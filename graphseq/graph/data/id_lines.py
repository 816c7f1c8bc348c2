"""The lines of a file of ids cut into fields: separators, quotes and comments."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TextIO

from graphseq.graph.data.text_tables import open_text

NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?")


def id_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and fields of each line, without comments and empty lines."""
    number = 0

    def kept(file: TextIO) -> Iterator[str]:
        nonlocal number
        for number, line in enumerate(file, start=1):  # noqa: B007 (read where the fields are)
            content = line.strip()
            if content and not content.startswith("#"):
                yield content

    with open_text(path) as file:
        lines = kept(file)
        first = next(lines, None)
        if first is None:
            return
        mark = _separator(first)
        try:
            reader = csv.reader(
                chain([first], lines), delimiter=mark, skipinitialspace=True, strict=True
            )
            for count, fields in enumerate(reader, start=1):
                if reader.line_num != count:
                    raise ValueError(
                        f"{path}, line {number}: a quoted id ends in a later line than it begins; "
                        "close its quotes, and leave line breaks out of ids"
                    )
                yield number, _without_comment([field.strip() for field in fields], mark)
        except csv.Error as error:
            raise ValueError(f"{path}, line {number}: {error}; check its quotes") from error


def _separator(line: str) -> str:
    bare = re.sub(r'"[^"]*"', "", line)
    if "\t" in bare and not re.search(r"[,;] *\t", bare):
        return "\t"
    return next((mark for mark in ";," if mark in bare), " ")


def _without_comment(fields: list[str], separator: str) -> list[str]:
    """``0 1 # note``; a name may hold a #, so that after a comma only a number is cut off."""
    if separator == " ":
        return fields[: next((i for i, f in enumerate(fields) if f.startswith("#")), len(fields))]
    number, mark, _ = fields[-1].partition("#")
    return [*fields[:-1], number.strip()] if mark and NUMBER.fullmatch(number.strip()) else fields
