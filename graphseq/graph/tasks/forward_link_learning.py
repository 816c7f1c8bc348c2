"""Link prediction by forward learning: layers learn from a fixed list of links and other pairs."""

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphseq.graph.adjacency import Adjacency
from graphseq.graph.data import LinkData
from graphseq.graph.metrics import ranking_metrics
from graphseq.graph.ops import LinkRemoval
from graphseq.graph.tasks.local_training import LocalTraining, Protocol, depth_scores
from graphseq.training import Shard, Stage


class ForwardLinkLearning(LocalTraining):
    """Trains a forward-learning model of links, or backpropagation for comparison.

    An epoch is one step over all training links and pairs. Training links are both what messages
    travel over and what is learnt: none is hidden. ``auc`` is that of all layers together,
    ``auc@depth1`` and so on those of the first layers, where these are models of their own.

    Under data parallelism ranks share the pairs.

    Args:
        model: :class:`~graphseq.graph.models.ForwardLinkGNN`, TopDownLinkGNN or BackpropLinkGNN.
        data: the graph and its links, with ``train_negative``.
        lr: learning rate of Adam, of which every layer has its own.
        weight_decay: L2 penalty on all parameters (added to the gradient, as Adam does); None means
            the model's own.
        epochs: steps of a stage (a layer, or all layers of a top-down model) at the most.
        evaluate_every: steps between two evaluations.
        patience: evaluations without improvement that end a stage.
        max_norm: gradient norm at which each layer is clipped; None means the model's own.
        monitor: the validation metric that chooses the weights; None means the model's own.
        protocol: "paper" takes all of the paper's choices at once: messages travel over validation
            links too when the test is scored; backpropagation has no normalised rows and is stopped
            by the area under the curve rather than by the loss.
        use_val_edges: let messages travel over validation links when the test is scored; None
            means what ``protocol`` says. ``auc_with_val_edges`` has them in any case.
        row_block: where the features are mapped from a file, how many rows to read at a time.
        seed: of what a learner draws.

    Raises:
        ValueError: if an argument is out of its range, or the data have no ``train_negative``.
        TypeError: if the model is no forward-learning model.
    """

    learns, example = "links", "graphseq.graph.models.ForwardLinkGNN"

    def __init__(
        self,
        model: nn.Module,
        data: LinkData,
        *,
        lr: float = 1e-3,
        weight_decay: float | None = None,
        epochs: int = 1000,
        evaluate_every: int = 2,
        patience: int | None = 100,
        max_norm: float | None = None,
        monitor: str | None = None,
        protocol: Protocol = "fair",
        use_val_edges: bool | None = None,
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
        if data.train_negative is None:
            raise ValueError(
                "ForwardLinkLearning: data has no train_negative; forward learning needs a fixed "
                "list of pairs that are no links, see graphseq.graph.data.five_link_splits"
            )
        if data.dims["in_channels"] is None:
            raise ValueError(
                f"ForwardLinkLearning: {data.name} has no node features; forward learning has no "
                "embedding table, give the data features x [N, F]"
            )
        self.data = data
        self.use_val_edges = protocol == "paper" if use_val_edges is None else use_val_edges

    def prepare(self, device: torch.device) -> None:
        super().prepare(device)
        self.data = data = self._moved(self.data, device)
        known = torch.cat([data.train, data.val], dim=1)
        self.with_val: Adjacency = LinkRemoval(known, data.num_nodes).adjacency

    def _pairs(self, split: str) -> tuple[Tensor, Tensor]:
        """Links and other pairs of a split, ``[2, P]`` and ``[2, M]``."""
        parts = self.data.parts
        negative = parts[f"{split}_negative"]
        return parts[split], negative.flatten(1).long()

    def _num_rows(self) -> int:
        return sum(part.size(1) for part in self._pairs("train"))

    def _make_learner(self) -> Any:
        positive, negative = self._pairs("train")
        return self.local.learner(
            self.data.x,
            self.data.adjacency,
            _share(positive, self.shard),
            _share(negative, self.shard),
            num_positive=positive.size(1),
            num_negative=negative.size(1),
            pairs=torch.cat(self._pairs("val"), dim=1),
            row_block=self.row_block,
        )

    def batches(self, split: str, stage: Stage, epoch: int, shard: Shard) -> Iterable[Tensor]:
        """One batch: this rank's share, as positions in the split's links and other pairs."""
        positive, negative = self._pairs(split)
        size = positive.size(1) + negative.size(1)
        return [shard.take(torch.arange(size, device=positive.device))]

    def predict(self, batch: Tensor, split: str, stage: Stage, final: bool) -> dict[str, Tensor]:
        positive, negative = self._pairs(split)
        labels = batch < positive.size(1)
        if not final and split == "val":
            scores = self.learner().scores(self.model, self._number(stage))[batch]
            return {"scores": scores, "labels": labels}
        pairs = torch.cat([positive, negative], dim=1)[:, batch]
        if split != "test":
            return {**self._score(self.data.adjacency, pairs), "labels": labels}
        other = self._score(self.with_val, pairs)
        named = {f"{name}/with_val_edges": value for name, value in other.items()}
        columns = other if self.use_val_edges else self._score(self.data.adjacency, pairs)
        return {**columns, **named, "labels": labels}

    def _score(self, graph: Adjacency, pairs: Tensor) -> dict[str, Tensor]:
        return depth_scores(self.local.scores_by_depth(self.data.x, graph, pairs, self.row_block))

    def metrics(self, predictions: dict[str, Tensor], split: str, stage: Stage) -> dict[str, float]:
        """The area under the ROC curve by depth, and the cross-entropy of models with logits."""
        labels = predictions["labels"]
        found = {
            name.replace("scores", "auc", 1).replace("/", "_"): ranking_metrics(
                ["auc"], scores[labels], scores[~labels]
            )["auc"]
            for name, scores in predictions.items()
            if name != "labels"
        }
        if self.local.gives_logits:
            scores = predictions["scores"]
            loss = F.binary_cross_entropy_with_logits(scores, labels.to(scores.dtype))
            found["loss"] = float(loss)
        return found


def _share(pairs: Tensor, shard: Shard) -> Tensor:
    """This rank's columns of ``[2, B]``."""
    return shard.take(pairs.t()).t()
