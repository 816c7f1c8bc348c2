"""Where datasets and caches lie, and how a dataset file is found."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from graphseq.files.download import fetch


def cache_root() -> Path:
    """The folder for everything the package writes by itself.

    Returns:
        ``GRAPHSEQ_CACHE`` where it is set, else ``~/.cache/graphseq``. It need not exist yet.
    """
    named = os.environ.get("GRAPHSEQ_CACHE")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "graphseq"


def data_roots() -> list[Path]:
    """The folders in which datasets are looked for, in this order.

    Returns:
        ``GRAPHSEQ_DATA`` where it is set (only ever read), then ``data`` in the cache folder.
    """
    named = os.environ.get("GRAPHSEQ_DATA")
    return ([Path(named).expanduser()] if named else []) + [cache_root() / "data"]


def search_roots(root: Path | str | None) -> list[Path]:
    """The folders to search when the caller may have named one.

    Args:
        root: The caller's own data folder, or None for the default ones.

    Returns:
        ``root`` and the download folder, or :func:`data_roots` if ``root`` is None.

    Raises:
        FileNotFoundError: ``root`` is None and ``GRAPHSEQ_DATA`` names no folder: looking only
            elsewhere, or downloading, would hide a slip of the pen.
    """
    named = os.environ.get("GRAPHSEQ_DATA")
    if root is None and named and not Path(named).expanduser().is_dir():
        raise FileNotFoundError(
            f"GRAPHSEQ_DATA names {named}, which is no folder; let it name the folder with the "
            f"datasets, or unset it to use {cache_root() / 'data'} alone"
        )
    return data_roots() if root is None else [Path(root).expanduser(), cache_root() / "data"]


def find(
    relative: str,
    *,
    root: Path | str | None = None,
    url: str | None = None,
    sha256: str | None = None,
    download: bool = False,
) -> Path:
    """Find a dataset file, and fetch it if that was asked for.

    Args:
        relative: The file's place below a data folder, with forward slashes.
        root: Data folder to search in place of ``GRAPHSEQ_DATA``.
        url: Where the file can be had, https only.
        sha256: Expected hash of a downloaded file.
        download: Fetch a missing file from ``url`` into the cache folder.

    Returns:
        Path of an existing file.

    Raises:
        FileNotFoundError: The file is in none of the folders and ``download`` is False, or no
            address is known for it, or ``GRAPHSEQ_DATA`` names no folder.
        ValueError: ``relative`` leaves the data folder, or the download has another hash.
        OSError: The download or the writing of it failed.
    """
    parts = PurePosixPath(relative)
    if parts.is_absolute() or ".." in parts.parts:
        raise ValueError(f"find: relative must stay below the data folder, got {relative!r}")
    roots = search_roots(root)
    for folder in roots:
        if (folder / parts).is_file():
            return folder / parts
    if download and url is not None:
        target = roots[-1] / parts
        fetch(url, target, sha256=sha256)
        return target
    searched = " or ".join(str(folder) for folder in roots)
    remedy = "put it there, or let GRAPHSEQ_DATA name the folder that has it"
    if url is not None:
        remedy += f", or pass download=True, on a command line --data.download ({url})"
    raise FileNotFoundError(f"{relative} is not in {searched}: {remedy}")
