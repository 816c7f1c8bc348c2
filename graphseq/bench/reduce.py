"""Scatter and segment reductions against the library code for the same result, forward and back.

The elements are messages on edges: those of Cora, and those of a graph of ogbn-arxiv's shape with
each citation once (1.17 M, heavy-tailed). Sums and maxima have 64 columns, softmax has 8 (heads).
``torch_scatter`` is a reference where it is installed.
"""

import importlib.util
from collections.abc import Callable
from functools import partial

import torch
import torch_geometric.utils as pyg
from torch import Tensor

from graphseq.bench.graphs import SHAPES, load
from graphseq.bench.timing import Row, compare, max_error
from graphseq.graph.ops import naive_reduce, scatter, segment

CASES = ("cora", "arxiv")
CHECKED_GROUPS = 3_000
TOLERANCE = 1e-4  # float32 sums of thousands of elements
Operation = Callable[[Tensor], Tensor]


def rows(case: str | None = None, seconds: float = 1.0) -> list[Row]:
    """Times one case or both (``cora``, ``arxiv``), with so many seconds for each comparison."""
    if case is not None and case not in CASES:
        raise ValueError(f"bench reduce: no case {case!r}; there are {', '.join(CASES)}")
    return [row for name in ([case] if case else CASES) for row in _case(name, seconds)]


def _case(name: str, seconds: float) -> list[Row]:
    graph = load(name)
    index, size = graph.edge_index[1], graph.num_nodes
    if name == "arxiv":
        index = index[: SHAPES["arxiv"][1]].contiguous()
    ptr = torch.cat([index.new_zeros(1), index.bincount(minlength=size).cumsum(0)])
    result: list[Row] = []
    for reduce, columns in (("sum", 64), ("max", 64), ("softmax", 8)):
        generator = torch.Generator().manual_seed(0)
        src = torch.randn(len(index), columns, generator=generator)
        grad = torch.randn(
            len(index) if reduce == "softmax" else size, columns, generator=generator
        )
        label = f"{graph.name} [{len(index)}, {columns}]"
        for op, ours, references in (
            (
                "scatter",
                partial(scatter, index=index, dim_size=size, reduce=reduce),
                scatter_references(index, size, reduce),
            ),
            ("segment", partial(segment, ptr=ptr, reduce=reduce), segment_references(ptr, reduce)),
        ):
            elements = index if op == "scatter" else index.sort().values
            error = _error(ours, src, grad, elements, reduce)
            result += _measure(f"{op} {reduce}", label, src, grad, ours, references, error, seconds)
    return result


def scatter_references(index: Tensor, size: int, reduce: str) -> dict[str, Operation]:
    """Library code for a scatter."""
    references: dict[str, Operation] = {}
    if reduce == "sum":
        references["index_add"] = lambda x: x.new_zeros(size, x.shape[1]).index_add(0, index, x)
        references["PyG scatter"] = lambda x: pyg.scatter(x, index, 0, size, "sum")
    elif reduce == "max":
        references["scatter_reduce"] = lambda x: x.new_zeros(size, x.shape[1]).scatter_reduce(
            0, index.unsqueeze(1).expand_as(x), x, "amax", include_self=False
        )
    else:
        references["PyG softmax"] = lambda x: pyg.softmax(x, index, num_nodes=size)
    if importlib.util.find_spec("torch_scatter"):
        import torch_scatter

        references["torch_scatter"] = (
            (lambda x: torch_scatter.scatter_softmax(x, index, 0, dim_size=size))
            if reduce == "softmax"
            else (lambda x: torch_scatter.scatter(x, index, 0, None, size, reduce))
        )
    return references


def segment_references(ptr: Tensor, reduce: str) -> dict[str, Operation]:
    """Library code for a segment reduction; there is no softmax among torch_scatter's."""
    if reduce == "softmax":
        return {"PyG softmax": lambda x: pyg.softmax(x, ptr=ptr)}
    references: dict[str, Operation] = {
        "torch.segment_reduce": lambda x: (
            torch.segment_reduce(x, reduce, offsets=ptr, initial=0)
            if reduce == "sum"
            else torch.segment_reduce(x, reduce, offsets=ptr)
        )
    }
    if importlib.util.find_spec("torch_scatter"):
        import torch_scatter

        references["torch_scatter"] = lambda x: torch_scatter.segment_csr(x, ptr, reduce=reduce)
    return references


def _error(ours: Operation, src: Tensor, grad: Tensor, index: Tensor, reduce: str) -> float:
    """Disagreement with the naive twin, in value and gradient, on the first groups.

    The twin reduces one group after the other in Python: all of them would take minutes.
    """
    size = min(int(index.max()) + 1, CHECKED_GROUPS)
    elements = index < size
    twin = partial(naive_reduce.scatter, index=index[elements], dim_size=size, reduce=reduce)
    results = elements if reduce == "softmax" else slice(size)
    value, gradient = _both(ours, src, grad)
    expected = _both(twin, src[elements], grad[results])
    return max_error([value[results], gradient[elements]], expected)


def _measure(
    op: str,
    case: str,
    src: Tensor,
    grad: Tensor,
    ours: Operation,
    references: dict[str, Operation],
    error: float,
    seconds: float,
) -> list[Row]:
    """Rows for the forward alone and for forward and backward."""
    result: list[Row] = []
    for part, run in (("forward", _forward), ("forward + backward", _both)):
        calls = {name: partial(run, each, src, grad) for name, each in references.items()}
        result += compare(
            f"{op} {part}",
            case,
            partial(run, ours, src, grad),
            calls,
            error=error,
            tolerance=TOLERANCE,
            seconds=seconds,
        )
    return result


def _forward(function: Operation, src: Tensor, grad: Tensor) -> list[Tensor]:
    return [function(src)]


def _both(function: Operation, src: Tensor, grad: Tensor) -> list[Tensor]:
    src = src.detach().requires_grad_()
    out = function(src)
    return [out.detach(), *torch.autograd.grad(out, src, grad)]
