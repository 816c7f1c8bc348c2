"""The benchmark of associative recall with a small vocabulary and few examples."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from graphseq.bench import mqar
from graphseq.bench.mqar_reference import draw_from_tables
from graphseq.bench.timing import max_error
from graphseq.sequence.data import draw_mqar, draw_mqar_plain
from graphseq.sequence.models import SequenceModel
from graphseq.sequence.nn import Mixer, State
from graphseq.sequence.nn.head import Head

KEYS = {"op", "case", "ours_ms", "reference", "reference_ms", "ratio", "max_error"}
SIZES = {"length": 40, "num_pairs": 5, "num_tokens": 24}


def small_draw(num: int = 50) -> tuple[Tensor, Tensor]:
    return draw_mqar(num, **SIZES, generator=np.random.default_rng(0))


def test_head_rows() -> None:
    rows = mqar.rows("head", seconds=0.0, shrink=32)
    assert [row["case"] for row in rows] == [f"B={b} L=512 K=64 V=256 d=64" for b in (8, 64)]
    assert all(set(row) == KEYS and row["reference"] == "paper" for row in rows)
    assert all(row["max_error"] <= mqar.TOLERANCE for row in rows)


def test_a_batch_without_room_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqar, "_available_bytes", lambda: 100 << 20)
    (row,) = mqar.rows("head", seconds=0.0, shrink=32)
    assert row["case"].startswith("B=8 ")
    monkeypatch.undo()
    assert mqar._available_bytes() > 1 << 20


def test_generator_rows() -> None:
    rows = mqar.rows("generator", seconds=0.0, shrink=512)
    assert all(set(row) == KEYS and row["max_error"] == 0 for row in rows)
    assert [(row["case"], row["reference"]) for row in rows] == [
        (case, reference)
        for case in ("L=64 K=4, 8 examples", "L=512 K=64, 2 examples")
        for reference in ("paper", "strong")
    ]


class Nothing(Mixer):
    """Passes its input on."""

    def forward(
        self, x: Tensor, state: State | None = None, *, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        return x, self.init_state(x.shape[0])

    def init_state(self, batch_size: int) -> State:
        return self.make_state(nothing=torch.zeros(batch_size, 1))


def test_ours_is_the_loss_of_model_and_task() -> None:
    x, y = small_draw()
    model = SequenceModel(24, mixer=Nothing, num_tokens=24, hidden_channels=8, tie_weights=True)
    logits, _ = model(x, asked=y != mqar.IGNORED)
    expected = nn.functional.cross_entropy(logits, y[y != mqar.IGNORED])
    hidden, _ = model.encode(x)
    torch.testing.assert_close(mqar.labelled_loss(model.head, hidden, y), expected)


def test_labelled_and_full_loss_are_equal_in_values_and_gradients() -> None:
    _, labels = small_draw(3)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(3, 40, 6, generator=generator, dtype=torch.float64)
    weight = torch.randn(24, 6, generator=generator, dtype=torch.float64)
    ours, full = (
        mqar._Loss(each, weight)(hidden, labels) for each in (mqar.labelled_loss, mqar.full_loss)
    )
    assert max_error(ours, full) < 1e-12
    assert max_error(mqar._exact(hidden, labels, weight), full) < 1e-12
    assert bool(ours[1].any())
    assert bool(ours[2].any())


@pytest.mark.parametrize("wrong", ["value", "gradient"])
def test_no_speed_is_reported_for_another_loss(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = mqar.labelled_loss

    def changed(head: Head, hidden: Tensor, labels: Tensor) -> Tensor:
        loss = right(head, hidden, labels)
        return loss * 1.01 if wrong == "value" else loss.detach() + 0 * loss

    monkeypatch.setattr(mqar, "labelled_loss", changed)
    with pytest.raises(ValueError, match=r"bench head .*no speed is reported"):
        mqar.rows("head", seconds=0.0, shrink=32)


def test_no_speed_is_reported_for_broken_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    def changed(*args: Any, **sizes: Any) -> tuple[Tensor, Tensor]:
        tokens, labels = draw_mqar(*args, **sizes)
        return tokens.flip(1), labels

    monkeypatch.setattr(mqar, "draw_mqar", changed)
    with pytest.raises(ValueError, match=r"bench generator .*no speed is reported"):
        mqar.rows("generator", seconds=0.0, shrink=1024)


@pytest.mark.parametrize("draw", ["ours", "paper", "strong"])
def test_every_generator_keeps_the_rules(draw: str) -> None:
    draws: dict[str, Callable[[], tuple[Tensor, Tensor]]] = {
        "ours": small_draw,
        "paper": lambda: draw_from_tables(50, **SIZES, rng=np.random.RandomState(0)),
        "strong": lambda: draw_mqar_plain(50, **SIZES, rng=np.random.default_rng(0)),
    }
    assert mqar.broken(*draws[draw](), 5, 24) == 0


def test_tables_follow_the_law_of_the_slots() -> None:
    """The first key asked for takes slot g with probability proportional to (g + 1)^(a - 1)."""
    sizes = {"length": 8, "num_pairs": 1, "num_tokens": 8}
    _, labels = draw_from_tables(8000, **sizes, rng=np.random.RandomState(0))
    share = (labels != mqar.IGNORED).double().mean(0)[2::2]
    weight = torch.arange(1, 4, dtype=torch.float64) ** -0.99
    torch.testing.assert_close(share, weight / weight.sum(), atol=0.03, rtol=0.0)


BREAKS: dict[str, Callable[[Tensor, Tensor], object]] = {
    "key out of range": lambda x, y: x[0, 0].fill_(0),
    "key among values": lambda x, y: x[0, 0].fill_(13),
    "value among keys": lambda x, y: x[0, 1].fill_(3),
    "value out of range": lambda x, y: x[0, 1].fill_(24),
    "repeated key": lambda x, y: x[0, 0].copy_(x[0, 2]),
    "repeated value": lambda x, y: x[0, 1].copy_(x[0, 3]),
    "missing label": lambda x, y: y[0, 10:].fill_(-100),
    "label in the pairs": lambda x, y: y[0, 0].fill_(14),
    "noise": lambda x, y: x[0, 11].fill_(7),
    "wrong label": lambda x, y: y[0].copy_(torch.where(y[0] == x[0, 1], x[0, 3], y[0])),
    "other question": lambda x, y: x[0, 10:].copy_(torch.where(y[0, 10:] == -100, 0, x[0, 0])),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_example_is_counted(name: str) -> None:
    tokens, labels = small_draw(4)
    BREAKS[name](tokens, labels)
    assert mqar.broken(tokens, labels, 5, 24) == 1
