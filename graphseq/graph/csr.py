"""CSR: an immutable sparse matrix, checked once, whose transpose is computed once.

Row ``i`` holds the entries ``rowptr[i] .. rowptr[i + 1] - 1``: columns ``col[e]`` (ascending inside
a row) and values ``value[e]``. Repeated (row, column) pairs are kept: they are parallel edges, and
products add them up.
"""

import warnings
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from graphseq.graph.checks import check_entries, check_parts
from graphseq.graph.sorting import equal_work, pointers, row_order, stable_order

_GROUPS = 64
_FIELDS = ("rowptr", "col", "value", "shape", "edge_id")

T = TypeVar("T")


@dataclass(frozen=True, eq=False, repr=False)
class CSR:
    """A sparse matrix in compressed sparse row form.

    Args:
        rowptr: int64 ``[R + 1]``, from 0 to nnz, never falling.
        col: int32 ``[nnz]``, ascending inside each row.
        value: floating ``[nnz]``, or None where every stored entry is 1.
        shape: ``(R, C)``.
        edge_id: int64 ``[nnz]``, the position of each stored entry in the caller's original
            order; None means that the two orders are the same.

    Raises:
        ValueError: naming the argument, if the parts do not form such a matrix.
        TypeError: on a wrong dtype.
    """

    rowptr: Tensor
    col: Tensor
    value: Tensor | None
    shape: tuple[int, int]
    edge_id: Tensor = None  # type: ignore[assignment]  # None only on the way in
    _derived: dict[Any, Any] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        if self.edge_id is None:
            order = torch.arange(self.col.numel(), device=self.col.device)
            object.__setattr__(self, "edge_id", order)
        object.__setattr__(self, "shape", (int(self.shape[0]), int(self.shape[1])))
        check_parts(self.rowptr, self.col, self.value, self.shape, self.edge_id)

    @classmethod
    def _trusted(cls, *fields: Any) -> "CSR":
        """Builds without checks from parts that this module computed itself."""
        matrix = object.__new__(cls)
        for name, part in zip(_FIELDS, fields, strict=True):
            object.__setattr__(matrix, name, part)
        object.__setattr__(matrix, "_derived", {})
        return matrix

    def _once(self, key: Any, compute: Callable[[], T]) -> T:
        """Computes what follows from the matrix when first asked, then keeps it.

        Not functools.cached_property: its lock stops torch.compile.
        """
        if key not in self._derived:
            with torch.inference_mode(False):  # what an evaluation computes, training may reuse
                self._derived[key] = compute()
        return self._derived[key]

    @classmethod
    def from_coo(
        cls, row: Tensor, col: Tensor, value: Tensor | None = None, *, shape: tuple[int, int]
    ) -> "CSR":
        """Sorts a list of entries by row, then column; ties keep the caller's order.

        Args:
            row: integer ``[E]``.
            col: integer ``[E]``.
            value: floating ``[E]``, or None for ones.
            shape: ``(R, C)``.

        Raises:
            ValueError: naming the argument, if an index is outside the shape, lengths or devices
                differ, or a value is not finite.
            TypeError: on indices that are not integers or values that are not floating.
        """
        num_rows, num_cols = int(shape[0]), int(shape[1])
        check_entries("CSR.from_coo", row, col, value, (num_rows, num_cols))
        row, col = row.long(), col.long()
        order = row_order(row, col, (num_rows, num_cols))
        rowptr, col = pointers(row, num_rows), col[order].int()
        value = None if value is None else value[order]
        return cls._trusted(rowptr, col, value, (num_rows, num_cols), order)

    @classmethod
    def from_dense(cls, x: Tensor) -> "CSR":
        """Keeps the non-zeros of a dense matrix ``[R, C]``; integers become floats."""
        if x.dim() != 2:
            raise ValueError(
                f"CSR.from_dense: x has {x.dim()} dimensions, expected 2; pass a matrix [R, C]"
            )
        row, col = x.nonzero(as_tuple=True)
        value = x[row, col]
        value = value if value.is_floating_point() else value.to(torch.get_default_dtype())
        return cls.from_coo(row, col, value, shape=(x.size(0), x.size(1)))

    @classmethod
    def from_scipy(cls, matrix: Any) -> "CSR":
        """Takes over a scipy sparse matrix or array; integer and boolean data become float32."""
        coo = matrix.tocoo()
        value = torch.as_tensor(coo.data)
        return cls.from_coo(
            torch.as_tensor(coo.row).long(),
            torch.as_tensor(coo.col).long(),
            value if value.is_floating_point() else value.float(),
            shape=coo.shape,
        )

    @property
    def nnz(self) -> int:
        """Number of stored entries."""
        return self.col.numel()

    @property
    def device(self) -> torch.device:
        """Where the matrix lives."""
        return self.col.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the values; the default dtype where they are implicit ones."""
        return torch.get_default_dtype() if self.value is None else self.value.dtype

    @property
    def row(self) -> Tensor:
        """Row of each stored entry, int64 ``[nnz]``."""

        def compute() -> Tensor:
            rows = torch.arange(self.shape[0], device=self.device)
            return torch.repeat_interleave(rows, self.rowptr.diff(), output_size=self.nnz)

        return self._once("row", compute)

    def values(self, dtype: torch.dtype) -> Tensor:
        """Explicit values ``[nnz]`` in ``dtype`` (ones where ``value`` is None), kept once made."""

        def compute() -> Tensor:
            if self.value is None:
                return torch.ones(self.nnz, dtype=dtype, device=self.device)
            return self.value.to(dtype)

        return self._once(dtype, compute)

    def arrays(self) -> tuple[Any, Any, Any]:
        """What compiled loops take: groups of rows, ``rowptr`` and ``col`` as numpy arrays.

        Group ``g`` is the rows ``groups[g] .. groups[g + 1] - 1``. Groups hold nearly equal numbers
        of rows and entries together, and there are 64 whatever the number of threads: threads get
        equal work on graphs whose first rows are hubs, and sums over groups repeat bit by bit.
        """

        def compute() -> tuple[Any, Any, Any]:
            groups = equal_work(self.rowptr, _GROUPS)
            return groups.numpy(), self.rowptr.numpy(), self.col.numpy()

        return self._once("arrays", compute)

    @property
    def transpose_order(self) -> Tensor:
        """int64 ``[nnz]``: which stored entry of this matrix is entry ``t`` of the transpose."""

        def compute() -> Tensor:
            # Stable: rows stay ascending inside each column, as the transpose has them.
            stored = torch.arange(self.nnz, device=self.device)
            return stable_order(self.col.long(), self.shape[1], stored)

        return self._once("transpose_order", compute)

    def _transposed(self) -> "CSR | None":
        """The transpose, or None where it is this very matrix."""
        order = self.transpose_order
        col = self.row[order].int()
        rowptr = pointers(self.col.long(), self.shape[1])
        value = None if self.value is None else self.value[order]
        if self.shape[0] == self.shape[1] and torch.equal(rowptr, self.rowptr):
            same = value is None or self.value is None or torch.equal(value, self.value)
            if same and torch.equal(col, self.col):
                return None
        shape = (self.shape[1], self.shape[0])
        transposed = CSR._trusted(rowptr, col, value, shape, self.edge_id[order])
        # Weak, or the two would keep each other alive until the garbage collector comes by.
        transposed._derived["transposed_from"] = weakref.ref(self)
        return transposed

    def transpose(self) -> "CSR":
        """The transpose, computed once; a symmetric matrix returns itself.

        Entries keep their ``edge_id``, and those of one (row, column) pair keep their order.
        """
        origin = self._derived.get("transposed_from", lambda: None)()
        if origin is not None:
            return origin
        return self._once("transpose", self._transposed) or self

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> "CSR":
        """The matrix on another device or with values of another dtype."""
        value = None if self.value is None else self.value.to(device=device, dtype=dtype)
        if self.device == torch.device(device or self.device) and value is self.value:
            return self
        parts = (self.rowptr.to(device), self.col.to(device), value)
        return CSR._trusted(*parts, self.shape, self.edge_id.to(device))

    def to_torch(self, dtype: torch.dtype | None = None) -> Tensor:
        """The same matrix as a ``torch.sparse_csr`` tensor (repeated entries stay repeated)."""
        value = self.values(dtype or self.dtype)

        def compute() -> Tensor:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
                return torch.sparse_csr_tensor(
                    self.rowptr, self.col.long(), value, self.shape, check_invariants=False
                )

        return self._once(("torch", value.dtype), compute)

    def to_dense(self) -> Tensor:
        """The dense matrix ``[R, C]``; repeated entries are added up."""
        dense = torch.zeros(self.shape, dtype=self.dtype, device=self.device)
        return dense.index_put_((self.row, self.col.long()), self.values(self.dtype), True)

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles carry the matrix, not what was computed from it."""
        return {name: getattr(self, name) for name in _FIELDS}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _derived={})

    def __repr__(self) -> str:
        kind = "ones" if self.value is None else str(self.value.dtype).removeprefix("torch.")
        return f"CSR(shape={self.shape}, nnz={self.nnz}, value={kind}, device={self.device})"
