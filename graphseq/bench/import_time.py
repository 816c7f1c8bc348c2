"""What ``import graphseq`` costs on top of what a person imports anyway."""

import subprocess
import sys
import time
from statistics import median

from graphseq.bench.timing import Row

ROUNDS = 5


def import_row(
    seconds: float, *, module: str = "graphseq", others: str = "torch, torch_geometric"
) -> Row:
    """Times an import in fresh interpreters, right after the imports that it comes on top of.

    One process measures both: the difference of two processes would mostly be how they differ by
    themselves. The times are CPU times since the interpreter's start: what else the machine is
    doing shall not count.

    Args:
        seconds: Time to spend; at least :data:`ROUNDS` processes are started.
        module: What is measured.
        others: What is imported before it.

    Returns:
        A row with the medians of all imports and of the ``others`` alone and, as ``overhead_ms``,
        the median of the difference. There is no result that could be wrong, so it has no
        ``max_error``.

    Raises:
        subprocess.CalledProcessError: If an import fails.
    """
    _measure(module, others)  # compiles what has no bytecode yet
    with_module: list[float] = []
    without: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(without) < ROUNDS:
        before, after = _measure(module, others)
        without.append(before)
        with_module.append(after)
    return {
        "op": f"import {module}",
        "case": "import",
        "ours_ms": median(with_module),
        "reference": f"import {others}",
        "reference_ms": median(without),
        "ratio": median(without) / median(with_module),
        "overhead_ms": median(b - a for a, b in zip(without, with_module, strict=True)),
    }


def _measure(module: str, others: str) -> tuple[float, float]:
    """Milliseconds of a fresh process until the others are there, and until the module is."""
    script = (
        f"import time; now = time.process_time; import {others}; before = now()\n"
        f"import {module}; print(before, now())"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    before, after = done.stdout.split()[-2:]
    return float(before) * 1e3, float(after) * 1e3
