"""Reading pickles that hold arrays and plain containers, and nothing else.

Unpickling calls whatever a file names. Here the names are a short list, and nearly all of them lead
to records that only take down what the file says; a file that names anything else is refused before
it can do anything. Arrays are made from the records by our own checks: numpy trusts the flags that
a pickled dtype carries, and wrong ones make it follow numbers as if they were addresses.
"""

import pickle
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_KINDS = {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8"}


class _DtypeRecord:
    """Stands in for ``numpy.dtype``."""

    def __init__(self, code: str, align: bool, copy: bool) -> None:
        self.code, self.order = code, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]

    def dtype(self) -> np.dtype:
        if self.code not in _KINDS or self.order not in "<>=|":
            raise ValueError(f"type {self.order}{self.code}")
        return np.dtype(self.order + self.code)


class ArrayRecord:
    """Stands in for ``numpy.ndarray``."""

    _state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._state = state

    def array(self, path: Path | str) -> np.ndarray:
        """The array, once its parts are seen to make one.

        Args:
            path: The file of the record, for the message.

        Raises:
            ValueError: They do not, or it holds something else than numbers.
        """
        try:
            _, shape, record, fortran, raw = self._state
            raw = raw.encode("latin1") if isinstance(raw, str) else raw  # Python 2 wrote strings
            flat = np.frombuffer(raw, record.dtype())
            return flat.reshape(shape, order="F" if fortran else "C").copy()
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} holds a damaged array ({error}); delete it and download it again"
            ) from error


class SparseRecord:
    """Stands in for scipy's ``csr_matrix``: it only takes down the attributes in the file."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._state = state

    def matrix(self, path: Path | str) -> "csr_matrix":
        """The matrix, once scipy has checked that the attributes make one.

        Args:
            path: The file of the record, for the message.

        Raises:
            ValueError: They do not.
        """
        from scipy.sparse import csr_matrix

        try:
            names = ("data", "indices", "indptr")
            data, indices, indptr = (self._state[name].array(path) for name in names)
            matrix = csr_matrix((data, indices, indptr), shape=self._state["_shape"])
            matrix.check_format(full_check=True)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} holds a damaged sparse matrix ({error}); delete it and download it again"
            ) from error
        return matrix


def _new_array(*_: Any) -> ArrayRecord:
    """Stands in for numpy's ``_reconstruct``, whose shape argument could ask for any memory.

    The array's content, shape and type follow in the file, as the record's state.
    """
    return ArrayRecord()


def _from_buffer(raw: Any, record: Any, shape: Any, order: str) -> ArrayRecord:
    """Stands in for numpy's ``_frombuffer``, by which protocol 5 writes arrays."""
    array = ArrayRecord()
    array.__setstate__((None, shape, record, order == "F", raw))
    return array


def _latin1(text: str, encoding: str) -> bytes:
    """Stands in for ``_codecs.encode``, by which old protocols write bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encoding {encoding!r}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """Stands in for ``bytes``, by which old protocols write none at all."""
    return b""


_ALLOWED: dict[str, Any] = {
    "numpy.core.multiarray._reconstruct": _new_array,
    "numpy._core.multiarray._reconstruct": _new_array,
    "numpy.core.numeric._frombuffer": _from_buffer,
    "numpy._core.numeric._frombuffer": _from_buffer,
    "numpy.ndarray": object,  # named only as an argument of the lines above
    "numpy.dtype": _DtypeRecord,
    "scipy.sparse.csr.csr_matrix": SparseRecord,
    "scipy.sparse._csr.csr_matrix": SparseRecord,
    "collections.defaultdict": defaultdict,
    "__builtin__.list": list,
    "builtins.list": list,
    "_codecs.encode": _latin1,
    "__builtin__.bytes": _no_bytes,
    "builtins.bytes": _no_bytes,
}


class RefusedError(pickle.UnpicklingError):
    """The file names something that is not on the list; the message is that name."""


class RecordUnpickler(pickle.Unpickler):
    """Knows the names on its list and no others."""

    allowed: ClassVar = _ALLOWED

    def find_class(self, module: str, name: str) -> Any:
        """What stands in for ``module.name``."""
        if f"{module}.{name}" not in self.allowed:
            raise RefusedError(f"{module}.{name}")
        return self.allowed[f"{module}.{name}"]


def load_pickle(path: Path | str) -> Any:
    """Read a pickle of arrays, sparse matrices, dicts and lists.

    Args:
        path: The file. Pickles of Python 2 are read too.

    Returns:
        Its content, with :class:`ArrayRecord` and :class:`SparseRecord` in place of arrays and
        matrices.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is broken, or names anything that is not on the list above.
    """
    with open(path, "rb") as file:
        try:
            return RecordUnpickler(file, encoding="latin1").load()
        except RefusedError as error:
            raise ValueError(
                f"{path} is refused: it asks to run {str(error)!r}, which no array needs; delete "
                "it and download the original"
            ) from None
        # A damaged pickle can make the machine that runs it raise nearly anything.
        except Exception as error:
            raise ValueError(
                f"{path} is not a complete pickle ({type(error).__name__}); delete it and "
                "download it again"
            ) from error
