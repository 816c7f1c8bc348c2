"""Multi-query associative recall (MQAR), all examples drawn at once.

The task of Arora et al. 2023 (Zoology, arXiv 2312.04927), in the form of Sieber et al. 2024
(arXiv 2405.15731). An example of length L holds K pairs: ``key, value, key, value, ...``. Each key
comes once more behind them, among zeros, and asks for its value at the position where it stands:

- keys are K different tokens of ``1 .. V/2 - 1``, values K different ones of ``V/2 .. V - 1``;
- the L - 2K positions behind the pairs are S = (L - 2K) / 2 slots of two. The keys choose slots one
  after the other, key j the slot g_j among those that are free with probability proportional to
  (g + 1)^(a - 1): near to the pairs, with a long tail;
- key j stands at position 2K + 2 g_j, its label is value j at the same position.

Both draws without repetition are exact, and made for many rows together. A row of K independent
numbers, drawn again as a whole while it repeats one, is a uniform draw without repetition. And if
slot g rings after an exponential time of rate p_g, the first K slots to ring, in their order, are
chosen one after the other with probabilities proportional to p among those that are left (the logs
of these times are Gumbel variables, hence "Gumbel top-K").
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from graphseq.sequence.data.checks import check_size
from graphseq.sequence.data.sequence_data import IGNORED, SequenceData
from graphseq.sequence.data.splits import generators_of, rows_of, sizes_of

_TOGETHER = 1 << 16  # random numbers drawn together: they stay in the processor's cache
_RARE = 0.1  # below this share of rows without repetitions, rows are shuffled instead of redrawn


def mqar(
    *,
    length: int = 64,
    num_pairs: int = 4,
    num_tokens: int = 8192,
    num_train: int = 100_000,
    num_val: int = 3_000,
    num_test: int = 3_000,
    power: float = 0.01,
    seed: int = 0,
) -> SequenceData:
    """Recall the value that came with a key, several times in a sequence.

    The published settings of (``length``, ``num_pairs``) are (64, 4), (128, 8), (256, 16) and
    (512, 64), with 100,000 examples to train and 3,000 to test; the validation examples are drawn
    besides, so that the test examples choose nothing.

    Args:
        length: Length L of an example, even, at least 4K.
        num_pairs: Number K of pairs.
        num_tokens: Size V of the vocabulary, token 0 is the blank.
        num_train: Examples to learn from.
        num_val: Examples to validate.
        num_test: Examples to test.
        power: The exponent a of the slots' law, in ``0 .. 10``; 1 is uniform.
        seed: Seed of the draw; each split has a stream of its own.

    Returns:
        Tokens ``[N, L]`` with labels per position, V classes; 16 NL bytes in all.

    Raises:
        TypeError: A size or the seed is no whole number.
        ValueError: An argument is out of its range.
    """
    sizes = sizes_of("mqar", num_train, num_val, num_test)
    check_mqar("mqar", length=length, num_pairs=num_pairs, num_tokens=num_tokens, power=power)
    generators, splits = generators_of("mqar", seed), rows_of(sizes)
    tokens, labels = np.empty((2, sum(sizes.values()), length), np.int64)
    for split, rows in splits._asdict().items():
        part = slice(int(rows[0]), int(rows[-1]) + 1)
        _fill(tokens[part], labels[part], num_pairs, num_tokens, power, generators[split])
    return SequenceData(
        x=torch.from_numpy(tokens),
        y=torch.from_numpy(labels),
        **splits._asdict(),
        num_tokens=num_tokens,
        num_classes=num_tokens,
        name=f"mqar({length}, {num_pairs})",
    )


def draw_mqar(
    num: int,
    *,
    length: int,
    num_pairs: int,
    num_tokens: int = 8192,
    power: float = 0.01,
    generator: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """Draw examples of the law above; see :func:`mqar` for the arguments.

    Args:
        num: Number n of examples.
        length: Length L of an example.
        num_pairs: Number K of pairs.
        num_tokens: Size V of the vocabulary.
        power: The exponent a of the slots' law.
        generator: Where the random numbers come from.

    Returns:
        Tokens and labels, ``[n, L]`` each, int64; labels are -100 where nothing is asked for.

    Raises:
        TypeError: A size is no whole number.
        ValueError: An argument is out of its range.
    """
    check_size("draw_mqar", "num", num)
    check_mqar("draw_mqar", length=length, num_pairs=num_pairs, num_tokens=num_tokens, power=power)
    tokens, labels = np.empty((2, num, length), np.int64)
    _fill(tokens, labels, num_pairs, num_tokens, power, generator)
    return torch.from_numpy(tokens), torch.from_numpy(labels)


def check_mqar(where: str, *, length: int, num_pairs: int, num_tokens: int, power: float) -> None:
    """Refuses arguments for which the law above has no examples.

    Raises:
        TypeError: A size is no whole number.
        ValueError: Naming the argument that is out of its range.
    """
    check_size(where, "num_pairs", num_pairs)
    check_size(where, "length", length)
    check_size(where, "num_tokens", num_tokens)
    if length % 2 or length < 4 * num_pairs:
        raise ValueError(
            f"{where}: length must be even and at least 4 num_pairs = {4 * num_pairs}, got "
            f"{length}; a pair takes two tokens, its question two more"
        )
    if num_tokens // 2 - 1 < num_pairs:
        raise ValueError(
            f"{where}: num_tokens is {num_tokens}, which has {num_tokens // 2 - 1} keys for "
            f"{num_pairs} pairs; pass {2 * num_pairs + 2} or more"
        )
    if not 0 <= power <= 10:
        raise ValueError(f"{where}: power is {power}; pass a number in 0 .. 10")


def _fill(
    tokens: np.ndarray,
    labels: np.ndarray,
    num_pairs: int,
    num_tokens: int,
    power: float,
    generator: np.random.Generator,
) -> None:
    """Writes an example into each row, some hundred at a time."""
    length, context, first_value = tokens.shape[1], 2 * num_pairs, num_tokens // 2
    space = (length - context) // 2
    step = max(1, _TOGETHER // space)
    for begin in range(0, len(tokens), step):
        x, y = tokens[begin : begin + step], labels[begin : begin + step]
        keys = 1 + _distinct(generator, len(x), num_pairs, first_value - 1)  # [n, K]
        values = first_value + _distinct(generator, len(x), num_pairs, num_tokens - first_value)
        x[:, 0:context:2], x[:, 1:context:2] = keys, values
        x[:, context:], y[:] = 0, IGNORED
        asked = context + 2 * _slots(generator, len(x), num_pairs, space, power)
        asked += np.arange(0, x.size, length)[:, None]  # positions in the flat arrays
        x.reshape(-1)[asked], y.reshape(-1)[asked] = keys, values


def _distinct(generator: np.random.Generator, rows: int, num: int, size: int) -> np.ndarray:
    """Rows of different numbers of ``0 .. size - 1``, ``[rows, num]``."""
    if math.prod(1 - i / size for i in range(num)) < _RARE:
        everything = np.tile(np.arange(size), (rows, 1))
        return generator.permuted(everything, axis=1)[:, :num]
    numbers = generator.integers(size, size=(rows, num), dtype=np.int32)
    again = np.arange(rows)
    while True:
        ordered = np.sort(numbers[again], axis=1)
        again = again[(ordered[:, 1:] == ordered[:, :-1]).any(axis=1)]
        if not len(again):
            return numbers
        numbers[again] = generator.integers(size, size=(len(again), num), dtype=np.int32)


def _slots(
    generator: np.random.Generator, rows: int, num: int, space: int, power: float
) -> np.ndarray:
    """The first slots to ring, in their order, ``[rows, num]``."""
    slot = np.arange(space)
    times = generator.standard_exponential((rows, space)) * (slot + 1.0) ** (1 - power)
    # Positive floats have the order of their bits. With the slot in the last bits of its own time
    # one sort of integers finds both, several times faster than an argsort. It changes a time by
    # less than 2 space / 2^52 of itself, far too little to be seen in any frequency.
    bits, low = times.view(np.int64), (1 << (space - 1).bit_length()) - 1
    bits &= ~low
    bits |= slot
    bits.sort(axis=1)
    return bits[:, :num] & low
