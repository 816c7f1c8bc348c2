"""Forward learning: a run of each learner, against the plain formulation from the same weights.

A run alternates two steps and a validation. Rows are of a run of 100 such cycles of every layer
that is trained by itself, a typical one that stops early; 500 are the most. What a side makes once
is in it: what it builds of graph and features, and what a layer prepares before its first step. The
first cycle of a layer, preparation included, is the median of three short runs; the others count as
the median of the layer's cycles. Both sides start each layer from the same weights, and no time is
reported where they disagree after a cycle.

``paper`` makes graphs, inputs and normalised edge weights as they are needed, and adds messages up
one by one; ``strong`` keeps them all and uses torch's sparse product. Both aggregate the input of a
layer in every step, one whole graph per class, and run the layers below in every validation.
"""

import gc
import time
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from graphseq.bench import forward_memory
from graphseq.bench.forward_reference import PlainFFLA, PlainFFVN, PlainLearner, PlainSF
from graphseq.bench.forward_reference_top import PlainT2I
from graphseq.bench.timing import Row, compare, max_error
from graphseq.graph.adjacency import Adjacency
from graphseq.graph.csr import CSR
from graphseq.graph.data import NodeData, five_folds, split_by_fold
from graphseq.graph.models import ForwardGNN, LabelAppendingGNN, TopToInputGNN, VirtualNodeGNN
from graphseq.graph.tasks import ForwardLearning

CASES: dict[str, tuple[type[nn.Module], type[Any], int]] = {  # ours, plain, number of layers
    "sf": (ForwardGNN, PlainSF, 4),
    "ff_la": (LabelAppendingGNN, PlainFFLA, 4),
    "ff_vn": (VirtualNodeGNN, PlainFFVN, 4),
    "t2i": (TopToInputGNN, PlainT2I, 2),
}
TOLERANCE = 1e-3  # float32 on both sides
CYCLES = 100
"""Of each layer in the run that rows are of."""
SHORT_RUNS = 3


def rows(case: str | None = None, seconds: float = 4.0) -> list[Row]:
    """Times one learner or all, ``sf``, ``ff_la``, ``ff_vn`` and ``t2i``.

    The case ``memory``, which runs only by name, measures memory instead, see
    :mod:`graphseq.bench.forward_memory`.

    Args:
        case: which learner.
        seconds: to spend on the cycles of each layer.
    """
    if case == "memory":
        return forward_memory.rows()
    if case is not None and case not in CASES:
        raise ValueError(f"bench forward: no case {case!r}; there are {', '.join(CASES)}, memory")
    data = cora_ml()
    return [row for op in ([case] if case else CASES) for row in _case(op, data, seconds)]


def cora_ml() -> NodeData:
    """The first fold of Cora_ML, or a random graph of its sizes."""
    try:
        return five_folds("Cora_ML", seed=0)
    except FileNotFoundError:
        return random_graph(2_995, 8_158, 2_879, 151_000, 7)


def random_graph(nodes: int, edges: int, features: int, stored: int, classes: int) -> NodeData:
    """A graph with so many undirected edges, stored features and classes."""
    generator = torch.Generator().manual_seed(0)
    entries = torch.randperm(nodes * features, generator=generator)[:stored]  # no place twice
    row, col, value = entries // features, entries % features, torch.ones(stored) / 50
    # Of 11 in 10, loops and repeated pairs are left out.
    ends = torch.randint(nodes, (2, edges * 11 // 10), generator=generator)
    ends = torch.stack([ends.amin(0), ends.amax(0)])[:, ends[0] != ends[1]].unique(dim=1)
    ends = ends[:, torch.randperm(ends.size(1), generator=generator)[:edges]]
    y = torch.randint(classes, (nodes,), generator=generator)
    return NodeData(
        x=CSR.from_coo(row, col, value, shape=(nodes, features)),
        adjacency=Adjacency.from_edge_index(torch.cat([ends, ends.flip(0)], dim=1), nodes),
        y=y,
        **split_by_fold(y, fold=0)._asdict(),
        num_classes=classes,
        name="Cora_ML shape",
    )


def _case(op: str, data: NodeData, seconds: float) -> list[Row]:
    kind, plain_kind, depth = CASES[op]
    torch.manual_seed(0)
    ours = _Ours(kind(**data.dims, num_layers=depth), data)
    references: dict[str, PlainLearner] = {
        name: plain_kind(ours.task.model, data, strong=name == "strong")
        for name in ("paper", "strong")
    }
    case = f"{data.name} gcn depth {depth}, {CYCLES} cycles a layer"
    found: list[list[Row]] = []
    for number in range(len(ours.task.stages())):
        ours.enter(number)
        for plain in references.values():
            plain.load(ours.task.model)
            plain.enter(number)
        expected = ours.answer()
        error = max(max_error(_answer(plain, number), expected) for plain in references.values())
        timed = {name: partial(_cycle, plain, number) for name, plain in references.items()}
        options: dict[str, Any] = {"error": error, "tolerance": TOLERANCE, "seconds": seconds}
        found.append(compare(op, case, ours.cycle, timed, **options))
    firsts = _first_cycles(op)
    return [_whole_run(list(layers), firsts) for layers in zip(*found, strict=True)]


def _first_cycles(op: str) -> dict[str, list[float]]:
    """Milliseconds of each layer's first cycle and of all that comes before it, for each side."""
    kind, plain_kind, depth = CASES[op]
    times: dict[str, list[list[float]]] = {"ours": [], "paper": [], "strong": []}
    for _ in range(SHORT_RUNS):
        for name, passes in times.items():
            data = cora_ml()  # nothing is kept from other runs
            model: Any = kind(**data.dims, num_layers=depth)
            side: Any = None
            found: list[float] = []
            gc.collect()
            for number in range(len(model.units)):
                start = time.perf_counter()
                if number == 0 and name == "ours":
                    side = _Ours(model, data)
                elif number == 0:
                    side = plain_kind(model, data, strong=name == "strong")
                side.enter(number)
                side.cycle() if name == "ours" else _cycle(side, number)
                found.append((time.perf_counter() - start) * 1e3)
            passes.append(found)
    return {
        name: [median(layer) for layer in zip(*passes, strict=True)]
        for name, passes in times.items()
    }


class _Ours:
    """Our model in our task."""

    def __init__(self, model: nn.Module, data: NodeData) -> None:
        self.task = ForwardLearning(model, data)
        self.task.prepare(torch.device("cpu"))
        self.task.train()

    def enter(self, number: int) -> None:
        self.stage = self.task.stages()[number]
        self.optimizers = self.task.optimizers(self.stage)
        (self.train,) = self.task.batches("train", self.stage, 0, self.task.shard)
        (self.val,) = self.task.batches("val", self.stage, 0, self.task.shard)

    def cycle(self) -> Tensor:
        for _ in range(2):
            for loss in self.task.losses(self.train, self.stage):
                optimizer = self.optimizers[loss.unit]
                if not self._adding:
                    optimizer.zero_grad()
                loss.value.backward()
                self._adding = not loss.step
                if loss.step:
                    optimizer.step()
        with torch.no_grad():
            return self.task.predict(self.val, "val", self.stage, False)["scores"]

    _adding = False

    def answer(self) -> list[Tensor]:
        """Classes' scores, up to a constant factor, and all weights after a cycle."""
        return [_scaled(self.cycle()), *(p.detach().clone() for p in self._parameters())]

    def _parameters(self) -> list[Tensor]:
        model: Any = self.task.model
        return [p for layer in model.layers for p in layer.parameters()]


def _cycle(plain: PlainLearner, number: int) -> Tensor:
    plain.step(number)
    plain.step(number)
    return plain.validate(number)


def _answer(plain: PlainLearner, number: int) -> list[Tensor]:
    scores = _scaled(_cycle(plain, number))
    return [scores, *(p for layer in plain.weights() for p in layer.values())]


def _scaled(scores: Tensor) -> Tensor:
    """Ours leaves out the factor of the mean over columns."""
    return scores / scores.abs().max()


def _whole_run(layers: list[Row], firsts: dict[str, list[float]]) -> Row:
    """The row of a run from those of its layers' cycles."""
    ours, reference = (
        sum(firsts[name]) + (CYCLES - 1) * sum(row[key] for row in layers)
        for name, key in (("ours", "ours_ms"), (layers[0]["reference"], "reference_ms"))
    )
    error = max(row["max_error"] for row in layers)
    return layers[0] | {
        "ours_ms": ours, "reference_ms": reference, "ratio": reference / ours, "max_error": error
    }  # fmt: skip
