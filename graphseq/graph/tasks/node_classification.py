"""Node classification on one graph: cross-entropy on the training nodes, accuracy on the rest."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from graphseq.graph.data import NodeData
from graphseq.graph.metrics import accuracy, official_accuracy
from graphseq.training import Loss, Shard, Stage, Task


class NodeClassification(Task):
    """Trains ``model(x, adjacency) -> logits [N, C]`` on the whole graph, one step per epoch.

    Under data parallelism every rank computes the whole graph and a share of the loss: the ranks'
    gradients add up to those of one process.

    Args:
        model: module with ``forward(x, graph)``; see :class:`graphseq.DAGNN`.
        data: the graph, its labels and its splits.
        lr: learning rate of Adam.
        weight_decay: L2 penalty on all parameters (added to the gradient, as Adam does).
        monitor: the validation metric that chooses the weights, ``val/loss`` or ``val/acc``.

    Raises:
        ValueError: if ``lr`` or ``weight_decay`` is negative or not finite.
    """

    def __init__(
        self,
        model: nn.Module,
        data: NodeData,
        *,
        lr: float = 0.01,
        weight_decay: float = 0.0,
        monitor: str = "val/loss",
    ) -> None:
        super().__init__()
        for name, value in (("lr", lr), ("weight_decay", weight_decay)):
            if not 0 <= value < math.inf:
                raise ValueError(
                    f"NodeClassification: {name} is {value}; pass a finite number, 0 or more"
                )
        self.model = model
        self.data = data
        self.lr = lr
        self.weight_decay = weight_decay
        self.monitor = monitor

    def prepare(self, device: torch.device) -> None:
        data, dtype = self.data.to(device), next(self.model.parameters()).dtype
        # Sparse features follow the dtype of the weight by themselves.
        if isinstance(data.x, Tensor) and data.x.dtype != dtype:
            data = replace(data, x=data.x.to(dtype))
        self.data = data

    def stages(self) -> Sequence[Stage]:
        return [Stage(monitors=(self.monitor,))]

    def optimizers(self, stage: Stage) -> dict[str, Optimizer]:
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        return {"model": Adam(parameters, self.lr, weight_decay=self.weight_decay, fused=True)}

    def batches(self, split: str, stage: Stage, epoch: int, shard: Shard) -> Iterable[Tensor]:
        """One batch: this rank's share of the split's nodes."""
        nodes = {"train": self.data.train, "val": self.data.val, "test": self.data.test}[split]
        return [shard.take(nodes)]

    def losses(self, batch: Tensor, stage: Stage) -> Iterator[Loss]:
        logits = self.model(self.data.x, self.data.adjacency)  # [N, C]
        per_node = F.cross_entropy(logits[batch], self.data.y[batch], reduction="none")
        yield Loss(self.shard.mean(per_node, total=self.data.train.numel()))

    def predict(self, batch: Tensor, split: str, stage: Stage, final: bool) -> dict[str, Tensor]:
        logits = self.model(self.data.x, self.data.adjacency)
        return {"logits": logits[batch], "y": self.data.y[batch]}

    def metrics(self, predictions: dict[str, Tensor], split: str, stage: Stage) -> dict[str, float]:
        logits, y = predictions["logits"], predictions["y"]
        return {"loss": float(F.cross_entropy(logits, y)), "acc": accuracy(logits, y)}

    def final_metrics(
        self, predictions: dict[str, Tensor], split: str, stage: Stage
    ) -> dict[str, float]:
        """As ``metrics``; on OGB's own splits the accuracy is its evaluator's."""
        found = self.metrics(predictions, split, stage)
        if self.data.official is not None:
            found["acc"] = official_accuracy(self.data.official, **predictions, ours=found["acc"])
        return found
