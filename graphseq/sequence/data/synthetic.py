"""Problems that ask a recurrent network to remember: adding, copying, running parity."""

from __future__ import annotations

import numpy as np
import torch

from graphseq.sequence.data.checks import check_size
from graphseq.sequence.data.sequence_data import IGNORED, SequenceData
from graphseq.sequence.data.splits import drawn, rows_of, sizes_of


def adding_problem(
    *,
    length: int = 100,
    num_train: int = 50_000,
    num_val: int = 5_000,
    num_test: int = 5_000,
    seed: int = 0,
) -> SequenceData:
    """Add the two numbers that are marked in a long list (Hochreiter and Schmidhuber 1997).

    Each step shows a number, uniform in ``[0, 1)``, and a mark, which is 1 at one step of the first
    half and at one step of the second half, else 0. The target is the sum of the two marked
    numbers. Answering 1 without looking has a mean squared error of 1/6 = 0.1667, the variance of
    a sum of two uniform numbers: a network has learnt something when it is well below.

    Args:
        length: Number of steps T, at least 2.
        num_train: Sequences to learn from.
        num_val: Sequences to validate.
        num_test: Sequences to test.
        seed: Seed of the draw; each split has a stream of its own.

    Returns:
        ``x [N, T, 2]`` and one number each, float32.

    Raises:
        TypeError: A size or the seed is no whole number.
        ValueError: An argument is out of its range.
    """
    sizes = sizes_of("adding_problem", num_train, num_val, num_test)
    check_size("adding_problem", "length", length, 2)
    half = length // 2

    def draw(generator: np.random.Generator, num: int, split: str) -> np.ndarray:
        x = np.zeros((num, length, 2), np.float32)
        x[:, :, 0] = generator.random((num, length), dtype=np.float32)
        row = np.arange(num)
        x[row, generator.integers(half, size=num), 1] = 1
        x[row, generator.integers(half, length, size=num), 1] = 1
        return x

    x = torch.from_numpy(drawn("adding_problem", sizes, seed, draw))
    return SequenceData(
        x=x,
        y=(x[:, :, 0] * x[:, :, 1]).sum(1),
        **rows_of(sizes)._asdict(),
        name=f"adding_problem({length})",
    )


def copy_memory(
    *,
    delay: int = 100,
    num_symbols: int = 8,
    copy_length: int = 10,
    num_train: int = 20_000,
    num_val: int = 2_000,
    num_test: int = 2_000,
    seed: int = 0,
) -> SequenceData:
    """Repeat symbols after a long pause (Hochreiter and Schmidhuber 1997, Arjovsky et al. 2016).

    A sequence is ``copy_length`` symbols, ``delay - 1`` blanks, a signal, and ``copy_length``
    blanks, at which the symbols are asked for in their order. A network without memory guesses:
    its accuracy is ``1 / num_symbols``, its loss ``log(num_symbols)``.

    Args:
        delay: Steps from the last symbol to the signal, at least 1.
        num_symbols: Number of symbols; they are the tokens from 0, then come blank and signal.
        copy_length: Symbols to remember.
        num_train: Sequences to learn from.
        num_val: Sequences to validate.
        num_test: Sequences to test.
        seed: Seed of the draw; each split has a stream of its own.

    Returns:
        Tokens ``[N, delay + 2 copy_length]`` with labels at the last ``copy_length`` positions,
        ``num_symbols`` classes.

    Raises:
        TypeError: A size or the seed is no whole number.
        ValueError: An argument is out of its range.
    """
    sizes = sizes_of("copy_memory", num_train, num_val, num_test)
    check_size("copy_memory", "delay", delay)
    check_size("copy_memory", "num_symbols", num_symbols, 2)
    check_size("copy_memory", "copy_length", copy_length)

    def draw(generator: np.random.Generator, num: int, split: str) -> np.ndarray:
        return generator.integers(num_symbols, size=(num, copy_length))

    symbols = torch.from_numpy(drawn("copy_memory", sizes, seed, draw))
    tokens = symbols.new_full((len(symbols), delay + 2 * copy_length), num_symbols)
    tokens[:, :copy_length] = symbols
    tokens[:, copy_length + delay - 1] = num_symbols + 1
    labels = torch.full_like(tokens, IGNORED)
    labels[:, -copy_length:] = symbols
    return SequenceData(
        x=tokens,
        y=labels,
        **rows_of(sizes)._asdict(),
        num_tokens=num_symbols + 2,
        num_classes=num_symbols,
        name=f"copy_memory({delay})",
    )


def parity(
    *,
    length: int = 40,
    min_length: int | None = None,
    test_length: int | None = None,
    num_train: int = 20_000,
    num_val: int = 2_000,
    num_test: int = 2_000,
    seed: int = 0,
) -> SequenceData:
    """Say after each bit whether the number of ones so far is odd.

    One bit of memory is enough, but every input matters: a network that solves it at one length
    and not at a longer one has not found the rule.

    Args:
        length: Number of bits, the largest where ``min_length`` is given.
        min_length: Smallest number of bits; lengths are then uniform between both. None: all are
            equal.
        test_length: Number of bits of all test sequences; None: as of the others.
        num_train: Sequences to learn from.
        num_val: Sequences to validate.
        num_test: Sequences to test.
        seed: Seed of the draw; each split has a stream of its own.

    Returns:
        Tokens ``[N, T]`` of 0 and 1 with a label at every position, two classes; T is the greatest
        length, and shorter sequences are padded, with ``lengths``.

    Raises:
        TypeError: A size or the seed is no whole number.
        ValueError: An argument is out of its range.
    """
    sizes = sizes_of("parity", num_train, num_val, num_test)
    least = length if min_length is None else min_length
    check_size("parity", "min_length", least)
    check_size("parity", "length", length, least)
    longest = length if test_length is None else test_length
    check_size("parity", "test_length", longest)
    longest = max(length, longest)

    def draw(generator: np.random.Generator, num: int, split: str) -> np.ndarray:
        fixed = test_length if split == "test" else None
        low, high = fixed or least, fixed or length
        lengths = generator.integers(low, high, size=(num, 1), endpoint=True)
        return np.hstack([lengths, generator.integers(2, size=(num, longest))])

    rows = torch.from_numpy(drawn("parity", sizes, seed, draw))
    lengths, bits = rows[:, 0], rows[:, 1:]
    padding = torch.arange(longest) >= lengths[:, None]
    bits = bits.masked_fill(padding, 0)
    return SequenceData(
        x=bits,
        y=(bits.cumsum(1) % 2).masked_fill(padding, IGNORED),
        **rows_of(sizes)._asdict(),
        lengths=lengths.contiguous() if bool(padding.any()) else None,
        num_tokens=2,
        num_classes=2,
        name=f"parity({length})",
    )
