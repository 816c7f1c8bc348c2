"""The stages of link prediction: what each of them trains, for how long and at which rates."""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.optim import Adam

from graphseq.training import Stage

HITS = ("hits@20", "hits@50", "hits@100")


@dataclass(frozen=True)
class LinkStages:
    """Training; or pre-training without completion, and training that goes on with its weights.

    The arguments are those of :class:`~graphseq.graph.tasks.LinkPrediction`, defaults filled in.
    """

    epochs: int
    evaluate_every: int
    lr: float
    encoder_lr: float
    max_norm: float | None
    pretrain_epochs: int
    pretrain_evaluate_every: int
    pretrain_lr: float
    freeze_encoder: bool

    def of(self, model: nn.Module, metric: str) -> list[Stage]:
        """The stages in their order; a heuristic has one of no epochs.

        Args:
            model: what is trained.
            metric: what counts; the other Hits@K are monitored beside one of them.
        """
        main = f"val/{metric}"
        others = [f"val/{name}" for name in HITS] if "hits" in main else []
        monitors = (main, *(name for name in others if name != main))
        if next(model.parameters(), None) is None:
            return [Stage("score", epochs=0, monitors=monitors)]
        parts = [("train", self.epochs, self.evaluate_every)]
        if self.pretrain_epochs:
            parts.insert(0, ("pretrain", self.pretrain_epochs, self.pretrain_evaluate_every))
        return [
            Stage(name, epochs, monitors, evaluate_every=each, max_norm=self._norms(model, name))
            for name, epochs, each in parts
        ]

    def _norms(self, model: nn.Module, stage: str) -> tuple[float, ...] | None:
        limit = self.max_norm
        return None if limit is None else tuple(limit for _ in self._groups(model, stage))

    def is_frozen(self, stage: str) -> bool:
        """Whether a stage trains the predictor alone."""
        return self.freeze_encoder and stage == "train"

    def unit(self, stage: str) -> str:
        """What a stage trains; ``fit`` computes no gradient for the rest."""
        return "model.predictor" if self.is_frozen(stage) else "model"

    def optimizer(self, model: nn.Module, stage: str) -> Adam:
        """A fresh Adam for what a stage trains."""
        return Adam(self._groups(model, stage), fused=True)

    def _groups(self, model: nn.Module, stage: str) -> list[dict[str, object]]:
        """Adam's groups: the encoder's parameters, if there are any, and the others."""
        encoder = getattr(model, "encoder", None)
        own: list[Tensor] = []
        if encoder is not None:
            own = [p for p in encoder.parameters() if p.requires_grad]
        mine = set(own)
        rest = [p for p in model.parameters() if p.requires_grad and p not in mine]
        lr = self.pretrain_lr if stage == "pretrain" else self.lr
        groups: list[dict[str, object]] = [{"params": rest, "lr": lr}] if rest else []
        if own and not self.is_frozen(stage):
            groups.insert(0, {"params": own, "lr": self.encoder_lr})
        return groups
