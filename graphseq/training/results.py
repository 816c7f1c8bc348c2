"""Committed results: one CSV per experiment with a row per seed, and the table made from them."""

import csv
import io
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from graphseq.files import atomic_write_text
from graphseq.training.catalog import pick
from graphseq.training.experiment import Experiment, name_of
from graphseq.training.grid import cells
from graphseq.training.settings import leaves
from graphseq.training.stage import Stage
from graphseq.training.table import seed_count

Rows = Sequence[Mapping[str, str]]

HEADER = ("experiment", "metric", "result (%)", "seeds", "paper (%)", "difference", "s per seed")
START, END = "<!-- results: start -->", "<!-- results: end -->"


def keep(folder: Path | str, experiments: Mapping[str, Experiment], results: Path | str) -> Path:
    """Adds the rows of a run to ``results/<experiment>.csv``, where they replace equal seeds.

    So the seeds of one experiment may be run in several folders or on several machines.

    Args:
        folder: what ``graphseq train --out`` wrote.
        experiments: the shipped experiments by name.
        results: folder of committed results.

    Raises:
        FileNotFoundError: the folder holds no finished run.
        ValueError: the run was made with other settings than the experiment of its name.
    """
    folder, results = Path(folder), Path(results)
    if not (folder / "summary.json").is_file():
        raise FileNotFoundError(f"{folder} holds no summary.json; finish the run first")
    summary = json.loads((folder / "summary.json").read_text())
    name = summary["experiment"]
    try:
        experiment = pick(dict(experiments), name)
    except ValueError:
        raise ValueError(
            f"{folder}: {name} is no shipped experiment; only those are kept"
        ) from None
    ours = json.loads(json.dumps(leaves(experiment)))
    other = [path for path in ours if ours[path] != summary["settings"].get(path)]
    if other:
        raise ValueError(
            f"{folder}: {other[0]} was {summary['settings'].get(other[0])!r}, the experiment "
            f"{name} says {ours[other[0]]!r}; only runs without overrides are kept"
        )
    path = results / f"{name}.csv"
    rows = {int(row["seed"]): row for row in read(path)} if path.is_file() else {}
    rows |= {int(row["seed"]): row for row in read(folder / "runs.csv")}
    columns = dict.fromkeys(column for row in rows.values() for column in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows[seed] for seed in sorted(rows))
    atomic_write_text(path, text.getvalue())
    return path


def read(path: Path) -> Rows:
    """The rows of one results file, one per seed."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def markdown(
    experiments: Mapping[str, Experiment], results: Path | str, *, complete: bool = True
) -> str:
    """The table of kept results.

    Args:
        experiments: the shipped experiments by name.
        results: folder of committed results.
        complete: with the rows of studies, and the names of experiments without results by model.
    """
    results = Path(results)
    lines = [_line(HEADER), _line(["---"] * len(HEADER))]
    missing: dict[str, list[str]] = {}
    for name, experiment in experiments.items():
        if experiment.study and not complete:
            continue
        kept = [one for one in cells(experiment) if (results / f"{one.name}.csv").is_file()]
        for one in kept:
            lines.append(_line(_cells(one, read(results / f"{one.name}.csv"))))
        if not kept:
            missing.setdefault(name_of(experiment.model), []).append(f"`{name}`")
    text = "\n".join(lines)
    if missing and complete:
        text += "\n\nDeclared, but without results so far:\n"
        text += "".join(f"\n- {model}: {', '.join(names)}" for model, names in missing.items())
    return text


def insert(path: Path | str, table: str) -> None:
    """Replaces what stands between the two result markers of a Markdown file.

    Raises:
        ValueError: the file has no such pair of markers.
    """
    path = Path(path)
    text = path.read_text()
    before, found, rest = text.partition(START)
    _, closed, after = rest.partition(END)
    if not found or not closed:
        raise ValueError(f"{path}: no place for the table; add the lines {START} and {END}")
    atomic_write_text(path, f"{before}{START}\n{table}\n{END}{after}")


def _cells(experiment: Experiment, rows: Rows) -> list[str]:
    claim = experiment.claim
    metric = claim.metric if claim else _first_score(rows[0])
    # Losses, perplexities and squared errors are no fractions: they stand as they are.
    scale = 1 if Stage().lower(metric) else 100
    values = [scale * float(row[metric]) for row in rows]
    mean, digits = statistics.fmean(values), 4 if scale == 1 and float(rows[0][metric]) < 1 else 2
    std = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    paper, difference = "-", "-"
    if claim:
        paper = f"{100 * claim.value:.1f}" + (f" ± {100 * claim.std:.1f}" if claim.std else "")
        gap = mean / 100 - claim.value
        inside = "within" if abs(gap) <= claim.tolerance else "outside"
        verdict = f"{inside} {100 * claim.tolerance:.1f}"
        # The seeds that are still to come may change it.
        verdict = "partial" if len(rows) < len(experiment.seeds) else verdict
        difference = f"{100 * gap:+.2f} ({verdict})"
    seconds = statistics.median(float(row["seconds"]) for row in rows)
    name = f"`{experiment.name}` ({name_of(experiment.model)})"
    seeds = seed_count(len(rows), len(experiment.seeds))
    return [name, metric, f"{mean:.{digits}f}{std}", seeds, paper, difference, f"{seconds:.1f}"]


def _first_score(row: Mapping[str, str]) -> str:
    """What a task tells first of the test rows, other than its loss."""
    return next(name for name in row if name.startswith("test/") and name != "test/loss")


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
