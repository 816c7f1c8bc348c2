"""Small problems and every learner of ForwardGNN, for the tests of the tasks that train them."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphseq.graph.adjacency import Adjacency
from graphseq.graph.csr import CSR
from graphseq.graph.data import LinkData, NodeData
from graphseq.graph.models import (
    BackpropGNN,
    BackpropLinkGNN,
    ForwardGNN,
    ForwardLinkGNN,
    LabelAppendingGNN,
    TopDownLinkGNN,
    TopToInputGNN,
    TopToLossGNN,
    VirtualNodeGNN,
)
from graphseq.graph.tasks import ForwardLearning, ForwardLinkLearning
from graphseq.training import FitResult, Task

FEATURES, CLASSES, HIDDEN, LAYERS = 6, 3, 8, 3
NODES = 40

SEQUENTIAL: dict[str, Callable[..., nn.Module]] = {
    "sf": ForwardGNN,
    "sf, gat": partial(ForwardGNN, conv="gat"),
    "ff-la": LabelAppendingGNN,
    "ff-la, sage, symba": partial(LabelAppendingGNN, conv="sage", loss="symba"),
    "ff-la, gat": partial(LabelAppendingGNN, conv="gat", num_wrong=1),
    "ff-vn": VirtualNodeGNN,
    "ff-vn, gat": partial(VirtualNodeGNN, conv="gat"),
}
TOP_DOWN: dict[str, Callable[..., nn.Module]] = {
    "t2i": TopToInputGNN,
    "t2l": TopToLossGNN,
    "t2l, sage": partial(TopToLossGNN, conv="sage", bottom_up="paper"),
}
FORWARD = SEQUENTIAL | TOP_DOWN
LEARNERS = FORWARD | {"bp": BackpropGNN}
"""Every learner; every kind of layer where the learner treats it in a way of its own."""

VARIANTS: dict[str, Callable[..., nn.Module]] = {
    "sf, sage": partial(ForwardGNN, conv="sage"),
    "t2i, gat": partial(TopToInputGNN, conv="gat", start_with_labels=True),
    "bp, sage": partial(BackpropGNN, conv="sage", normalize=False),
    "bp, gat": partial(BackpropGNN, conv="gat"),
}
"""What is left of them."""
LINK_SEQUENTIAL: dict[str, Callable[..., nn.Module]] = {
    "fl-ce": ForwardLinkGNN,
    "fl-ce, gat": partial(ForwardLinkGNN, conv="gat"),
    "fl-ff": partial(ForwardLinkGNN, loss="ff", conv="sage"),
}
LINK_FORWARD = LINK_SEQUENTIAL | {
    "fl-td": TopDownLinkGNN,
    "fl-td, sage": partial(TopDownLinkGNN, conv="sage"),
}
LINK_LEARNERS = LINK_FORWARD | {
    "bp": BackpropLinkGNN,
    "bp, sage": partial(BackpropLinkGNN, conv="sage"),
}


def _graph(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Three blocks: classes, noisy features, and pairs that are linked ``[2, E]``, u < v."""
    y = torch.arange(NODES) % CLASSES
    chance = torch.where(y[:, None] == y, 0.3, 0.03)
    upper = (torch.rand(NODES, NODES, generator=generator) < chance).triu(1)
    x = F.one_hot(y, FEATURES).float()
    x += 0.6 * torch.rand(NODES, FEATURES, generator=generator)
    return y, x, upper.nonzero().t()


def node_data(sparse: bool = False) -> NodeData:
    """Eleven training nodes, which two ranks do not share evenly."""
    generator = torch.Generator().manual_seed(0)
    y, x, links = _graph(generator)
    order = torch.randperm(NODES, generator=generator)
    return NodeData(
        x=CSR.from_dense(x * (x > 0.3)) if sparse else x,
        adjacency=Adjacency.from_edge_index(torch.cat([links, links.flip(0)], dim=1), NODES),
        y=y,
        train=order[:11],
        val=order[11:23],
        test=order[23:],
        num_classes=CLASSES,
        name="three blocks",
    )


def link_data() -> LinkData:
    """Links of the same graph, and as many other pairs in each part."""
    generator = torch.Generator().manual_seed(1)
    _, x, links = _graph(generator)
    linked = torch.zeros(NODES, NODES, dtype=torch.bool)
    linked[links[0], links[1]] = True
    others = (~linked).triu(1).nonzero().t()
    links = links[:, torch.randperm(links.size(1), generator=generator)]
    others = others[:, torch.randperm(others.size(1), generator=generator)[: links.size(1)]]
    parts = {"val": slice(0, 15), "test": slice(15, 40), "train": slice(40, None)}
    pairs: dict[str, Any] = {name: links[:, part] for name, part in parts.items()}
    pairs |= {f"{name}_negative": others[:, part] for name, part in parts.items()}
    return LinkData(
        x=x,
        num_nodes=NODES,
        **pairs,
        metric="auc",
        name="links of three blocks",
    )


def build(name: str, num_layers: int = LAYERS) -> nn.Module:
    """A small model of a learner, the same weights at each call."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return (LEARNERS | VARIANTS)[name](
            FEATURES, CLASSES, hidden_channels=HIDDEN, num_layers=num_layers
        )


def link_build(name: str, num_layers: int = LAYERS) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LINK_LEARNERS[name](FEATURES, hidden_channels=HIDDEN, num_layers=num_layers)


def task(name: str, data: NodeData | None = None, **options: Any) -> ForwardLearning:
    """A few quick steps."""
    options = {"lr": 0.02, "epochs": 3, **options}
    return ForwardLearning(build(name), node_data() if data is None else data, **options)


def link_task(name: str, data: LinkData | None = None, **options: Any) -> ForwardLinkLearning:
    """A few quick steps."""
    options = {"lr": 0.02, "epochs": 3, **options}
    return ForwardLinkLearning(link_build(name), link_data() if data is None else data, **options)


CASES = [("nodes", name) for name in LEARNERS] + [("links", name) for name in LINK_LEARNERS]
every_case = pytest.mark.parametrize(("kind", "name"), CASES)


def make(kind: str, name: str, **options: Any) -> ForwardLearning | ForwardLinkLearning:
    """The task of one of the cases."""
    return task(name, **options) if kind == "nodes" else link_task(name, **options)


def history(result: FitResult) -> list[dict[str, Any]]:
    """Without what no two runs share."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in result.history]


def assert_same(made: Task, result: FitResult, other: Task, expected: FitResult) -> None:
    """Bit by bit."""
    weights = made.model.state_dict()
    for key, weight in other.model.state_dict().items():
        assert torch.equal(weights[key], weight), key
    assert result.metrics == expected.metrics
    assert history(result) == history(expected)
