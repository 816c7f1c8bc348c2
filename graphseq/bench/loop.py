"""What the package costs on top of plain torch: its training loop, and its import.

The reference does by hand what a careful author would: zero_grad, forward, a look at the loss,
backward, step; per epoch one evaluation in evaluation mode, the metric, and a copy of the best
weights. The model is as small as models get, so that what is left is the loop's own cost. The
case ``import`` is in :mod:`graphseq.bench.import_time`.
"""

import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from graphseq.bench.import_time import import_row
from graphseq.bench.timing import Row, max_error
from graphseq.training import Budget, Loss, Shard, Stage, Task, fit

ROWS = 32
CASES: dict[str, dict[str, int]] = {
    "full-batch": {"batches": 1, "units": 1},
    "mini-batch": {"batches": 50, "units": 1},
    "layer-local": {"batches": 1, "units": 4},
}


def rows(case: str | None = None, seconds: float = 6.0) -> list[Row]:
    """Times one case or all: ``full-batch``, ``mini-batch``, ``layer-local``, ``import``.

    Each row of the loop has the milliseconds per optimizer step (an epoch's evaluation included in
    equal parts); each row has ``overhead_ms``, the difference between the two.

    Args:
        case: One of the cases; ``None`` runs all.
        seconds: Time to spend on each.

    Raises:
        ValueError: if there is no such case, or the two loops end with different weights.
    """
    names = (*CASES, "import")
    if case is not None and case not in names:
        raise ValueError(f"bench loop: no case {case!r}; there are {', '.join(names)}")
    if case == "import":
        return [import_row(seconds)]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # two threads on a 4 x 4 product only measure who waits for whom
    try:
        result = [_case(name, seconds, **CASES[name]) for name in ([case] if case else CASES)]
    finally:
        torch.set_num_threads(threads)
    return result if case else [*result, import_row(seconds)]


def _case(name: str, seconds: float, batches: int, units: int) -> Row:
    epochs = max(100 // batches, 6)
    error = max_error(ours(batches, units, epochs)[0], reference(batches, units, epochs)[0])
    if not error <= 0:
        raise ValueError(f"bench loop {name}: weights differ by {error:.1e}; no speed is reported")
    # Times from one epoch's metric to the next one's hold all that an epoch costs, and not what
    # starting and ending a run costs. They are CPU times of the one thread that does everything:
    # what else the machine is doing shall not count.
    times: dict[str, list[float]] = {"ours": [], "plain": []}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or not times["ours"]:
        times["ours"] += _differences(ours(batches, units, epochs)[1])
        times["plain"] += _differences(reference(batches, units, epochs)[1])
    steps = batches * units
    mine, plain = (median(times[kind]) * 1e3 / steps for kind in ("ours", "plain"))
    return {
        "op": "loop step",
        "case": name,
        "ours_ms": mine,
        "reference": "plain torch",
        "reference_ms": plain,
        "ratio": plain / mine,
        "max_error": error,
        "overhead_ms": mine - plain,
    }


def _differences(ends: list[float]) -> list[float]:
    return [after - before for before, after in pairwise(ends[2:])]  # the first epochs warm up


def ours(batches: int, units: int, epochs: int) -> tuple[list[Tensor], list[float]]:
    """Train with :func:`fit`; returns the weights, and the time of each epoch's metric."""
    task = Regression(batches, units)
    with tempfile.TemporaryDirectory() as out:  # with its CSV file, which everybody wants
        fit(task, Budget(epochs=epochs), out=out)
    return [p.detach() for p in task.parameters()], task.ends[:epochs]


def reference(batches: int, units: int, epochs: int) -> tuple[list[Tensor], list[float]]:
    """Train the same in plain torch; returns the weights, and the time of each epoch's end."""
    layers, x, y = _problem(units)
    optimizers = [SGD(layer.parameters(), lr=0.01) for layer in layers]
    best, weights = float("inf"), [p.detach().clone() for p in layers.parameters()]
    ends = []
    for _ in range(epochs):
        for _ in range(batches):
            h = x
            for layer, optimizer in zip(layers, optimizers, strict=True):
                optimizer.zero_grad()
                out = layer(h)
                loss = (out - y).square().mean()
                if not loss.item() < float("inf"):
                    raise FloatingPointError("loss is not finite")
                loss.backward()
                optimizer.step()
                h = out.detach()
        layers.eval()
        with torch.no_grad():
            h = layers(x)
            value = (h - y).square().mean().item()
        layers.train()
        if value < best:
            best, weights = value, [p.detach().clone() for p in layers.parameters()]
        ends.append(time.thread_time())
    return weights, ends


class Regression(Task):
    """Each layer of a stack learns the target from the output of the layer below.

    Args:
        batches: Batches per epoch, all of them the same rows.
        units: Number of layers, each a unit with its own optimizer.
    """

    def __init__(self, batches: int, units: int) -> None:
        super().__init__()
        self.model, self.x, self.y = _problem(units)
        self.num_batches = batches
        self.units = [f"model.{i}" for i in range(units)]
        self.ends: list[float] = []

    def stages(self) -> Sequence[Stage]:
        return (Stage(monitors=("val/mse",)),)

    def optimizers(self, stage: Stage) -> dict[str, Optimizer]:
        return {unit: SGD(self.get_submodule(unit).parameters(), lr=0.01) for unit in self.units}

    def batches(self, split: str, stage: Stage, epoch: int, shard: Shard) -> Iterable[Any]:
        yield from [(self.x, self.y)] * (self.num_batches if split == "train" else 1)

    def losses(self, batch: Any, stage: Stage) -> Iterator[Loss]:
        h, y = batch
        for unit in self.units:
            out = self.get_submodule(unit)(h)
            yield Loss((out - y).square().mean(), unit)
            h = out.detach()

    def predict(self, batch: Any, split: str, stage: Stage, final: bool) -> dict[str, Tensor]:
        h, y = batch
        return {"out": self.model(h), "y": y}

    def metrics(self, predictions: Any, split: str, stage: Stage) -> dict[str, float]:
        self.ends.append(time.thread_time())
        return {"mse": (predictions["out"] - predictions["y"]).square().mean().item()}


def _problem(units: int) -> tuple[nn.Sequential, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    layers = nn.Sequential(*[nn.Linear(4, 4) for _ in range(units)])
    with torch.no_grad():
        for parameter in layers.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    x, y = torch.randn(2, ROWS, 4, generator=generator).unbind()
    return layers, x, y
