"""Forward learning of links, written straight from the paper: FL-CE, FL-FF and top-down.

See ``forward_reference.py``.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from graphseq.bench.forward_reference import PlainLearner
from graphseq.bench.forward_reference_convs import PlainGraph, unit
from graphseq.bench.forward_reference_top import SKIPPED, STEPS, TimeSteps
from graphseq.graph.data import LinkData


class _PlainLinkLearner(PlainLearner):
    """On the training links, with a fixed list of pairs.

    Args:
        model: one of ours, whose weights are copied.
        data: the links, with ``train_negative``.
        **options: see :class:`PlainLearner`.
    """

    def __init__(self, model: Any, data: LinkData, **options: Any) -> None:
        assert data.x is not None
        assert data.train_negative is not None
        super().__init__(model, data.x, **options)
        self.model = model
        both = torch.cat([data.train, data.train.flip(0)], dim=1)
        self.graph = PlainGraph(both[:, both[0] != both[1]].unique(dim=1), data.num_nodes)
        self.positive, self.negative = data.train, data.train_negative
        self.val = torch.cat([data.val, data.val_negative.flatten(1).long()], dim=1)

    def _cross_entropy(self, y: Tensor) -> Tensor:
        logits = torch.cat([self._dots(y, self.positive), self._dots(y, self.negative)])
        labels = torch.zeros_like(logits)
        labels[: self.positive.size(1)] = 1.0
        return F.binary_cross_entropy_with_logits(logits, labels)

    @staticmethod
    def _dots(y: Tensor, pairs: Tensor) -> Tensor:
        return (y[pairs[0]] * y[pairs[1]]).sum(1)


class PlainLinks(_PlainLinkLearner):
    """FL-CE and FL-FF: one layer after the other."""

    @torch.no_grad()
    def enter(self, stage: int) -> None:
        self.first = self.z = unit(self.x)
        for layer in self.layers[:stage]:
            self.z = unit(layer(self.graph, self.z))

    def step(self, stage: int) -> None:
        y = self.layers[stage](self.graph, self.z)
        if self.model.loss == "ce":
            loss = self._cross_entropy(y)
        else:
            right, wrong = self._excess(y, self.positive), self._excess(y, self.negative)
            loss = F.softplus(-right).mean() + F.softplus(wrong).mean()
        self._learn(stage, loss)

    def _excess(self, y: Tensor, pairs: Tensor) -> Tensor:
        return (y[pairs[0]] * y[pairs[1]]).square().sum(1) - self.model.threshold

    @torch.no_grad()
    def validate(self, stage: int) -> Tensor:
        total, y = torch.zeros(self.val.size(1), dtype=self.x.dtype), None
        for layer in self.layers[: stage + 1]:
            y = layer(self.graph, self.first if y is None else unit(y))
            logits = self._dots if self.model.loss == "ce" else self._excess
            total += logits(y, self.val).sigmoid()
        return total / (stage + 1)


class PlainTopDownLinks(_PlainLinkLearner):
    """Layers that see the layers below and above them."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.states = TimeSteps(self.layers, self.graph, self.x, None)
        self.fresh = TimeSteps(self.layers, self.graph, self.x, None)

    def enter(self, stage: int) -> None:
        self.states.rise()

    def step(self, stage: int) -> None:
        for number in self.states.order:
            y = self.states.output(number)
            self._learn(number, self._cross_entropy(y))
            self.states.values[number] = y.detach()

    def validate(self, stage: int) -> Tensor:
        total = torch.zeros(self.val.size(1), dtype=self.x.dtype)
        for y in self.fresh.run():
            total += self._dots(y, self.val).sigmoid()
        return total / (STEPS - SKIPPED) / len(self.layers)
