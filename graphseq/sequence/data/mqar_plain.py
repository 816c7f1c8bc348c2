"""Multi-query associative recall as one would write it down, an example at a time.

The same law as :mod:`graphseq.sequence.data.mqar`, which draws many examples together: this is what
that one is tested against and timed against.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from graphseq.sequence.data.checks import check_size
from graphseq.sequence.data.mqar import check_mqar
from graphseq.sequence.data.sequence_data import IGNORED


def draw_mqar_plain(
    num: int,
    *,
    length: int,
    num_pairs: int,
    num_tokens: int = 8192,
    power: float = 0.01,
    rng: np.random.Generator | np.random.RandomState,
) -> tuple[Tensor, Tensor]:
    """Draw examples with ``rng.choice(..., replace=False)``.

    Args:
        num: Number n of examples.
        length: Length L of an example.
        num_pairs: Number K of pairs.
        num_tokens: Size V of the vocabulary.
        power: The exponent a of the slots' law.
        rng: Where the random numbers come from; the older class, which ``np.random.choice`` uses,
            takes several times longer.

    Returns:
        Tokens and labels, ``[n, L]`` each, int64; labels are -100 where nothing is asked for.

    Raises:
        TypeError: A size is no whole number.
        ValueError: An argument is out of its range.
    """
    check_size("draw_mqar_plain", "num", num)
    check_mqar(
        "draw_mqar_plain", length=length, num_pairs=num_pairs, num_tokens=num_tokens, power=power
    )
    all_keys, all_values = np.arange(1, num_tokens // 2), np.arange(num_tokens // 2, num_tokens)
    space = (length - 2 * num_pairs) // 2
    probability = np.arange(1, space + 1) ** (power - 1.0)
    probability /= probability.sum()
    tokens = np.zeros((num, length), np.int64)
    labels = np.full((num, length), IGNORED, np.int64)
    for row in range(num):
        keys = rng.choice(all_keys, num_pairs, replace=False)
        values = rng.choice(all_values, num_pairs, replace=False)
        slots = rng.choice(space, num_pairs, replace=False, p=probability)
        tokens[row, 0 : 2 * num_pairs : 2] = keys
        tokens[row, 1 : 2 * num_pairs : 2] = values
        tokens[row, 2 * num_pairs + 2 * slots] = keys
        labels[row, 2 * num_pairs + 2 * slots] = values
    return torch.from_numpy(tokens), torch.from_numpy(labels)
