"""What the data classes check alike, each rule with its message, and how they are identified."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

_PIECE = 1 << 20  # numbers looked at together


def check_integers(where: str, name: str, value: object, shape: str) -> Tensor:
    """The value, which must be an int64 tensor of as many dimensions as ``shape`` has letters.

    Args:
        where: Opens the messages.
        name: The argument.
        value: What was given for it.
        shape: What is expected, such as ``"[N, T]"``.

    Raises:
        TypeError: It is no tensor or has another dtype.
        ValueError: It has another number of dimensions, or an empty one.
    """
    tensor = check_tensor(where, name, value)
    if tensor.dtype != torch.int64:
        raise TypeError(f"{where}: {name} must be int64, got {tensor.dtype}; use {name}.long()")
    if tensor.dim() != shape.count(",") + 1 or tensor.numel() == 0:
        raise ValueError(
            f"{where}: {name} must be {shape} and not empty, got shape {tuple(tensor.shape)}; "
            "reshape or fill it"
        )
    return tensor


def check_tensor(where: str, name: str, value: object) -> Tensor:
    """The value, which must be a tensor.

    Raises:
        TypeError: Saying how to make it one.
    """
    if not isinstance(value, Tensor):
        kind = type(value)
        make = "torch.from_numpy" if kind.__module__ == "numpy" else "torch.tensor"
        raise TypeError(f"{where}: {name} is a {kind.__name__}; pass a tensor, {make}({name})")
    return value


def check_range(where: str, name: str, values: Tensor, low: int, high: int) -> None:
    """Refuses numbers outside of ``low .. high - 1``.

    Raises:
        ValueError: Naming the numbers found.
    """
    least, most = (int(bound) for bound in torch.aminmax(values))
    if least < low or most >= high:
        raise ValueError(
            f"{where}: {name} must lie in {low} .. {high - 1}, got {least} .. {most}; correct it "
            "or pass the right size"
        )


def check_size(where: str, name: str, size: object, least: int = 1) -> None:
    """Refuses what is no whole number, or a too small one.

    Raises:
        TypeError: It is no ``int``.
        ValueError: It is below ``least``.
    """
    if not isinstance(size, int) or isinstance(size, bool):
        raise TypeError(f"{where}: {name} must be an int, got {size!r}; pass a whole number")
    if size < least:
        raise ValueError(f"{where}: {name} is {size}; pass {least} or more")


def check_lengths(where: str, name: str, lengths: object, rows: int, time: int) -> None:
    """Refuses lengths that are not one number in ``1 .. time`` for each of the rows.

    Raises:
        TypeError: They are no int64 tensor.
        ValueError: Their number or a length does not fit.
    """
    tensor = check_integers(where, name, lengths, "[N]")
    if tensor.numel() != rows:
        raise ValueError(f"{where}: {name} has {tensor.numel()} entries for {rows} sequences")
    check_range(where, name, tensor, 1, time + 1)


def check_finite(where: str, name: str, values: Tensor) -> None:
    """Refuses NaN and infinity.

    Raises:
        ValueError: Naming the argument.
    """
    # A finite sum has only finite terms; where it is not, large numbers may be the reason.
    if bool(values.sum().isfinite()):
        return
    rows = max(1, _PIECE * len(values) // max(1, values.numel()))
    if not all(bool(piece.isfinite().all()) for piece in values.split(rows)):
        raise ValueError(f"{where}: {name} holds NaN or infinity; remove or fill it")


def check_splits(where: str, splits: Mapping[str, Tensor], rows: int) -> None:
    """Refuses splits that are empty, leave the data, or share a sequence.

    Raises:
        TypeError: A split is no vector of int64.
        ValueError: Naming the split.
    """
    seen: Tensor | None = None
    for split, chosen in splits.items():
        check_tensor(where, split, chosen)
        if chosen.dtype != torch.int64 or chosen.dim() != 1:
            raise TypeError(
                f"{where}: {split} must be a vector of int64 positions, got {chosen.dtype} of "
                f"shape {tuple(chosen.shape)}; turn a mask into positions with mask.nonzero()[:, 0]"
            )
        if chosen.numel() == 0:
            raise ValueError(f"{where}: {split} is empty; give it at least one sequence")
        check_range(where, split, chosen, 0, rows)
        if seen is None:
            seen = torch.zeros(rows, dtype=torch.bool, device=chosen.device)
        if bool(seen[chosen].any()) or chosen.unique().numel() != chosen.numel():
            raise ValueError(
                f"{where}: {split} repeats a sequence or shares one with another split; each may "
                "be in one split once"
            )
        seen[chosen] = True


def digest(sizes: tuple[object, ...], tensors: Mapping[str, Tensor | None]) -> str:
    """SHA-256 over sizes and the contents of tensors, independent of device and byte order."""
    found = hashlib.sha256(repr(sizes).encode())
    for name, tensor in tensors.items():
        if tensor is None:
            found.update(f"{name} none ".encode())
            continue
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        for piece in tensor.detach().reshape(-1).split(_PIECE):
            array = piece.cpu().numpy()
            found.update(array.astype(array.dtype.newbyteorder("<"), copy=False).data)
    return found.hexdigest()
