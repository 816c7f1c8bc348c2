"""Trains in child processes, kills them with SIGKILL at random moments, and compares what is left.

Usage: killed.py FOLDER TASK CHECKPOINT_SECONDS TRIALS SEED. Prints one line of JSON.

Importing torch and Fabric takes seconds and training a toy takes none, so everything is imported
once, before any thread exists, and each run is a fork of this process.
"""

import csv
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

import torch
from toys import TOYS, weights, without_seconds

from graphseq.training import Budget, fit
from graphseq.training.fabric import make_fabric

KILLS = 3  # at most so many per trial


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
    _, status = os.waitpid(child(lambda: train(folder, name, seconds)), 0)
    if status != 0:
        raise RuntimeError(f"a session in {folder} failed")
    answer = torch.load(folder / "answer.pt", weights_only=True)
    with open(folder / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return answer | {"csv": [{k: v for k, v in row.items() if k != "seconds"} for row in rows]}


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
    draw = random.Random(seed)
    start = time.perf_counter()
    for run in ("warm-up", "plain"):
        began = time.perf_counter()
        expected = finish(folder / run, name, seconds)
        duration = time.perf_counter() - began
    counts = {"trials": trials, "killed": 0, "continued": 0, "different": 0}
    for trial in range(trials):
        out = folder / str(trial)
        for _ in range(KILLS):
            process = child(lambda out=out: train(out, name, seconds))  # type: ignore[misc]
            time.sleep(draw.uniform(0.0, duration))
            os.kill(process, signal.SIGKILL)
            _, status = os.waitpid(process, 0)
            counts["killed"] += os.WIFSIGNALED(status)
            counts["continued"] += any(out.glob("checkpoint*.pt"))
        counts["different"] += not same(finish(out, name, seconds), expected)
    print(json.dumps({**counts, "seconds": time.perf_counter() - start, "duration": duration}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
