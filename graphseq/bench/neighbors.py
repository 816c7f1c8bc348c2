"""Common-neighbour pooling, link removal and negative sampling against the straightforward code.

``power_law`` is a random graph of ogbl-collab's size with hubs and triangles, 65,536 pairs drawn
from its edges and 64 channels; ``ddi`` is the training graph of ogbl-ddi, or a random one of its
shape where its files are absent, with 24,576 pairs and 224 channels. Removing the pairs is compared
with building the graph anew, and drawing 1 M non-edges with PyG's ``negative_sampling``, which
draws other ones.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch_geometric.utils import negative_sampling, to_undirected

from graphseq.bench.neighbors_reference import SparsePool, rebuild_without
from graphseq.bench.timing import Row, compare, max_error
from graphseq.graph.csr import CSR
from graphseq.graph.data.ogb_links import ogbl_ddi
from graphseq.graph.ops import LinkRemoval, is_edge, pool_common, sample_non_edges

TOLERANCE = 1e-5  # float32 sums, relative to the largest result
NEGATIVES = 1_000_000


@dataclass(frozen=True)
class Case:
    """Size of the graph (in links, each once), of the batch and of the features."""

    num_nodes: int
    num_links: int
    pairs: int
    channels: int
    skew: float  # ends of links are drawn as N u^skew: degrees have the exponent 1 + s / (s - 1)


CASES = {
    "power_law": Case(235_868, 1_200_000, 65_536, 64, skew=2.5),
    "ddi": Case(4_267, 1_067_911, 24_576, 224, skew=1.3),
}


def rows(case: str | None = None, seconds: float = 10.0, shrink: int = 1) -> list[Row]:
    """Times one case or both, with so many seconds for each comparison.

    Args:
        case: ``power_law`` or ``ddi``; None for both.
        seconds: for each comparison.
        shrink: divides all sizes, and then replaces ogbl-ddi too by a random graph.

    Raises:
        ValueError: if there is no such case.
    """
    if case is not None and case not in CASES:
        raise ValueError(f"bench neighbors: no case {case!r}; there are {', '.join(CASES)}")
    return [row for name in ([case] if case else CASES) for row in _case(name, seconds, shrink)]


def _case(name: str, seconds: float, shrink: int) -> list[Row]:
    case = CASES[name]
    label, num_nodes, links = load(name, shrink)
    removal = LinkRemoval(links, num_nodes)
    graph = removal.adjacency.csr
    generator = torch.Generator().manual_seed(1)
    batch = torch.randperm(links.size(1), generator=generator)[: case.pairs // shrink]
    x = torch.randn(num_nodes, case.channels, generator=generator)
    grad = torch.randn(len(batch), case.channels, generator=generator)
    label, pairs = f"{label} [{graph.nnz}]", f"{len(batch)} pairs x {case.channels}"
    return [
        *_pooling(f"{label}, {pairs}", graph, links[:, batch], x, grad, seconds),
        *_removal(f"{label}, {len(batch)} links", removal, batch, seconds),
        *_negatives(f"{label}, {NEGATIVES // shrink} draws", graph, NEGATIVES // shrink, seconds),
    ]


def load(name: str, shrink: int = 1) -> tuple[str, int, Tensor]:
    """Label, number of nodes and links ``[2, E]`` of one case."""
    if name == "ddi" and shrink == 1:
        try:
            data = ogbl_ddi()
            return "ogbl-ddi", data.num_nodes, data.train
        except FileNotFoundError:
            pass
    case = CASES[name]
    num_nodes = case.num_nodes // shrink
    num_links = min(case.num_links // shrink, num_nodes**2 // 8)  # small graphs fill up
    label = "ddi shape" if name == "ddi" else "power law"
    return label, num_nodes, random_links(num_nodes, num_links, case.skew)


def random_links(num_nodes: int, num_links: int, skew: float) -> Tensor:
    """Distinct links of a graph with hubs, half of which close a triangle."""
    generator = torch.Generator().manual_seed(0)
    ends = torch.rand(2, num_links, generator=generator, dtype=torch.float64) ** skew
    edges = to_undirected((ends * num_nodes).long(), num_nodes=num_nodes)
    degree = edges[0].bincount(minlength=num_nodes)
    first = degree.cumsum(0) - degree
    start, middle = edges[:, torch.randint(edges.size(1), (num_links,), generator=generator)]
    step = torch.rand(num_links, generator=generator, dtype=torch.float64) * degree[middle]
    closing = torch.stack([start, edges[1, first[middle] + step.long()]])
    edges = to_undirected(torch.cat([edges, closing], dim=1), num_nodes=num_nodes)
    edges = edges[:, edges[0] < edges[1]]
    return edges[:, torch.randperm(edges.size(1), generator=generator)[:num_links]]


def _pooling(
    label: str, graph: CSR, pairs: Tensor, x: Tensor, grad: Tensor, seconds: float
) -> list[Row]:
    col = graph.col.long()  # the reference's own format, made once
    calls = {
        "ours": lambda x: pool_common(graph, x, pairs),
        "straightforward": lambda x: SparsePool.apply(graph.rowptr, col, x, pairs),
    }
    expected = both(calls["straightforward"], x.double(), grad.double())
    error = max(max_error(both(call, x, grad), expected) for call in calls.values())
    ours, reference = (partial(both, call, x, grad) for call in calls.values())
    return compare(
        "pool_common forward + backward", label, ours, {"straightforward": reference},
        error=error, tolerance=TOLERANCE, seconds=seconds,
    )  # fmt: skip


def both(function: Callable[[Tensor], Tensor], x: Tensor, grad: Tensor) -> list[Tensor]:
    """A result and the gradient of its input, by autograd."""
    x = x.detach().requires_grad_()
    out = function(x)
    return [out.detach(), *torch.autograd.grad(out, x, grad)]


def _removal(label: str, removal: LinkRemoval, batch: Tensor, seconds: float) -> list[Row]:
    """The error is the number of edges in which the two graphs differ."""
    links, num_nodes = removal.train_edges, removal.adjacency.num_nodes
    ours = partial(removal.without, batch)
    reference = partial(rebuild_without, links, batch, num_nodes)
    edges = ours().edge_index.flip(0), reference()
    same = edges[0].shape == edges[1].shape
    error = float((edges[0] != edges[1]).sum()) if same else torch.inf
    references = {"rebuild": reference}
    return compare(
        "LinkRemoval.without", label, ours, references, error=error, tolerance=0, seconds=seconds
    )


def _negatives(label: str, graph: CSR, num: int, seconds: float) -> list[Row]:
    """The error is the number of draws that are edges or loops."""
    generator = torch.Generator().manual_seed(0)
    edge_index, num_nodes = torch.stack([graph.row, graph.col.long()]), graph.shape[0]
    ours = partial(sample_non_edges, graph, num, generator)
    drawn = ours()
    error = float((is_edge(graph, drawn) | (drawn[0] == drawn[1])).sum())
    references = {"PyG": partial(negative_sampling, edge_index, num_nodes, num)}
    return compare(
        "sample_non_edges", label, ours, references, error=error, tolerance=0, seconds=seconds
    )
