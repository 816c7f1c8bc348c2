"""Unpacking a zip file: whole, bounded and inside its folder, or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import zipfile
from pathlib import Path, PurePosixPath

from graphseq.files.atomic import remove_stale, sync_folder, writing
from graphseq.files.download import GIB
from graphseq.files.safe_load import plain_entries, reading


def extract_zip(
    archive: Path | str, folder: Path | str, *, top: str, max_bytes: int = 16 * GIB
) -> None:
    """Unpack what lies below one folder of an archive; the result appears whole or not at all.

    Args:
        archive: A zip file.
        folder: The folder to make; it must not exist yet, or be empty.
        top: The archive's folder whose content is wanted; its name is dropped.
        max_bytes: Largest total size to unpack.

    Raises:
        ValueError: The archive is broken, too large, or has an entry that is a link or that
            would land outside of ``folder``.
        OSError: The result cannot be written.
    """
    folder = Path(folder)
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")
    try:
        with (
            open(archive, "rb") as file,
            writing(folder),
            reading(archive, "zip file"),
            zipfile.ZipFile(file) as zipped,
        ):
            remove_stale(folder)
            members = [entry for entry in plain_entries(zipped) if not entry.is_dir()]
            size = sum(entry.file_size for entry in members)
            if size > max_bytes:
                raise ValueError(f"{archive} unpacks to {size} bytes, more than {max_bytes}")
            places = [_safe_place(entry, archive) for entry in members]
            for entry, place in zip(members, places, strict=True):
                if place.parts[0] == top and len(place.parts) > 1:
                    _unpack(zipped, entry, temporary.joinpath(*place.parts[1:]))
            if not temporary.is_dir():
                raise ValueError(f"{archive} holds no folder {top!r}; download it again")
            os.replace(temporary, folder)
            sync_folder(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _unpack(zipped: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    # zipfile stops at the announced size, so a sum of announced sizes is a true bound.
    with zipped.open(entry) as source, open(target, "xb") as file:
        shutil.copyfileobj(source, file, 1 << 20)
        file.flush()
        os.fsync(file.fileno())


def _safe_place(entry: zipfile.ZipInfo, archive: Path | str) -> PurePosixPath:
    """Where an entry belongs; an error for links and for ways out of the folder."""
    place = PurePosixPath(entry.filename.replace("\\", "/"))
    outside = place.is_absolute() or ".." in place.parts or ":" in entry.filename
    if outside or not place.parts or stat.S_ISLNK(entry.external_attr >> 16):
        raise ValueError(f"{archive} has an unsafe entry {entry.filename!r}; nothing was unpacked")
    return place
