"""Many sequences with one target each, or one at some of their positions, checked once."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor

from graphseq.sequence.data.checks import (
    check_finite,
    check_integers,
    check_lengths,
    check_range,
    check_size,
    check_splits,
    check_tensor,
    digest,
)

IGNORED = -100
"""The label of a position that is not asked for; what ``cross_entropy`` leaves out by default."""


@dataclass(frozen=True, eq=False)
class SequenceData:
    """Sequences to classify, to label position by position, or to predict numbers from.

    Everything is checked at construction.

    Args:
        x: The sequences: features, or tokens of a vocabulary.
        y: The targets: one class per sequence, or one or several numbers per sequence, or one
            label per position with -100 where none is asked for.
        train: Sequences to learn from.
        val: Sequences that choose the epoch and the hyper-parameters.
        test: Sequences that are only scored.
        lengths: True length of each sequence, what lies behind is padding; None where all
            sequences have T steps.
        num_tokens: Size V of the vocabulary; None where ``x`` holds features.
        num_classes: Number C of classes; None where ``y`` holds numbers.
        name: Shown in tables and error messages.

    Shape:
        - x: ``[N, T, F]``, float32 or float64, or ``[N, T]``, int64
        - y: classes ``[N]``, int64; or numbers ``[N]`` or ``[N, K]``, float32 or float64; or
          labels ``[N, T]``, int64
        - train, val, test: ``[number of sequences in the split]``, int64, without repetitions and
          without common sequences
        - lengths: ``[N]``, int64, in ``1 .. T``

    Raises:
        TypeError: An argument has the wrong type or dtype.
        ValueError: Shapes do not fit together, a number is not finite, a token, a class or a
            position is out of range, a split is empty, repeats sequences or shares some with
            another, a label lies in the padding, or a sequence has no label at all.
    """

    x: Tensor
    y: Tensor
    train: Tensor
    val: Tensor
    test: Tensor
    lengths: Tensor | None = None
    num_tokens: int | None = None
    num_classes: int | None = None
    name: str = "sequences"

    def __post_init__(self) -> None:
        self._check_x()
        if self.lengths is not None:
            check_lengths(self.name, "lengths", self.lengths, len(self.x), self.max_length)
        self._check_y()
        check_splits(self.name, self.splits, len(self.x))

    def _check_x(self) -> None:
        x = check_tensor(self.name, "x", self.x)
        if x.is_floating_point():
            if self.num_tokens is not None:
                raise ValueError(
                    f"{self.name}: num_tokens is {self.num_tokens}, but x holds features; leave it "
                    "out, or pass int64 tokens"
                )
            self._check_numbers("x", x, "[N, T, F]", (3,))
            return
        check_integers(self.name, "x", x, "[N, T]")
        if self.num_tokens is None:
            raise ValueError(
                f"{self.name}: x holds tokens; pass num_tokens, their vocabulary's size"
            )
        check_size(self.name, "num_tokens", self.num_tokens)
        check_range(self.name, "x", x, 0, self.num_tokens)

    def _check_y(self) -> None:
        y = check_tensor(self.name, "y", self.y)
        if y.is_floating_point():
            if self.num_classes is not None:
                raise ValueError(
                    f"{self.name}: num_classes is {self.num_classes}, but y holds numbers; leave "
                    "it out, or pass int64 classes"
                )
            self._check_numbers("y", y, "[N] or [N, K]", (1, 2))
        else:
            check_integers(self.name, "y", y, "[N, T]" if y.dim() == 2 else "[N]")
            if self.num_classes is None:
                raise ValueError(f"{self.name}: y holds classes; pass num_classes, their number")
            check_size(self.name, "num_classes", self.num_classes)
        if len(y) != len(self.x):
            raise ValueError(
                f"{self.name}: y has {len(y)} rows, but x has {len(self.x)}; give one each"
            )
        if self.kind == "classes":
            check_range(self.name, "y", y, 0, self.num_classes or 0)
        if self.kind == "labels":
            self._check_labels(y)

    def _check_numbers(self, name: str, values: Tensor, shape: str, dims: tuple[int, ...]) -> None:
        if values.dtype not in (torch.float32, torch.float64):
            raise TypeError(
                f"{self.name}: {name} must be float32 or float64, got {values.dtype}; "
                f"use {name}.float()"
            )
        if values.dim() not in dims or values.numel() == 0:
            raise ValueError(
                f"{self.name}: {name} must be {shape} and not empty, got shape "
                f"{tuple(values.shape)}; reshape or fill it"
            )
        check_finite(self.name, name, values)

    def _check_labels(self, y: Tensor) -> None:
        if y.shape != self.x.shape[:2]:
            raise ValueError(
                f"{self.name}: y must be {list(self.x.shape[:2])}, one label per position, got "
                f"shape {tuple(y.shape)}; fill with {IGNORED} where none is asked for"
            )
        least, most = torch.aminmax(y)
        # The smallest label is -100 where some are; all others must not be negative.
        negative = int(((y < 0) & (y != IGNORED)).sum()) if int(least) < 0 else 0
        if negative or int(most) >= (self.num_classes or 0):
            raise ValueError(
                f"{self.name}: y must lie in 0 .. {(self.num_classes or 0) - 1} or be {IGNORED} "
                f"(not asked), got {int(least)} .. {int(most)}; correct y or num_classes"
            )
        unasked = (y.amax(1) < 0).nonzero()[:, 0]
        if len(unasked):
            raise ValueError(
                f"{self.name}: sequence {int(unasked[0])} has no label at all; leave it out"
            )
        if self.lengths is not None:
            padding = torch.arange(y.shape[1], device=y.device) >= self.lengths[:, None]
            if bool((padding & (y != IGNORED)).any()):
                raise ValueError(
                    f"{self.name}: y has labels behind the length of a sequence; fill the padding "
                    f"with {IGNORED}"
                )

    @property
    def kind(self) -> Literal["classes", "values", "labels"]:
        """What the targets are: a class, numbers, or labels per position."""
        if self.y.is_floating_point():
            return "values"
        return "labels" if self.y.dim() == 2 else "classes"

    @property
    def splits(self) -> dict[str, Tensor]:
        """The three splits by name."""
        return {"train": self.train, "val": self.val, "test": self.test}

    @property
    def max_length(self) -> int:
        """Number of steps T, padding included."""
        return int(self.x.shape[1])

    @property
    def dims(self) -> dict[str, int | None]:
        """The sizes that a model's constructor needs; the first or the second is None."""
        values = int(self.y.shape[1]) if self.y.dim() == 2 else 1
        return {
            "in_channels": int(self.x.shape[2]) if self.x.dim() == 3 else None,
            "num_tokens": self.num_tokens,
            "out_channels": values if self.num_classes is None else self.num_classes,
        }

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over all sequences, targets, splits and sizes: equal for equal data."""
        tensors = {"x": self.x, "y": self.y, "lengths": self.lengths, **self.splits}
        return digest(tuple(self.dims.items()), tensors)

    def to(self, device: torch.device | str) -> SequenceData:
        """The same data with every tensor on ``device``; itself where all is there already."""
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        moved: dict[str, Any] = {
            name: part.to(device) for name, part in parts.items() if isinstance(part, Tensor)
        }
        same = all(part is parts[name] for name, part in moved.items())
        return self if same else replace(self, **moved)

    def summary(self) -> dict[str, int | str | None]:
        """Name, sizes and fingerprint, for tables and for what is written beside a run."""
        return {
            "name": self.name,
            "kind": self.kind,
            "num_sequences": len(self.x),
            "max_length": self.max_length,
            "num_features": self.dims["in_channels"],
            "num_tokens": self.num_tokens,
            "num_outputs": self.dims["out_channels"],
            **{split: rows.numel() for split, rows in self.splits.items()},
            "fingerprint": self.fingerprint,
        }
