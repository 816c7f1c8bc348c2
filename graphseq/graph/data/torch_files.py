"""Files of ``torch.save`` in pickle protocols that torch's restricted reader does not know.

That reader understands protocol 2 (though no array without entries) and tensors in 3. Other files
are read here, by the unpickler that only takes down records (see
:mod:`graphseq.graph.data.pickles`). There are two layouts: a zip archive with one member for the
pickle and one for each storage, and an older one of several pickles in a row, then the storages.
"""

import math
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from graphseq.files.download import GIB
from graphseq.files.safe_load import plain_entries
from graphseq.graph.data.pickles import ArrayRecord, RecordUnpickler

MAGIC = 0x1950A86A20F9469CFC6C  # how the older layout begins
MAX_BYTES = 16 * GIB

STORAGES = {
    **{"BoolStorage": "b1", "ByteStorage": "u1", "CharStorage": "i1", "ShortStorage": "i2"},
    **{"IntStorage": "i4", "LongStorage": "i8", "FloatStorage": "f4", "DoubleStorage": "f8"},
}


class _Storage(NamedTuple):
    """A place in the file: numbers of type ``code``."""

    code: str
    key: str
    size: int


class _TensorRecord(NamedTuple):
    """Stands in for a tensor: a view of a storage."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def tensor(self, raw: bytes) -> Tensor:
        """The tensor in memory of its own, once its parts are seen to make one."""
        flat = np.frombuffer(raw, "<" + self.storage.code).copy()
        if len(flat) != self.storage.size or math.prod(self.size) > len(flat):
            raise ValueError(f"a tensor {self.size} in {len(flat)} numbers")
        return torch.from_numpy(flat).as_strided(self.size, self.stride, self.offset).contiguous()


def _tensor_record(storage: _Storage, offset: int, size: Any, stride: Any, *_: Any) -> Any:
    """Stands in for torch's ``_rebuild_tensor_v2``."""
    return _TensorRecord(storage, offset, size, stride)


class _TensorUnpickler(RecordUnpickler):
    allowed: ClassVar = {
        **RecordUnpickler.allowed,
        **{f"torch.{name}": code for name, code in STORAGES.items()},
        "torch._utils._rebuild_tensor_v2": _tensor_record,
        "collections.OrderedDict": OrderedDict,  # of hooks, always empty
    }

    def persistent_load(self, pid: Any) -> _Storage:
        _, code, key, _, size, *_ = pid
        return _Storage(code, key, size)


def load_torch(path: Path) -> Any:
    """Read arrays, tensors, dicts, lists and plain values.

    Args:
        path: A file that ``torch.save`` wrote, in any pickle protocol.

    Returns:
        Its content; arrays as numpy's, tensors as torch's, all in memory of their own.

    Raises:
        RefusedError: The file names something else than these; the message is the name.
        Exception: Nearly any, if the file is damaged.
    """
    with open(path, "rb") as file:
        if zipfile.is_zipfile(file):
            return _from_zip(file, path)
        file.seek(0)
        return _from_stream(file, path)


def _from_zip(file: BinaryIO, path: Path) -> Any:
    with zipfile.ZipFile(file) as zipped:
        sizes = {entry.filename: entry.file_size for entry in plain_entries(zipped)}
        if sum(sizes.values()) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES} bytes")
        (content,) = (name for name in sizes if name.count("/") == 1 and name.endswith("/data.pkl"))
        top = content.removesuffix("data.pkl")
        if f"{top}byteorder" in sizes and zipped.read(f"{top}byteorder") != b"little":
            raise ValueError("numbers of a big-endian machine")
        with zipped.open(content) as stream:
            records = _TensorUnpickler(stream, encoding="latin1").load()
            stream.read()  # to the end, where the checksum is compared
        return _resolved(records, path, lambda storage: zipped.read(f"{top}data/{storage.key}"))


def _from_stream(file: BinaryIO, path: Path) -> Any:
    def following() -> Any:
        return _TensorUnpickler(file, encoding="latin1").load()

    if following() != MAGIC:
        raise ValueError("another format")
    _, system, records, keys = (following() for _ in range(4))
    if not system["little_endian"]:
        raise ValueError("numbers of a big-endian machine")
    found = list(_storages(records))
    width = {storage.key: np.dtype(storage.code).itemsize for storage in found}
    raw = {}
    for key in keys:
        (size,) = struct.unpack("<q", file.read(8))
        raw[key] = file.read(size * width[key])
    return _resolved(records, path, lambda storage: raw[storage.key])


def _storages(value: Any) -> Any:
    """The storages that records refer to."""
    if isinstance(value, _TensorRecord):
        yield value.storage
    elif isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _storages(part)


def _resolved(value: Any, path: Path, raw: Callable[[_Storage], bytes]) -> Any:
    """The content with arrays and tensors in place of their records."""
    if isinstance(value, _TensorRecord):
        return value.tensor(raw(value.storage))
    if isinstance(value, ArrayRecord):
        return value.array(path)
    if isinstance(value, dict):
        return {key: _resolved(part, path, raw) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_resolved(part, path, raw) for part in value)
    return value
