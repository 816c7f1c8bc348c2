"""The learners that hear from above, written straight from the paper: SF-T2I and SF-T2L.

See ``forward_reference.py``. All layers learn in one stage, whose number does not matter.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from graphseq.bench.forward_reference import PlainNodes
from graphseq.bench.forward_reference_convs import PlainConv, PlainGraph, unit

STEPS, SKIPPED = 10, 2


class TimeSteps:
    """States ``S_0 .. S_{L+1}`` of layers that see ``[nrm(S_{l-1}) | nrm(S_{l+1})]``.

    Args:
        layers: the layers ``1 .. L``.
        graph: the graph.
        bottom: S_0.
        top: S_{L+1}, or None where the last layer sees no upper half.
    """

    def __init__(
        self, layers: Sequence[PlainConv], graph: PlainGraph, bottom: Tensor, top: Tensor | None
    ) -> None:
        self.layers, self.graph = layers, graph
        self.bottom, self.top = unit(bottom), top if top is None else unit(top)
        self.values: list[Tensor] = []

    @torch.no_grad()
    def rise(self) -> None:
        """First states: zeros in place of the upper halves."""
        self.values = []
        for number, layer in enumerate(self.layers):
            z = self._lower(number)
            upper = z.new_zeros(len(z), layer.in_channels - z.size(1))
            self.values.append(layer(self.graph, torch.cat([z, upper], dim=1)))

    def _lower(self, number: int) -> Tensor:
        return self.bottom if number == 0 else unit(self.values[number - 1])

    def output(self, number: int) -> Tensor:
        """What a layer makes of the states below and above it, counted from 0."""
        last = number + 1 == len(self.layers)
        upper = self.top if last else unit(self.values[number + 1])
        z = self._lower(number)
        z = z if upper is None else torch.cat([z, upper], dim=1)
        return self.layers[number](self.graph, z)

    @property
    def order(self) -> list[int]:
        """Layers 1, 3, 5, ..., then 2, 4, ..., counted from 0."""
        numbers = range(1, len(self.layers) + 1)
        return [n - 1 for n in numbers if n % 2] + [n - 1 for n in numbers if n % 2 == 0]

    @torch.no_grad()
    def run(self) -> Iterator[Tensor]:
        """A fresh run without training: the states of all layers after each step that counts."""
        self.rise()
        for step in range(STEPS):
            for number in self.order:
                self.values[number] = self.output(number)
            if step >= SKIPPED:
                yield from self.values


class PlainT2I(PlainNodes):
    """Top-to-input."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        dtype, eye = self.x.dtype, torch.eye(self.classes, dtype=self.x.dtype)
        rows = torch.full((len(self.x), self.classes), 1.0 / self.classes, dtype=dtype)
        rows[self.train] = eye[self.y]
        self.top = torch.cat([rows, eye])  # [N + C, C]
        self.states, self.fresh = self._steps(), self._steps()

    def _steps(self) -> TimeSteps:
        return TimeSteps(self.layers, self.graph, self._bottom(), self.top)

    def enter(self, stage: int) -> None:
        self.states.rise()

    def step(self, stage: int) -> None:
        for number in self.states.order:
            y = self.states.output(number)
            self._learn(number, F.cross_entropy(self._logits(y, self.train), self.y))
            self.states.values[number] = y.detach()

    def validate(self, stage: int) -> Tensor:
        total = torch.zeros(len(self.val), self.classes, dtype=self.x.dtype)
        for y in self.fresh.run():
            total += self._logits(y, self.val).softmax(1)
        return total


class PlainT2L(PlainNodes):
    """Top-to-loss."""

    max_norm = 1.0

    def enter(self, stage: int) -> None:
        self.states = self._rise()

    @torch.no_grad()
    def _rise(self) -> list[Tensor]:
        """S_0 .. S_L by one pass from below."""
        paper = self.model.bottom_up == "paper"
        states, passed = [unit(self._bottom())], self._bottom()
        for layer in self.layers:
            passed = layer(self.graph, passed if paper else states[-1])
            states.append(unit(passed))
        return states

    def step(self, stage: int) -> None:
        fresh = [self.states[0]]
        for number, layer in enumerate(self.layers):
            y = layer(self.graph, self.states[number])
            mixed = torch.stack([y, *self.states[number + 2 :]]).mean(0)
            self._learn(number, F.cross_entropy(self._logits(mixed, self.train), self.y))
            fresh.append(unit(y.detach()))
        self.states = fresh

    @torch.no_grad()
    def validate(self, stage: int) -> Tensor:
        states = self._rise()
        total = torch.zeros(len(self.val), self.classes, dtype=self.x.dtype)
        for number, layer in enumerate(self.layers):
            y = layer(self.graph, states[number])
            mixed = torch.stack([y, *states[number + 2 :]]).mean(0)
            total += self._logits(mixed, self.val).softmax(1)
        return total
