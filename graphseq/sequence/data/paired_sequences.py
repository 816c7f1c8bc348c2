"""Pairs of sequences of tokens, one to read and one to write, checked once."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from graphseq.sequence.data.checks import (
    check_integers,
    check_lengths,
    check_range,
    check_size,
    check_splits,
    digest,
)
from graphseq.sequence.data.sequence_data import IGNORED

END = 0
"""The token that ends every target; a decoder also begins with it."""


@dataclass(frozen=True, eq=False)
class PairedSequences:
    """A sequence-to-sequence problem: write the target after reading the source.

    Everything is checked at construction.

    Args:
        source: Tokens to read.
        target: Tokens to write, closed by the end symbol 0, then -100 up to the common length.
        train: Pairs to learn from.
        val: Pairs that choose the epoch and the hyper-parameters.
        test: Pairs that are only scored.
        num_tokens: Size V of the vocabulary that both sides share, the end symbol included.
        source_lengths: True length of each source, what lies behind is padding (any token); None
            where all have S tokens.
        name: Shown in tables and error messages.

    Shape:
        - source: ``[N, S]``, int64, in ``0 .. V - 1``
        - target: ``[N, T]``, int64
        - train, val, test: ``[number of pairs in the split]``, int64, without repetitions and
          without common pairs
        - source_lengths: ``[N]``, int64, in ``1 .. S``

    Raises:
        TypeError: An argument has the wrong type or dtype.
        ValueError: Shapes do not fit together, a token or a position is out of range, a target is
            not closed by one end symbol, or a split is empty, repeats pairs or shares some with
            another.
    """

    source: Tensor
    target: Tensor
    train: Tensor
    val: Tensor
    test: Tensor
    num_tokens: int
    source_lengths: Tensor | None = None
    name: str = "pairs"

    def __post_init__(self) -> None:
        check_size(self.name, "num_tokens", self.num_tokens, 2)
        check_integers(self.name, "source", self.source, "[N, S]")
        check_integers(self.name, "target", self.target, "[N, T]")
        rows = len(self.source)
        if len(self.target) != rows:
            raise ValueError(
                f"{self.name}: target has {len(self.target)} rows, source has {rows}; give one each"
            )
        check_range(self.name, "source", self.source, 0, self.num_tokens)
        if self.source_lengths is not None:
            longest = self.source.shape[1]
            check_lengths(self.name, "source_lengths", self.source_lengths, rows, longest)
        self._check_target()
        check_splits(self.name, self.splits, rows)

    def _check_target(self) -> None:
        target, lengths = self.target, self.target_lengths
        written = torch.arange(target.shape[1], device=target.device) < lengths[:, None]
        if bool((written & (target < 0)).any()) or int(target.max()) >= self.num_tokens:
            raise ValueError(
                f"{self.name}: target must hold tokens 0 .. {self.num_tokens - 1} and {IGNORED} "
                "only behind them; correct it or pass the right num_tokens"
            )
        last = target.gather(1, (lengths - 1).clamp(min=0)[:, None])[:, 0]
        wrong = ((target == END).sum(1) != 1) | (last != END)
        if bool(wrong.any()):
            raise ValueError(
                f"{self.name}: target {int(wrong.nonzero()[0, 0])} must have the end symbol {END} "
                "as its last token and nowhere else; count the other tokens from 1"
            )

    @property
    def target_lengths(self) -> Tensor:
        """Number of tokens of each target, the end symbol included, ``[N]``."""
        return (self.target != IGNORED).sum(1)

    @property
    def splits(self) -> dict[str, Tensor]:
        """The three splits by name."""
        return {"train": self.train, "val": self.val, "test": self.test}

    @property
    def dims(self) -> dict[str, int]:
        """The size that a model's constructor needs."""
        return {"num_tokens": self.num_tokens}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over all pairs, splits and sizes: equal for equal data."""
        tensors = {"source": self.source, "lengths": self.source_lengths, "target": self.target}
        return digest((self.num_tokens,), {**tensors, **self.splits})

    def to(self, device: torch.device | str) -> PairedSequences:
        """The same data with every tensor on ``device``; itself where all is there already."""
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        moved: dict[str, Any] = {
            name: part.to(device) for name, part in parts.items() if isinstance(part, Tensor)
        }
        same = all(part is parts[name] for name, part in moved.items())
        return self if same else replace(self, **moved)

    def summary(self) -> dict[str, int | str]:
        """Name, sizes and fingerprint, for tables and for what is written beside a run."""
        return {
            "name": self.name,
            "num_pairs": len(self.source),
            "max_source_length": int(self.source.shape[1]),
            "max_target_length": int(self.target.shape[1]),
            "num_tokens": self.num_tokens,
            **{split: rows.numel() for split, rows in self.splits.items()},
            "fingerprint": self.fingerprint,
        }
