"""Peak memory of forward learning and of backpropagation as the network gets deeper.

A random graph of 200,000 nodes, 128 features and ten neighbours each. Forward learning (SF) takes
one step of every layer in turn, with all that lies between two layers; backpropagation takes one
step, with its activations kept or, ``recompute``, those of a layer computed again. The peak is that
of a fresh process above its libraries and the graph.
"""

from collections.abc import Callable, Sequence

import torch

from graphseq.bench.memory import peak_megabytes
from graphseq.bench.timing import Row
from graphseq.graph.adjacency import Adjacency
from graphseq.graph.data import NodeData, split_by_fold
from graphseq.graph.models import BackpropGNN, ForwardGNN
from graphseq.graph.tasks import ForwardLearning

NODES, FEATURES, NEIGHBORS, CLASSES = 200_000, 128, 10, 7
DEPTHS = (1, 2, 4, 8, 16, 32)
REFERENCES = ("backprop", "backprop recompute")


def rows(depths: Sequence[int] = DEPTHS, shrink: int = 1) -> list[Row]:
    """The peaks of each depth.

    Args:
        depths: numbers of layers.
        shrink: divides the number of nodes.
    """
    found = []
    for depth in depths:
        ours = peak_megabytes(_setup, "sf", depth, shrink)
        for reference in REFERENCES:
            used = peak_megabytes(_setup, reference, depth, shrink)
            found.append(
                {
                    "op": "sf memory",
                    "case": f"{NODES // shrink:,} nodes gcn depth {depth}",
                    "ours_mb": ours,
                    "reference": reference,
                    "reference_mb": used,
                    "ratio": used / ours,
                }
            )
    return found


def _setup(kind: str, depth: int, shrink: int) -> Callable[[], object]:
    """In a fresh process: the graph, and everything compiled on a small one."""
    _steps(kind, 2, _data(1_000))
    data = _data(NODES // shrink)
    return lambda: _steps(kind, depth, data)


def _data(nodes: int) -> NodeData:
    generator = torch.Generator().manual_seed(0)
    ends = torch.randint(nodes, (2, nodes * NEIGHBORS // 2), generator=generator)
    y = torch.randint(CLASSES, (nodes,), generator=generator)
    return NodeData(
        x=torch.rand(nodes, FEATURES, generator=generator),
        adjacency=Adjacency.from_edge_index(torch.cat([ends, ends.flip(0)], dim=1), nodes),
        y=y,
        **split_by_fold(y, fold=0)._asdict(),
        num_classes=CLASSES,
        name="random",
    )


def _steps(kind: str, depth: int, data: NodeData) -> None:
    """One step of every layer."""
    model: ForwardGNN | BackpropGNN
    if kind == "sf":
        model = ForwardGNN(data.dims["in_channels"], CLASSES, num_layers=depth)
    else:
        recompute = kind == "backprop recompute"
        model = BackpropGNN(
            data.dims["in_channels"], CLASSES, num_layers=depth, recompute=recompute
        )
    task = ForwardLearning(model, data)
    task.prepare(torch.device("cpu"))
    task.train()
    for stage in task.stages():
        optimizers = task.optimizers(stage)
        (batch,) = task.batches("train", stage, 0, task.shard)
        for loss in task.losses(batch, stage):
            optimizers[loss.unit].zero_grad()
            loss.value.backward()
            optimizers[loss.unit].step()
