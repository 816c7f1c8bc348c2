"""Link prediction: tell the edges of a graph from pairs of nodes that are none.

Every epoch goes once through the training links in a drawn order, with one drawn non-edge for each,
and minimises the binary cross-entropy of the model's logits. A link that is to be predicted must
not be visible: the model sees the graph without the links of its own batch (target-link removal).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from graphseq.graph.adjacency import Adjacency
from graphseq.graph.data import LinkData
from graphseq.graph.metrics import official_ranking, ranking_metrics
from graphseq.graph.ops import LinkRemoval
from graphseq.graph.tasks import link_checks
from graphseq.graph.tasks.link_batches import (
    Negatives,
    Pairs,
    batch_links,
    scored_batch,
    seeded,
    training_batches,
)
from graphseq.graph.tasks.link_stages import HITS, LinkStages
from graphseq.training import Loss, Shard, Stage, Task

SCORES = (*HITS, "mrr", "auc")


class LinkPrediction(Task):
    """Trains and scores a model of pairs of nodes, ``model(x, graph, pairs, labels=None)``.

    Called without labels the model returns logits ``[B]``; with labels (1 for links, 0 for others)
    the sum over all pairs of the binary cross-entropy, which it may compute block by block. A model
    without parameters (a heuristic) is only scored.

    Training links are scored only when asked for, ``evaluate(task, "train")``: all of them, in
    batches that are hidden as in training, against one non-edge each that no epoch draws, the same
    in every call. Hits@K and MRR rank a link among all of these, far more than val and test have.

    Where the links are OGB's own, its evaluator computes the final scores of their metric.

    Under data parallelism ranks share the pairs; each encodes the whole graph.

    Args:
        model: module with that forward; see :class:`graphseq.NCN`. Parameters of ``model.encoder``,
            where there is one, have a learning rate of their own.
        data: the graph and its links.
        lr: learning rate of Adam.
        encoder_lr: that of the encoder; None means ``lr``.
        batch_size: training links in a batch, of all ranks together; None means 1,024. Where they
            are hidden, None means a tenth of all links if that is less, and no number hides more
            than half of them. The last, incomplete batch of an epoch is dropped.
        negatives: "non_edges", uniform over ordered pairs that are not linked, or "destinations",
            each link's source with a uniform node, which may be linked to it (ogbl-citation2).
        remove_targets: hide the links of a batch from the model.
        strict_removal: where a link occurs several times in the data, hide all copies rather than
            those in the batch. Copies that stay visible are a warning, unless
            :attr:`LinkData.multigraph` says that they are meant.
        use_val_edges: add the validation links to the graph when the test split is scored, as
            OGB allows for ogbl-collab.
        pretrain_epochs: first train so many epochs without completion and, with the best of those
            weights, go on with it (models whose forward takes ``depth``). 0 trains in one stage.
        pretrain_lr: learning rate of that first stage; None means ``lr``.
        pretrain_batch_size: its batches; None means ``batch_size``.
        pretrain_evaluate_every: epochs between its evaluations; None means ``evaluate_every``.
        freeze_encoder: after pre-training the encoder stays as it is, and only ``model.predictor``
            is trained. If targets are removed, each batch has node states of its own graph, with
            the encoder's dropout; if not, they are constants that are computed once an epoch,
            without dropout (models with ``encode(x, graph)`` whose forward takes ``states``).
        epochs: of training, or of completion after pre-training.
        evaluate_every: epochs between two evaluations.
        max_norm: gradient norm at which encoder and predictor are clipped, each by itself.
        seed: of the order and the negatives.

    Raises:
        ValueError: if an argument is out of its range, or says how to pre-train or to freeze when
            nothing is pre-trained.
        TypeError: if the model lacks what an option needs.
    """

    def __init__(
        self,
        model: nn.Module,
        data: LinkData,
        *,
        lr: float = 0.01,
        encoder_lr: float | None = None,
        batch_size: int | None = None,
        negatives: Negatives = "non_edges",
        remove_targets: bool = True,
        strict_removal: bool = False,
        use_val_edges: bool = False,
        pretrain_epochs: int = 0,
        pretrain_lr: float | None = None,
        pretrain_batch_size: int | None = None,
        pretrain_evaluate_every: int | None = None,
        freeze_encoder: bool = False,
        epochs: int = 100,
        evaluate_every: int = 1,
        max_norm: float | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        first = {
            "pretrain_lr": pretrain_lr,
            "pretrain_batch_size": pretrain_batch_size,
            "pretrain_evaluate_every": pretrain_evaluate_every,
            "freeze_encoder": freeze_encoder,
        }
        link_checks.check_options(negatives, pretrain_epochs, {"batch_size": batch_size}, first)
        link_checks.check_model(model, pretrain_epochs > 0, freeze_encoder, remove_targets)
        self.model = model
        self.data = data
        links, first_size = data.train.size(1), pretrain_batch_size or batch_size
        self.batch_size = batch_links(batch_size, links, remove_targets)
        self.pretrain_batch_size = batch_links(first_size, links, remove_targets)
        self.negatives = negatives
        self.remove_targets = remove_targets
        self.strict_removal = strict_removal
        self.use_val_edges = use_val_edges
        self.plan = LinkStages(
            epochs=epochs,
            evaluate_every=evaluate_every,
            lr=lr,
            encoder_lr=lr if encoder_lr is None else encoder_lr,
            max_norm=max_norm,
            pretrain_epochs=pretrain_epochs,
            pretrain_evaluate_every=pretrain_evaluate_every or evaluate_every,
            pretrain_lr=lr if pretrain_lr is None else pretrain_lr,
            freeze_encoder=freeze_encoder,
        )
        self.seed = seed
        link_checks.check_rates(self.plan.lr, self.plan.encoder_lr, self.plan.pretrain_lr)
        self.removal: LinkRemoval | None = None
        self.graph: Adjacency | None = None
        self.test_graph: Adjacency | None = None
        self._states: Tensor | None = None  # of a constant encoder, for one epoch

    def prepare(self, device: torch.device) -> None:
        dtype = next((p.dtype for p in self.model.parameters()), torch.float32)
        self.data = self.data.to(device)
        x = self.data.x
        if isinstance(x, Tensor) and x.is_floating_point() and x.dtype != dtype:
            self.data = replace(self.data, x=x.to(dtype))
        self.removal = self.data.removal
        if self.strict_removal:
            self.removal = LinkRemoval(self.data.train, self.data.num_nodes, strict=True)
        elif self.remove_targets and next(self.model.parameters(), None) is not None:
            link_checks.warn_of_copies(self.data)
        self.graph = self.test_graph = self.removal.adjacency
        if self.use_val_edges:
            known = torch.cat([self.data.train, self.data.val], dim=1)
            self.test_graph = LinkRemoval(known, self.data.num_nodes).adjacency

    def stages(self) -> Sequence[Stage]:
        """Training, after pre-training where asked for; heuristics are evaluated once."""
        return self.plan.of(self.model, self.data.metric)

    def optimizers(self, stage: Stage) -> dict[str, Optimizer]:
        return {self.plan.unit(stage.name): self.plan.optimizer(self.model, stage.name)}

    def batches(self, split: str, stage: Stage, epoch: int, shard: Shard) -> Iterable[Pairs]:
        """Training batches of links and drawn non-edges; one batch of all pairs otherwise.

        Training links that are scored (in evaluation mode) come in such batches too, all of them.
        """
        data = self.data
        if split != "train":
            parts = {"val": (data.val, data.val_negative), "test": (data.test, data.test_negative)}
            return [scored_batch(*parts[split], shard)]
        self._states = None  # weights may have changed since
        # Draws of the two stages differ, and no epoch has those that are scored.
        number = 2 * epoch + (stage.name == "pretrain") if self.training else -1
        generator, size = seeded(self.seed, number), self._size(stage)
        return training_batches(data, self.negatives, size, generator, shard, not self.training)

    def _size(self, stage: Stage) -> int:
        return self.pretrain_batch_size if stage.name == "pretrain" else self.batch_size

    def losses(self, batch: Pairs, stage: Stage) -> Iterator[Loss]:
        pairs = torch.cat([batch.positive, batch.negative], dim=1)
        labels = torch.zeros(pairs.size(1), device=pairs.device)
        labels[: batch.positive.size(1)] = 1.0
        options = {**self._depth(stage), **self._constant_states(stage)}
        total = self.model(self.data.x, self._seen("train", batch), pairs, labels, **options)
        # The mean over links plus the mean over as many others, see Shard.mean.
        yield Loss(total * (self.shard.size / self._size(stage)), self.plan.unit(stage.name))

    def _seen(self, split: str, batch: Pairs) -> Adjacency | None:
        """The graph that the model sees: without the training links that it is asked about."""
        if split == "train" and self.remove_targets:
            assert self.removal is not None
            assert batch.hidden is not None
            return self.removal.without(batch.hidden)
        return self.test_graph if split == "test" else self.graph

    def _depth(self, stage: Stage) -> dict[str, Any]:
        return {"depth": 0} if stage.name == "pretrain" else {}

    def _constant_states(self, stage: Stage) -> dict[str, Any]:
        """What a frozen encoder says of the one graph that all batches see."""
        if self.remove_targets or not self.plan.is_frozen(stage.name):
            return {}
        if self._states is None:
            model: Any = self.model
            model.encoder.eval()
            with torch.no_grad():
                self._states = model.encode(self.data.x, self.graph)
            model.encoder.train()
        return {"states": self._states}

    def predict(self, batch: Pairs, split: str, stage: Stage, final: bool) -> dict[str, Tensor]:
        graph, ends = self._seen(split, batch), batch.negative.flatten(1)  # [2, M] or [2, P K]
        pairs = torch.cat([batch.positive, ends], dim=1)
        logits = self.model(self.data.x, graph, pairs, **self._depth(stage))
        positive, negative = logits.split([batch.positive.size(1), ends.size(1)])
        return {"positive": positive, "negative": negative.view(batch.negative.shape[1:])}

    def metrics(self, predictions: dict[str, Tensor], split: str, stage: Stage) -> dict[str, float]:
        names = dict.fromkeys((self.data.metric, *SCORES))
        return ranking_metrics(names, predictions["positive"], predictions["negative"])

    def final_metrics(
        self, predictions: dict[str, Tensor], split: str, stage: Stage
    ) -> dict[str, float]:
        """As ``metrics``; on OGB's own links the dataset's metric is its evaluator's."""
        found, dataset = self.metrics(predictions, split, stage), self.data.official
        if dataset is None or split == "train":
            return found
        return found | official_ranking(dataset, **predictions, ours=found)
