"""What scatter and segment share: argument checks, choice of backend, shapes and dtypes."""

import importlib.util
import math

import torch
from torch import Tensor

from graphseq.graph.ops.reduce_autograd import reduce_groups
from graphseq.graph.ops.reduce_engines import Groups, expand
from graphseq.graph.sorting import counting_sort
from graphseq.kernels import array

REDUCTIONS = ("sum", "mean", "max", "min", "mul", "softmax", "logsumexp")
BACKENDS = ("auto", "torch", "numba", "torch_scatter")
INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
FLOATS = (torch.float32, torch.float64)
HALVES = (torch.float16, torch.bfloat16)


def check_arguments(op: str, src: Tensor, reduce: str, backend: str) -> None:
    """Refuses what no backend can do.

    Raises:
        ValueError: unknown reduction or backend, a scalar src, or a dtype that has no such
            reduction.
        ImportError: torch_scatter was asked for and is not installed.
    """
    if reduce not in REDUCTIONS:
        raise ValueError(f"{op}: reduce={reduce!r} is unknown; choose from {', '.join(REDUCTIONS)}")
    if backend not in BACKENDS:
        raise ValueError(f"{op}: backend={backend!r} is unknown; choose from {', '.join(BACKENDS)}")
    if src.dim() == 0:
        raise ValueError(f"{op}: src must have a first dimension to reduce, got a scalar")
    if src.dtype not in INTEGERS + FLOATS + HALVES or src.layout != torch.strided:
        raise ValueError(
            f"{op}: src must be a dense tensor of real numbers, got {src.dtype} {src.layout}; "
            "convert it with src.float() or src.to_dense()"
        )
    if src.dtype in INTEGERS and reduce in ("mean", "softmax", "logsumexp"):
        raise ValueError(
            f"{op}: reduce={reduce!r} needs floating point src, got {src.dtype}; use src.float()"
        )
    if backend == "numba" and src.device.type != "cpu":
        raise ValueError(
            f"{op}: backend='numba' runs on the CPU, src is on {src.device}; "
            "use backend='torch' or src.cpu()"
        )
    if backend == "torch_scatter" and importlib.util.find_spec("torch_scatter") is None:
        raise ImportError(
            f"{op}: backend='torch_scatter' needs the torch-scatter package; install it with "
            "`pip install --no-build-isolation torch-scatter`"
        )


def check_integers(op: str, name: str, values: Tensor, src: Tensor) -> None:
    """Refuses an index or pointer that is not a 1-D integer tensor on src's device."""
    if values.dim() != 1 or values.dtype not in (torch.int32, torch.int64):
        raise ValueError(
            f"{op}: {name} must be a 1-D int64 tensor, got {values.dtype} of shape "
            f"{tuple(values.shape)}; use {name}.reshape(-1).long()"
        )
    if values.device != src.device:
        raise ValueError(
            f"{op}: {name} is on {values.device}, src on {src.device}; use {name}.to(src.device)"
        )


def choose(src: Tensor, reduce: str, in_order: bool) -> str:
    """The backend that "auto" stands for: numba where it wins on the CPU, else torch.

    torch_scatter is never chosen: it has to be asked for.
    """
    if src.device.type != "cpu" or torch.compiler.is_compiling():
        return "torch"
    # Time of torch over time of numba, forward (forward + backward), one thread, float32, groups
    # of about 6 elements, index in random order:
    #
    #   elements, columns    100, 4     10 k, 1    10 k, 64   1.2 M, 1    1.2 M, 64
    #   segment sum          1.0 (0.8)  1.1 (0.8)  5.5 (4.2)  1.2 (0.9)   3.5 (1.7)
    #   segment max          1.1 (1.1)  1.3 (1.2)  1.7 (4.8)  3.1 (1.5)   1.3 (3.8)
    #   segment softmax      1.6 (1.6)  1.7 (1.5)  3.4 (4.2)  1.7 (1.5)   4.6 (4.4)
    #   scatter sum          0.8 (0.8)  0.6 (0.7)  1.2 (1.2)  0.2 (0.4)   1.2 (1.2)
    #   scatter max          0.8 (1.2)  0.9 (1.3)  1.4 (3.3)  0.7 (0.7)   1.3 (2.4)
    #   scatter softmax      1.5 (1.6)  1.3 (1.1)  2.2 (1.7)  0.7 (0.6)   2.9 (2.4)
    #
    # With one column, sorting a long index costs more than all the rest.
    entries = src.numel()
    if entries < 1_000:  # 0.1 ms either way, and torch has nothing to compile first
        return "torch"
    if in_order:
        return "numba"
    columns = entries // src.shape[0]
    if reduce in ("sum", "mean"):
        return "numba" if columns >= 16 and entries >= 100_000 else "torch"
    return "numba" if columns >= 4 or src.shape[0] <= 50_000 else "torch"


def reduce_elements(
    src: Tensor, index: Tensor | None, ptr: Tensor | None, size: int, reduce: str, backend: str
) -> Tensor:
    """Reduces checked input of any trailing shape; exactly one of index and ptr is given."""
    if backend == "auto":
        backend = choose(src, reduce, in_order=ptr is not None)
    shape = src.shape[1:]
    elements = src.reshape(src.shape[0], math.prod(shape)).contiguous()
    if src.dtype in HALVES:
        elements = elements.float()
    groups = _groups(src.shape[0], index, ptr, size, backend)
    out = reduce_groups(elements, groups, reduce)
    return out.reshape(out.shape[0], *shape).to(src.dtype)


def _groups(
    elements: int, index: Tensor | None, ptr: Tensor | None, size: int, backend: str
) -> Groups:
    """What the backend needs to know of the groups, from the one of index and ptr that is given."""
    if index is not None:
        index = index.long()
        if backend != "numba":
            return Groups(index, None, None, size, backend)
        starts, order = counting_sort(array(index), size)
        return Groups(index, torch.from_numpy(starts), torch.from_numpy(order), size, backend)
    assert ptr is not None
    ptr = ptr.long()
    if backend == "numba":
        return Groups(None, ptr, torch.arange(elements), size, backend)
    return Groups(expand(ptr, elements), ptr, None, size, backend)
