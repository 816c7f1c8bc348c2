"""Where the history of a run goes: a progress bar, a CSV file, TensorBoard."""

import csv
import io
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from graphseq.files import atomic_write_text
from graphseq.files.atomic import writing
from graphseq.training.stage import Stage

Row = Mapping[str, Any]


class Report:
    """Everything that is told about a run while it runs.

    Args:
        out: Folder for ``history.csv`` and ``tensorboard/``; ``None`` writes no file.
        progress: Show a progress bar on stderr; ``None`` does so on a terminal.
        tensorboard: Write event files under ``out/tensorboard``.
        history: Rows of the run so far: ``history.csv`` starts as exactly these.

    Raises:
        ValueError: If ``tensorboard`` is asked for without ``out``, or is not installed.
        OSError: If ``out`` cannot be written.
    """

    def __init__(
        self,
        out: Path | None,
        progress: bool | None,
        tensorboard: bool,
        history: Sequence[Row] = (),
    ) -> None:
        self._show = sys.stderr.isatty() if progress is None else progress
        self._bar: Any = None
        self._events: Any = _events(out, len(history)) if tensorboard else None
        self._csv = None if out is None else CsvLog(out / "history.csv", history)
        self._rows = len(history)

    def start(self, stage: Stage, done: int) -> None:
        """A stage begins, or goes on after ``done`` epochs."""
        self._end_bar()
        if self._show:
            from tqdm import tqdm

            self._bar = tqdm(total=stage.epochs, initial=done, desc=stage.name, unit="epoch")

    def row(self, row: Row) -> None:
        """An epoch is over."""
        self._rows += 1
        if self._csv is not None:
            self._csv.append(row)
        if self._bar is not None:
            shown = {k: v for k, v in row.items() if k.startswith("val/") or k == "train/loss"}
            self._bar.set_postfix(shown, refresh=False)
            self._bar.update()
        if self._events is not None:
            for name, value in row.items():
                if name not in ("stage", "epoch"):
                    self._events.add_scalar(name, value, self._rows)

    def close(self) -> None:
        """Flush and close everything."""
        self._end_bar()
        if self._csv is not None:
            self._csv.close()
        if self._events is not None:
            self._events.close()

    def _end_bar(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class CsvLog:
    """``history.csv``: a line per epoch, flushed line by line.

    Stages may have different metrics. A row with a new column rewrites the file with that column;
    where a row has no value, its cell is empty.
    """

    def __init__(self, path: Path, history: Sequence[Row]) -> None:
        self._path = path
        self._history = list(history)
        self._metrics: dict[str, None] = {}
        for row in self._history:
            self._note_metrics(row)
        self._file = self._rewritten()

    def append(self, row: Row) -> None:
        """Add one row."""
        self._history.append(row)
        if self._note_metrics(row):
            self._file.close()
            self._file = self._rewritten()
        else:
            with writing(self._path):
                try:
                    self._file.write(self._text([row]))
                    self._file.flush()
                except OSError:
                    with suppress(OSError):  # closing tries to write again
                        self._file.close()
                    raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _note_metrics(self, row: Row) -> bool:
        before = len(self._metrics)
        self._metrics |= dict.fromkeys(k for k in row if k not in ("stage", "epoch", "seconds"))
        return len(self._metrics) > before

    def _rewritten(self) -> io.TextIOWrapper:
        header = {name: name for name in self._columns()}
        atomic_write_text(self._path, self._text([header, *self._history]))
        return open(self._path, "a", newline="", encoding="utf-8")

    def _columns(self) -> list[str]:
        return ["stage", "epoch", *self._metrics, "seconds"]

    def _text(self, rows: Sequence[Row]) -> str:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([row.get(name, "") for name in self._columns()] for row in rows)
        return text.getvalue()


def _events(out: Path | None, step: int) -> Any:
    if out is None:
        raise ValueError("fit: tensorboard=True needs a folder; pass out=")
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ValueError(
            "fit: tensorboard=True needs the package tensorboard; pip install 'graphseq[log]'"
        ) from None
    # purge_step hides what a killed run had logged after the checkpoint that this one starts from.
    return SummaryWriter(str(out / "tensorboard"), purge_step=step + 1)
