"""How sequence tasks step: AdamW, a schedule per epoch, clipped gradients."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import ExponentialLR, LambdaLR, LRScheduler

Schedule = Literal["constant", "cosine", "exponential"]


@dataclass(frozen=True)
class Optimization:
    """The arguments of a task that say how it steps.

    Args:
        owner: name of the task, for errors.
        lr: learning rate of AdamW, >= 0.
        weight_decay: decoupled, >= 0.
        schedule: "constant", "cosine" down to 0 over the stage's epochs, or "exponential".
        decay: factor per epoch of the exponential schedule, in (0, 1].

    Raises:
        ValueError: if an argument is out of its range.
    """

    owner: str
    lr: float
    weight_decay: float = 0.0
    schedule: Schedule = "constant"
    decay: float = 0.96

    def __post_init__(self) -> None:
        for name in ("lr", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(
                    f"{self.owner}: {name} is {getattr(self, name)}; pass a finite number, >= 0"
                )
        if self.schedule not in ("constant", "cosine", "exponential"):
            raise ValueError(
                f"{self.owner}: schedule is {self.schedule!r}; pass constant, cosine or exponential"
            )
        if not 0 < self.decay <= 1:
            raise ValueError(f"{self.owner}: decay is {self.decay}; pass a number in (0, 1]")

    def optimizer(self, model: nn.Module) -> Optimizer:
        """AdamW over all trainable weights."""
        parameters = [p for p in model.parameters() if p.requires_grad]
        real = not any(p.is_complex() for p in parameters)
        return AdamW(parameters, self.lr, weight_decay=self.weight_decay, fused=real or None)

    def scheduler(self, optimizer: Optimizer, epochs: int) -> Sequence[LRScheduler]:
        """What changes the rate after each epoch."""
        if self.schedule == "cosine":
            # A closed form, of which a checkpoint keeps nothing: resumed with more epochs, the rate
            # is that of the longer run.
            last = max(epochs, 1)
            return [
                LambdaLR(optimizer, lambda e: (1 + math.cos(math.pi * min(e, last) / last)) / 2)
            ]
        return [ExponentialLR(optimizer, self.decay)] if self.schedule == "exponential" else []


def positive(owner: str, **sizes: int) -> None:
    """Refuses sizes below 1.

    Raises:
        ValueError: naming the owner and the argument.
    """
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{owner}: {name} is {size}; pass 1 or more")
