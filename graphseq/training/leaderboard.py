"""The sheet that OGB's leaderboards ask for: ten seeds, raw scores, and how they came about.

The rules (ogb.stanford.edu/docs/leader_rules): mean and unbiased standard deviation of test and
validation scores over the seeds 0 to 9, selection on validation only, all parameters counted, the
exact command, the hardware, and whether validation labels or edges were trained on. Nothing is
submitted from here.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from graphseq.files import atomic_write_text
from graphseq.training.experiment import Experiment, name_of
from graphseq.training.provenance import hardware_line
from graphseq.training.run import is_first_rank, run
from graphseq.training.run_folder import RunFolder
from graphseq.training.settings import dataset_of

SEEDS = range(10)
VALIDATION_FLAG = "use_val"
"""By the package's rule, arguments that train on validation labels or edges begin with this."""
OPEN = "(to be filled in)"


def leaderboard(
    experiment: Experiment,
    *,
    out: Path | str,
    device: str = "cpu",
    precision: str = "32-true",
    progress: bool | None = None,
    compile: bool = False,
    command: str | None = None,
    on_seed: Callable[[Mapping[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Trains the seeds 0 to 9, continuing where an earlier call stopped, and writes the sheet.

    Args:
        experiment: what to train.
        out: folder for the run, ``sheet.md`` and ``runs.csv``.
        device: see :func:`~graphseq.training.run.run`, as for all arguments below.
        precision: see there.
        progress: see there.
        compile: see there.
        command: see there; the sheet prints it.
        on_seed: see there.

    Returns:
        The summary of the run.

    Raises:
        ValueError: the folder holds other settings or other seeds.
        OSError: the folder cannot be written.
    """
    _refuse_other_seeds(RunFolder(out))
    summary = run(
        experiment,
        SEEDS,
        out=out,
        device=device,
        precision=precision,
        resume=True,
        progress=progress,
        compile=compile,
        command=command,
        on_seed=on_seed,
    )
    if is_first_rank():
        atomic_write_text(Path(out) / "sheet.md", sheet(experiment, summary))
    return summary


def sheet(experiment: Experiment, summary: Mapping[str, Any]) -> str:
    """The fields of OGB's submission form as a Markdown table.

    Raises:
        ValueError: the run has no metric that both splits were scored with.
    """
    metric = _metric(experiment, summary)
    metrics = summary["metrics"]
    fields = {
        "OGB version": summary["versions"]["ogb"],
        "Method name": name_of(experiment.model),
        "External data": f"no {OPEN}",
        "Dataset": dataset_of(summary["settings"]),
        "Metric": metric,
        "Test performance": _percent(metrics[f"test/{metric}"]["values"]),
        "Validation performance": _percent(metrics[f"val/{metric}"]["values"]),
        "Seeds": " ".join(map(str, summary["seeds"])),
        "Contact": OPEN,
        "Code": OPEN,
        "Command": f"`{summary['command']}`",
        "Paper": experiment.claim.source if experiment.claim else OPEN,
        "#Params": f"{summary['num_parameters']:,}",
        "Hardware": hardware_line(summary["hardware"]),
        "Validation labels or edges used for training": _validation_use(summary["settings"]),
        "Versions": ", ".join(f"{k} {v}" for k, v in summary["versions"].items()),
        "Commit": summary["commit"] or "installed release",
    }
    rows = "\n".join(f"| {name} | {value} |" for name, value in fields.items())
    return f"# {experiment.name}\n\n| Field | Value |\n|---|---|\n{rows}\n"


def _refuse_other_seeds(folder: RunFolder) -> None:
    others = [seed for seed in folder.provenances() if seed not in SEEDS]
    if others:
        raise ValueError(
            f"leaderboard: {folder.path} holds seed {others[0]}, and OGB asks for 0 to 9 exactly; "
            "give another --out"
        )


def _metric(experiment: Experiment, summary: Mapping[str, Any]) -> str:
    """The claimed metric without its split, or else the first one that is no loss."""
    both = [
        name.removeprefix("test/")
        for name in summary["metrics"]
        if name.startswith("test/") and f"val/{name.removeprefix('test/')}" in summary["metrics"]
    ]
    claimed = experiment.claim.metric.removeprefix("test/") if experiment.claim else None
    chosen = [name for name in both if name == claimed] or [n for n in both if n != "loss"]
    if not chosen:
        raise ValueError(
            f"leaderboard: {experiment.name} has no score on both validation and test rows"
        )
    return chosen[0]


def _percent(values: Sequence[float]) -> str:
    scores = 100 * torch.tensor(values, dtype=torch.float64)
    return f"{scores.mean():.2f} ± {scores.std():.2f} %"


def _validation_use(settings: Mapping[str, Any]) -> str:
    flags = [path for path in settings if path.rsplit(".", 1)[-1].startswith(VALIDATION_FLAG)]
    used = [path for path in flags if settings[path]]
    return f"yes ({', '.join(used)})" if used else "no"
