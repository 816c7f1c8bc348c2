"""What a mixer remembers of the past, as named tensors with the batch first."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor


class State:
    """The memory of one mixer.

    It is no dataclass and no container that a trainer would look into: what wraps a model may
    convert its outputs, and a memory keeps its precision.

    Args:
        owner: the class that made it; no other will take it.
        tensors: named tensors ``[B, ...]``.
    """

    def __init__(self, owner: str, tensors: Mapping[str, Tensor]) -> None:
        self.owner, self.tensors = owner, tensors

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    @property
    def batch_size(self) -> int:
        """B."""
        return next(iter(self.tensors.values())).shape[0]

    @property
    def num_bytes(self) -> int:
        """Memory of all tensors."""
        return sum(t.numel() * t.element_size() for t in self.tensors.values())

    def map(self, function: Callable[[Tensor], Tensor]) -> State:
        """The state with a function applied to every tensor (``detach``, a choice of rows)."""
        return State(self.owner, {name: function(t) for name, t in self.tensors.items()})

    def detach(self) -> State:
        """The same numbers without their history, for truncated backpropagation."""
        return self.map(Tensor.detach)

    def select(self, rows: Tensor) -> State:
        """The memory of some sequences of the batch; rows may repeat (beams)."""
        return self.map(lambda t: t[rows])

    def with_tensors(self, tensors: Mapping[str, Tensor]) -> State:
        """A state of the same owner with other tensors, as a checkpoint gives them back."""
        return State(self.owner, dict(tensors))

    def part(self, name: str, owner: str) -> State:
        """One of the states that :func:`join` put together."""
        prefix = f"{name}."
        held = {k.removeprefix(prefix): t for k, t in self.tensors.items() if k.startswith(prefix)}
        return State(owner, held)

    def to(self, device: torch.device | str) -> State:
        """The same on a device."""
        return self.map(lambda t: t.to(device))


def join(owner: str, parts: Mapping[str, State], **tensors: Tensor) -> State:
    """One state of several, and of tensors of the owner's own."""
    flat = {f"{name}.{key}": t for name, part in parts.items() for key, t in part.tensors.items()}
    return State(owner, {**tensors, **flat})
