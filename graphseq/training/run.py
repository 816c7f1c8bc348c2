"""``run(experiment)``: every seed through the one loop, each result kept as it lands."""

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from graphseq.training import rng
from graphseq.training.experiment import Experiment, HasDims, check_seeds
from graphseq.training.fit import fit
from graphseq.training.progress import FitResult
from graphseq.training.provenance import command as command_of_process
from graphseq.training.provenance import commit, hardware, versions
from graphseq.training.run_folder import RunFolder, SeedRecord
from graphseq.training.seed_data import SeedData
from graphseq.training.settings import leaves
from graphseq.training.summary import summarize


@runtime_checkable
class HasFingerprint(Protocol):
    """A dataset that can say in one word which rows it trains, chooses and scores on."""

    @property
    def fingerprint(self) -> str:
        """Equal for equal splits."""
        ...


def run(
    experiment: Experiment,
    seeds: Sequence[int] | None = None,
    *,
    out: Path | str | None = None,
    device: str = "cpu",
    precision: str = "32-true",
    resume: bool = False,
    progress: bool | None = None,
    tensorboard: bool = False,
    compile: bool = False,
    command: str | None = None,
    on_seed: Callable[[Mapping[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Trains an experiment with several seeds and sums up.

    Each seed loads its data (once for all seeds if the data do not depend on it), initialises a
    model, and trains it with :func:`~graphseq.training.fit.fit`; the callers' random numbers go on
    undisturbed. With ``out``, each finished seed is kept in ``out/seed{n}`` and is not trained
    again; what is in the folder and what is asked for must have the same settings. Under
    ``torchrun`` all ranks call this and the first one writes.

    Args:
        experiment: what to train.
        seeds: by default the experiment's.
        out: folder for results; None keeps everything in memory.
        device: ``cpu``, ``cuda``, ``cuda:1``.
        precision: as Lightning Fabric names it.
        resume: continue unfinished seeds from their checkpoints. A folder with checkpoints needs
            it: nothing that was trained is thrown away unasked.
        progress: show a bar; None shows one on a terminal.
        tensorboard: write event files beside each seed.
        compile: compile the model with ``torch.compile``.
        command: the command line to record, by default that of this process.
        on_seed: called with the result of each newly trained seed.

    Returns:
        The content of ``summary.json``, over all finished seeds of the folder. ``std`` is the
        unbiased one; null where there is one seed.

    Raises:
        ValueError: the folder holds results of other settings, or checkpoints and ``resume`` is not
            given, or the seeds are wrong.
        TypeError: the parts of the experiment do not fit together.
        OSError: the folder cannot be written.
        FloatingPointError: a loss is not finite.
    """
    seeds = check_seeds(experiment.seeds if seeds is None else seeds, "run")
    settings = {**leaves(experiment), "precision": precision}
    folder = None if out is None else RunFolder(out)
    records = {} if folder is None else _finished(folder, experiment, settings, seeds, resume)
    origin = _origin(experiment, settings, device, precision, compile, command)
    fit_here = functools.partial(
        fit,
        budget=experiment.budget,
        device=device,
        precision=precision,
        resume=resume,
        progress=progress,
        tensorboard=tensorboard,
        compile=compile,
    )
    data = SeedData(experiment)
    for seed in [seed for seed in seeds if seed not in records]:
        records[seed] = _train(experiment, data.of(seed), seed, folder, origin, fit_here)
        _sum_up(experiment, records, folder)
        if on_seed is not None:
            on_seed(records[seed].result)
    return _sum_up(experiment, records, folder)


def fingerprint_of(data: object) -> str | None:
    """The fingerprint of a dataset's splits; None for a dataset without one."""
    return data.fingerprint if isinstance(data, HasFingerprint) else None


def is_first_rank() -> bool:
    """Whether this process is the one of its ``torchrun`` group that writes and prints."""
    alone = os.environ.get("WORLD_SIZE", "1") == "1"
    return alone or os.environ.get("RANK", "0") == "0"


def _finished(
    folder: RunFolder,
    experiment: Experiment,
    settings: Mapping[str, Any],
    seeds: Sequence[int],
    resume: bool,
) -> dict[int, SeedRecord]:
    """What the folder has of these settings already, once it is sure that the run may go on in it.

    Raises:
        ValueError: the folder holds results of other settings, or checkpoints and ``resume`` is not
            given.
    """
    folder.check(experiment.name, settings)
    records = folder.finished()
    if is_first_rank():
        folder.tidy(records)
    if not resume:  # before the first seed, not after hours at the second
        folder.require_unbegun(seed for seed in seeds if seed not in records)
    return records


def _origin(
    experiment: Experiment,
    settings: Mapping[str, Any],
    device: str,
    precision: str,
    compile: bool,
    command: str | None,
) -> dict[str, Any]:
    """The part of the provenance that is the same for all seeds."""
    return {
        "experiment": experiment.name,
        "file": None if experiment.file is None else str(experiment.file),
        "settings": settings,
        "device": device,
        "precision": precision,
        "compile": compile,
        "commit": commit(),
        "versions": versions(),
        "hardware": hardware(device),
        "command": command or command_of_process(),
    }


def _train(
    experiment: Experiment,
    data: HasDims,
    seed: int,
    folder: RunFolder | None,
    origin: Mapping[str, Any],
    fit_here: Callable[..., FitResult],
) -> SeedRecord:
    with rng.fork(seed):
        task = experiment.build(data, seed)
    provenance = {**origin, "seed": seed, "split_fingerprint": fingerprint_of(data)}
    if folder is not None and is_first_rank():
        folder.begin(seed, provenance)
    fitted = fit_here(task, seed=seed, out=None if folder is None else folder.seed_folder(seed))
    result = _result(experiment.name, seed, fitted)
    if folder is not None and is_first_rank():
        folder.finish(seed, result, task)
    return SeedRecord(provenance, result)


def _result(experiment: str, seed: int, fitted: FitResult) -> dict[str, Any]:
    """What a seed leaves behind, without its history."""
    return {
        "experiment": experiment,
        "seed": seed,
        "metrics": dict(fitted.metrics),
        "best_epoch": fitted.best_epoch,
        "epochs": fitted.epochs_run,
        "stopped": fitted.stopped,
        "seconds": fitted.seconds,
        "seconds_per_epoch": fitted.seconds_per_epoch,
        "peak_memory_mb": fitted.peak_memory_mb,
        "num_parameters": fitted.num_parameters,
    }


def _sum_up(
    experiment: Experiment, records: Mapping[int, SeedRecord], folder: RunFolder | None
) -> dict[str, Any]:
    """The summary of the seeds so far, with the folder's tables brought up to date."""
    summary = summarize(experiment, records)
    if folder is not None and is_first_rank():
        folder.write_tables(records, summary)
    return summary
