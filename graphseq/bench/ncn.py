"""NCN and NCNC: a training epoch, or a step of one, and scoring, against the plain formulation.

On Cora an epoch is all batches of a run: hiding the targets, forward, backward, Adam. On ogbl-ddi
it is one step of the 43 (the paper's batch of 24,576 links and as many others), or for NCNC, whose
every pair has a thousand inner ones, a step with 32 links; beside NCN's stand the step in bfloat16
and the time of the pair networks' matrix products alone, which no float32 step can beat. Both sides
get the same pairs; drawing them is not timed here. ``scoring`` is the evaluation of Cora's test
pairs. Published scripts score all training links, too, whenever they evaluate; what leaving that
out saves is the row ``without training links``.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Adam

from graphseq.bench import ncn_memory
from graphseq.bench.link_graphs import links
from graphseq.bench.ncn_reference import ReferenceNCN
from graphseq.bench.timing import Candidate, Row, compare, max_error
from graphseq.graph.csr import CSR
from graphseq.graph.models import NCN, NCNC
from graphseq.graph.ops.blockwise import BLOCK
from graphseq.graph.tasks import LinkPrediction
from graphseq.graph.tasks.link_prediction import Pairs
from graphseq.training import Shard

COMPLETION: dict[str, Any] = {"scale": 4.3, "offset": 2.8, "prior": 0.75, "alpha": 1.0}
CORA = {
    "hidden_channels": 256, "conv": "pure_gcn", "feature_dropout": 0.7, "dropout": 0.05,
    "output_dropout": 0.3, "pair_dropout": 0.05, "pair_edge_dropout": 0.4,
    "jumping_knowledge": True,
}  # fmt: skip
DDI = {
    "hidden_channels": 224, "conv": "pure_sum", "feature_dropout": 0.05, "dropout": 0.4,
    "pair_dropout": 0.6, "two_layer_output": True, "tail_activation": False, "residual": True,
    "jumping_knowledge": False,
}  # fmt: skip
CASES: dict[str, dict[str, Any]] = {"cora": CORA, "ddi": DDI}
BATCH = {("cora", "ncn"): 1152, ("cora", "ncnc"): 1152, ("ddi", "ncn"): 24576, ("ddi", "ncnc"): 32}
TOLERANCE = 2e-3  # float32 on both sides
HALF_TOLERANCE = 0.1  # bfloat16 has 8 bits, and the gradient passes some ten layers


def rows(case: str | None = None, seconds: float = 20.0) -> list[Row]:
    """Times one case or both, ``cora`` and ``ddi``, each row for so many seconds.

    The cases ``ppa`` and ``citation2``, which run only by name, measure memory instead, see
    :mod:`graphseq.bench.ncn_memory`.
    """
    if case in ncn_memory.CASES:
        return ncn_memory.rows(case)
    known = [*CASES, *ncn_memory.CASES]
    if case is not None and case not in CASES:
        raise ValueError(f"bench ncn: no case {case!r}; there are {', '.join(known)}")
    cases = [key for key in BATCH if case in (None, key[0])]
    return [row for name, model in cases for row in _case(name, model, seconds)]


def _case(name: str, model: str, seconds: float) -> list[Row]:
    ours, theirs = _sides(name, model)
    error = max_error(ours.answer(), theirs.answer())
    references: dict[str, Candidate]
    options: dict[str, Any] = {"error": error, "tolerance": TOLERANCE, "seconds": seconds}
    case = ours.task.data.name
    if (name, model) == ("ddi", "ncnc"):
        step, references = partial(ours.train, 1), {"paper": partial(theirs.train, 1)}
        return compare(
            f"ncnc step of {2 * BATCH[name, model]} pairs", case, step, references, **options
        )
    if name == "ddi":
        step, half = partial(ours.train, 1), partial(ours.train, 1, torch.bfloat16)
        references = {"paper": partial(theirs.train, 1), "matmul floor": _products(ours.task)}
        found = compare(f"{model} step", case, step, references, **options)
        error = max_error(ours.answer(torch.bfloat16), ours.answer())
        options |= {"error": error, "tolerance": HALF_TOLERANCE}
        return found + compare(f"{model} step bf16", case, half, {"float32": step}, **options)
    epoch, steps = f"{model} epoch", len(ours.batches)
    references = {"paper": partial(theirs.train, steps)}
    found = compare(epoch, case, partial(ours.train, steps), references, **options)
    found += compare(f"{model} scoring", case, ours.score, {"paper": theirs.score}, **options)
    references = {"paper": theirs.score_with_training_links}
    return found + compare(
        f"{model} scoring without training links", case, ours.score, references, **options
    )


def _sides(name: str, model: str) -> tuple["_Ours", "_Reference"]:
    data = links(name)
    torch.manual_seed(0)
    sizes: dict[str, Any] = {key: value for key, value in data.dims.items() if value is not None}
    sizes |= CASES[name]
    net = NCN(**sizes) if model == "ncn" else NCNC(**sizes, **COMPLETION)
    task = LinkPrediction(net, data, batch_size=BATCH[name, model])
    task.prepare(torch.device("cpu"))
    return _Ours(task), _Reference(task)


def _products(task: LinkPrediction) -> Callable[[], object]:
    """The matrix products that the pair networks need for a batch, forward and backward."""
    model: Any = task.model
    head = model.predictor.head
    pools, tails = len(head.pools), head.pair.tail is not None
    layers = 1 + pools + (1 + pools if tails else 1) + (head.score.second is not None)
    rows, weight = torch.randn(BLOCK, head.channels), torch.randn(head.channels, head.channels)

    def run() -> None:
        for _ in range(layers * -(-2 * task.batch_size // BLOCK)):
            rows @ weight, rows @ weight.t(), rows.t() @ rows

    return run


class _Ours:
    """Our model in our task, on one epoch's batches."""

    def __init__(self, task: LinkPrediction) -> None:
        self.task, self.stage = task, task.stages()[0]
        self.batches: list[Pairs] = list(task.batches("train", self.stage, 0, Shard()))
        (self.test,) = task.batches("test", self.stage, 0, Shard())
        self.optimizer = Adam(task.parameters(), 1e-3, fused=True)

    def train(self, steps: int, half: torch.dtype | None = None) -> None:
        self.task.train()
        for batch in self.batches[:steps]:
            self.optimizer.zero_grad()
            self._loss(batch, half).backward()
            self.optimizer.step()

    def _loss(self, batch: Pairs, half: torch.dtype | None) -> Tensor:
        with torch.autocast("cpu", half, enabled=half is not None):
            (loss,) = self.task.losses(batch, self.stage)
        return loss.value

    @torch.no_grad()
    def score(self) -> Tensor:
        self.task.eval()
        found = self.task.predict(self.test, "test", self.stage, True)
        return torch.cat([found["positive"], found["negative"]])

    def answer(self, half: torch.dtype | None = None) -> list[Tensor]:
        """Loss and some gradients of the first batch without dropout."""
        self.task.eval()
        return _with_gradients(self._loss(self.batches[0], half), self.task.model)


class _Reference:
    """The plain formulation on the same batches."""

    def __init__(self, task: LinkPrediction) -> None:
        ours = _Ours(task)
        self.batches, self.test, self.data = ours.batches, ours.test, task.data
        self.model = ReferenceNCN(task.model)  # type: ignore[arg-type]
        self.optimizer = Adam(self.model.parameters(), 1e-3, fused=True)
        x = task.data.x
        self.x = x.to_dense() if isinstance(x, CSR) else x

    def train(self, steps: int) -> None:
        self.model.train()
        for batch in self.batches[:steps]:
            self.optimizer.zero_grad()
            self._loss(batch).backward()
            self.optimizer.step()

    def _loss(self, batch: Pairs) -> Tensor:
        assert batch.hidden is not None
        keep = torch.ones(self.data.train.size(1), dtype=torch.bool)
        keep[batch.hidden] = False
        logits = self._logits(self.data.train[:, keep], batch)
        positive, negative = logits.split([batch.positive.size(1), batch.negative.size(1)])
        return -F.logsigmoid(positive).mean() - F.logsigmoid(-negative).mean()

    def _logits(self, edges: Tensor, batch: Pairs) -> Tensor:
        pairs = torch.cat([batch.positive, batch.negative], dim=1)
        return self.model(self.x, edges, pairs, self.data.num_nodes)

    @torch.no_grad()
    def score(self) -> Tensor:
        self.model.eval()
        return self._logits(self.data.train, self.test)

    @torch.no_grad()
    def score_with_training_links(self) -> Tensor:
        self.model.eval()
        none = self.data.train[:, :0]
        known = self._logits(self.data.train, Pairs(self.data.train, none))
        return torch.cat([known, self.score()])

    def answer(self) -> list[Tensor]:
        self.model.eval()
        return _with_gradients(self._loss(self.batches[0]), self.model)


def _with_gradients(loss: Tensor, model: Any) -> list[Tensor]:
    head = model.predictor.head
    chosen = [model.encoder.input.weight, head.pools[0].first.weight, head.score.last.weight]
    return [loss.detach(), *torch.autograd.grad(loss, chosen)]
