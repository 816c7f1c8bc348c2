"""Downloading a file over https: whole, checked and bounded, or not at all."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from graphseq.files.atomic import atomic_write

GIB = 1 << 30
_CHUNK = 1 << 20


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirects (GitHub and OGB both redirect) but never to an unencrypted address."""

    def redirect_request(
        self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        _require_https(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _require_https(url: str) -> None:
    if not url.startswith("https://"):
        raise ValueError(f"fetch: url must start with https://, got {url!r}")


def _open_url(url: str, timeout: float) -> http.client.HTTPResponse:
    """Open an address; on its own so that the tests can serve one from this machine."""
    _require_https(url)
    request = urllib.request.Request(url, headers={"User-Agent": "graphseq"})
    return urllib.request.build_opener(_HttpsOnly).open(request, timeout=timeout)


def fetch(
    url: str,
    path: Path | str,
    *,
    sha256: str | None = None,
    max_bytes: int = 4 * GIB,
    timeout: float = 60.0,
) -> None:
    """Download a file in one piece or not at all, with a progress bar on a terminal.

    Args:
        url: An https address.
        path: The target; it appears only when everything has arrived and was checked.
        sha256: Expected hash in hexadecimal, where it is known.
        max_bytes: Give up on anything longer.
        timeout: Seconds without a byte after which the connection counts as dead.

    Raises:
        ValueError: ``url`` is not https, or the content is too long or has another hash.
        OSError: The network, the server or the disk failed.
    """
    digest = hashlib.sha256()

    def write(file: BinaryIO) -> None:
        for chunk in _chunks(url, Path(path), timeout, max_bytes):
            digest.update(chunk)
            file.write(chunk)
        if sha256 is not None and digest.hexdigest() != sha256:
            raise ValueError(
                f"download of {url} has sha256 {digest.hexdigest()}, expected {sha256}; "
                "nothing was kept, try again later"
            )

    atomic_write(path, write)


def _chunks(url: str, path: Path, timeout: float, max_bytes: int) -> Iterator[bytes]:
    """The content of an address, piece by piece, checked for length."""
    from tqdm import tqdm

    try:
        with _open_url(url, timeout) as response:
            announced = response.headers.get("Content-Length")
            total = int(announced) if announced and announced.isdigit() else None
            received = 0
            with tqdm(
                desc=url.rpartition("/")[2], total=total, unit="B", unit_scale=True, disable=None
            ) as bar:
                while chunk := response.read(_CHUNK):
                    received += len(chunk)
                    if received > max_bytes:
                        raise ValueError(f"download of {url} is longer than {max_bytes} bytes")
                    bar.update(len(chunk))
                    yield chunk
            if total is not None and received != total:
                raise http.client.HTTPException(f"{received} of {total} bytes arrived")
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it holds the connection
        # Without a number, so that it is not taken for an error of the disk.
        raise OSError(
            f"download of {url} failed ({error}); check the connection or put the file at {path} "
            "by hand"
        ) from error
