"""Reading pickles that hold arrays and plain containers, and nothing else.

Unpickling calls whatever a file names. Here the names are a short list, and most of them lead to
harmless stand-ins; a file that names anything else is refused before it can do anything.
"""

import pickle
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


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
            parts = (self._state["data"], self._state["indices"], self._state["indptr"])
            matrix = csr_matrix(parts, shape=self._state["_shape"])
            matrix.check_format(full_check=True)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} holds a damaged sparse matrix ({error}); delete it and download it again"
            ) from error
        return matrix


def _empty_array(kind: Any, shape: Any, dtype: Any) -> np.ndarray:
    """Stands in for numpy's ``_reconstruct``, whose shape argument could ask for any memory.

    The array's content, shape and dtype follow in the file as a state that numpy checks.
    """
    return np.empty(0, np.int8)


def _latin1(text: str, encoding: str) -> bytes:
    """Stands in for ``_codecs.encode``, by which old protocols write bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encoding {encoding!r}")
    return text.encode("latin1")


_ALLOWED: dict[str, Any] = {
    "numpy.core.multiarray._reconstruct": _empty_array,
    "numpy._core.multiarray._reconstruct": _empty_array,
    "numpy.ndarray": object,  # named only as an argument of the line above
    "numpy.dtype": np.dtype,
    "scipy.sparse.csr.csr_matrix": SparseRecord,
    "scipy.sparse._csr.csr_matrix": SparseRecord,
    "collections.defaultdict": defaultdict,
    "__builtin__.list": list,
    "builtins.list": list,
    "_codecs.encode": _latin1,
}


class _RefusedError(Exception):
    """The file names something that is not on the list."""


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in _ALLOWED:
            raise _RefusedError(f"{module}.{name}")
        return _ALLOWED[f"{module}.{name}"]


def load_pickle(path: Path | str) -> Any:
    """Read a pickle of arrays, sparse matrices (as :class:`SparseRecord`), dicts and lists.

    Args:
        path: The file. Pickles of Python 2 are read too.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is broken, or names anything that is not on the list above.
    """
    with open(path, "rb") as file:
        try:
            return _ArraysOnly(file, encoding="latin1").load()
        except _RefusedError as error:
            raise ValueError(
                f"{path} is refused: it asks to run {str(error)!r}, which no array needs; delete it and "
                "download the original"
            ) from None
        # A damaged pickle can make the machine that runs it raise nearly anything.
        except Exception as error:
            raise ValueError(
                f"{path} is not a complete pickle ({type(error).__name__}); delete it and "
                "download it again"
            ) from error
