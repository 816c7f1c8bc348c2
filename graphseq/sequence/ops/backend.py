"""Which code path serves a scan, in which precision, and how tensors reach compiled loops."""

from typing import Literal

import torch
from torch import Tensor

Backend = Literal["auto", "numba", "torch"]


def use_numba(where: str, backend: Backend, x: Tensor) -> bool:
    """Whether compiled loops can serve: CPU memory, and no compiler tracing the call.

    Args:
        where: name of the op, for the error.
        backend: what the caller asked for.
        x: one of the arguments.

    Raises:
        ValueError: the backend is unknown, or numba is asked for tensors of another device.
    """
    if backend == "auto":
        return x.device.type == "cpu" and not torch.compiler.is_compiling()
    if backend not in ("numba", "torch"):
        raise ValueError(f'{where}: backend is {backend!r}; use "auto", "numba" or "torch"')
    if backend == "numba" and x.device.type != "cpu":
        raise ValueError(f'{where}: backend "numba" runs on the CPU, not {x.device}; use "auto"')
    return backend == "numba"


def compute_dtype(*tensors: Tensor) -> torch.dtype:
    """What the arguments have in common, at least float32: long sums in half precision stall."""
    dtype = torch.float32
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return dtype


def check_mask(where: str, mask: Tensor | None, batch: int, time: int, like: Tensor) -> None:
    """Refuses a mask that is not boolean ``[B, T]``, or on another device than ``like``.

    Args:
        where: name of the op, for the error.
        mask: what the caller passed.
        batch: B.
        time: T.
        like: one of the other arguments.

    Raises:
        TypeError: it is not boolean.
        ValueError: its shape or device differs.
    """
    if mask is None:
        return
    if mask.dtype != torch.bool:
        raise TypeError(
            f"{where}: mask has dtype {mask.dtype}; pass booleans, true where it counts"
        )
    if mask.shape != (batch, time):
        raise ValueError(f"{where}: mask has shape {tuple(mask.shape)}, expected [{batch}, {time}]")
    if mask.device != like.device:
        raise ValueError(
            f"{where}: mask is on {mask.device}, other arguments on {like.device}; "
            "move them to one device"
        )


def plain(x: Tensor) -> Tensor:
    """Dense memory that says what it means: no strides, no lazy conjugate, no lazy sign."""
    return x.resolve_conj().resolve_neg().contiguous()


def mask_or_nothing(mask: Tensor | None) -> Tensor:
    """The mask for a compiled loop, which takes one without rows for none."""
    return torch.empty(0, 0, dtype=torch.bool) if mask is None else mask
