"""The graphs that benchmarks run on: real ones where their files are, else the same shape, random.

A random stand-in has the size, the number of edges and the number of stored features of the graph
that it replaces, and says so in its name.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch_geometric.utils import remove_self_loops, to_undirected

from graphseq.graph.csr import CSR
from graphseq.graph.data import NodeData, coauthor, planetoid


@dataclass(frozen=True)
class Graph:
    """What a model and its loss need: ``x [N, F]``, ``edge_index [2, E]``, ``y [N]``, ``train``."""

    name: str
    x: Tensor | CSR
    edge_index: Tensor
    y: Tensor
    train: Tensor
    num_classes: int

    @property
    def num_nodes(self) -> int:
        return self.y.shape[0]

    @property
    def num_features(self) -> int:
        return self.x.shape[1]


SHAPES = {  # nodes, undirected edges, features, stored features (None: dense), classes
    "cora": (2_708, 5_278, 1_433, 49_216, 7),
    "physics": (34_493, 247_962, 8_415, 1_140_000, 5),
    "arxiv": (169_343, 1_166_243, 128, None, 40),
}


def load(name: str, shrink: int = 1) -> Graph:
    """The graph of that name; ``shrink`` divides the size of a random one."""
    try:
        if name == "cora":
            return _real(planetoid(name="Cora"), "cora")
        if name == "physics":
            return _real(coauthor(name="Physics"), "physics")
    except FileNotFoundError:
        return random_graph(name, shrink)
    return random_graph(name, shrink)


def _real(data: NodeData, name: str) -> Graph:
    edge_index = data.adjacency.edge_index
    return Graph(name, data.x, edge_index, data.y, data.train, data.num_classes)


def random_graph(name: str, shrink: int = 1) -> Graph:
    """A graph of the named shape: one end of an edge uniform, the other skewed to few nodes."""
    nodes, edges, features, stored, classes = SHAPES[name]
    nodes, edges = nodes // shrink, edges // shrink
    generator = torch.Generator().manual_seed(0)
    ends = torch.rand(2, edges, generator=generator, dtype=torch.float64)
    ends[1] = ends[1] ** 2  # heavy-tailed degrees, as citation counts are
    edge_index, _ = remove_self_loops((ends * nodes).long())
    edge_index = to_undirected(edge_index, num_nodes=nodes)  # drops the few repeated pairs
    x: Tensor | CSR
    if stored is None:
        x = torch.randn(nodes, features, generator=generator)
    else:
        row = torch.randint(nodes, (stored,), generator=generator)
        col = torch.randint(features, (stored,), generator=generator)
        value = torch.rand(stored, generator=generator)
        x = CSR.from_coo(row, col, value, shape=(nodes, features))
    y = torch.randint(classes, (nodes,), generator=generator)
    train = torch.randperm(nodes, generator=generator)
    train = train[: nodes // 2 if stored is None else 20 * classes].sort().values
    return Graph(f"{name} shape", x, edge_index, y, train, classes)
