"""The command line: ``graphseq list | info | train | leaderboard | eval | plot |
results | bench``.

What a command works on comes first, its options after it: ``graphseq train dagnn_cora --seeds 0 1
2``. Errors are one line, ``error: ...``, and exit code 2; ``GRAPHSEQ_DEBUG=1`` shows where they
were raised.
"""

import os
import shlex
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from graphseq.cli.options import Bench, Eval, Info, Leaderboard, List, Plot, Results, Train

# What a command needs is imported inside it: help and errors shall not wait for tyro or numba.

PLAIN_ERRORS = (ValueError, TypeError, OSError, FloatingPointError)
"""What the package raises on purpose, in words that need no class name before them."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: the words after ``graphseq``; None takes those of the process.

    Returns:
        The exit code: 0; 1 where ``eval`` finds another number; 2 after an error; 130 after Ctrl-C.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            return _dispatch(words)
    except SystemExit as stop:
        code = int(stop.code or 0)  # 0: tyro has printed the help; 128 + n: the loop met a signal
        if code > 128:
            _say(_interrupted(words), file=sys.stderr)
        return code
    except KeyboardInterrupt:
        _say(_interrupted(words), file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if os.environ.get("GRAPHSEQ_DEBUG"):
            raise
        print(_error_line(error), file=sys.stderr)
        return 2


def list_experiments(names: list[str], words: list[str]) -> int:
    """``graphseq list [EXPERIMENT | FILE.py ...]``."""
    from graphseq.training.catalog import find_experiments, shipped
    from graphseq.training.overrides import parse
    from graphseq.training.table import catalog_table

    parse(List, words, "graphseq list")
    found = [e for name in names for e in find_experiments(name)] or list(shipped().values())
    _say(catalog_table(found))
    return 0


def info(names: list[str], words: list[str]) -> int:
    """``graphseq info [--json]``."""
    import json

    from graphseq.info import as_text, collect
    from graphseq.training.overrides import parse

    _at_most(names, 0, "info")
    options = parse(Info, words, "graphseq info")
    found = collect()
    _say(json.dumps(found, indent=2) if options.json else as_text(found))
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
    command, summaries, folders = _command("train", *names, *words), {}, []
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
        _say(f"\n{experiments[0].name} with {changes}")
    _say(f"\n{comparison(summaries)}\n")
    _say(f"results: {' '.join(str(folder / 'summary.json') for folder in folders)}")
    _say("next:")
    _say(f"  graphseq train {names[0]} --help    what can be changed, each from here")
    _say(f"  graphseq eval {folders[0]}    score the kept weights again")
    _say("  graphseq list    what else there is to train")
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
        command=_command("leaderboard", *names, *words),
        on_seed=_reporter(trained),
    )
    _say(f"\n{sheet(experiments[0], summary)}\nsheet: {folder / 'sheet.md'}")
    return 0


def evaluate(names: list[str], words: list[str]) -> int:
    """``graphseq eval DIR [--experiment FILE.py]``."""
    from graphseq.training.overrides import parse
    from graphseq.training.replay import experiment_of, replay
    from graphseq.training.table import replay_table

    options = parse(Eval, words, "graphseq eval DIR")
    if len(names) != 1:
        raise ValueError(f"eval needs one folder that train has written, got {len(names)}")
    experiment = experiment_of(names[0], options.experiment)
    answers = replay(names[0], experiment, device=options.device)
    differing = sum(not answer.equal for answer in answers)
    _say(replay_table(answers))
    verdict = f"{differing} of {len(answers)} differ" if differing else "all equal the record"
    _say(f"\n{len(answers)} numbers scored again: {verdict}")
    return 1 if differing else 0


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

    _say("\n".join(f"wrote {path}" for path in finished.plot(names, words)))
    return 0


def results(names: list[str], words: list[str]) -> int:
    """``graphseq results [DIR ...]``."""
    from graphseq.cli import finished

    _say("\n".join(f"wrote {path}" for path in finished.results(names, words)))
    return 0


COMMANDS: dict[str, tuple[type, Callable[[list[str], list[str]], int]]] = {
    "list": (List, list_experiments),
    "info": (Info, info),
    "train": (Train, train),
    "leaderboard": (Leaderboard, leaderboard),
    "eval": (Eval, evaluate),
    "plot": (Plot, plot),
    "results": (Results, results),
    "bench": (Bench, bench),
}


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        _say(_usage())
        return 0
    if words[0] in ("-V", "--version"):
        _say(f"graphseq {metadata.version('graphseq')}")
        return 0
    if words[0] not in COMMANDS:
        raise ValueError(f"no command is called {words[0]!r}; there are {', '.join(COMMANDS)}")
    first_option = next((i for i, w in enumerate(words) if w.startswith("-")), len(words))
    return COMMANDS[words[0]][1](words[1:first_option], words[first_option:])


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name.ljust(width)}  {kind.__doc__}" for name, (kind, _) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: graphseq COMMAND [WHAT ...] [--OPTION ...]",
            "",
            *lines,
            "",
            "graphseq COMMAND --help shows a command's options; graphseq train EXPERIMENT --help",
            "also every argument of its data, model, task and budget, each of which is an option.",
        ]
    )


def _say(text: str, file: Any = None) -> None:
    """Prints; under torchrun only the first process does."""
    if _rank() == 0:
        print(text, file=file, flush=True)


def _warn(message: Warning | str, *place: Any) -> None:
    """One line, without the place in the code that a user need not see."""
    _say(f"warning: {' '.join(str(message).split())}", file=sys.stderr)


def _reporter(trained: list[int]) -> Callable[[Mapping[str, Any]], None]:
    """Prints one line for each seed as it lands, and notes it."""

    def report(result: Mapping[str, Any]) -> None:
        trained.append(result["seed"])
        scores = [f"{k} {v:.4f}" for k, v in result["metrics"].items() if not k.endswith("loss")]
        _say(
            f"{result['experiment']} seed {result['seed']}: {', '.join(scores)} "
            f"({result['epochs']} epochs, {result['seconds']:.1f} s)"
        )

    return report


def _say_skipped(folder: Path, seeds: Sequence[int], trained: Sequence[int]) -> None:
    skipped = len(set(seeds) - set(trained))
    if skipped:
        _say(f"{folder}: {skipped} of {len(seeds)} seeds were finished already and are kept")


def _at_most(names: Sequence[str], number: int, command: str) -> None:
    if len(names) > number:
        raise ValueError(f"{command} does not know what to do with {names[number]!r}")


def _command(*words: str) -> str:
    """The words as they can be typed again."""
    processes = os.environ.get("LOCAL_WORLD_SIZE")
    program = f"torchrun --nproc_per_node={processes} -m graphseq" if processes else "graphseq"
    return f"{program} {shlex.join(words)}"


def _interrupted(words: list[str]) -> str:
    if words[0] == "train":
        words = [*words, *([] if "--resume" in words else ["--resume"])]
    elif words[0] != "leaderboard":
        return "interrupted"
    return f"interrupted; continue with: {_command(*words)}"


def _error_line(error: Exception) -> str:
    """One line; errors that nobody foresaw also carry their class and the way to their place."""
    text = " ".join(str(error).split())
    if not isinstance(error, PLAIN_ERRORS):
        text = f"{type(error).__name__}: {text}; GRAPHSEQ_DEBUG=1 shows where"
    return f"error: rank {_rank()}: {text}" if _rank() else f"error: {text}"


def _rank() -> int:
    """As graphseq.training.run tells it, without the import that help can do without."""
    alone = os.environ.get("WORLD_SIZE", "1") == "1"
    return 0 if alone else int(os.environ.get("RANK", "0"))
