"""Arrays that are slow to derive, kept in the cache folder."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from graphseq.files.atomic import atomic_write
from graphseq.files.roots import cache_root
from graphseq.files.safe_load import load_npz, sha256_of


def cached_arrays(
    name: str, sources: Sequence[Path], build: Callable[[], dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Arrays that are slow to derive, kept in the cache folder under the hash of their sources.

    Args:
        name: Names the derivation, and its version if that changes.
        sources: The files that ``build`` reads; any change of content makes a new entry.
        build: Derives the arrays.

    Returns:
        The arrays that ``build`` returned, now or earlier. A broken entry is rebuilt; a cache
        folder that cannot be written is a warning, for the arrays themselves are there.
    """
    digest = hashlib.sha256("".join(sha256_of(source) for source in sources).encode())
    path = cache_root() / "processed" / f"{name}-{digest.hexdigest()[:32]}.npz"
    if path.is_file():
        with suppress(ValueError, OSError):
            return load_npz(path)
    arrays = build()
    try:
        atomic_write(path, lambda file: np.savez(file, allow_pickle=False, **arrays))
    except OSError as error:
        warnings.warn(f"{name} will be derived again next time: {error}", stacklevel=2)
    return arrays
