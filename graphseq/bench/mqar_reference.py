"""The generator of associative recall in its published formulation."""

import numpy as np
import torch
from torch import Tensor

from graphseq.sequence.data.sequence_data import IGNORED


def draw_from_tables(
    num: int,
    *,
    length: int,
    num_pairs: int,
    num_tokens: int,
    rng: np.random.RandomState,
    power: float = 0.01,
) -> tuple[Tensor, Tensor]:
    """Examples as :func:`graphseq.sequence.data.draw_mqar` draws them, of tables of candidates.

    Each of the three draws without repetition begins with a table that has one row of candidates
    for each example, 3.3 GB for 100,000 of them, and shuffles a row to take K of it.
    """
    middle, context = num_tokens // 2, 2 * num_pairs
    space = (length - context) // 2
    probability = np.arange(1, space + 1) ** (power - 1.0)
    probability /= probability.sum()

    def choose(candidates: np.ndarray, p: np.ndarray | None = None) -> np.ndarray:
        table = np.tile(candidates, (num, 1))
        return np.apply_along_axis(rng.choice, 1, table, size=num_pairs, replace=False, p=p)

    keys, values = choose(np.arange(1, middle)), choose(np.arange(middle, num_tokens))
    position = context + 2 * choose(np.arange(space), probability)  # [n, K]
    tokens = np.zeros((num, length), np.int64)
    labels = np.full((num, length), IGNORED, np.int64)
    tokens[:, 0:context:2], tokens[:, 1:context:2] = keys, values
    np.put_along_axis(tokens, position, keys, axis=1)
    np.put_along_axis(labels, position, values, axis=1)
    return torch.from_numpy(tokens), torch.from_numpy(labels)
