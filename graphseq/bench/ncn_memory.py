"""Peak memory of NCN on random graphs of the shapes of ogbl-ppa and ogbl-citation2.

A case is all that a run does up to its tenth training step: sorting the links, drawing non-edges,
hiding targets, forward, backward, Adam; on citation2's shape also the scores of 1,000 links against
1,000 candidates each. The peak is that of a fresh process above its libraries, links and features.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam

from graphseq.bench.memory import peak_megabytes
from graphseq.bench.timing import Row
from graphseq.graph.data import LinkData
from graphseq.graph.models import NCN
from graphseq.graph.tasks import LinkPrediction
from graphseq.graph.tasks.link_prediction import Pairs
from graphseq.training import Shard

STEPS = 10


@dataclass(frozen=True)
class Case:
    """Shape of the graph, the experiment's settings, and the MiB that are asked for."""

    num_nodes: int
    num_links: int
    num_features: int
    skew: float  # ends of links are drawn as N u^skew
    queries: int
    limit: int
    model: dict[str, Any]
    task: dict[str, Any] = field(default_factory=dict)


CASES = {
    "ppa": Case(
        576_289, 21_231_931, 58, skew=1.3, queries=0, limit=10 * 1024,
        model={"num_layers": 3, "conv": "gcn", "edge_dropout": 0.1, "node_mlp": False},
        task={"batch_size": 16_384},
    ),
    "citation2": Case(
        2_927_963, 30_387_995, 128, skew=2.0, queries=1_000, limit=16 * 1024,
        model={"num_layers": 3, "conv": "pure_gcn", "dropout": 0.2, "output_dropout": 0.3},
        task={"batch_size": 32_768, "negatives": "destinations", "remove_targets": False},
    ),
}  # fmt: skip


def rows(case: str, shrink: int = 1) -> list[Row]:
    """The peak of one case, ``ppa`` or ``citation2``, beside the limit that it is to keep.

    Args:
        case: name of the shape.
        shrink: divides the sizes of the graph.
    """
    used = peak_megabytes(_setup, case, shrink)
    limit = CASES[case].limit
    return [
        {
            "op": f"ncn {STEPS} steps memory",
            "case": f"random {case} shape",
            "ours_mb": used,
            "reference": "limit",
            "reference_mb": float(limit),
            "ratio": limit / used,
        }
    ]


def _setup(case: str, shrink: int) -> Callable[[], object]:
    """In a fresh process: the links, and everything compiled on a small graph."""
    _steps(CASES[case], _data(CASES[case], 1000), warm=True)
    data = _data(CASES[case], shrink)
    return lambda: _steps(CASES[case], data)


def _data(case: Case, shrink: int) -> LinkData:
    generator = torch.Generator().manual_seed(0)
    num_nodes = case.num_nodes // shrink

    def pairs(number: int) -> Tensor:
        ends = torch.rand(2, number, generator=generator).pow_(case.skew).mul_(num_nodes)
        source, target = ends.long().clamp_(max=num_nodes - 1)
        return torch.stack(
            [source, torch.where(source == target, (target + 1) % num_nodes, target)]
        )

    few = pairs(1000)
    negative = few
    if case.queries:
        negative = torch.randint(num_nodes, (2, 1000, case.queries), generator=generator)
    return LinkData(
        x=torch.rand(num_nodes, case.num_features, generator=generator),
        num_nodes=num_nodes,
        train=pairs(case.num_links // shrink),
        val=few,
        val_negative=negative,
        test=few,
        test_negative=negative,
        metric="mrr" if case.queries else "hits@100",
        name="random",
        multigraph=True,  # drawn links repeat
    )


def _steps(case: Case, data: LinkData, warm: bool = False) -> None:
    model = NCN(data.dims["in_channels"], 64, jumping_knowledge=False, residual=True, **case.model)
    task = LinkPrediction(model, data, **case.task)
    task.prepare(torch.device("cpu"))
    stage, optimizer = task.stages()[0], Adam(task.parameters(), 1e-3, fused=True)
    task.train()
    for batch in islice(task.batches("train", stage, 0, Shard()), STEPS):
        optimizer.zero_grad()
        (loss,) = task.losses(batch, stage)
        loss.value.backward()
        optimizer.step()
    if case.queries:
        task.eval()
        (test,) = task.batches("test", stage, 0, Shard())
        if warm:
            test = Pairs(test.positive[:, :9], test.negative[:, :9])
        with torch.no_grad():
            task.predict(test, "test", stage, True)
