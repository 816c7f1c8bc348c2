"""What a linear recurrence remembers: the affine map that a segment of time applies to a state.

A segment of ``h_t = a_t * h_{t-1} + b_t`` as a whole is ``h -> decay * h + value`` with ``decay``
the product of its a_t and ``value`` what it ends with when it starts from nothing. Such maps
compose, which is associative, and ``(1, 0)`` changes nothing. So a state is a map: the start is
``(1, 0)``, running on from a state is composing with it, and segments of one sequence can be run
side by side and joined afterwards.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class AffineState(NamedTuple):
    """The map ``h -> decay * h + value``.

    Shape:
        - decay: ``[B, ...]``, of fewer dimensions than the value where one factor serves several
          of its entries; carries no gradient
        - value: ``[B, ...]``, what a sequence that began with nothing remembers
    """

    decay: Tensor
    value: Tensor


def merge_affine(first: AffineState, second: AffineState) -> AffineState:
    """The state after two segments, of which ``second`` was run as if nothing preceded it.

    Shape:
        as the two states, whose shapes are equal.
    """
    decay = second.decay.reshape(
        second.decay.shape + (1,) * (second.value.dim() - second.decay.dim())
    )
    return AffineState(first.decay * second.decay, decay * first.value + second.value)


def identity_state(decay_shape: tuple[int, ...], value: Tensor) -> AffineState:
    """The state before anything was read, with a value of the shape and kind of ``value``."""
    decay = torch.ones(decay_shape, dtype=value.dtype, device=value.device)
    return AffineState(decay, torch.zeros_like(value))
