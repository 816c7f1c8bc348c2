"""An idea in one file, as a user would write it: data, module, task and experiments."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from graphseq import Budget, Claim, Experiment, Loss, Stage, Task
from graphseq.training import Shard


@dataclass(frozen=True)
class Points:
    """Points on a noisy plane."""

    x: Tensor
    y: Tensor
    name: str

    @property
    def dims(self) -> dict[str, int]:
        return {"in_channels": self.x.shape[1], "out_channels": 1}

    @property
    def fingerprint(self) -> str:
        return f"{self.name}-{float(self.y.sum()):.6f}"


LOADED: list[int | None] = []
"""One entry for each time that points were made."""


def points(rows: int = 60, noise: float = 0.1, name: str = "plane", seed: int = 0) -> Points:
    """Makes points anew for every seed.

    Args:
        rows: how many points.
        noise: standard deviation of the noise.
        name: what to call them.
        seed: seed of the points.
    """
    LOADED.append(seed)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 3, generator=generator)
    y = x @ torch.tensor([1.0, -2.0, 0.5]) + noise * torch.randn(rows, generator=generator)
    return Points(x, y, name)


def fixed_points(rows: int = 60) -> Points:
    """Makes the same points for every seed."""
    LOADED.append(None)
    return points(rows=rows)


@dataclass(frozen=True)
class Window:
    """A stopping rule with fields: never stops before ``after`` epochs."""

    window: int = 10
    after: int = 1000

    def __call__(self, history: Any) -> bool:
        return len(history) > self.after


class Plane(nn.Module):
    """A linear layer, and optionally a hidden one.

    Args:
        in_channels: inputs.
        out_channels: outputs.
        hidden: width of the hidden layer; None for none.
        slope: of the leaky ReLU.
        kind: of activation.
        bias: whether layers have one.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        hidden: int | None = None,
        slope: float = 0.1,
        kind: str = "leaky",
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.hidden = in_channels, out_channels, hidden
        self.slope, self.kind, self.bias = slope, kind, bias
        width = in_channels if hidden is None else hidden
        self.input = nn.Identity() if hidden is None else nn.Linear(in_channels, width, bias)
        self.output = nn.Linear(width, out_channels, bias)

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.output.weight.dtype)
        return self.output(nn.functional.leaky_relu(self.input(x), self.slope))


class Regression(Task):
    """Least squares on the first half of the rows; the rest validates and tests."""

    def __init__(
        self, model: nn.Module, data: Points, *, lr: float = 0.05, betas: tuple[float, ...] = (0.9,)
    ) -> None:
        super().__init__()
        self.model, self.data, self.lr, self.betas = model, data, lr, betas
        self.register_buffer("epochs_seen", torch.zeros((), dtype=torch.int64))

    def stages(self) -> list[Stage]:
        return [Stage(epochs=8, monitors=("val/mse",))]

    def optimizers(self, stage: Stage) -> dict[str, torch.optim.Optimizer]:
        return {"model": torch.optim.SGD(self.model.parameters(), lr=self.lr)}

    def batches(self, split: str, stage: Stage, epoch: int, shard: Shard) -> list[Tensor]:
        half, rows = len(self.data.y) // 2, torch.arange(len(self.data.y))
        parts = {"train": rows[:half], "val": rows[half::2], "test": rows[half + 1 :: 2]}
        return [shard.take(parts[split])]

    def losses(self, batch: Tensor, stage: Stage) -> Iterator[Loss]:
        self.epochs_seen += 1
        noisy = self.data.x[batch] + 0.01 * torch.randn_like(self.data.x[batch])
        error = (self.model(noisy)[:, 0] - self.data.y[batch]).square()
        yield Loss(self.shard.mean(error, total=len(self.data.y) // 2))

    def predict(self, batch: Tensor, split: str, stage: Stage, final: bool) -> dict[str, Tensor]:
        return {"out": self.model(self.data.x[batch])[:, 0], "y": self.data.y[batch]}

    def metrics(self, predictions: dict[str, Tensor], split: str, stage: Stage) -> dict[str, float]:
        out, y = predictions["out"].double(), predictions["y"].double()
        sign = (out.sign() == y.sign()).double().mean()
        return {"mse": float((out - y).square().mean()), "acc": float(sign)}


experiments = [
    Experiment(
        name="line",
        data=partial(points, rows=40),
        model=partial(Plane, hidden=4),
        task=partial(Regression, lr=0.05),
        budget=Budget(epochs=5, stop=Window()),
        seeds=range(3),
        claim=Claim("test/acc", 0.9, 0.01, source="nobody", tolerance=0.5),
    ),
    Experiment(
        name="line_fixed",
        data=partial(fixed_points, rows=40),
        model=partial(Plane),
        task=partial(Regression),
        seeds=range(2),
    ),
]
