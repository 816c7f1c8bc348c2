"""What the command line says, and to whom."""

import os
import shlex
import sys
from typing import TextIO

PLAIN_ERRORS = (ValueError, TypeError, OSError, ImportError, FloatingPointError)
"""What the package raises on purpose, in words that need no class name before them."""


def say(text: str, file: TextIO | None = None) -> None:
    """Prints; under torchrun only the first process does."""
    if rank() == 0:
        print(text, file=file, flush=True)


def warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """``warnings.showwarning`` in one line, without a place in the code for which no user cares."""
    say(f"warning: {' '.join(str(message).split())}", file=sys.stderr)


def command_line(*words: str) -> str:
    """The words as they can be typed again."""
    processes = os.environ.get("LOCAL_WORLD_SIZE")
    program = f"torchrun --nproc_per_node={processes} -m graphseq" if processes else "graphseq"
    return f"{program} {shlex.join(words)}"


def error_line(error: Exception) -> str:
    """One line; errors that nobody foresaw also carry their class and the way to their place."""
    text = " ".join(str(error).split())
    if not isinstance(error, PLAIN_ERRORS):
        text = f"{type(error).__name__}: {text}; GRAPHSEQ_DEBUG=1 shows where"
    return f"error: rank {rank()}: {text}" if rank() else f"error: {text}"


def rank() -> int:
    """As graphseq.training.run tells it, without the import that help can do without."""
    alone = os.environ.get("WORLD_SIZE", "1") == "1"
    return 0 if alone else int(os.environ.get("RANK", "0"))
