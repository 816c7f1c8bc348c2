"""What a sparse matrix must be before a compiled loop may touch it, each rule with its message."""

import torch
from torch import Tensor

INT32_MAX = 2**31 - 1
_PIECE = 1 << 20  # numbers looked at together


def check_index(where: str, name: str, index: Tensor, size: int) -> None:
    """Refuses anything but a vector of integers in ``[0, size)``.

    Raises:
        TypeError: if the dtype is not an integer.
        ValueError: if it is not one-dimensional or a value is outside the range.
    """
    if index.dtype not in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8):
        raise TypeError(f"{where}: {name} has dtype {index.dtype}; pass integers, {name}.long()")
    if index.dim() != 1:
        raise ValueError(
            f"{where}: {name} has shape {tuple(index.shape)}; pass a vector of indices"
        )
    if index.numel() == 0:
        return
    low, high = (int(bound) for bound in torch.aminmax(index))
    if low < 0 or high >= size:
        raise ValueError(
            f"{where}: {name} contains {low if low < 0 else high}, outside 0..{size - 1}; "
            "correct the index or pass the right size"
        )


def check_tensor(where: str, name: str, value: object) -> None:
    """Refuses an array or a list where a tensor is expected.

    Raises:
        TypeError: saying how to make it one.
    """
    if not isinstance(value, torch.Tensor):
        kind = type(value)
        make = "torch.from_numpy" if kind.__module__ == "numpy" else "torch.tensor"
        raise TypeError(f"{where}: {name} is a {kind.__name__}; pass a tensor, {make}({name})")


def check_same(where: str, name: str, tensor: Tensor, like: Tensor) -> None:
    """Refuses a tensor whose shape or device differs from that of ``like``.

    Raises:
        ValueError: naming the tensor.
    """
    if tensor.shape != like.shape:
        raise ValueError(
            f"{where}: {name} has shape {tuple(tensor.shape)}, expected {tuple(like.shape)}; "
            "pass one per entry"
        )
    if tensor.device != like.device:
        raise ValueError(
            f"{where}: {name} is on {tensor.device}, the indices on {like.device}; "
            "move them to one device"
        )


def all_finite(values: Tensor) -> bool:
    """Whether no number is NaN or infinite.

    A finite sum has only finite terms, and to add up is several times faster than to look at each.
    Where the sum is not finite, large numbers may be the reason, and they are looked at piece by
    piece: ``torch.isfinite`` makes several tensors of its argument's size, which for numbers mapped
    from a file would be as much memory as the file is long.

    Shape:
        - values: ``[N, ...]``
    """
    values = values.detach()
    if bool(values.sum().isfinite()):
        return True
    rows = max(1, _PIECE * len(values) // max(1, values.numel()))
    return all(bool(piece.isfinite().all()) for piece in values.split(rows))


def check_value(where: str, name: str, value: Tensor | None, like: Tensor) -> None:
    """Refuses values that are not finite constants, one per index in ``like``; None passes.

    Raises:
        TypeError: if they are not floating.
        ValueError: on a wrong shape or device, a gradient, NaN or infinity.
    """
    if value is None:
        return
    if not value.is_floating_point():
        raise TypeError(f"{where}: {name} has dtype {value.dtype}; pass floats, {name}.float()")
    check_same(where, name, value, like)
    if value.requires_grad:
        raise ValueError(
            f"{where}: {name} requires a gradient, but a matrix is a constant; "
            "give trainable values to spmm(matrix, x, value)"
        )
    if not all_finite(value):
        raise ValueError(f"{where}: {name} contains NaN or infinity; clean it first")


def check_columns(where: str, num_cols: int) -> None:
    """Refuses more columns than int32 counts.

    Raises:
        ValueError: naming the shape.
    """
    if num_cols > INT32_MAX:
        raise ValueError(f"{where}: shape has {num_cols} columns; use at most {INT32_MAX}")


def check_entries(
    where: str, row: Tensor, col: Tensor, value: Tensor | None, shape: tuple[int, int]
) -> None:
    """Everything that a list of entries must be to become a matrix of this shape.

    Raises:
        TypeError: on indices that are not integers or values that are not floating.
        ValueError: on an index outside the shape, lengths or devices that differ, or a value that
            is not finite, naming the argument.
    """
    check_index(where, "row", row, shape[0])
    check_index(where, "col", col, shape[1])
    check_same(where, "col", col, row)
    check_value(where, "value", value, row)
    check_columns(where, shape[1])


def check_parts(
    rowptr: Tensor, col: Tensor, value: Tensor | None, shape: tuple[int, int], edge_id: Tensor
) -> None:
    """Everything about a CSR matrix that compiled loops rely on and cannot check themselves.

    Raises:
        TypeError: on a wrong dtype.
        ValueError: on a wrong shape, device or order, naming the part.
    """
    where, (num_rows, num_cols) = "CSR", shape
    if rowptr.dtype != torch.int64 or col.dtype != torch.int32:
        raise TypeError(
            f"{where}: rowptr is {rowptr.dtype} and col {col.dtype}; pass int64 and int32"
        )
    if rowptr.shape != (num_rows + 1,) or rowptr.device != col.device:
        raise ValueError(
            f"{where}: rowptr has shape {tuple(rowptr.shape)} on {rowptr.device}, expected "
            f"({num_rows + 1},) on {col.device}; it needs one more entry than there are rows"
        )
    check_index(where, "col", col, num_cols)
    check_columns(where, num_cols)
    check_index(where, "edge_id", edge_id, INT32_MAX)
    check_same(where, "edge_id", edge_id, col)
    check_value(where, "value", value, col)
    parts = {"rowptr": rowptr, "col": col, "value": value, "edge_id": edge_id}
    for name, tensor in parts.items():
        if tensor is not None and not tensor.is_contiguous():
            raise ValueError(f"{where}: {name} is not contiguous; pass {name}.contiguous()")
    _check_order(rowptr, col)


def _check_order(rowptr: Tensor, col: Tensor) -> None:
    ends = int(rowptr[0]), int(rowptr[-1])
    if ends != (0, col.numel()) or bool((rowptr.diff() < 0).any()):
        raise ValueError(
            f"CSR: rowptr must rise from 0 to {col.numel()}, got {ends[0]} to {ends[1]}; "
            "build the matrix with CSR.from_coo"
        )
    falls = col.diff() < 0
    starts = rowptr[(rowptr > 0) & (rowptr < col.numel())]  # between rows columns may fall
    falls[starts - 1] = False
    if bool(falls.any()):
        raise ValueError(
            "CSR: col is not ascending inside each row; build the matrix with CSR.from_coo"
        )
