"""Reading pairs of node ids as people export them: numbers or names, with errors naming the line.

What decides is written down here and nowhere else. Columns are separated by commas, semicolons,
tabs or spaces, whichever the first line has. The first line is a header if its names are known
(``source,target`` and the like, see :data:`HEADERS`), or if it has no number and all lines below
have nothing else; any other first line is a pair. Exactly two columns are read, unless a header
with known names says which two of more.
"""

from __future__ import annotations

import re
import warnings
from array import array
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from graphseq.files import load_npy, reading
from graphseq.graph.data.id_lines import NUMBER, id_rows
from graphseq.graph.data.own_graph import node_pairs

HEADERS = (
    *(("source", "target"), ("src", "dst"), ("src", "dest"), ("from", "to"), ("head", "tail")),
    *(("start", "end"), ("node1", "node2"), ("id1", "id2"), ("u", "v")),
)
"""Names of the two columns; capitals, ``_`` and an ending ``id`` or ``node`` make no difference."""

_DECIMAL = re.compile(r"[0-9]+\.0*")
_PLAIN = re.compile(r"0|[1-9][0-9]*")
_EXACT = 2**53  # floats above have lost digits


class IdTable(NamedTuple):
    """The pairs of a file.

    Args:
        ids: the different ids; whole numbers ascend, names come as they appeared.
        pairs: positions in ``ids``, int64 ``[2, E]``.
        lines: line number where each id appeared first; 0 in an npy file.
        numeric: whether all ids are whole numbers.
    """

    ids: list[str]
    pairs: np.ndarray
    lines: list[int]
    numeric: bool


def read_id_table(path: Path | str) -> IdTable:
    """Read pairs of ids from text, plain or gzipped, or from an npy array ``[2, E]``.

    Whole numbers are told by their value: ``0``, ``0.0`` and ``"0"`` are one id. As soon as one id
    is no number, or begins with a needless 0, all are names and are told by their text.

    Raises:
        FileNotFoundError: There is no such file.
        TypeError: An npy array does not hold whole numbers.
        ValueError: The file is no text, or a line does not hold two ids.
    """
    path = Path(path)
    if path.suffix == ".npy":
        pairs = node_pairs(load_npy(path), str(path))
        found, where = np.unique(pairs, return_inverse=True)
        ids = [str(number) for number in found.tolist()]
        return _checked(path, IdTable(ids, where.reshape(pairs.shape), [0] * len(ids), True))
    with reading(path, "text table"):
        return _checked(path, _read_text(path))


def _read_text(path: Path) -> IdTable:
    rows = id_rows(path)
    first = next(rows, None)
    if first is None:
        raise ValueError(f"{path} is empty; give two ids per line, such as 0,1")
    columns = _named_columns(first[1])
    texts: dict[str, int] = {}
    lines: list[int] = []
    flat = array("q")
    for line, fields in rows if columns else chain([first], rows):
        if len(fields) != len(first[1]) or (not columns and len(fields) != 2):
            raise ValueError(f"{path}, line {line}: {_columns_fault(fields, first[1], columns)}")
        for column in columns or (0, 1):
            text = fields[column]
            if text in ("", "nan", "NaN"):
                raise ValueError(f"{path}, line {line}: an id is missing; add it or drop the line")
            number = texts.setdefault(text, len(lines))
            if number == len(lines):
                lines.append(line)
            flat.append(number)
    pairs = np.frombuffer(flat, np.int64).reshape(-1, 2) if flat else np.empty((0, 2), np.int64)
    table = IdTable(list(texts), pairs.T, lines, False)
    if columns:
        _refuse_names_that_are_ids(path, first, columns, table)
    elif len(pairs) > 1 and _is_header(table):
        table = IdTable(table.ids[2:], pairs[1:].T - 2, lines[2:], False)
    return table


def _named_columns(fields: list[str]) -> tuple[int, int] | None:
    """Which columns a header names; None where the line is no header with known names."""
    names = [re.sub(r"[^a-z0-9]", "", field.lower()) for field in fields]
    names = [re.sub(r"(?<=.)(nodeid|node|id)$", "", name) for name in names]
    for source, target in HEADERS:
        if names.count(source) == names.count(target) == 1:
            return names.index(source), names.index(target)
    return None


def _columns_fault(fields: list[str], first: list[str], columns: tuple[int, int] | None) -> str:
    if columns:
        return f"{len(fields)} columns, but the header has {len(first)}; quote ids that hold commas"
    if len(fields) > 2 and len(fields) == len(first):
        return (
            f"{len(fields)} columns, expected 2; drop the others, or name the two in a header, "
            "such as source,target,weight"
        )
    return (
        f"{len(fields)} columns, expected 2; separate all ids alike, by comma, semicolon, tab or "
        "space, and quote those that hold one"
    )


def _refuse_names_that_are_ids(
    path: Path, first: tuple[int, list[str]], columns: tuple[int, int], table: IdTable
) -> None:
    line, fields = first
    for column in columns:
        if fields[column] in table.ids:
            again = table.lines[table.ids.index(fields[column])]
            raise ValueError(
                f"{path}, line {line}: {fields[column]!r} is a header's name and, in line {again}, "
                "an id; put # in front of the line if it is a header, or else move it down"
            )


def _is_header(table: IdTable) -> bool:
    """Whether the first pair has no number, and all others have nothing else."""
    own = table.pairs[:, 0].tolist() == [0, 1] and bool((table.pairs[:, 1:] > 1).all())
    return (
        own
        and not any(map(NUMBER.fullmatch, table.ids[:2]))
        and all(map(NUMBER.fullmatch, table.ids[2:]))
    )


def _checked(path: Path, table: IdTable) -> IdTable:
    """The table with whole numbers told by value, or with a word about names that look odd."""
    texts = [_canonical(text) for text in table.ids]
    if all(text is not None and _PLAIN.fullmatch(text) for text in texts):
        return _by_value(table, [int(text or 0) for text in texts])
    table = _with_plain_numbers(table)
    numbers = [bool(NUMBER.fullmatch(text)) for text in table.ids]
    if all(numbers):
        for text, line in zip(table.ids, table.lines, strict=True):
            whole = _canonical(text)
            if whole is None or whole.startswith("-"):
                raise ValueError(
                    f"{path}, line {line}: {text!r} is no node id; ids are whole numbers from 0, "
                    "or names"
                )
    elif any(numbers):
        odd = numbers.index(False)
        warnings.warn(
            f"{path}, line {table.lines[odd]}: {table.ids[odd]!r} is no number, so all ids are "
            "read as names; correct it if it should be one",
            stacklevel=3,
        )
    elif table.pairs.shape[1] > 1 and not (table.pairs[:, 1:] < 2).any():
        warnings.warn(
            f"{path}, line {table.lines[0]}: {', '.join(table.ids[:2])} is read as a pair; if it "
            "is a header, put # in front of it or call its columns source and target",
            stacklevel=3,
        )
    return table


def _canonical(text: str) -> str | None:
    """The digits of a whole number; a number with needless zeros as it is; else None."""
    if re.fullmatch(r"-?[0-9]+", text):
        return text
    if not NUMBER.fullmatch(text):
        return None
    value = float(text)
    return str(int(value)) if value.is_integer() and abs(value) < _EXACT else None


def _with_plain_numbers(table: IdTable) -> IdTable:
    """The table with 3.0 read as 3 among names too, as in a file that has numbers only."""
    names = [re.sub(r"(?<=[0-9])\.0*$", "", t) if _DECIMAL.fullmatch(t) else t for t in table.ids]
    lines: dict[str, int] = {}
    for name, line in zip(names, table.lines, strict=True):
        lines.setdefault(name, line)
    place = {name: number for number, name in enumerate(lines)}
    moved = np.array([place[name] for name in names], np.int64)
    pairs = moved[table.pairs] if names else table.pairs
    return IdTable(list(lines), pairs, list(lines.values()), table.numeric)


def _by_value(table: IdTable, values: list[int]) -> IdTable:
    lines: dict[int, int] = {}
    for value, line in zip(values, table.lines, strict=True):
        lines.setdefault(value, line)
    order = {value: place for place, value in enumerate(sorted(lines))}
    moved = np.array([order[value] for value in values], np.int64)
    pairs = moved[table.pairs] if len(values) else table.pairs
    return IdTable([str(v) for v in order], pairs, [lines[v] for v in order], True)
