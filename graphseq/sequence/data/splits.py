"""Drawing training, validation and test sequences, each split from a generator of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from graphseq.sequence.data.checks import check_size

Sizes = Mapping[str, int]


class Split(NamedTuple):
    """Positions of the sequences of the three parts, int64."""

    train: Tensor
    val: Tensor
    test: Tensor


def sizes_of(where: str, num_train: int, num_val: int, num_test: int) -> dict[str, int]:
    """The sizes of the three splits by name.

    Raises:
        TypeError: One is no whole number.
        ValueError: One is below 1.
    """
    sizes = {"num_train": num_train, "num_val": num_val, "num_test": num_test}
    for name, size in sizes.items():
        check_size(where, name, size)
    return {name.removeprefix("num_"): size for name, size in sizes.items()}


def rows_of(sizes: Sizes) -> Split:
    """The positions of each split where all are kept one behind the other."""
    ends = np.cumsum([0, *sizes.values()]).tolist()
    return Split(*(torch.arange(a, b) for a, b in pairwise(ends)))


def generators_of(where: str, seed: int) -> dict[str, np.random.Generator]:
    """An independent generator for each split, so that one's size does not change another.

    Raises:
        TypeError: The seed is no whole number.
        ValueError: It is negative.
    """
    check_size(where, "seed", seed, 0)
    children = np.random.SeedSequence(seed).spawn(len(Split._fields))
    return dict(zip(Split._fields, map(np.random.default_rng, children), strict=True))


def drawn(
    where: str, sizes: Sizes, seed: int, draw: Callable[[np.random.Generator, int, str], np.ndarray]
) -> np.ndarray:
    """What ``draw(generator, number, split)`` returns for each split, one behind the other."""
    generators = generators_of(where, seed)
    return np.concatenate([draw(generators[split], sizes[split], split) for split in sizes])


def split_stratified(
    where: str, y: Tensor, *, val: float = 0.2, test: float = 0.2, seed: int
) -> Split:
    """The same random share of every class for each split, positions sorted.

    Args:
        where: Opens the messages.
        y: Class of each sequence ``[N]``.
        val: Share of each class to validate.
        test: Share of each class to test; the rest is to train.
        seed: Seed of the draw.

    Raises:
        TypeError: The seed is no whole number.
        ValueError: It is negative.
    """
    check_size(where, "seed", seed, 0)
    generator = torch.Generator().manual_seed(seed)
    parts: dict[str, list[Tensor]] = {split: [] for split in Split._fields}
    for label in range(int(y.max()) + 1):
        members = (y == label).nonzero()[:, 0]
        members = members[torch.randperm(len(members), generator=generator)]
        num_val, num_test = round(val * len(members)), round(test * len(members))
        parts["val"].append(members[:num_val])
        parts["test"].append(members[num_val : num_val + num_test])
        parts["train"].append(members[num_val + num_test :])
    return Split(**{split: torch.cat(part).sort().values for split, part in parts.items()})
