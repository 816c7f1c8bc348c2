"""Where files live, and how they are written, fetched and read without surprises.

Three rules hold for every file of the package:

1. A file is either whole or absent. Writes go to a temporary file in the same folder, are flushed
   to the disk, and take the target's name in one step, so a kill at any moment leaves the old
   content or the new one.
2. The data folder belongs to the user. ``GRAPHSEQ_DATA`` is only read; what is downloaded or
   derived goes to the cache (``GRAPHSEQ_CACHE``, default ``~/.cache/graphseq``), and nothing is
   downloaded unless it is asked for.
3. Reading a file never runs code from it, and a broken file is an error that names the file.
"""

from graphseq.files.archive import extract_zip
from graphseq.files.atomic import atomic_write, atomic_write_json, atomic_write_text
from graphseq.files.derived import cached_arrays
from graphseq.files.download import fetch
from graphseq.files.roots import cache_root, data_roots, find, search_roots
from graphseq.files.safe_load import load_npy, load_npz, reading, sha256_of

__all__ = [
    "atomic_write",
    "atomic_write_json",
    "atomic_write_text",
    "cache_root",
    "cached_arrays",
    "data_roots",
    "extract_zip",
    "fetch",
    "find",
    "load_npy",
    "load_npz",
    "reading",
    "search_roots",
    "sha256_of",
]
