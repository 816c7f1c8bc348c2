"""Tiny tasks that between them use everything a task may do."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau, StepLR

from graphseq.training import Loss, Shard, Stage, Task

ROWS, FEATURES = 23, 3


def problem(rows: int = ROWS, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """A linear problem with a little noise: x [rows, 3], y [rows, 2]."""
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(rows, FEATURES, generator=generator, dtype=torch.float64)
    weight = torch.randn(FEATURES, 2, generator=generator, dtype=torch.float64)
    y = x @ weight + 0.1 * torch.randn(rows, 2, generator=generator, dtype=torch.float64)
    return x.to(dtype), y.to(dtype)


def network(widths: Sequence[int] = (FEATURES, 5, 2), p: float = 0.0) -> nn.Sequential:
    """Linear layers with the same weights at each call, dropout before each but the first."""
    generator = torch.Generator().manual_seed(3)
    layers: list[nn.Module] = []
    for width, out in pairwise(widths):
        linear = nn.Linear(width, out)
        with torch.no_grad():
            for parameter in linear.parameters():
                parameter.copy_(0.4 * torch.randn(parameter.shape, generator=generator))
        layers.append(nn.Sequential(nn.Dropout(p), linear, nn.Tanh()) if layers else linear)
    return nn.Sequential(*layers)


class Regression(Task):
    """One unit, mini-batches in an order drawn from seed and epoch, dropout on request."""

    def __init__(
        self,
        model: nn.Module | None = None,
        *,
        batch_size: int = 8,
        p: float = 0.0,
        lr: float = 0.05,
        stage: Stage | None = None,
        dtype: torch.dtype = torch.float32,
        rows: int = ROWS,
    ) -> None:
        super().__init__()
        self.model = (model or network(p=p)).to(dtype)
        self.x, self.y = problem(rows, dtype)
        self.batch_size, self.lr = batch_size, lr
        self.stage = stage or Stage(epochs=4, monitors=("val/mse",))
        self.seen: list[list[int]] = []

    def prepare(self, device: torch.device) -> None:
        self.x, self.y = self.x.to(device), self.y.to(device)

    def stages(self) -> Sequence[Stage]:
        return (self.stage,)

    def optimizers(self, stage: Stage) -> dict[str, Optimizer]:
        return {"model": Adam(self.model.parameters(), lr=self.lr)}

    def batches(self, split: str, stage: Stage, epoch: int, shard: Shard) -> Iterable[Any]:
        order = torch.arange(len(self.x))
        if split == "train":
            generator = torch.Generator().manual_seed(100 + epoch)
            order = torch.randperm(len(self.x), generator=generator)
        for rows in order.split(self.batch_size):
            yield shard.take(rows), len(rows)

    def losses(self, batch: Any, stage: Stage) -> Iterator[Loss]:
        rows, total = batch
        self.seen.append(rows.tolist())
        error = self.model(self.x[rows]) - self.y[rows]
        yield Loss(self.shard.mean(error.square().mean(1), total))

    def predict(self, batch: Any, split: str, stage: Stage, final: bool) -> dict[str, Tensor]:
        rows, _ = batch
        return {"out": self.model(self.x[rows]), "y": self.y[rows], "row": rows}

    def metrics(self, predictions: Any, split: str, stage: Stage) -> dict[str, float]:
        error = predictions["out"].double() - predictions["y"].double()
        assert predictions["row"].tolist() == list(range(len(self.x))), "rows lost their order"
        return {"mse": error.square().mean().item(), "gap": error.abs().max().item()}


class LayerLocal(Regression):
    """Every layer learns the target by a readout of its own, from a detached input."""

    def __init__(self, **options: Any) -> None:
        super().__init__(LocalNet(), **options)

    def optimizers(self, stage: Stage) -> dict[str, Optimizer]:
        layers = self.model.get_submodule("layers")
        return {
            f"model.layers.{i}": Adam(layer.parameters(), lr=self.lr)
            for i, layer in enumerate(layers.children())
        }

    def losses(self, batch: Any, stage: Stage) -> Iterator[Loss]:
        rows, total = batch
        self.seen.append(rows.tolist())
        h = self.x[rows]
        for name, layer in self.model.get_submodule("layers").named_children():
            h, out = layer(h.detach())
            per_row = (out - self.y[rows]).square().mean(1)
            yield Loss(self.shard.mean(per_row, total), f"model.layers.{name}")


class LocalLayer(nn.Module):
    """A hidden layer and its readout."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden, self.readout = nn.Linear(width, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.hidden(x).tanh()
        return h, self.readout(h)


class LocalNet(nn.Module):
    """Three local layers; the last readout answers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(LocalLayer(width) for width in (FEATURES, 4, 4))
        generator = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(0.4 * torch.randn(parameter.shape, generator=generator))

    def forward(self, x: Tensor, every: bool = False) -> Tensor | list[Tensor]:
        outs = []
        for layer in self.layers:
            x, out = layer(x.detach())
            outs.append(out)
        return outs if every else outs[-1]


class TwoStage(Regression):
    """The first layer first, then the second on top of it, with its own learning rate and clip."""

    def stages(self) -> Sequence[Stage]:
        return (
            Stage("below", epochs=3, monitors=("val/mse", "val/gap"), patience=3),
            Stage("above", epochs=3, monitors=("val/gap", "val/mse"), max_norm=0.5),
        )

    def optimizers(self, stage: Stage) -> dict[str, Optimizer]:
        index = 0 if stage.name == "below" else 1
        unit = self.model.get_submodule(str(index))
        return {f"model.{index}": SGD(unit.parameters(), lr=0.05 / (1 + index), momentum=0.9)}

    def losses(self, batch: Any, stage: Stage) -> Iterator[Loss]:
        for loss in super().losses(batch, stage):
            yield Loss(loss.value, "model.0" if stage.name == "below" else "model.1")


class Carried(Regression):
    """Like truncated backpropagation through time: a detached state goes from batch to batch.

    It is reset when an epoch begins, its shape is that of the batch, and evaluation carries one
    of its own. A counter in the extra state and schedulers make it the most stateful of all.
    """

    memory: Tensor | None

    def __init__(self, **options: Any) -> None:
        super().__init__(network((FEATURES + 1, 5, 2), p=0.3), **options)
        self.register_buffer("memory", None)
        self.register_buffer("scratch", torch.zeros(1), persistent=False)
        self.steps = 0

    def get_extra_state(self) -> dict[str, int]:
        return {"steps": self.steps}

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.steps = state["steps"]

    def optimizers(self, stage: Stage) -> dict[str, Optimizer]:
        groups = [{"params": m.parameters(), "lr": self.lr} for m in self.model.children()]
        return {"model": Adam(groups)}

    def schedulers(self, optimizers: dict[str, Optimizer], stage: Stage) -> Sequence[LRScheduler]:
        optimizer = optimizers["model"]
        return StepLR(optimizer, 2, gamma=0.5), ReduceLROnPlateau(optimizer, patience=0)

    def batches(self, split: str, stage: Stage, epoch: int, shard: Shard) -> Iterable[Any]:
        self.memory = None
        yield from super().batches(split, stage, epoch, shard)

    def _forward(self, rows: Tensor) -> Tensor:
        carried = self.x.new_zeros(1, 1) if self.memory is None else self.memory.mean(0)[None]
        out = self.model(torch.cat([self.x[rows], carried.expand(len(rows), 1)], dim=1))
        self.memory = out.detach()[:, :1]
        return out

    def losses(self, batch: Any, stage: Stage) -> Iterator[Loss]:
        rows, _ = batch
        self.seen.append(rows.tolist())
        for chunk in rows.tensor_split(2):
            error = self._forward(chunk) - self.y[chunk]
            yield Loss(error.square().mean() + 0.01 * self.steps)
            self.steps += 1

    def predict(self, batch: Any, split: str, stage: Stage, final: bool) -> dict[str, Tensor]:
        rows, _ = batch
        return {"out": self._forward(rows), "y": self.y[rows], "row": rows}


class Accumulating(Regression):
    """A step after every other batch, so that gradients live on between batches."""

    def losses(self, batch: Any, stage: Stage) -> Iterator[Loss]:
        for loss in super().losses(batch, stage):
            yield Loss(loss.value / 2, step=len(self.seen) % 2 == 0)

    def get_extra_state(self) -> list[list[int]]:
        return self.seen

    def set_extra_state(self, state: list[list[int]]) -> None:
        self.seen = state


def weights(task: Task) -> dict[str, Tensor]:
    """A copy of everything that a task's state dictionary holds."""
    return {k: v.clone() if isinstance(v, Tensor) else v for k, v in task.state_dict().items()}


def without_seconds(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A history without its wall-clock column."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


TOYS = {
    "one unit": lambda: Regression(p=0.3),
    "layer-local": LayerLocal,
    "two stages": lambda: TwoStage(p=0.3),
    "carried state": Carried,
    "accumulating": lambda: Accumulating(p=0.3),
}
