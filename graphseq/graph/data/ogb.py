"""Reading Open Graph Benchmark folders (arXiv 2005.00687) without running code from them.

A folder ``ogbn_arxiv`` or ``ogbl_ddi``, as the ``ogb`` package leaves it, holds ``raw/*.csv.gz``,
``split/SCHEME/*`` and a file ``RELEASE_vN.txt``. Tables are read as numbers; splits kept as ``.pt``
files are pickles of arrays, read by torch's restricted unpickler with numpy's own types allowed for
that one call, or by our own where torch's does not know the pickle's protocol. Nothing asks
questions: where ``ogb`` would wait for an answer at the keyboard, there is an error that says which
argument answers it.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from graphseq.files import extract_zip, fetch, reading, search_roots
from graphseq.graph.data.pickles import RefusedError
from graphseq.graph.data.torch_files import load_torch


@dataclass(frozen=True)
class Release:
    """One dataset in one version.

    Args:
        name: OGB's name, such as ``"ogbn-arxiv"``.
        version: The version that the leaderboard expects.
        url: The archive, over https.
        top: The archive's one top folder.
    """

    name: str
    version: int
    url: str
    top: str

    @property
    def folder(self) -> str:
        """Name of the folder on disk."""
        return self.name.replace("-", "_")


def ogb_folder(release: Release, *, root: Path | str | None, download: bool) -> Path:
    """The dataset's folder in the wanted version, fetched if that was asked for.

    Args:
        release: Which dataset.
        root: Data folder in place of ``GRAPHSEQ_DATA``; the dataset may lie right in it or in its
            subfolder ``ogb``.
        download: Fetch and unpack a missing dataset into the cache folder.

    Raises:
        FileNotFoundError: It is in no data folder, and ``download`` is False.
        ValueError: It is there in another version only, and ``download`` is False.
        OSError: The download failed.
    """
    roots = search_roots(root)
    marker = f"RELEASE_v{release.version}.txt"
    places = [place for folder in roots for place in (folder / "ogb", folder)]
    found = [place / release.folder for place in places if (place / release.folder).is_dir()]
    for folder in found:
        if (folder / marker).is_file():
            return folder
    if not download:
        if found:
            raise ValueError(
                f"{found[0]} is not version {release.version} of {release.name} (it has no "
                f"{marker}); pass download=True to fetch that version, on a command line "
                "--data.download, or replace the folder"
            )
        raise FileNotFoundError(
            f"{release.name} is not in {' or '.join(str(place) for place in places)}: put the "
            f"folder {release.folder} there, or pass download=True, on a command line "
            f"--data.download ({release.url})"
        )
    target = roots[-1] / "ogb" / release.folder
    archive = target.with_suffix(".zip")
    fetch(release.url, archive)
    try:
        shutil.rmtree(target, ignore_errors=True)  # another version, fetched earlier
        extract_zip(archive, target, top=release.top)
    finally:
        archive.unlink(missing_ok=True)
    return target


def read_table(path: Path, dtype: type[np.generic]) -> np.ndarray:
    """Read a ``csv.gz`` file of numbers without a header, ``[rows, columns]``.

    Args:
        path: The file.
        dtype: Type of the numbers.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is cut off, or holds something else than a full table of numbers.
    """
    import pandas

    with reading(path, "csv.gz table"), open(path, "rb") as file:
        try:
            frame = pandas.read_csv(file, compression="gzip", header=None, dtype=dtype)
        except ValueError as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"{path} is not a table of numbers ({reason})") from error
    table = frame.to_numpy(copy=True)  # what pandas hands out otherwise may be read-only
    if table.dtype != dtype or np.isnan(table).any():
        raise ValueError(f"{path} is not a table of numbers (a field is empty or no number)")
    return table


@contextmanager
def numpy_globals() -> Iterator[None]:
    """Inside the block, ``torch.load(..., weights_only=True)`` also accepts numpy arrays."""
    reconstruct = np.empty(0).__reduce__()[0]
    kinds = [np.dtype(code) for code in ("b1", "i1", "u1", "i4", "i8", "f4", "f8")]
    allowed: list[Any] = [
        (reconstruct, "numpy.core.multiarray._reconstruct"),  # files by numpy 1
        (reconstruct, "numpy._core.multiarray._reconstruct"),
        np.ndarray,
        np.dtype,
        *(type(kind) for kind in kinds),
    ]
    with torch.serialization.safe_globals(allowed):
        yield


def load_arrays(path: Path) -> dict[str, Any]:
    """Read a split that OGB keeps as a ``.pt`` file, such as ``split/target/train.pt``.

    Args:
        path: The file: a pickled dict of arrays, tensors and plain values.

    Returns:
        The dict, with arrays turned into tensors of their own memory.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is broken, or would need more than arrays to be built.
    """
    content = load_pt(path)
    if not isinstance(content, dict):
        raise ValueError(
            f"{path} holds a {type(content).__name__}, not a dict; is it a split file?"
        )
    return {
        key: torch.tensor(value) if isinstance(value, np.ndarray) else value
        for key, value in content.items()
    }


def load_pt(path: Path) -> Any:
    """Whatever arrays, tensors, lists and plain values a ``.pt`` file holds.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is broken, or would need more than that to be built.
    """
    with open(path, "rb") as file, numpy_globals(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Detected pickle protocol")  # such files are read below
        # A damaged file can make the machine that unpickles it raise nearly anything.
        with suppress(Exception):
            return torch.load(file, map_location="cpu", weights_only=True)
    try:
        return load_torch(path)
    except RefusedError as error:
        raise _broken(path, f"it asks to run {error}") from None
    except Exception as error:
        raise _broken(path, type(error).__name__) from error


def _broken(path: Path, reason: str) -> ValueError:
    return ValueError(
        f"{path} is not a complete file of arrays ({reason}); delete it and download it again"
    )
