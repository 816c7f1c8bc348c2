"""Link prediction: tell the edges of a graph from pairs of nodes that are none.

Every epoch goes once through the training links in a drawn order, with one drawn non-edge for each,
and minimises the binary cross-entropy of the model's logits. A link that is to be predicted must
not be visible: the model sees the graph without the links of its own batch (target-link removal).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from graphseq.graph.adjacency import Adjacency
from graphseq.graph.data import LinkData
from graphseq.graph.metrics import ranking_metrics
from graphseq.graph.ops import LinkRemoval, sample_non_edges
from graphseq.training import Loss, Shard, Stage, Task

Negatives = Literal["non_edges", "destinations"]
HITS = ("hits@20", "hits@50", "hits@100")
SCORES = (*HITS, "mrr", "auc")


class Pairs(NamedTuple):
    """This rank's share of a batch, and the links that the whole batch hides.

    ``positive`` is ``[2, P]``, ``negative`` ``[2, M]`` or ``[2, P, K]``, ``hidden`` the positions
    of the whole batch's positives in ``data.train``, on every rank the same.
    """

    positive: Tensor
    negative: Tensor
    hidden: Tensor | None = None


class LinkPrediction(Task):
    """Trains and scores a model of pairs of nodes, ``model(x, graph, pairs, labels=None)``.

    Called without labels the model returns logits ``[B]``; with labels (1 for links, 0 for others)
    the sum over all pairs of the binary cross-entropy, which it may compute block by block. A model
    without parameters (a heuristic) is only scored.

    Under data parallelism ranks share the pairs; each encodes the whole graph.

    Args:
        model: module with that forward; see :class:`graphseq.NCN`. Parameters of ``model.encoder``,
            where there is one, have a learning rate of their own.
        data: the graph and its links.
        lr: learning rate of Adam.
        encoder_lr: that of the encoder; None means ``lr``.
        batch_size: training links in a batch, of all ranks together. The last, incomplete batch of
            an epoch is dropped, unless it is the only one.
        negatives: "non_edges", uniform over ordered pairs that are not linked, or "destinations",
            each link's source with a uniform node, which may be linked to it (ogbl-citation2).
        remove_targets: hide the links of a batch from the model.
        strict_removal: where a link occurs several times in the data, hide all copies rather than
            those in the batch.
        use_val_edges: add the validation links to the graph when the test split is scored, as
            OGB allows for ogbl-collab.
        pretrain_epochs: first train so many epochs without completion and, with the best of those
            weights, go on with it (models whose forward takes ``depth``). 0 trains in one stage.
        pretrain_lr: learning rate of that first stage; None means ``lr``.
        freeze_encoder: after pre-training the encoder stays as it is.
        epochs: of training, or of completion after pre-training.
        evaluate_every: epochs between two evaluations.
        max_norm: gradient norm at which encoder and predictor are clipped, each by itself.
        seed: of the order and the negatives.

    Raises:
        ValueError: if an argument is out of its range.
    """

    def __init__(
        self,
        model: nn.Module,
        data: LinkData,
        *,
        lr: float = 0.01,
        encoder_lr: float | None = None,
        batch_size: int = 1024,
        negatives: Negatives = "non_edges",
        remove_targets: bool = True,
        strict_removal: bool = False,
        use_val_edges: bool = False,
        pretrain_epochs: int = 0,
        pretrain_lr: float | None = None,
        freeze_encoder: bool = False,
        epochs: int = 100,
        evaluate_every: int = 1,
        max_norm: float | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"LinkPrediction: batch_size is {batch_size}; pass 1 or more")
        if negatives not in ("non_edges", "destinations"):
            raise ValueError(
                f'LinkPrediction: negatives is {negatives!r}; use "non_edges" or "destinations"'
            )
        self.model = model
        self.data = data
        self.lr = lr
        self.encoder_lr = lr if encoder_lr is None else encoder_lr
        self.batch_size = min(batch_size, data.train.size(1))
        self.negatives = negatives
        self.remove_targets = remove_targets
        self.strict_removal = strict_removal
        self.use_val_edges = use_val_edges
        self.pretrain_epochs = pretrain_epochs
        self.pretrain_lr = lr if pretrain_lr is None else pretrain_lr
        self.freeze_encoder = freeze_encoder
        self.epochs = epochs
        self.evaluate_every = evaluate_every
        self.max_norm = max_norm
        self.seed = seed
        self.removal: LinkRemoval | None = None
        self.graph: Adjacency | None = None
        self.test_graph: Adjacency | None = None

    def prepare(self, device: torch.device) -> None:
        dtype = next((p.dtype for p in self.model.parameters()), torch.float32)
        self.data = self.data.to(device)
        x = self.data.x
        if isinstance(x, Tensor) and x.is_floating_point() and x.dtype != dtype:
            self.data = replace(self.data, x=x.to(dtype))
        self.removal = self.data.removal
        if self.strict_removal:
            self.removal = LinkRemoval(self.data.train, self.data.num_nodes, strict=True)
        self.graph = self.test_graph = self.removal.adjacency
        if self.use_val_edges:
            known = torch.cat([self.data.train, self.data.val], dim=1)
            self.test_graph = LinkRemoval(known, self.data.num_nodes).adjacency

    def stages(self) -> Sequence[Stage]:
        """Training, after pre-training where asked for; heuristics are evaluated once."""
        main = f"val/{self.data.metric}"
        others = [f"val/{name}" for name in HITS] if "hits" in main else []
        monitors = (main, *(name for name in others if name != main))
        if next(self.model.parameters(), None) is None:
            return [Stage("score", epochs=0, monitors=monitors)]
        norms = None if self.max_norm is None else tuple(self.max_norm for _ in self._groups(""))
        each = self.evaluate_every
        training = Stage("train", self.epochs, monitors, evaluate_every=each, max_norm=norms)
        if not self.pretrain_epochs:
            return [training]
        first = Stage("pretrain", self.pretrain_epochs, monitors, each, max_norm=norms)
        return [first, training]

    def _groups(self, stage: str) -> list[dict[str, object]]:
        """Adam's groups: the encoder's parameters, if there are any, and the others."""
        encoder = getattr(self.model, "encoder", None)
        own = [] if encoder is None else [p for p in encoder.parameters() if p.requires_grad]
        mine = set(own)
        rest = [p for p in self.model.parameters() if p.requires_grad and p not in mine]
        frozen = stage == "train" and self.freeze_encoder and self.pretrain_epochs > 0
        rates = 0.0 if frozen else self.encoder_lr, self.lr
        if stage == "pretrain":
            rates = rates[0], self.pretrain_lr
        groups = zip((own, rest), rates, strict=True)
        return [{"params": params, "lr": lr} for params, lr in groups if params]

    def optimizers(self, stage: Stage) -> dict[str, Optimizer]:
        return {"model": Adam(self._groups(stage.name), fused=True)}

    def batches(self, split: str, stage: Stage, epoch: int, shard: Shard) -> Iterable[Pairs]:
        """Training batches of links and drawn non-edges; one batch of all pairs otherwise."""
        data = self.data
        if split != "train":
            parts = {
                "val": (data.val, data.val_negative),
                "test": (data.test, data.test_negative),
            }
            positive, negative = (_share(pairs, shard) for pairs in parts[split])
            return [Pairs(positive, negative)]
        return self._training_batches(stage, epoch, shard)

    def _training_batches(self, stage: Stage, epoch: int, shard: Shard) -> Iterator[Pairs]:
        train = self.data.train
        number = 2 * epoch + (stage.name == "pretrain")  # draws of the two stages differ
        generator = torch.Generator().manual_seed(_mix(self.seed, number))
        order = torch.randperm(train.size(1), generator=generator)
        negative = self._draw_negatives(generator)
        for begin in range(0, train.size(1) - self.batch_size + 1, self.batch_size):
            whole = order[begin : begin + self.batch_size].to(train.device)
            own = shard.take(whole)
            yield Pairs(train[:, own], negative[:, own], whole)

    def _draw_negatives(self, generator: torch.Generator) -> Tensor:
        """One pair for each training link, ``[2, E]``."""
        train, num_nodes = self.data.train, self.data.num_nodes
        if self.negatives == "destinations":
            target = torch.randint(num_nodes, train.shape[1:], generator=generator)
            return torch.stack([train[0], target.to(train.device)])
        assert self.graph is not None
        return sample_non_edges(self.graph.csr, train.size(1), generator)

    def losses(self, batch: Pairs, stage: Stage) -> Iterator[Loss]:
        graph = self.graph
        if self.remove_targets:
            assert self.removal is not None
            assert batch.hidden is not None
            graph = self.removal.without(batch.hidden)
        pairs = torch.cat([batch.positive, batch.negative], dim=1)
        labels = torch.zeros(pairs.size(1), device=pairs.device)
        labels[: batch.positive.size(1)] = 1.0
        total = self.model(self.data.x, graph, pairs, labels, **self._depth(stage))
        # The mean over links plus the mean over as many others, see Shard.mean.
        yield Loss(total * (self.shard.size / self.batch_size))

    def _depth(self, stage: Stage) -> dict[str, int]:
        return {"depth": 0} if stage.name == "pretrain" else {}

    def predict(self, batch: Pairs, split: str, stage: Stage, final: bool) -> dict[str, Tensor]:
        graph = self.test_graph if split == "test" else self.graph
        ends = batch.negative.flatten(1)  # [2, M] or [2, P K]
        pairs = torch.cat([batch.positive, ends], dim=1)
        logits = self.model(self.data.x, graph, pairs, **self._depth(stage))
        positive, negative = logits.split([batch.positive.size(1), ends.size(1)])
        return {"positive": positive, "negative": negative.view(batch.negative.shape[1:])}

    def metrics(self, predictions: dict[str, Tensor], split: str, stage: Stage) -> dict[str, float]:
        names = dict.fromkeys((self.data.metric, *SCORES))
        return ranking_metrics(names, predictions["positive"], predictions["negative"])


def _share(pairs: Tensor, shard: Shard) -> Tensor:
    """This rank's columns of ``[2, B, ...]``."""
    return shard.take(pairs.transpose(0, 1)).transpose(0, 1)


def _mix(seed: int, number: int) -> int:
    """One seed from two numbers, different for different pairs as far as 64 bits allow."""
    return (seed * 0x9E3779B97F4A7C15 + number * 0xBF58476D1CE4E5B9 + 1) % 2**63
