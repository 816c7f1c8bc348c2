"""Associative recall: the loss on labelled positions alone, and the generator of examples.

``head`` is the tied projection to 8,192 tokens and the cross-entropy, forward and backward, of
hidden states ``[B, 512, 64]`` of which 64 in each sequence carry a label. Ours is what
``SequenceModel(x, asked=...)`` and ``SequenceLabelling`` do, which is to choose those states before
the projection; ``paper`` projects all of them and ignores the rest, as the published code does. So
the work is skipped rather than done faster; loss and gradients are the same.

``generator`` draws examples. ``paper`` takes its choices of tables as the published code does, see
:mod:`graphseq.bench.mqar_reference`; ``strong`` goes example by example with numpy's newer, faster
``Generator.choice``. Two draws are never equal, so the error is the number of examples, of any
side, that break a rule of the task.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphseq.bench.mqar_reference import draw_from_tables
from graphseq.bench.timing import Row, compare, max_error
from graphseq.sequence.data import draw_mqar, draw_mqar_plain
from graphseq.sequence.data.sequence_data import IGNORED
from graphseq.sequence.nn.head import Head

LENGTH, PAIRS, TOKENS, WIDTH = 512, 64, 8192, 64
BATCHES = (8, 64)
DRAWS = ((64, 4, 4096), (512, 64, 1024))
"""Length, number of pairs, number of examples."""
TOLERANCE = 1e-5  # float32, relative to the largest loss or gradient


def rows(case: str | None = None, seconds: float = 8.0, shrink: int = 1) -> list[Row]:
    """Times one case or both, with so many seconds for each comparison.

    Args:
        case: ``head`` or ``generator``.
        seconds: for each comparison.
        shrink: divides the vocabulary of the head, and the number of examples to draw.

    Raises:
        ValueError: if there is no such case, or results disagree.
    """
    if case is not None and case not in CASES:
        raise ValueError(f"bench mqar: no case {case!r}; there are {', '.join(CASES)}")
    return [row for name in ([case] if case else CASES) for row in CASES[name](seconds, shrink)]


def _heads(seconds: float, shrink: int) -> list[Row]:
    """The large batch only where the full projection has room: logits thrice, and as much again."""
    tokens = TOKENS // shrink
    fitting = [b for b in BATCHES if 6 * 4 * b * LENGTH * tokens < _available_bytes()]
    return [row for batch in fitting for row in _head(batch, tokens, seconds)]


def _head(batch: int, tokens: int, seconds: float) -> list[Row]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(batch, LENGTH, WIDTH, generator=generator)
    _, labels = draw_mqar(
        batch, length=LENGTH, num_pairs=PAIRS, num_tokens=tokens,
        generator=np.random.default_rng(0),
    )  # fmt: skip
    weight = 0.02 * torch.randn(tokens, WIDTH, generator=generator)
    ours, reference = (_Loss(each, weight) for each in (labelled_loss, full_loss))
    expected = _exact(hidden, labels, weight)
    error = max(max_error(each(hidden, labels), expected) for each in (ours, reference))
    return compare(
        "head", f"B={batch} L={LENGTH} K={PAIRS} V={tokens} d={WIDTH}",
        partial(ours, hidden, labels), {"paper": partial(reference, hidden, labels)},
        error=error, tolerance=TOLERANCE, seconds=seconds,
    )  # fmt: skip


def labelled_loss(head: Head, hidden: Tensor, labels: Tensor) -> Tensor:
    """Mean loss of the labelled positions, as model and task compute it."""
    asked = labels != IGNORED
    return F.cross_entropy(head(hidden[asked]), labels[asked], reduction="none").mean()


def full_loss(head: Head, hidden: Tensor, labels: Tensor) -> Tensor:
    """The same with scores of every position."""
    return F.cross_entropy(head(hidden).flatten(0, 1), labels.flatten(), ignore_index=IGNORED)


class _Loss:
    """A loss, and its gradients with respect to hidden states and tied weight."""

    def __init__(self, loss: Callable[[Head, Tensor, Tensor], Tensor], weight: Tensor) -> None:
        embedding = nn.Embedding.from_pretrained(weight, freeze=False)
        self.head, self.loss = Head(weight.shape[1], weight.shape[0], tied=embedding), loss

    def __call__(self, hidden: Tensor, labels: Tensor) -> list[Tensor]:
        hidden = hidden.detach().requires_grad_()
        loss = self.loss(self.head, hidden, labels)
        return [loss.detach(), *torch.autograd.grad(loss, [hidden, *self.head.parameters()])]


def _exact(hidden: Tensor, labels: Tensor, weight: Tensor) -> list[Tensor]:
    """Full projection in float64, one sequence at a time; each has as many labels."""
    full = _Loss(full_loss, weight.double())
    each = [full(hidden[i : i + 1].double(), labels[i : i + 1]) for i in range(len(hidden))]
    losses, grads, weight_grads = zip(*each, strict=True)
    num = len(hidden)
    return [sum(losses) / num, torch.cat(grads) / num, sum(weight_grads) / num]


def _generators(seconds: float, shrink: int) -> list[Row]:
    found = []
    for length, pairs, num in DRAWS:
        sizes = {"length": length, "num_pairs": pairs, "num_tokens": TOKENS}
        number = num // shrink
        calls = {
            "ours": partial(draw_mqar, number, **sizes, generator=np.random.default_rng(0)),
            "paper": partial(draw_from_tables, number, **sizes, rng=np.random.RandomState(1)),
            "strong": partial(draw_mqar_plain, number, **sizes, rng=np.random.default_rng(2)),
        }
        error = float(sum(broken(*draw(), pairs, TOKENS) for draw in calls.values()))
        found += compare(
            "generator", f"L={length} K={pairs}, {number} examples", calls.pop("ours"), calls,
            error=error, tolerance=0.0, seconds=seconds,
        )  # fmt: skip
    return found


def broken(tokens: Tensor, labels: Tensor, num_pairs: int, num_tokens: int) -> int:
    """Number of examples that break a rule of the task, see :mod:`graphseq.sequence.data.mqar`."""
    middle, context = num_tokens // 2, 2 * num_pairs
    keys, values = tokens[:, 0:context:2], tokens[:, 1:context:2]  # [n, K]
    asked = labels != IGNORED
    asked_tokens = tokens.where(asked, 0)
    which = (asked_tokens[:, :, None] == keys[:, None]).int().argmax(2)  # [n, L]
    ordered = [x.sort(1).values.diff(dim=1) for x in (keys, values)]
    right = [
        (keys >= 1).all(1) & (keys < middle).all(1),
        (values >= middle).all(1) & (values < num_tokens).all(1),
        *((steps > 0).all(1) for steps in ordered),  # no repetitions
        asked.sum(1) == num_pairs,
        ~asked[:, :context].any(1) & ~asked[:, 1::2].any(1),
        (asked_tokens.sort(1).values[:, -num_pairs:] == keys.sort(1).values).all(1),
        (tokens[:, context:].where(~asked[:, context:], 0) == 0).all(1),  # blank elsewhere
        (labels == values.gather(1, which)).where(asked, True).all(1),
    ]
    return int((~torch.stack(right).all(0)).sum())


def _available_bytes() -> int:
    """Free memory where Linux tells it; else enough for the small batch."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 2 << 30
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) << 10


CASES: dict[str, Callable[[float, int], list[Row]]] = {"head": _heads, "generator": _generators}
