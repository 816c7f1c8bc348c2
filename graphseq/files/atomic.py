"""Writing files so that they are whole or unchanged, whatever happens meanwhile."""

from __future__ import annotations

import errno
import glob
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

_STALE_SECONDS = 3600.0


def atomic_write(path: Path | str, write: Callable[[BinaryIO], object]) -> None:
    """Write a file so that it is whole or unchanged, whatever happens meanwhile.

    Args:
        path: The target. Missing parent folders are made.
        write: Called once with a binary file open for writing; what it returns is ignored.

    Raises:
        OSError: The file cannot be written; the message names it and a remedy, and the previous
            content of ``path`` is untouched.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_stale(path)
        try:
            # "x" and not mkstemp: the file's mode then follows the user's umask.
            with open(temporary, "xb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        sync_folder(path.parent)


def atomic_write_text(path: Path | str, text: str) -> None:
    """:func:`atomic_write` of UTF-8 text; see there for arguments and errors."""
    atomic_write(path, lambda file: file.write(text.encode()))


def atomic_write_json(path: Path | str, content: Any) -> None:
    """:func:`atomic_write` of an object as indented JSON; see there for arguments and errors."""
    atomic_write_text(path, json.dumps(content, indent=2) + "\n")


def sync_folder(folder: Path) -> None:
    """Make a rename durable: without this a power cut may bring the old name back."""
    if os.name != "posix":
        return
    # Some network file systems refuse to sync a folder; the rename itself has happened.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_stale(path: Path) -> None:
    """Remove temporary files and folders of this target that killed processes left behind."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.????????.tmp"):
        # What is being written has a fresh modification time.
        with suppress(OSError):
            if time.time() - leftover.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an operating system's error into one line that names the target and a remedy."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        # torch.save reports a failed write as a RuntimeError raised while handling the OSError.
        found = error if isinstance(error, OSError) else error.__context__
        # An OSError without a number was worded already, by the function that does the writing.
        if not isinstance(found, OSError) or found.errno is None:
            raise
        if found.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            remedy = "free some space or choose another folder"
        elif found.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENOTEMPTY):
            remedy = "something else has that name; move it or choose another folder"
        else:
            remedy = "choose a folder that you may write to"
        reason = found.strerror or type(found).__name__
        raise OSError(f"cannot write {path}: {reason}; {remedy}") from error
