"""The command line: ``graphseq list | info | train | leaderboard | eval | predict | plot | ...``.

What a command works on comes first, its options after it: ``graphseq train dagnn_cora --seeds 0 1
2``. Errors are one line, ``error: ...``, and exit code 2; ``GRAPHSEQ_DEBUG=1`` shows where they
were raised.
"""

import os
import sys
import warnings
from collections.abc import Sequence
from importlib import metadata

from graphseq.cli.commands import COMMANDS
from graphseq.cli.terminal import command_line, error_line, say, warn


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
            warnings.showwarning = warn
            return _dispatch(words)
    except SystemExit as stop:
        if isinstance(stop.code, str):  # a user's file has called sys.exit("why")
            print(error_line(ValueError(stop.code)), file=sys.stderr)
            return 2
        code = int(stop.code or 0)  # 0: tyro has printed the help; 128 + n: the loop met a signal
        if code > 128:
            say(_interrupted(words), file=sys.stderr)
        return code
    except KeyboardInterrupt:
        say(_interrupted(words), file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if os.environ.get("GRAPHSEQ_DEBUG"):
            raise
        print(error_line(error), file=sys.stderr)
        return 2


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        say(_usage())
        return 0
    if words[0] in ("-V", "--version"):
        say(f"graphseq {metadata.version('graphseq')}")
        return 0
    if words[0] not in COMMANDS:
        raise ValueError(f"no command is called {words[0]!r}; there are {', '.join(COMMANDS)}")
    first_option = next((i for i, w in enumerate(words) if w.startswith("-")), len(words))
    return COMMANDS[words[0]][1](words[1:first_option], words[first_option:])


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [
        f"  {name.ljust(width)}  {(kind.__doc__ or '').splitlines()[0]}"
        for name, (kind, _) in COMMANDS.items()
    ]
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


def _interrupted(words: list[str]) -> str:
    if words[0] == "train":
        words = [*words, *([] if "--resume" in words else ["--resume"])]
    elif words[0] not in ("leaderboard", "predict"):
        return "interrupted"
    return f"interrupted; continue with: {command_line(*words)}"
