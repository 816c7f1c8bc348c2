"""States of layers that hear from below and from above, for the two top-down learners.

Layer l (counted from 0) sees the state of layer l - 1, or the features, and the state of layer
l + 1, or what stands above the last. A state is aggregated once for both layers that see it, and
again when it changes.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from graphseq.graph.nn.local_conv import Prepared
from graphseq.graph.nn.row_view import RowView
from graphseq.graph.ops.slicing import unit_scale

NUM_STEPS, SKIPPED = 10, 2  # time steps of a fresh run, and how many of them do not count yet


class TopDownStates:
    """The states, and what each layer sees of them.

    Args:
        view: all rows of the graph.
        bottom: the features, prepared for the first layer.
        top: what stands above the last layer, prepared; None is nothing.
        lower: for each layer, the width of the lower half of its input.
        values: states to go on from, ``[rows, H]`` for each layer; None for none yet.
    """

    def __init__(
        self,
        view: RowView,
        bottom: Sequence[Prepared],
        top: Prepared | None,
        lower: Sequence[int],
        values: Sequence[Tensor] = (),
    ) -> None:
        self.view, self.bottom, self.top, self.lower = view, bottom, top, lower
        self.values = list(values)
        self._prepared: dict[int, Prepared] = {}

    def parts(self, layers: Any, number: int) -> list[Prepared]:
        """Both halves of a layer's input."""
        return [*self._below(layers, number), *self._above(layers, number)]

    def _below(self, layers: Any, number: int) -> Sequence[Prepared]:
        return [self._seen(layers[number], number - 1)] if number else self.bottom

    def _above(self, layers: Any, number: int) -> Sequence[Prepared]:
        first = self.lower[number]
        if number + 1 < len(self.lower):
            return [self._seen(layers[number], number + 1)._replace(first=first)]
        return [] if self.top is None else [self.top._replace(first=first)]

    def _seen(self, layer: Any, number: int) -> Prepared:
        if number not in self._prepared:
            state = self.values[number]
            self._prepared[number] = layer.prepare(self.view, state, unit_scale(state))
        return self._prepared[number]

    def put(self, number: int, state: Tensor) -> None:
        """A layer's new state."""
        self.values[number] = state
        self._prepared.pop(number, None)

    def load(self, values: Sequence[Tensor]) -> None:
        """Goes on from states that an earlier session had."""
        self._prepared.clear()
        self.values = [value.to(self.view.adjacency.device) for value in values]

    @torch.no_grad()
    def rise(self, layers: Any, with_top: bool = False) -> None:
        """First states: one pass upwards, without the upper halves; the last may see the top."""
        self._prepared.clear()
        self.values = []
        for number, layer in enumerate(layers):
            parts = list(self._below(layers, number))
            if with_top and number + 1 == len(layers):
                parts += self._above(layers, number)
            self.values.append(layer(self.view, parts))

    def evaluated(self, layers: Any) -> "TopDownStates":
        """Without states, and with the constant halves multiplied by the weights of now."""
        bottom = [layers[0].evaluated(part) for part in self.bottom]
        top = self.top
        if top is not None:
            top = layers[len(self.lower) - 1].evaluated(top._replace(first=self.lower[-1]))
        return TopDownStates(self.view, bottom, top, self.lower)

    @torch.no_grad()
    def steps(self, layers: Any, num_steps: int) -> Iterator[list[Tensor]]:
        """Time steps without training; yields the states after each."""
        for _ in range(num_steps):
            for number in update_order(len(self.lower)):
                self.put(number, layers[number](self.view, self.parts(layers, number)))
            yield self.values


def update_order(num_layers: int) -> list[int]:
    """Every other layer from the first on, then the others."""
    return [*range(0, num_layers, 2), *range(1, num_layers, 2)]
