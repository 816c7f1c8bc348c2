"""Node classification by forward learning: layers step one by one, on losses of their own."""

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphseq.graph.data import NodeData
from graphseq.graph.metrics import accuracy
from graphseq.graph.tasks.local_training import LocalTraining, Protocol, depth_scores
from graphseq.training import Shard, Stage


class ForwardLearning(LocalTraining):
    """Trains a forward-learning model, or backpropagation for comparison, on one whole graph.

    An epoch is one step. ``acc`` is the accuracy of all layers together, ``acc@depth1`` and so on
    those of the first layers, where these are models of their own.

    Under data parallelism every rank computes the whole graph and a share of the loss.

    Args:
        model: :class:`graphseq.ForwardGNN`, one of its siblings, or
            :class:`~graphseq.graph.models.BackpropGNN`.
        data: the graph, its labels and its splits.
        lr: learning rate of Adam, of which every layer has its own.
        weight_decay: L2 penalty on all parameters (added to the gradient, as Adam does); None means
            the model's own.
        epochs: steps of a stage (a layer, or all layers of a top-down model) at the most.
        evaluate_every: steps between two evaluations.
        patience: evaluations without improvement that end a stage.
        max_norm: gradient norm at which each layer is clipped; None means the model's own.
        monitor: the validation metric that chooses the weights; None means the model's own.
        protocol: "paper" takes all of the paper's choices at once: known labels of validation nodes
            help Forward-Forward models when the test is scored; backpropagation without normalised
            rows is stopped by the validation accuracy; top-to-loss models classify with states that
            are not normalised.
        use_val_labels: let the labels of validation nodes be known when the test is scored; None
            means what ``protocol`` says. Where the paper's are known, ``acc_with_val_labels`` has
            them in any case.
        row_block: where the features are mapped from a file, how many rows to read at a time.
        seed: of what a learner draws.

    Raises:
        ValueError: if an argument is out of its range.
        TypeError: if the model is no forward-learning model.
    """

    learns, example = "nodes", "graphseq.ForwardGNN"

    def __init__(
        self,
        model: nn.Module,
        data: NodeData,
        *,
        lr: float = 1e-3,
        weight_decay: float | None = None,
        epochs: int = 1000,
        evaluate_every: int = 2,
        patience: int | None = 100,
        max_norm: float | None = None,
        monitor: str | None = None,
        protocol: Protocol = "fair",
        use_val_labels: bool | None = None,
        row_block: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(
            model,
            lr=lr,
            weight_decay=weight_decay,
            epochs=epochs,
            evaluate_every=evaluate_every,
            patience=patience,
            max_norm=max_norm,
            monitor=monitor,
            protocol=protocol,
            row_block=row_block,
            seed=seed,
        )
        check_dims(self.local, data)
        self.data = data
        self.use_val_labels = (
            protocol == "paper" and self.local.hears_validation
            if use_val_labels is None
            else use_val_labels
        )

    def prepare(self, device: torch.device) -> None:
        super().prepare(device)
        self.data = self._moved(self.data, device)

    def _num_rows(self) -> int:
        return self.data.train.numel()

    def _make_learner(self) -> Any:
        data = self.data
        every = torch.arange(data.train.numel(), device=data.train.device)
        return self.local.learner(
            data.x,
            data.adjacency,
            data.train,
            data.y[data.train],
            rows=self.shard.take(every),
            nodes=data.val,
            seed=self.seed,
            row_block=self.row_block,
        )

    def batches(self, split: str, stage: Stage, epoch: int, shard: Shard) -> Iterable[Tensor]:
        """One batch: this rank's share, as positions in the split."""
        nodes = self.data.splits[split]
        return [shard.take(torch.arange(nodes.numel(), device=nodes.device))]

    def predict(self, batch: Tensor, split: str, stage: Stage, final: bool) -> dict[str, Tensor]:
        nodes = self.data.splits[split]
        y = self.data.y[nodes[batch]]
        if not final and split == "val":
            return {"scores": self.learner().scores(self.model, self._number(stage))[batch], "y": y}
        columns = depth_scores(self._score(nodes, with_val=False)[batch])
        if split == "test" and (self.local.hears_validation or self.use_val_labels):
            other = depth_scores(self._score(nodes, with_val=True)[batch])
            named = {f"{name}/with_val_labels": value for name, value in other.items()}
            columns = {**(other if self.use_val_labels else columns), **named}
        return {**columns, "y": y}

    def _score(self, nodes: Tensor, with_val: bool) -> Tensor:
        """``[n, depths, C]`` from scratch."""
        data = self.data
        known = torch.cat([data.train, data.val]) if with_val else data.train
        labels, row_block = data.y[known], self.row_block
        return self.local.scores_by_depth(data.x, data.adjacency, known, labels, nodes, row_block)

    def metrics(self, predictions: dict[str, Tensor], split: str, stage: Stage) -> dict[str, float]:
        """Accuracy by depth, and the cross-entropy of models that answer with logits."""
        y = predictions["y"]
        found = {
            name.replace("scores", "acc", 1).replace("/", "_"): accuracy(scores, y)
            for name, scores in predictions.items()
            if name != "y"
        }
        if self.local.gives_logits:
            found["loss"] = float(F.cross_entropy(predictions["scores"], y))
        return found


def check_dims(model: Any, data: NodeData) -> None:
    """Refuses data that the model was not made for."""
    for name, size in data.dims.items():
        own = getattr(model, name)
        if own != size:
            raise ValueError(
                f"ForwardLearning: {data.name} has {name}={size}, the model {own}; build it with "
                "**data.dims"
            )
