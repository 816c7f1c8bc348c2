"""Commands on finished runs: figures, and the results that are committed."""

import json
from pathlib import Path

from graphseq.cli.options import Plot, Results


def plot(names: list[str], words: list[str]) -> list[Path]:
    """``graphseq plot DIR [DIR ...] [--against SETTING]``; returns the images written."""
    from graphseq.training.overrides import parse

    options = parse(Plot, words, "graphseq plot DIR [DIR ...]")
    if not names:
        raise ValueError("plot needs at least one folder that train has written")
    if options.against is not None:
        return [_sweep([Path(name) for name in names], options.against, options)]
    if options.out is not None:
        raise ValueError("plot: --out belongs to --against; other figures go beside their run")
    return [path for name in names for path in _of_run(Path(name), options)]


def results(names: list[str], words: list[str]) -> list[Path]:
    """``graphseq results [DIR ...]``; returns the files written."""
    from graphseq.training.catalog import shipped
    from graphseq.training.overrides import parse
    from graphseq.training.results import START, insert, keep, markdown

    options = parse(Results, words, "graphseq results [DIR ...]")
    folder, page = options.into / "results", options.into / "README.md"
    written = [keep(name, shipped(), folder) for name in names]
    insert(page, markdown(shipped(), folder))
    front = options.into.parent / "README.md"
    if front.is_file() and START in front.read_text():
        insert(front, markdown(shipped(), folder, complete=False))
        written.append(front)
    return [*written, page]


def _of_run(folder: Path, options: Plot) -> list[Path]:
    """The learning curves of a run and, for a DAGNN, the retainment scores of its first seed."""
    import torch

    from graphseq.graph.figures import retainment
    from graphseq.graph.models import DAGNN
    from graphseq.graph.tasks import NodeClassification
    from graphseq.training.figures import learning_curves
    from graphseq.training.replay import experiment_of, finished_seeds, restore

    seeds = list(finished_seeds(folder))
    experiment = experiment_of(folder, options.experiment)
    histories = [folder / f"seed{seed}" / "history.csv" for seed in seeds]
    metric = options.metric or _first_score(histories[0])
    title = f"{experiment.name}, {len(seeds)} seed{'' if len(seeds) == 1 else 's'}"
    written = [learning_curves(histories, metric, folder / "curves.png", title)]
    task = restore(folder, experiment, seeds[0]).eval()
    if isinstance(task, NodeClassification) and isinstance(task.model, DAGNN):
        with torch.no_grad():
            x, graph = task.data.x, task.data.adjacency
            _, scores = task.model(x, graph, return_retainment_scores=True)
        title = f"{experiment.name}, seed {seeds[0]}"
        written.append(retainment(scores, folder / "retainment.png", title))
    return written


def _first_score(history: Path) -> str:
    """The first validation score of a history: ``val/acc``, or what links are ranked by."""
    columns = history.read_text().partition("\n")[0].split(",")
    scores = (name for name in columns if name.startswith("val/") and name != "val/loss")
    return next(scores, "val/acc")


def _sweep(folders: list[Path], setting: str, options: Plot) -> Path:
    from graphseq.training.figures import sweep

    metric = options.metric or "test/acc"
    values: dict[float, list[float]] = {}
    for folder in folders:
        if not (folder / "summary.json").is_file():
            raise FileNotFoundError(f"{folder} holds no summary.json; finish the run first")
        summary = json.loads((folder / "summary.json").read_text())
        for kind, known in (("setting", summary["settings"]), ("metric", summary["metrics"])):
            name = setting if kind == "setting" else metric
            if name not in known:
                raise ValueError(f"{folder} has no {kind} {name}; it has {', '.join(known)}")
        value = summary["settings"][setting]
        if not isinstance(value, int | float):
            raise ValueError(f"{folder}: {setting} is {value!r}, not a number to draw against")
        values.setdefault(value, []).extend(summary["metrics"][metric]["values"])
    out = options.out or Path("sweep.png")
    return sweep(values, out, setting=setting, metric=metric)
