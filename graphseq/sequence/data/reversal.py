"""Write a sequence backwards: the smallest sequence-to-sequence problem with a long memory."""

from __future__ import annotations

import numpy as np
import torch

from graphseq.sequence.data.checks import check_size
from graphseq.sequence.data.paired_sequences import END, PairedSequences
from graphseq.sequence.data.sequence_data import IGNORED
from graphseq.sequence.data.splits import drawn, rows_of, sizes_of


def reversal(
    *,
    length: int = 10,
    min_length: int | None = None,
    num_symbols: int = 10,
    num_train: int = 20_000,
    num_val: int = 2_000,
    num_test: int = 2_000,
    seed: int = 0,
) -> PairedSequences:
    """Read symbols, then write them from the last to the first.

    Args:
        length: Number of symbols, the largest where ``min_length`` is given.
        min_length: Smallest number of symbols; lengths are then uniform between both. None: all are
            equal.
        num_symbols: Number of different symbols, the tokens from 1.
        num_train: Pairs to learn from.
        num_val: Pairs to validate.
        num_test: Pairs to test.
        seed: Seed of the draw; each split has a stream of its own.

    Returns:
        Sources ``[N, length]``, with lengths where they differ, and targets ``[N, length + 1]``
        that the end symbol 0 closes.

    Raises:
        TypeError: A size or the seed is no whole number.
        ValueError: An argument is out of its range.
    """
    sizes = sizes_of("reversal", num_train, num_val, num_test)
    least = length if min_length is None else min_length
    check_size("reversal", "min_length", least)
    check_size("reversal", "length", length, least)
    check_size("reversal", "num_symbols", num_symbols)

    def draw(generator: np.random.Generator, num: int, split: str) -> np.ndarray:
        lengths = generator.integers(least, length, size=(num, 1), endpoint=True)
        symbols = generator.integers(1, num_symbols, size=(num, length), endpoint=True)
        return np.hstack([lengths, symbols])

    rows = torch.from_numpy(drawn("reversal", sizes, seed, draw))
    lengths, source = rows[:, :1], rows[:, 1:]
    steps = torch.arange(length + 1)
    source = source.masked_fill(steps[:-1] >= lengths, END)
    target = source.gather(1, (lengths - 1 - steps).clamp(min=0))  # [N, length + 1]
    target = target.masked_fill(steps == lengths, END).masked_fill(steps > lengths, IGNORED)
    return PairedSequences(
        source=source.contiguous(),
        target=target,
        **rows_of(sizes)._asdict(),
        num_tokens=num_symbols + 1,
        source_lengths=lengths[:, 0].contiguous() if least < length else None,
        name=f"reversal({length})",
    )
