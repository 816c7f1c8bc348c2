"""What each command does.

What a command needs is imported inside it: help and errors shall not wait for tyro or numba.
"""

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from graphseq.cli.options import (
    Bench,
    Eval,
    Info,
    Leaderboard,
    List,
    Plot,
    Predict,
    Results,
    Train,
)
from graphseq.cli.terminal import command_line, say


def list_experiments(names: list[str], words: list[str]) -> int:
    """``graphseq list [EXPERIMENT | FILE.py ...]``."""
    from graphseq.training.catalog import find_experiments, shipped
    from graphseq.training.overrides import parse
    from graphseq.training.table import catalog_table

    parse(List, words, "graphseq list")
    found = [e for name in names for e in find_experiments(name)] or list(shipped().values())
    say(catalog_table(found))
    return 0


def info(names: list[str], words: list[str]) -> int:
    """``graphseq info [--json]``."""
    import json

    from graphseq.info import as_text, collect
    from graphseq.training.overrides import parse

    _at_most(names, 0, "info")
    options = parse(Info, words, "graphseq info")
    found = collect()
    say(json.dumps(found, indent=2) if options.json else as_text(found))
    return 0


def train(names: list[str], words: list[str]) -> int:
    """``graphseq train EXPERIMENT [EXPERIMENT ...] [options] [overrides]``."""
    from graphseq.training.catalog import find_experiments
    from graphseq.training.overrides import overridden, parse, parse_with_overrides
    from graphseq.training.run import run
    from graphseq.training.table import comparison

    prog = shlex.join(["graphseq", "train", *(names or ["EXPERIMENT"])])
    experiments = [e for name in names for e in find_experiments(name)]
    given: dict[str, Any] = {}
    if len(experiments) == 1:
        options, experiments[0], given = parse_with_overrides(Train, words, prog, experiments[0])
    elif experiments and overridden(words):
        raise ValueError(
            f"{overridden(words)[0]} needs one experiment to override, got {len(experiments)}"
        )
    else:
        options = parse(Train, words, prog)
    if not experiments:
        raise ValueError("train needs an experiment: graphseq list shows all")
    command, summaries, folders = command_line("train", *names, *words), {}, []
    for experiment in experiments:
        folder = options.out or Path("runs", experiment.name)
        if len(experiments) > 1:
            folder = (options.out or Path("runs")) / experiment.name
        trained: list[int] = []
        summary = run(
            experiment,
            options.seeds,
            out=folder,
            device=options.device,
            precision=options.precision,
            resume=options.resume,
            tensorboard=options.tensorboard,
            compile=options.compile,
            command=command,
            on_seed=_reporter(trained),
        )
        _say_skipped(folder, options.seeds or experiment.seeds, trained)
        summaries[experiment.name] = summary
        folders.append(folder)
    if given:
        changes = ", ".join(f"{path}={value}" for path, value in given.items())
        say(f"\n{experiments[0].name} with {changes}")
    say(f"\n{comparison(summaries)}\n")
    say(f"results: {' '.join(str(folder / 'summary.json') for folder in folders)}")
    say("next:")
    say(f"  graphseq train {names[0]} --help    what can be changed, each from here")
    say(f"  graphseq eval {folders[0]}    score the kept weights again")
    say("  graphseq list    what else there is to train")
    return 0


def leaderboard(names: list[str], words: list[str]) -> int:
    """``graphseq leaderboard EXPERIMENT [options]``."""
    from graphseq.training.catalog import find_experiments
    from graphseq.training.leaderboard import leaderboard as make_sheet
    from graphseq.training.leaderboard import sheet
    from graphseq.training.overrides import parse

    options = parse(Leaderboard, words, "graphseq leaderboard EXPERIMENT")
    experiments = [e for name in names for e in find_experiments(name)]
    if len(experiments) != 1:
        raise ValueError(f"leaderboard needs one experiment, got {len(experiments)}")
    folder = options.out or Path("runs", "leaderboard", experiments[0].name)
    trained: list[int] = []
    summary = make_sheet(
        experiments[0],
        out=folder,
        device=options.device,
        precision=options.precision,
        compile=options.compile,
        command=command_line("leaderboard", *names, *words),
        on_seed=_reporter(trained),
    )
    say(f"\n{sheet(experiments[0], summary)}\nsheet: {folder / 'sheet.md'}")
    return 0


def evaluate(names: list[str], words: list[str]) -> int:
    """``graphseq eval DIR [--split train|val|test] [--experiment FILE.py]``."""
    from graphseq.training.overrides import parse
    from graphseq.training.replay import experiment_of, replay
    from graphseq.training.table import replay_table

    options = parse(Eval, words, "graphseq eval DIR")
    if len(names) != 1:
        raise ValueError(f"eval needs one folder that train has written, got {len(names)}")
    experiment = experiment_of(names[0], options.experiment)
    splits = ("val", "test") if options.split is None else (options.split,)
    answers = replay(names[0], experiment, device=options.device, splits=splits)
    differing = sum(not answer.equal for answer in answers)
    say(replay_table(answers))
    if options.split == "train":
        say(f"\n{len(answers)} numbers of training rows, which have no record to compare with")
        return 0
    verdict = f"{differing} of {len(answers)} differ" if differing else "all equal the record"
    say(f"\n{len(answers)} numbers scored again: {verdict}")
    return 1 if differing else 0


def predict(names: list[str], words: list[str]) -> int:
    """``graphseq predict DIR|EDGES --pairs IN.csv --out OUT.csv``."""
    from graphseq.cli.predict import predict as score
    from graphseq.training.overrides import parse

    options = parse(Predict, words, "graphseq predict DIR|EDGES")
    if len(names) != 1:
        raise ValueError(f"predict needs one folder or one file of edges, got {len(names)}")
    command = command_line("predict", *names, *words)
    say(f"wrote {score(Path(names[0]), options, command)}")
    return 0


def bench(names: list[str], words: list[str]) -> int:
    """``graphseq bench [NAME] [--case C] [--json]``."""
    from graphseq.bench import run_bench
    from graphseq.training.overrides import parse

    _at_most(names, 1, "bench")
    options = parse(Bench, words, "graphseq bench [NAME]")
    run_bench(names[0] if names else None, options.case, options.json)
    return 0


def plot(names: list[str], words: list[str]) -> int:
    """``graphseq plot DIR [DIR ...] [--against SETTING]``."""
    from graphseq.cli import finished

    say("\n".join(f"wrote {path}" for path in finished.plot(names, words)))
    return 0


def results(names: list[str], words: list[str]) -> int:
    """``graphseq results [DIR ...]``."""
    from graphseq.cli import finished

    say("\n".join(f"wrote {path}" for path in finished.results(names, words)))
    return 0


def _reporter(trained: list[int]) -> Callable[[Mapping[str, Any]], None]:
    """Prints one line for each seed as it lands, and notes it.

    The scores at other monitors' best epochs (``test/hits@50@val/hits@20``) are left to the files.
    """

    def report(result: Mapping[str, Any]) -> None:
        trained.append(result["seed"])
        shown = {k: v for k, v in result["metrics"].items() if not re.search(r"loss$|@val/", k)}
        scores = [f"{name} {value:.4f}" for name, value in shown.items()]
        say(
            f"{result['experiment']} seed {result['seed']}: {', '.join(scores)} "
            f"({result['epochs']} epochs, {result['seconds']:.1f} s)"
        )

    return report


def _say_skipped(folder: Path, seeds: Sequence[int], trained: Sequence[int]) -> None:
    skipped = len(set(seeds) - set(trained))
    if skipped:
        say(f"{folder}: {skipped} of {len(seeds)} seeds were finished already and are kept")


def _at_most(names: Sequence[str], number: int, command: str) -> None:
    if len(names) > number:
        raise ValueError(f"{command} does not know what to do with {names[number]!r}")


COMMANDS: dict[str, tuple[type, Callable[[list[str], list[str]], int]]] = {
    "list": (List, list_experiments),
    "info": (Info, info),
    "train": (Train, train),
    "leaderboard": (Leaderboard, leaderboard),
    "eval": (Eval, evaluate),
    "plot": (Plot, plot),
    "results": (Results, results),
    "predict": (Predict, predict),
    "bench": (Bench, bench),
}
