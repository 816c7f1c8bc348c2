"""What softmax attention remembers of a prefix, and how two such memories become one.

(m, u, w) are the largest score, the sum of exp(score - m) and the sum of exp(score - m) * value.
Merging is associative, and (-inf, 0, 0) changes nothing.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from graphseq.sequence.ops.checks import check_shapes


class PrefixState(NamedTuple):
    """What a prefix is remembered by, in float32 or float64.

    Shape:
        - max: ``[B, H]``, the largest score, -inf if there was none; carries no gradient
        - sum: ``[B, H]``, the sum of exp(score - max)
        - weighted: ``[B, H, D]``, the sum of exp(score - max) * value
    """

    max: Tensor
    sum: Tensor
    weighted: Tensor


def empty_prefix(
    batch: int,
    heads: int,
    channels: int,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> PrefixState:
    """The state before anything was read, ``(-inf, 0, 0)``."""
    return PrefixState(
        torch.full((batch, heads), -torch.inf, dtype=dtype, device=device),
        torch.zeros(batch, heads, dtype=dtype, device=device),
        torch.zeros(batch, heads, channels, dtype=dtype, device=device),
    )


def merge_prefix(first: PrefixState, second: PrefixState) -> PrefixState:
    """The state after two segments, of which ``second`` was run as if nothing preceded it.

    Shape:
        as the two states, whose shapes are equal.

    Raises:
        TypeError: one is no PrefixState.
        ValueError: shapes or devices differ.
    """
    expected = state_shapes("merge_prefix", first, "first")
    check_shapes("merge_prefix", expected | state_shapes("merge_prefix", second, "second"))
    first_max, second_max = first.max.detach(), second.max.detach()
    top = torch.maximum(first_max, second_max)
    reference = top.masked_fill(top == -torch.inf, 0.0)  # -inf - -inf is NaN
    a, b = (first_max - reference).exp(), (second_max - reference).exp()
    return PrefixState(
        top,
        a * first.sum + b * second.sum,
        a[..., None] * first.weighted + b[..., None] * second.weighted,
    )


def state_shapes(where: str, state: PrefixState, name: str) -> dict[str, tuple[Tensor, str]]:
    """The parts of a state by name, each with the letters of its shape, for ``check_shapes``.

    Raises:
        TypeError: it is no PrefixState.
    """
    if not isinstance(state, PrefixState):
        raise TypeError(
            f"{where}: {name} is a {type(state).__name__}; pass a PrefixState, from empty_prefix "
            "or an earlier call"
        )
    letters = {"max": "B H", "sum": "B H", "weighted": "B H D"}
    return {f"{name}.{part}": (getattr(state, part), letters[part]) for part in letters}
