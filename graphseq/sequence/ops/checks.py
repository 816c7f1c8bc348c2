"""What every op asks of its arguments before a compiled loop sees them."""

from collections.abc import Mapping

import torch
from torch import Tensor

_KINDS = "float64, float32, float16 or bfloat16"


def check_shapes(where: str, expected: Mapping[str, tuple[Tensor, str]]) -> dict[str, int]:
    """Sizes by letter, after every tensor had the shape that its letters ask for.

    Args:
        where: name of the op, for the error.
        expected: argument -> (tensor, letters such as ``"B T H D"``); equal letters are equal
            sizes.

    Raises:
        TypeError: a tensor is not floating point (or complex).
        ValueError: a shape does not fit, or devices differ.
    """
    sizes: dict[str, int] = {}
    first = next(iter(expected.values()))[0]
    for name, (tensor, letters) in expected.items():
        if not (tensor.is_floating_point() or tensor.is_complex()):
            raise TypeError(f"{where}: {name} has dtype {tensor.dtype}; pass {_KINDS}")
        dims = letters.split()
        known = [sizes.setdefault(d, n) for d, n in zip(dims, tensor.shape, strict=False)]
        if list(tensor.shape) != known or tensor.dim() != len(dims):
            wanted = ", ".join(f"{d}={sizes[d]}" if d in sizes else d for d in dims)
            raise ValueError(
                f"{where}: {name} has shape {tuple(tensor.shape)}, expected [{wanted}]"
            )
        if tensor.device != first.device:
            raise ValueError(
                f"{where}: {name} is on {tensor.device}, other arguments on {first.device}; "
                "move them to one device"
            )
    return sizes


def length_mask(where: str, lengths: Tensor, batch: int, time: int) -> Tensor:
    """``[B, T]``, true where a position lies inside its sequence.

    Args:
        where: name of the caller, for the error.
        lengths: ``[B]`` whole numbers from 0 to T.
        batch: B.
        time: T.

    Raises:
        TypeError: lengths are not whole numbers.
        ValueError: their shape is wrong, or one lies outside 0 .. T.
    """
    if lengths.is_floating_point() or lengths.is_complex() or lengths.dtype == torch.bool:
        raise TypeError(f"{where}: lengths have dtype {lengths.dtype}; pass whole numbers")
    if lengths.shape != (batch,):
        raise ValueError(f"{where}: lengths have shape {tuple(lengths.shape)}, expected [{batch}]")
    if batch and (int(lengths.min()) < 0 or int(lengths.max()) > time):
        raise ValueError(
            f"{where}: lengths must lie in 0 .. {time}, the length of the batch; got "
            f"{int(lengths.min())} .. {int(lengths.max())}"
        )
    return torch.arange(time, device=lengths.device) < lengths[:, None]
