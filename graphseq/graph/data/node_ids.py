"""A user's names of the nodes, and the numbers 0 .. N-1 that models count by."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from graphseq.files import atomic_write_text, reading
from graphseq.graph.data.id_tables import IdTable


class NodeIds:
    """The id of each node, both ways.

    Args:
        ids: N different ids; the node's number is the position.
    """

    def __init__(self, ids: Sequence[str]) -> None:
        self.ids = list(ids)
        self._numbers = {name: number for number, name in enumerate(self.ids)}

    def __len__(self) -> int:
        return len(self.ids)

    def numbers(self, table: IdTable, where: str) -> np.ndarray:
        """Pairs as node numbers, int64 ``[2, E]``.

        Args:
            table: what :func:`~graphseq.graph.data.id_tables.read_id_table` returned.
            where: its file, for the message.

        Raises:
            ValueError: an id is not among the nodes; the message names the line.
        """
        found = np.array([self._numbers.get(name, -1) for name in table.ids], np.int64)
        if (found < 0).any():
            missing = int((found < 0).argmax())
            place = f"{where}, line {table.lines[missing]}" if table.lines[missing] else where
            header = "" if table.numeric else "; if that line is a header, put # in front of it"
            raise ValueError(f"{place}: {table.ids[missing]!r} {self._fault()}{header}")
        return found[table.pairs] if len(found) else table.pairs

    def _fault(self) -> str:
        n = len(self)
        if n and self.ids[0] == "0" and self.ids[-1] == str(n - 1):
            return f"is no node: the graph has nodes 0 to {n - 1}; drop the pair"
        some = ", ".join(self.ids[:3])
        return f"is no node: the graph has {n}, such as {some}; drop the pair or correct the id"

    def save(self, path: Path) -> None:
        """Write one id per line under the header ``id``, line 2 for node 0.

        Raises:
            OSError: the file cannot be written.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["id"])
        writer.writerows([name] for name in self.ids)
        atomic_write_text(path, text.getvalue())

    @classmethod
    def load(cls, path: Path) -> NodeIds:
        """Read what :meth:`save` has written.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is damaged.
        """
        with reading(path, "table of node ids"), open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        ids = [row[0] for row in rows[1:] if len(row) == 1]
        if rows[:1] != [["id"]] or len(ids) != len(rows) - 1 or len(set(ids)) < len(ids):
            raise ValueError(f"{path} is damaged; remove {path.parent} to train it again")
        return cls(ids)
