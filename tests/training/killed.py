"""Trains in child processes, kills them with SIGKILL at random moments, and compares what is left.

Usage: killed.py FOLDER TASK CHECKPOINT_SECONDS TRIALS SEED. Prints one line of JSON. TASK is a toy
for ``fit``, or ``run`` for an experiment with three seeds.

Importing torch and Fabric takes seconds and training a toy takes none, so everything is imported
once, before any thread exists, and each run is a fork of this process.
"""

import csv
import gc
import json
import os
import random
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch  # noqa: F401  (children find it imported)
import torch
from toys import TOYS, weights, without_seconds

from graphseq.training import Budget, fit, provenance
from graphseq.training.catalog import load_file
from graphseq.training.fabric import make_fabric
from graphseq.training.run import run
from graphseq.training.settings import with_leaves
from graphseq.training.weights import read_weights

IDEA = Path(__file__).parents[1] / "ideas" / "line.py"
KILLS = 3  # at most so many per trial
TIMES = ("seconds", "seconds_per_epoch", "peak_memory_mb")


def train(folder: Path, name: str, seconds: float) -> None:
    """One session; leaves its answer beside the run when it gets to the end."""
    warnings.simplefilter("error")  # a damaged checkpoint would only be warned about
    task = TOYS[name]()
    budget = Budget(epochs=3, checkpoint_seconds=seconds)
    result = fit(task, budget, out=folder, seed=4, resume=True)
    answer = {
        "weights": weights(task),
        "metrics": result.metrics,
        "history": without_seconds(result.history),
        "summary": [result.best_epoch, result.epochs_run, result.stopped],
    }
    torch.save(answer, folder / "answer.pt")


def run_seeds(folder: Path, seconds: float) -> None:
    """One session of a run with three seeds; what it leaves is its answer."""
    warnings.simplefilter("error")
    line = load_file(IDEA)["line"]
    run(with_leaves(line, {"budget.checkpoint_seconds": seconds}), out=folder, resume=True)


def session(folder: Path, name: str, seconds: float) -> None:
    """Trains until the end or the kill."""
    if name == "run":
        run_seeds(folder, seconds)
    else:
        train(folder, name, seconds)


def child(work: Callable[[], None]) -> int:
    """Run ``work`` in a forked process; returns its id."""
    process = os.fork()
    if process == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return process


def finish(folder: Path, name: str, seconds: float) -> dict[str, Any]:
    """Train to the end; what came out, with the history as the CSV file tells it."""
    _, status = os.waitpid(child(lambda: session(folder, name, seconds)), 0)
    if status != 0:
        raise RuntimeError(f"a session in {folder} failed")
    if name == "run":
        return answer_of_run(folder)
    answer = torch.load(folder / "answer.pt", weights_only=True)
    return answer | {"csv": csv_rows(folder / "history.csv")}


def answer_of_run(folder: Path) -> dict[str, Any]:
    """Metrics, weights and tables of all seeds, as the files tell them."""
    summary = json.loads((folder / "summary.json").read_text())
    seeds = sorted(path.parent for path in folder.glob("seed*/result.json"))
    return {
        "summary": {k: v for k, v in summary.items() if k not in TIMES},
        "runs": csv_rows(folder / "runs.csv"),
        "history": {path.name: csv_rows(path / "history.csv") for path in seeds},
        "weights": {
            f"{path.name}/{file}": read_weights(path / file)
            for path in seeds
            for file in ("best.safetensors", "task.safetensors")
        },
        "files": sorted(str(path.relative_to(folder)) for path in folder.glob("seed*/*")),
    }


def csv_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a table without what differs from one time to the next."""
    with open(path, newline="") as file:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]


def same(first: Any, second: Any) -> bool:
    """Equality to the last bit."""
    if isinstance(first, torch.Tensor):
        return isinstance(second, torch.Tensor) and torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[k], second[k]) for k in first)
    return bool(first == second)


def main(folder: Path, name: str, seconds: float, trials: int, seed: int) -> None:
    torch.set_num_threads(1)
    make_fabric("cpu", "32-true")
    provenance.commit()  # asks git once, for all children
    gc.freeze()  # children that collect garbage need not look at what was imported
    draw = random.Random(seed)
    start = time.perf_counter()
    for trial in ("warm-up", "plain"):
        began = time.perf_counter()
        expected = finish(folder / trial, name, seconds)
        duration = time.perf_counter() - began
    counts = {"trials": trials, "killed": 0, "continued": 0, "different": 0}
    for trial in map(str, range(trials)):
        out = folder / trial
        for _ in range(KILLS):
            process = child(lambda out=out: session(out, name, seconds))  # type: ignore[misc]
            time.sleep(draw.uniform(0.0, duration))
            os.kill(process, signal.SIGKILL)
            _, status = os.waitpid(process, 0)
            counts["killed"] += os.WIFSIGNALED(status)
            counts["continued"] += any(out.rglob("checkpoint*.pt"))
        counts["different"] += not same(finish(out, name, seconds), expected)
    print(json.dumps({**counts, "seconds": time.perf_counter() - start, "duration": duration}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
