"""Reading arrays from files without ever running code from them."""

from __future__ import annotations

import errno
import hashlib
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from graphseq.files.download import GIB

# What gzip, zipfile, zlib and numpy were seen to raise on truncated files and on flipped bytes;
# zipfile's RuntimeError says that a member is encrypted or packed in a way it does not know.
_BROKEN = (
    OSError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    RuntimeError,
    UnicodeDecodeError,
)


def sha256_of(path: Path | str) -> str:
    """Hash of a file's content, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def reading(path: Path | str, what: str) -> Iterator[None]:
    """Turn what decoders raise on a broken file into one line that names the file.

    Args:
        path: The file that is read inside the block.
        what: What it should be, for the message.

    Raises:
        ValueError: The block raised an error of a decoder. Errors of the operating system, such
            as a missing file, pass unchanged.
    """
    try:
        yield
    except _BROKEN as error:
        # A broken table of contents makes zipfile seek to a place before the file's beginning
        # (EINVAL); errors of decoders have no number. Any other number is about the disk.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise ValueError(
            f"{path} is not a complete {what} ({error}); delete it and download it again"
        ) from error


def plain_entries(zipped: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Entries of an archive that is packed in the two ways that everybody uses.

    Raises:
        zipfile.BadZipFile: An entry is encrypted or packed in another way.
    """
    for entry in zipped.infolist():
        known = entry.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
        if entry.flag_bits & 1 or not known:
            raise zipfile.BadZipFile(f"{entry.filename!r} is encrypted or packed in a rare way")
    return zipped.infolist()


def load_npz(
    path: Path | str, names: Sequence[str] | None = None, *, max_bytes: int = 16 * GIB
) -> dict[str, np.ndarray]:
    """Read arrays from an npz file, without ever unpickling.

    Args:
        path: The file.
        names: The arrays wanted, others are not touched; None means all.
        max_bytes: Largest total size to unpack.

    Returns:
        The arrays by name.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is broken, lacks an array, or holds Python objects.
    """
    with reading(path, "npz file"), zipfile.ZipFile(path) as zipped:
        sizes = {entry.filename: entry.file_size for entry in plain_entries(zipped)}
        names = [entry.removesuffix(".npy") for entry in sizes] if names is None else names
        missing = [name for name in names if f"{name}.npy" not in sizes]
        if missing:
            raise ValueError(f"{path} holds no array {missing[0]!r}; is it the right file?")
        size = sum(sizes[f"{name}.npy"] for name in names)
        if size > max_bytes:
            raise ValueError(f"{path} unpacks to {size} bytes, more than {max_bytes}")
        arrays = {}
        for name in names:
            with zipped.open(f"{name}.npy") as file:
                arrays[name] = _read_npy(file, path)
        return arrays


def load_npy(path: Path | str) -> np.ndarray:
    """Read one array from an npy file, without ever unpickling.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is broken or holds Python objects.
    """
    with reading(path, "npy file"), open(path, "rb") as file:
        return _read_npy(file, path)


def _read_npy(file: Any, path: Path | str) -> np.ndarray:
    try:
        return np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, MemoryError, OverflowError) as error:
        raise ValueError(
            f"{path} holds an array that cannot be read ({str(error).splitlines()[0]}); "
            "delete it and download it again"
        ) from error
