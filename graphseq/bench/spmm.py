"""The sparse product against PyG's message passing and torch's CSR product, forward and back.

The matrix is the normalised adjacency of Cora and of a graph of ogbn-arxiv's shape, prepared
beforehand for everyone; the input has 64 columns. ``paper`` gathers a message per edge and scatters
them, as PyG's ``MessagePassing`` does with a plain ``edge_index``. ``strong`` is torch's own CSR
product, and in the backward pass the same product with the transpose.
"""

from functools import partial

import torch
from torch import Tensor
from torch_geometric.nn import MessagePassing

from graphseq.bench.graphs import load
from graphseq.bench.timing import Row, compare, max_error
from graphseq.graph.adjacency import Adjacency
from graphseq.graph.csr import CSR
from graphseq.graph.ops import naive, spmm

CASES = ("cora", "arxiv")
COLUMNS = 64
TOLERANCE = 1e-5  # float32 sums, relative to the largest result


def rows(case: str | None = None, seconds: float = 4.0) -> list[Row]:
    """Times one case or both (``cora``, ``arxiv``), with so many seconds for each comparison.

    Raises:
        ValueError: if there is no such case.
    """
    if case is not None and case not in CASES:
        raise ValueError(f"bench spmm: no case {case!r}; there are {', '.join(CASES)}")
    return [row for name in ([case] if case else CASES) for row in _case(name, seconds)]


def _case(name: str, seconds: float) -> list[Row]:
    graph = load(name)
    adjacency = Adjacency.from_edge_index(graph.edge_index, graph.num_nodes)
    matrix = adjacency.normalized()
    generator = torch.Generator().manual_seed(0)
    x, grad = torch.randn(2, graph.num_nodes, COLUMNS, generator=generator).unbind()
    label, result = f"{graph.name} [{matrix.nnz}] x {COLUMNS}", []
    references = {"paper": _Gather(matrix), "strong": _Library(matrix)}
    ours, error = _Ours(matrix), _error(adjacency, matrix, x, grad)
    for part in ("forward", "both"):
        result += compare(
            "spmm forward" if part == "forward" else "spmm forward + backward",
            label,
            partial(getattr(ours, part), x, grad),
            {key: partial(getattr(each, part), x, grad) for key, each in references.items()},
            error=error,
            tolerance=TOLERANCE,
            seconds=seconds,
        )
    return result


class _Ours:
    """This package's product."""

    def __init__(self, matrix: CSR) -> None:
        self.matrix = matrix

    def product(self, x: Tensor) -> Tensor:
        return spmm(self.matrix, x)

    def forward(self, x: Tensor, grad: Tensor) -> Tensor:
        return self.product(x)

    def both(self, x: Tensor, grad: Tensor) -> list[Tensor]:
        """The product and the gradient of its input, by autograd."""
        x = x.detach().requires_grad_()
        out = self.product(x)
        return [out.detach(), *torch.autograd.grad(out, x, grad)]


class _Gather(_Ours):
    """PyG's message passing over the same edges and weights."""

    def __init__(self, matrix: CSR) -> None:
        super().__init__(matrix)
        self.edge_index = torch.stack([matrix.col.long(), matrix.row])
        self.weight = matrix.values(matrix.dtype)
        self.layer = _WeightedSum()

    def product(self, x: Tensor) -> Tensor:
        return self.layer(x, self.edge_index, self.weight.to(x.dtype))


class _WeightedSum(MessagePassing):
    def __init__(self) -> None:
        super().__init__(aggr="add")

    def forward(self, x: Tensor, edge_index: Tensor, weight: Tensor) -> Tensor:
        return self.propagate(edge_index, x=x, weight=weight)

    def message(self, x_j: Tensor, weight: Tensor) -> Tensor:
        return weight.unsqueeze(1) * x_j


class _Library(_Ours):
    """torch's CSR product; its own backward would transpose the matrix anew, so it is spared."""

    def __init__(self, matrix: CSR) -> None:
        super().__init__(matrix)
        self.csr = matrix.to_torch()
        self.transposed = matrix.transpose().to_torch()

    def product(self, x: Tensor) -> Tensor:
        return self.csr @ x

    def both(self, x: Tensor, grad: Tensor) -> list[Tensor]:
        return [self.csr @ x, self.transposed @ grad]


def _error(adjacency: Adjacency, matrix: CSR, x: Tensor, grad: Tensor) -> float:
    """Disagreement in value and gradient with the naive twin in float64.

    Where the twin's dense matrix does not fit, message passing in float64 takes its place.
    """
    exact = adjacency.normalized(dtype=torch.float64)
    if adjacency.num_nodes <= 5_000:
        x64 = x.double().requires_grad_()
        out = naive.spmm(exact, x64)
        expected = [out.detach(), *torch.autograd.grad(out, x64, grad.double())]
    else:
        expected = _Gather(exact).both(x.double(), grad.double())
    return max(
        max_error(each.both(x, grad), expected)
        for each in (_Ours(matrix), _Gather(matrix), _Library(matrix))
    )
