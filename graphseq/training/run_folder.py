"""The folder of a run: what each seed was made from, what came out, and the tables over seeds.

``DIR/seed3/provenance.json`` is written before seed 3 is trained, ``best.safetensors`` and then
``result.json`` after it: a seed that has a result is finished. ``DIR/runs.csv`` and
``DIR/summary.json`` are made from the results and rewritten whole each time one lands.
"""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphseq.files import atomic_write_json, atomic_write_text
from graphseq.training import checkpoint
from graphseq.training.provenance import hardware_line
from graphseq.training.settings import differences
from graphseq.training.task import Task
from graphseq.training.weights import write_best


@dataclass(frozen=True)
class SeedRecord:
    """One finished seed.

    Args:
        provenance: content of its ``provenance.json``.
        result: content of its ``result.json``.
    """

    provenance: Mapping[str, Any]
    result: Mapping[str, Any]


class RunFolder:
    """Reads and writes the files of a run.

    Args:
        path: the folder; made when the first seed begins.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def seed_folder(self, seed: int) -> Path:
        """Where the files of one seed are."""
        return self.path / f"seed{seed}"

    def provenances(self) -> dict[int, dict[str, Any]]:
        """What each seed, finished or not, was made from.

        Raises:
            ValueError: a file is damaged.
        """
        found = {}
        for path in self.path.glob("seed*/provenance.json"):
            if path.parent.name.removeprefix("seed").isdecimal():
                content = _read(path, ("experiment", "seed", "settings", "precision"))
                found[int(content["seed"])] = content
        return dict(sorted(found.items()))

    def finished(self) -> dict[int, SeedRecord]:
        """The finished seeds.

        Raises:
            ValueError: a file is damaged.
        """
        found = {}
        for seed, provenance in self.provenances().items():
            path = self.seed_folder(seed) / "result.json"
            if path.is_file():
                found[seed] = SeedRecord(provenance, _read(path, ("seed", "metrics")))
        return found

    def check(self, experiment: str, settings: Mapping[str, Any]) -> None:
        """Makes sure that everything in the folder comes from these settings.

        Raises:
            ValueError: something was made with others; the message names the first difference.
        """
        current = {"experiment": experiment, **settings}
        for seed, provenance in self.provenances().items():
            folder = self.seed_folder(seed)
            if not (folder / "result.json").exists() and not any(folder.glob("checkpoint*.pt")):
                continue  # nothing was made yet
            recorded = {"experiment": provenance["experiment"], **provenance["settings"]}
            differing = differences(recorded, current)
            if differing:
                raise ValueError(
                    f"{folder} was made with other settings: {differing[0]}; give another --out"
                )

    def require_unbegun(self, seeds: Iterable[int]) -> None:
        """Makes sure that none of these seeds has been trained in part.

        Raises:
            ValueError: a seed has; the message names its folder and how to go on.
        """
        for seed in seeds:
            checkpoint.require_none(self.seed_folder(seed), "run")

    def begin(self, seed: int, provenance: Mapping[str, Any]) -> None:
        """Records what a seed is going to be made from, and tidies up after a killed session.

        Raises:
            OSError: the folder cannot be written.
        """
        folder = self.seed_folder(seed)
        for leftover in folder.glob(".*.tmp"):  # what a kill left half written, weights perhaps
            leftover.unlink(missing_ok=True)
        atomic_write_json(folder / "provenance.json", dict(provenance))

    def finish(self, seed: int, result: Mapping[str, Any], task: Task) -> None:
        """Keeps the weights and the result of a trained seed; its checkpoints have done their work.

        Raises:
            OSError: the folder cannot be written.
        """
        folder = self.seed_folder(seed)
        write_best(folder, task)
        atomic_write_json(folder / "result.json", without_nan(result))
        checkpoint.clear(folder)

    def tidy(self, seeds: Iterable[int]) -> None:
        """Removes checkpoints of finished seeds, which a kill late in :meth:`finish` leaves there.

        Raises:
            OSError: the folder cannot be written.
        """
        for seed in seeds:
            checkpoint.clear(self.seed_folder(seed))

    def write_tables(self, records: Mapping[int, SeedRecord], summary: Mapping[str, Any]) -> None:
        """Brings ``runs.csv`` and ``summary.json`` up to date.

        Raises:
            OSError: the folder cannot be written.
        """
        _write_new(self.path / "runs.csv", _csv([csv_row(records[s]) for s in sorted(records)]))
        _write_new(self.path / "summary.json", json.dumps(without_nan(summary), indent=2) + "\n")


def csv_row(record: SeedRecord) -> dict[str, Any]:
    """One line of ``runs.csv``: the result, then what it was made from."""
    result = {k: v for k, v in record.result.items() if k not in ("experiment", "metrics")}
    origin = record.provenance
    protocol = origin["settings"].get("task.protocol")
    return {
        "seed": result.pop("seed"),
        **record.result["metrics"],
        **result,
        **({} if protocol is None else {"protocol": protocol}),
        "device": origin["device"],
        "commit": origin["commit"],
        "versions": " ".join(f"{k}={v}" for k, v in origin["versions"].items()),
        "hardware": hardware_line(origin["hardware"]),
        "split_fingerprint": origin["split_fingerprint"],
    }


def without_nan(value: Any) -> Any:
    """The value with null in place of numbers that JSON does not know."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: without_nan(item) for key, item in value.items()}
    return [without_nan(item) for item in value] if isinstance(value, list | tuple) else value


def _csv(rows: list[dict[str, Any]]) -> str:
    columns = dict.fromkeys(column for row in rows for column in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _write_new(path: Path, text: str) -> None:
    """Leaves a file alone that says the same already: a finished run may be read-only."""
    if not path.is_file() or path.read_text() != text:
        atomic_write_text(path, text)


def _read(path: Path, needed: tuple[str, ...]) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except ValueError:  # also what is no text
        raise ValueError(f"{path} is damaged; remove {path.parent} to train it again") from None
    if not isinstance(content, dict) or any(key not in content for key in needed):
        raise ValueError(f"{path} lacks {', '.join(needed)}; remove {path.parent}")
    return content
