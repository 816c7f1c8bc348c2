"""What the seeds of an experiment come to together."""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from graphseq.training.experiment import Experiment
from graphseq.training.run_folder import SeedRecord, without_nan


def summarize(experiment: Experiment, records: Mapping[int, SeedRecord]) -> dict[str, Any]:
    """The content of ``summary.json``: mean, unbiased std and values of each metric over seeds."""
    seeds = sorted(records)
    results = [records[seed].result for seed in seeds]
    origins = [records[seed].provenance for seed in seeds]
    metrics = dict.fromkeys(name for result in results for name in result["metrics"])
    summary = {
        "experiment": experiment.name,
        "seeds": seeds,
        "num_declared_seeds": len(experiment.seeds),
        "metrics": {name: _spread([r["metrics"].get(name) for r in results]) for name in metrics},
        "num_parameters": results[-1]["num_parameters"],
        "epochs": [result["epochs"] for result in results],
        "seconds": sum(result["seconds"] for result in results),
        "seconds_per_epoch": statistics.fmean(result["seconds_per_epoch"] for result in results),
        "peak_memory_mb": max(result["peak_memory_mb"] for result in results),
        "claim": None if experiment.claim is None else dataclasses.asdict(experiment.claim),
        "notes": experiment.notes,
        "settings": dict(origins[-1]["settings"]),
        "versions": origins[-1]["versions"],
        "hardware": origins[-1]["hardware"],
        "commit": origins[-1]["commit"],
        "command": origins[-1]["command"],
        "split_fingerprints": [origin["split_fingerprint"] for origin in origins],
    }
    return without_nan(summary)


def _spread(values: Sequence[float | None]) -> dict[str, Any]:
    """Mean and unbiased standard deviation, null where one seed or a missing value forbids it."""
    numbers = [float("nan") if value is None else float(value) for value in values]
    if not all(map(math.isfinite, numbers)):
        return {"mean": None, "std": None, "values": numbers}
    std = statistics.stdev(numbers) if len(numbers) > 1 else None
    return {"mean": statistics.fmean(numbers), "std": std, "values": numbers}
