"""Small graphs on which forward learning and its plain formulation run side by side in float64."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from graphseq.bench.forward_reference import PlainFFLA, PlainFFVN, PlainLearner, PlainSF
from graphseq.bench.forward_reference_links import PlainLinks, PlainTopDownLinks
from graphseq.bench.forward_reference_top import PlainT2I, PlainT2L
from graphseq.graph.adjacency import Adjacency
from graphseq.graph.csr import CSR
from graphseq.graph.data import LinkData, NodeData
from graphseq.graph.models import (
    ForwardGNN,
    ForwardLinkGNN,
    LabelAppendingGNN,
    TopDownLinkGNN,
    TopToInputGNN,
    TopToLossGNN,
    VirtualNodeGNN,
)
from graphseq.graph.tasks import ForwardLearning, ForwardLinkLearning
from graphseq.training import Stage

N, F, C, H = 45, 12, 3, 8

NODES: dict[str, tuple[Any, type[Any], dict[str, Any]]] = {
    "sf": (ForwardGNN, PlainSF, {"temperature": 0.7}),
    "t2i": (TopToInputGNN, PlainT2I, {}),
    "t2l": (TopToLossGNN, PlainT2L, {}),
    "t2l paper": (TopToLossGNN, PlainT2L, {"bottom_up": "paper"}),
    "ff_la": (LabelAppendingGNN, PlainFFLA, {}),
    "ff_la symba": (LabelAppendingGNN, PlainFFLA, {"loss": "symba", "sharpness": 1.5}),
    "ff_vn": (VirtualNodeGNN, PlainFFVN, {}),
    "ff_vn one wrong": (VirtualNodeGNN, PlainFFVN, {"num_wrong": 1, "threshold": 1.0}),
}
LINKS: dict[str, tuple[Any, type[Any], dict[str, Any]]] = {
    "fl_ce": (ForwardLinkGNN, PlainLinks, {}),
    "fl_ff": (ForwardLinkGNN, PlainLinks, {"loss": "ff"}),
    "top_down": (TopDownLinkGNN, PlainTopDownLinks, {}),
}
LEARNERS = [*NODES, *LINKS]
CONVS = ["gcn", "sage", "gat"]


def edges(generator: torch.Generator) -> Tensor:
    """Undirected, with a self loop; the last node is alone, and the one before has a loop only."""
    pairs = torch.randint(N - 2, (2, 90), generator=generator)
    pairs = pairs[:, pairs[0] != pairs[1]]
    loops = torch.tensor([[5, N - 2], [5, N - 2]])
    return torch.cat([pairs, pairs.flip(0), loops], dim=1).unique(dim=1)


def features(generator: torch.Generator, sparse: bool) -> Tensor | CSR:
    """Mostly zeros; node 3 has none at all."""
    x = torch.rand(N, F, generator=generator, dtype=torch.float64)
    x = x * (torch.rand(N, F, generator=generator) < 0.4)
    x[3] = 0.0
    return CSR.from_dense(x) if sparse else x


def node_data(sparse: bool) -> NodeData:
    """Two training nodes in three; the isolated node is to be validated."""
    generator = torch.Generator().manual_seed(0)
    adjacency = Adjacency.from_edge_index(edges(generator), num_nodes=N)
    order = torch.randperm(N - 1, generator=generator)
    val = torch.cat([order[27:36], torch.tensor([N - 1])])
    y = torch.randint(C, (N,), generator=generator)
    x = features(generator, sparse)
    return NodeData(x, adjacency, y, order[:27], val, order[36:], num_classes=C)


def link_data(sparse: bool) -> LinkData:
    """Links without loops; node ``N - 1`` is in no training link, but in pairs that are none."""
    generator = torch.Generator().manual_seed(1)
    pairs = edges(generator)
    pairs = pairs[:, pairs[0] < pairs[1]]
    pairs = pairs[:, torch.randperm(pairs.size(1), generator=generator)]
    others = torch.randint(N, (2, 100), generator=generator)
    others[0, :3] = N - 1
    others = others[:, others[0] != others[1]]
    x = features(generator, sparse)
    return LinkData(
        x, N, pairs[:, :50], pairs[:, 50:60], others[:, 50:60], pairs[:, 60:], others[:, 60:],
        metric="auc", train_negative=others[:, :49],
    )  # fmt: skip


def setup(name: str, conv: str, *, sparse: bool, num_layers: int = 3, **options: Any) -> Any:
    """Our task in float64 and the plain learner, from the same weights."""
    torch.set_num_threads(1)  # more only wait for each other on so small a graph
    model_class, plain_class, settings = (NODES | LINKS)[name]
    data: Any = (link_data if name in LINKS else node_data)(sparse)
    sizes = {"in_channels": F} | ({} if name in LINKS else {"out_channels": C})
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = model_class(
            **sizes, hidden_channels=H, num_layers=num_layers, conv=conv, num_heads=2, **settings
        ).double()
        with torch.no_grad():  # no parameter starts at 0
            for layer in model.layers:
                layer.bias.uniform_(-0.1, 0.1)
    task_class = Recording if name in NODES else RecordingLinks
    rates = {"lr": 1e-3, "weight_decay": 0.0 if name == "top_down" else 5e-4}
    task = task_class(model, data, patience=None, seed=11, **rates)
    seeds = {} if name in LINKS else {"seed": 11}
    return task, plain_class(model, data, **rates, **seeds, **options)


class _Recorder:
    """Keeps the scores of every validation, stage by stage."""

    def predict(self, batch: Any, split: str, stage: Stage, final: bool) -> Any:
        found = super().predict(batch, split, stage, final)  # type: ignore[misc]
        if split == "val" and not final:
            kept = vars(self).setdefault("recorded", {}).setdefault(stage.name, [])
            kept.append(found["scores"].clone())
        return found


class Recording(_Recorder, ForwardLearning):
    """On nodes."""


class RecordingLinks(_Recorder, ForwardLinkLearning):
    """On links."""


def in_units(name: str, scores: Tensor, stage: int, final: bool = False) -> Tensor:
    """Our learner's running scores in the paper's units: means over layers and columns."""
    if name in ("fl_ce", "fl_ff") and not final:
        return scores / (stage + 1)
    return scores / H if name.startswith("ff") and not final else scores


def train(plain: PlainLearner, stage: int, epochs: int, metric: Any) -> Iterator[Tensor]:
    """Steps of a stage with a validation every other one; ends with the best weights."""
    plain.enter(stage)
    best, kept = -1.0, plain.weights()
    for epoch in range(1, epochs + 1):
        plain.step(stage)
        if epoch % 2 == 0:
            scores = plain.validate(stage)
            if (value := metric(scores)) > best:
                best, kept = value, plain.weights()
            yield scores
    with torch.no_grad():
        for layer, weights in zip(plain.layers, kept, strict=True):
            for parameter, value in weights.items():
                layer.get_parameter(parameter).copy_(value)
