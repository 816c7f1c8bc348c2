"""Checkpoint files: whole or absent, checked when read, with the one before kept.

A folder holds ``checkpoint.pt`` and, from the second one on, ``checkpoint.prev.pt``. A new one is
first completed under a third name and only then takes the place of the latest, so a kill at any
moment leaves at least one good file. All of them load with ``torch.load(..., weights_only=True)``.
"""

import io
import os
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from graphseq.files import atomic_write

FORMAT = 1  # one higher whenever a payload is laid out so that other versions cannot go on from it
LATEST, PREVIOUS, NEXT = "checkpoint.pt", "checkpoint.prev.pt", "checkpoint.next.pt"

Payload = dict[str, Any]


def write(folder: Path, payload: Payload) -> None:
    """Make ``payload`` the latest checkpoint of ``folder``.

    Raises:
        OSError: If it cannot be written; the checkpoints that were there are untouched.
    """
    content = {"format": FORMAT, **payload}
    atomic_write(folder / NEXT, lambda file: torch.save(content, file))
    if (folder / LATEST).exists():
        os.replace(folder / LATEST, folder / PREVIOUS)
    os.replace(folder / NEXT, folder / LATEST)


def read(folder: Path) -> Payload | None:
    """The newest readable checkpoint of ``folder``, or ``None`` if there is none at all.

    Warns:
        UserWarning: Names a damaged file before an older one is used.

    Raises:
        ValueError: If there are checkpoints and all are damaged, or one has another format.
    """
    found = _files(folder)
    for path in found:
        try:
            return _load(path)
        except _Damaged as damage:
            warnings.warn(
                f"checkpoint {path} is damaged ({damage}); trying the one before", stacklevel=2
            )
    if found:
        raise ValueError(
            f"fit: no readable checkpoint in {folder}: {', '.join(p.name for p in found)} damaged; "
            f"delete them to start again, or restore one from a backup"
        )
    return None


def require_none(folder: Path, owner: str) -> None:
    """Check that starting anew in ``folder`` would not undo hours of training.

    Args:
        folder: Where checkpoints would be written.
        owner: Name of the function that asks, for the message.

    Raises:
        ValueError: If there are checkpoints, whole or not.
    """
    if _files(folder):
        raise ValueError(
            f"{owner}: {folder} holds the checkpoint of an earlier run; continue it with "
            "--resume (resume=True), or give another --out (out=...)"
        )


def clear(folder: Path) -> None:
    """Remove the checkpoints of a run that is over, and what a killed one left half written."""
    for path in _files(folder):
        path.unlink(missing_ok=True)
    sweep(folder)


def sweep(folder: Path) -> None:
    """Remove half-written checkpoints of a killed run; nobody else writes to its folder."""
    for leftover in folder.glob(f".{NEXT}.*.tmp"):
        leftover.unlink(missing_ok=True)


def require_loadable(payload: Payload) -> None:
    """Check now, not when resuming, that a safe loader takes ``payload``.

    Raises:
        TypeError: If it holds more than tensors, numbers, strings, lists and dictionaries.
    """
    buffer = io.BytesIO()
    torch.save(payload, buffer)
    buffer.seek(0)
    try:
        torch.load(buffer, weights_only=True)
    except pickle.UnpicklingError as error:
        raise TypeError(
            "fit: a get_extra_state returns what a safe loader refuses; return tensors, "
            "numbers, strings, lists and dictionaries of these only"
        ) from error


def _files(folder: Path) -> list[Path]:
    """The checkpoints of ``folder``, newest first."""
    # NEXT is complete if it is there: a kill came between the two renames.
    return [folder / name for name in (NEXT, LATEST, PREVIOUS) if (folder / name).exists()]


class _Damaged(Exception):
    """A checkpoint file that is not what was written."""


def _load(path: Path) -> Payload:
    # torch's reader does not compare checksums: a flipped bit in a weight would go unnoticed.
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
            if broken is not None:
                raise ValueError(f"checksum of {broken} differs")
        payload = torch.load(path, map_location="cpu", weights_only=True)
    except PermissionError:
        raise
    except Exception as error:  # damaged bytes make readers fail in more ways than can be listed
        reason = str(error).splitlines()
        raise _Damaged(reason[0] if reason else type(error).__name__) from error
    if not isinstance(payload, dict) or "identity" not in payload:
        raise _Damaged("not a checkpoint of fit")
    number = payload.pop("format", 1)  # the first format did not carry its number at first
    if number != FORMAT:
        raise ValueError(
            f"fit: {path} has checkpoint format {number}, and this version of graphseq reads "
            f"format {FORMAT}; finish the run with the version that wrote it, or start again in "
            "another --out (out=...)"
        )
    return payload
