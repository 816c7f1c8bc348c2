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

    Args:
        first: the earlier segment.
        second: the later one, of the same shapes.

    Raises:
        ValueError: the shapes of the two differ.
    """
    if first.decay.shape != second.decay.shape or first.value.shape != second.value.shape:
        raise ValueError(
            f"merge_affine: first has decay {tuple(first.decay.shape)} and value "
            f"{tuple(first.value.shape)}, second {tuple(second.decay.shape)} and "
            f"{tuple(second.value.shape)}; pass two states of one recurrence"
        )
    decay = second.decay.reshape(
        second.decay.shape + (1,) * (second.value.dim() - second.decay.dim())
    )
    return AffineState(first.decay * second.decay, decay * first.value + second.value)


def identity_state(decay_shape: tuple[int, ...], value: Tensor) -> AffineState:
    """The state before anything was read, with a value of the shape and kind of ``value``."""
    decay = torch.ones(decay_shape, dtype=value.dtype, device=value.device)
    return AffineState(decay, torch.zeros_like(value))


def check_state(
    where: str,
    state: AffineState | None,
    decay_shape: tuple[int, ...],
    value_shape: tuple[int, ...],
    dtype: torch.dtype,
    device: torch.device,
) -> AffineState:
    """The state to start from: the given one in ``dtype``, or the identity.

    Args:
        where: name of the op, for the error.
        state: what the caller passed.
        decay_shape: the shape that its decay must have.
        value_shape: the shape that its value must have.
        dtype: the type that the op computes in.
        device: where the op's other arguments are.

    Raises:
        TypeError: it is no ``AffineState``.
        ValueError: a shape or the device differs.
    """
    if state is None:
        return identity_state(decay_shape, torch.zeros(value_shape, dtype=dtype, device=device))
    if not isinstance(state, AffineState):
        raise TypeError(f"{where}: state is a {type(state).__name__}; pass an AffineState or None")
    for name, tensor, shape in zip(state._fields, state, (decay_shape, value_shape), strict=True):
        if tuple(tensor.shape) != shape:
            raise ValueError(
                f"{where}: state.{name} has shape {tuple(tensor.shape)}, expected {list(shape)}; "
                "pass what the op returned for the same batch"
            )
        if tensor.device != device:
            raise ValueError(
                f"{where}: state.{name} is on {tensor.device}, other arguments on {device}; "
                "move it there"
            )
    return AffineState(state.decay.detach().to(dtype), state.value.to(dtype))
