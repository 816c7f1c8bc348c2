"""What the two tasks of forward learning share: stages, optimizers and the steps of layers.

The model knows what each of its layers learns, see :mod:`graphseq.graph.models.forward_gnn`. A task
asks it for a *learner* on its data, which makes the losses, and passes them on.
"""

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from graphseq.graph.data import LinkData, NodeData
from graphseq.training import Loss, Stage, Task

Data = TypeVar("Data", NodeData, LinkData)
Protocol = Literal["fair", "paper"]


class LocalTraining(Task):
    """A stage for each part of the model that is trained while what lies below it stays.

    Args:
        model: a forward-learning model.
        lr: learning rate of Adam, of which every layer has its own.
        weight_decay: L2 penalty on all parameters (added to the gradient, as Adam does); None means
            the model's own.
        epochs: steps of a stage at the most.
        evaluate_every: steps between two evaluations.
        patience: evaluations without improvement that end a stage.
        max_norm: gradient norm at which each layer is clipped; None means the model's own.
        monitor: the validation metric that chooses the weights; None means the model's own.
        protocol: "paper" takes all of the paper's choices at once, those of the model included.
        row_block: where the features are mapped from a file, how many rows to read at a time.
        seed: of what a learner draws.

    Raises:
        ValueError: if an argument is out of its range.
        TypeError: if the model is no forward-learning model.
    """

    learns: ClassVar[str]
    """What the model is to learn, "nodes" or "links"."""

    example: ClassVar[str]
    """A model that does."""

    def __init__(
        self,
        model: nn.Module,
        *,
        lr: float,
        weight_decay: float | None,
        epochs: int,
        evaluate_every: int,
        patience: int | None,
        max_norm: float | None,
        monitor: str | None,
        protocol: Protocol,
        row_block: int | None,
        seed: int,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        for option, value in (("lr", lr), ("weight_decay", weight_decay or 0.0)):
            if not 0 <= value < math.inf:
                raise ValueError(f"{name}: {option} is {value}; pass a finite number, 0 or more")
        if row_block is not None and row_block < 1:
            raise ValueError(f"{name}: row_block is {row_block}; pass 1 or more, or None")
        if protocol not in ("fair", "paper"):
            raise ValueError(f'{name}: protocol is {protocol!r}; use "fair" or "paper"')
        if getattr(model, "learns", None) != self.learns:
            raise TypeError(
                f"{name}: model is a {type(model).__name__}, which has no learner for "
                f"{self.learns}; pass a forward-learning model of {self.learns}, such as "
                f"{self.example}"
            )
        self.model = model
        if protocol == "paper":
            self.local.use_paper_values()
        self.lr = lr
        self.weight_decay: float = self.local.weight_decay if weight_decay is None else weight_decay
        self.max_norm: float | None = self.local.max_norm if max_norm is None else max_norm
        self.epochs, self.evaluate_every, self.patience = epochs, evaluate_every, patience
        self.monitor: str = monitor or self.local.monitor
        self.protocol, self.row_block, self.seed = protocol, row_block, seed
        self._learner: Any = None
        self._state: Mapping[str, Any] | None = None  # for a learner that is still to come

    @property
    def local(self) -> Any:
        """The model as what it is beside a module, see the head of this file."""
        return self.model

    @abstractmethod
    def _make_learner(self) -> Any:
        """The model's learner on this rank's share of the data."""

    def learner(self) -> Any:
        """The model at work; made when first asked for, after :meth:`prepare`."""
        if self._learner is None:
            self._learner = self._make_learner()
            if self._state is not None:
                self._learner.load_state(self._state)
                self._state = None
        return self._learner

    def prepare(self, device: torch.device) -> None:
        self._learner = self._state = None

    def _moved(self, data: Data, device: torch.device) -> Data:
        """The data on a device in the model's dtype; what is streamed stays as it is."""
        x: Any = data.x
        if self.row_block is not None and isinstance(x, Tensor):
            return replace(replace(data, x=x[:, :0]).to(device), x=x)
        dtype, data = next(self.model.parameters()).dtype, data.to(device)
        if x is None or x.dtype == dtype:
            return data
        return replace(data, x=data.x.to(dtype=dtype))  # type: ignore[union-attr]

    def _names(self) -> list[str]:
        count = len(self.local.units)
        return [f"layer{number}" for number in range(1, count + 1)] if count > 1 else ["train"]

    def stages(self) -> Sequence[Stage]:
        return [
            Stage(
                name,
                epochs=self.epochs,
                monitors=(self.monitor,),
                evaluate_every=self.evaluate_every,
                patience=self.patience,
                max_norm=self.max_norm,
            )
            for name in self._names()
        ]

    def _number(self, stage: Stage) -> int:
        return self._names().index(stage.name)

    def optimizers(self, stage: Stage) -> dict[str, Optimizer]:
        units = [_path(unit) for unit in self.local.units[self._number(stage)]]
        return {
            unit: Adam(
                [p for p in self.get_submodule(unit).parameters() if p.requires_grad],
                self.lr,
                weight_decay=self.weight_decay,
                fused=True,
            )
            for unit in units
        }

    @abstractmethod
    def _num_rows(self) -> int:
        """Rows of all ranks together that a loss is the mean over."""

    def losses(self, batch: Any, stage: Stage) -> Iterator[Loss]:
        total = self._num_rows()
        for part in self.learner().losses(self.model, self._number(stage)):
            yield Loss(self.shard.mean(part.per_row, total), _path(part.unit), part.step)

    def get_extra_state(self) -> dict[str, Any]:
        """What a learner carries from step to step."""
        return {} if self._learner is None else self._learner.state()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restores :meth:`get_extra_state`, at once or when there is a learner."""
        if self._learner is None:
            self._state = state or None
        elif state:
            self._learner.load_state(state)


def depth_scores(scores: Tensor) -> dict[str, Tensor]:
    """Columns of a prediction by depth, ``[n, depths, ...]``; the last has a plain name.

    Args:
        scores: of each depth.
    """
    depths = scores.size(1)
    named = {f"scores@depth{d + 1}": scores[:, d] for d in range(depths)} if depths > 1 else {}
    return {"scores": scores[:, -1], **named}


def _path(unit: str) -> str:
    return f"model.{unit}" if unit else "model"
