"""DAGNN: an epoch, a training step, and peak memory, against two straightforward implementations.

An epoch is what a full-batch run repeats: one training step (zero_grad, forward, backward, Adam)
and one evaluation. Rows ending in ``memory`` hold MiB instead of milliseconds: the peak of a fresh
process above its loaded inputs.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Adam

from graphseq.bench.dagnn_reference import PaperDAGNN, StrongDAGNN
from graphseq.bench.graphs import Graph, load
from graphseq.bench.memory import peak_megabytes
from graphseq.bench.timing import Row, compare, gradients, max_error
from graphseq.graph.adjacency import Adjacency
from graphseq.graph.models import DAGNN

CASES: dict[str, dict[str, Any]] = {
    "cora": {"num_hops": 10, "dropout": 0.8},
    "physics": {"num_hops": 5, "dropout": 0.8},
    "arxiv": {
        "num_hops": 16,
        "dropout": 0.2,
        "input_dropout": 0.0,
        "batch_norm": True,
        "hidden_channels": 256,
    },
}
TOLERANCE = 1e-3  # float32 on both sides


def rows(case: str | None = None) -> list[Row]:
    """Times one case or all: ``cora``, ``physics``, ``arxiv``."""
    if case is not None and case not in CASES:
        raise ValueError(f"bench dagnn: no case {case!r}; there are {', '.join(CASES)}")
    return [row for name in ([case] if case else CASES) for row in _case(name)]


def _case(name: str) -> list[Row]:
    graph = load(name)
    runs = {kind: _Run(kind, name, graph) for kind in ("ours", "paper", "strong")}
    error = max(max_error(runs["ours"].answer(), runs[k].answer()) for k in ("paper", "strong"))
    references = {kind: runs[kind].epoch for kind in ("paper", "strong")}
    seconds = 60.0 if name == "arxiv" else 10.0
    options: dict[str, Any] = {"error": error, "tolerance": TOLERANCE, "seconds": seconds}
    result = compare("dagnn epoch", graph.name, runs["ours"].epoch, references, **options)
    if name != "arxiv":
        return result
    steps = {kind: runs[kind].step for kind in ("paper", "strong")}
    result += compare("dagnn step", graph.name, runs["ours"].step, steps, **options)
    del runs, references, steps
    for part in ("step", "propagation"):
        ours, paper = (peak_megabytes(_memory_setup, part, kind) for kind in ("ours", "paper"))
        result.append(
            {
                "op": f"dagnn {part} memory",
                "case": graph.name,
                "ours_mb": ours,
                "reference": "paper",
                "reference_mb": paper,
                "ratio": paper / ours,
                "max_error": error,
            }
        )
    return result


class _Run:
    """One implementation with its inputs in the form that it takes, and its optimiser."""

    def __init__(self, kind: str, case: str, graph: Graph) -> None:
        torch.manual_seed(0)
        ours = DAGNN(graph.num_features, graph.num_classes, **CASES[case])
        self.train, self.y = graph.train, graph.y
        self.model: Any
        self.inputs: tuple[Any, ...]
        if kind == "ours":
            self.model = ours
            self.inputs = (graph.x, Adjacency.from_edge_index(graph.edge_index, graph.num_nodes))
        elif kind == "paper":
            x = graph.x if isinstance(graph.x, Tensor) else graph.x.to_dense()
            self.model, self.inputs = PaperDAGNN(ours), (x, graph.edge_index)
        else:
            x = graph.x if isinstance(graph.x, Tensor) else graph.x.to_torch()
            matrix = Adjacency.from_edge_index(graph.edge_index, graph.num_nodes).normalized("sym")
            self.model, self.inputs = StrongDAGNN(ours), (x, matrix.to_torch())
        self.optimizer = Adam(self.model.parameters(), 0.01, fused=True)

    def answer(self) -> list[Tensor]:
        """Logits and three gradients without dropout, for the agreement check."""
        self.model.eval()
        logits = self.model(*self.inputs)
        first = self.model.input
        kind = isinstance(self.model, DAGNN)
        score = self.model.propagation if kind else self.model.score
        grads = gradients(logits, [first.weight, first.bias, score.weight])
        if kind:  # our first weight is stored as [F, H]
            grads[1], grads[3] = grads[1].t(), grads[3].view(1, -1)
        return grads

    def step(self) -> None:
        self.model.train()
        self.optimizer.zero_grad()
        logits = self.model(*self.inputs)
        F.cross_entropy(logits[self.train], self.y[self.train]).backward()
        self.optimizer.step()

    def epoch(self) -> None:
        self.step()
        self.model.eval()
        with torch.no_grad():
            self.model(*self.inputs)


def _memory_setup(part: str, kind: str) -> Callable[[], object]:
    """In a fresh process: the arxiv-shaped input, warmed up on a small one."""
    _call(part, _Run(kind, "arxiv", load("arxiv", shrink=200)))()
    return _call(part, _Run(kind, "arxiv", load("arxiv")))


def _call(part: str, run: _Run) -> Callable[[], object]:
    if part == "step":
        return run.step
    num_nodes, num_classes = run.y.shape[0], run.model.output.out_features
    z = torch.randn(num_nodes, num_classes, requires_grad=True)
    graph = run.inputs[1]
    if isinstance(run.model, PaperDAGNN):
        return lambda: run.model.adapt(z, graph).sum().backward()
    matrix = graph.normalized("sym")
    return lambda: run.model.propagation(z, matrix).sum().backward()
