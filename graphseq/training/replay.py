"""Scoring a finished run once more: the weights that were kept must give the number that was."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from graphseq.training import rng
from graphseq.training.catalog import find_experiments, pick, shipped
from graphseq.training.experiment import Experiment, HasDims
from graphseq.training.run import fingerprint_of
from graphseq.training.run_folder import RunFolder, SeedRecord
from graphseq.training.scoring import evaluate_splits
from graphseq.training.seed_data import SeedData
from graphseq.training.settings import ELSEWHERE, with_leaves
from graphseq.training.task import Task
from graphseq.training.weights import read_best

TOLERANCE = 1e-6


@dataclass(frozen=True)
class Repeated:
    """One metric of one seed, as it was recorded (None: never, as on training rows) and is now."""

    seed: int
    metric: str
    recorded: float | None
    repeated: float

    @property
    def equal(self) -> bool:
        """Whether the two agree up to the rounding of another machine, or there is one alone."""
        if self.recorded is None:
            return True
        return abs(self.recorded - self.repeated) <= TOLERANCE * max(1.0, abs(self.recorded))


def finished_seeds(folder: Path | str) -> dict[int, SeedRecord]:
    """The finished seeds of a run.

    Raises:
        FileNotFoundError: there are none.
    """
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    records = RunFolder(folder).finished()
    if not records:
        raise FileNotFoundError(f"{folder} holds no finished seed; graphseq train --out writes one")
    return records


def experiment_of(folder: Path | str, file: str | None = None) -> Experiment:
    """The experiment that a run was made from.

    Args:
        folder: what ``run(out=...)`` wrote.
        file: ``FILE.py`` or ``FILE.py:NAME`` where the experiment is not a shipped one. The folder
            says which file that was, but only the caller may say that it shall run.

    Raises:
        FileNotFoundError: the folder holds no finished seed, or there is no such file.
        ValueError: there is no such experiment, or its file has to be given.
    """
    provenance = next(iter(finished_seeds(folder).values())).provenance
    if file is not None:
        return pick({e.name: e for e in find_experiments(file)}, provenance["experiment"])
    if provenance["file"] is not None:
        raise ValueError(
            f"{folder} was made from {provenance['file']}; if you trust that file, "
            f"add --experiment {provenance['file']}"
        )
    return pick(shipped(), provenance["experiment"])


def replay(
    folder: Path | str,
    experiment: Experiment,
    *,
    device: str = "cpu",
    splits: Sequence[str] = ("val", "test"),
) -> list[Repeated]:
    """Rebuilds every finished seed of a run and scores its rows again.

    Args:
        folder: what ``run(out=...)`` wrote.
        experiment: the experiment that it was made from, as its file has it; the settings that the
            run had are put into it. Nothing is imported or run because the folder says so.
        device: where to compute.
        splits: which rows; those of "train" were not scored before.

    Raises:
        FileNotFoundError: the folder holds no finished seed, or its weights are gone.
        ValueError: the experiment is another one, or its data are not those of the run.
    """
    records = finished_seeds(folder)
    # The seeds of a folder have the same settings: RunFolder.check lets no others in.
    rebuilt = _as_recorded(experiment, next(iter(records.values())))
    data = SeedData(rebuilt)
    return [
        repeated
        for seed, record in records.items()
        for repeated in _scored_again(
            _restored(folder, rebuilt, data.of(seed), seed, record), seed, record, device, splits
        )
    ]


def restore(
    folder: Path | str,
    experiment: Experiment,
    seed: int,
    places: Mapping[str, str] | None = None,
) -> Task:
    """The task of a finished seed with its data and the weights that were kept.

    Args:
        folder: what ``run(out=...)`` wrote.
        experiment: the experiment that it was made from, see :func:`experiment_of`.
        seed: a finished seed.
        places: settings that name files, such as ``data.edges``, where these lie elsewhere now;
            that the splits are those of the run is checked in any case.

    Raises:
        FileNotFoundError: the folder does not hold that seed, or its weights are gone.
        ValueError: the experiment is another one, or its data are not those of the run.
    """
    records = finished_seeds(folder)
    if seed not in records:
        raise FileNotFoundError(f"{folder} holds seeds {sorted(records)}, not seed {seed}")
    rebuilt = with_leaves(_as_recorded(experiment, records[seed]), places or {})
    return _restored(folder, rebuilt, SeedData(rebuilt).of(seed), seed, records[seed])


def _scored_again(
    task: Task, seed: int, record: SeedRecord, device: str, splits: Sequence[str]
) -> list[Repeated]:
    recorded = record.result["metrics"]
    with rng.fork(seed):
        scores = evaluate_splits(
            task, splits, device=device, precision=str(record.provenance["precision"])
        )
    return [
        Repeated(seed, name, recorded.get(name), score)
        for name, score in scores.items()
        if recorded.get(name) is not None or name.startswith("train/")
    ]


def _restored(
    folder: Path | str, rebuilt: Experiment, data: HasDims, seed: int, record: SeedRecord
) -> Task:
    if fingerprint_of(data) != record.provenance["split_fingerprint"]:
        raise ValueError(
            f"{folder}: seed {seed} was trained on other data or splits than "
            f"experiment {rebuilt.name} loads now"
        )
    with rng.fork(seed):
        task = rebuilt.build(data, seed)
    if record.provenance["precision"] == "64-true":
        task.double()  # before the weights come: float32 would round them
    read_best(RunFolder(folder).seed_folder(seed), task)
    return task


def _as_recorded(experiment: Experiment, record: SeedRecord) -> Experiment:
    name = record.provenance["experiment"]
    if experiment.name != name:
        raise ValueError(f"the run was made from {name}, not from {experiment.name}")
    settings = {
        path: value
        for path, value in record.provenance["settings"].items()
        # Where the data lie is this machine's business.
        if path != "precision" and path not in ELSEWHERE
    }
    return with_leaves(experiment, settings)
