"""Drawing train, validation and test nodes, each split from a seed of its own generator."""

from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from graphseq.graph.adjacency import Adjacency

Component = Literal["fixed", "paper"]


class Split(NamedTuple):
    """Node ids of the three parts, each sorted, int64."""

    train: Tensor
    val: Tensor
    test: Tensor


def split_per_class(
    y: Tensor, *, train_per_class: int = 20, val_per_class: int = 30, seed: int = 0
) -> Split:
    """So many nodes of every class to train and to validate, and all others to test.

    This is the protocol of Shchur et al. 2018 (arXiv 1811.05868) that DAGNN follows on the Amazon
    and Coauthor graphs, with 20 and 30 nodes per class.

    Args:
        y: Class of each node ``[N]``; nodes with -1 are in no split.
        train_per_class: Training nodes of each class.
        val_per_class: Validation nodes of each class.
        seed: Seed of the draw.

    Raises:
        ValueError: A class has too few nodes to leave one for the test.
    """
    generator = torch.Generator().manual_seed(seed)
    order = _shuffled_by_class(y, train_per_class + val_per_class, generator)
    train = torch.cat([nodes[:train_per_class] for nodes in order])
    val = torch.cat([nodes[train_per_class : train_per_class + val_per_class] for nodes in order])
    test = torch.cat([nodes[train_per_class + val_per_class :] for nodes in order])
    return Split(*(nodes.sort().values for nodes in (train, val, test)))


def split_per_class_and_counts(
    y: Tensor, *, train_per_class: int = 20, num_val: int = 500, num_test: int = 1000, seed: int = 0
) -> Split:
    """So many nodes of every class to train, and so many of all others to validate and to test.

    The random splits of Cora, CiteSeer and PubMed: 20 per class, 500 and 1,000.

    Args:
        y: Class of each node ``[N]``; nodes with -1 are in no split.
        train_per_class: Training nodes of each class.
        num_val: Number of validation nodes.
        num_test: Number of test nodes.
        seed: Seed of the draw.

    Raises:
        ValueError: A class or the graph has too few nodes.
    """
    generator = torch.Generator().manual_seed(seed)
    order = _shuffled_by_class(y, train_per_class, generator)
    train = torch.cat([nodes[:train_per_class] for nodes in order])
    others = torch.cat([nodes[train_per_class:] for nodes in order])
    if others.numel() < num_val + num_test:
        raise ValueError(
            f"split: {num_val} + {num_test} nodes to validate and test are wanted, but only "
            f"{others.numel()} are left after {train.numel()} to train; lower num_val or num_test"
        )
    others = others[torch.randperm(others.numel(), generator=generator)]
    val, test = others[:num_val], others[num_val : num_val + num_test]
    return Split(*(nodes.sort().values for nodes in (train, val, test)))


def split_by_fractions(y: Tensor, fractions: tuple[float, float, float], seed: int = 0) -> Split:
    """Random parts of the labelled nodes.

    Args:
        y: Class of each node ``[N]``; nodes with -1 are in no split.
        fractions: Parts of train, val and test; each positive, together at most 1.
        seed: Seed of the draw.

    Raises:
        ValueError: The fractions are out of range.
    """
    if min(fractions) <= 0 or sum(fractions) > 1 + 1e-9:
        raise ValueError(f"split: fractions must be positive and sum to at most 1, got {fractions}")
    nodes = (y >= 0).nonzero()[:, 0]
    generator = torch.Generator().manual_seed(seed)
    nodes = nodes[torch.randperm(nodes.numel(), generator=generator)]
    ends = [round(nodes.numel() * part) for part in np.cumsum(fractions)]
    parts = (nodes[: ends[0]], nodes[ends[0] : ends[1]], nodes[ends[1] : ends[2]])
    return Split(*(part.sort().values for part in parts))


def largest_component(adjacency: Adjacency) -> Tensor:
    """Nodes of the largest connected component, edge directions ignored, sorted ``[M]``."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    source, target = adjacency.edge_index.cpu().numpy()
    size = adjacency.num_nodes
    graph = csr_matrix((np.ones(source.size, np.int8), (source, target)), shape=(size, size))
    _, component = connected_components(graph, directed=False)
    return torch.from_numpy(np.flatnonzero(component == np.bincount(component).argmax()))


def split_component(
    y: Tensor, adjacency: Adjacency, *, lcc: Component | None, seed: int = 0
) -> Split:
    """:func:`split_per_class` inside the largest connected component (LCC).

    The list of the component's M nodes maps a position ``0 .. M - 1`` to a node id. The split is
    drawn over positions, from the classes at those positions, and

    - ``"fixed"`` maps positions to node ids;
    - ``"paper"`` uses positions as if they were node ids. DAGNN's numbers for the Amazon graphs
      were made like this: wherever the component leaves out nodes, all later picks are shifted,
      classes are no longer balanced, nodes outside of the component get in, and the last nodes
      are never used. On a connected graph both are the same.

    Args:
        y: Class of each node ``[N]``.
        adjacency: The whole graph.
        lcc: ``"fixed"``, ``"paper"``, or None to draw from all nodes.
        seed: Seed of the draw.

    Raises:
        ValueError: ``lcc`` is something else, or a class has too few nodes.
    """
    if lcc is None:
        return split_per_class(y, seed=seed)
    if lcc not in ("fixed", "paper"):
        raise ValueError(f"split: lcc must be 'fixed', 'paper' or None, got {lcc!r}")
    nodes = largest_component(adjacency)
    positions = split_per_class(y[nodes], seed=seed)
    return positions if lcc == "paper" else Split(*(nodes[part] for part in positions))


def _shuffled_by_class(y: Tensor, needed: int, generator: torch.Generator) -> list[Tensor]:
    """The nodes of each class in random order, and more than ``needed`` of each."""
    order = []
    for label in range(int(y.max()) + 1):
        nodes = (y == label).nonzero()[:, 0]
        if nodes.numel() <= needed:
            raise ValueError(
                f"split: class {label} has {nodes.numel()} nodes, but more than {needed} are "
                "needed; take fewer per class"
            )
        order.append(nodes[torch.randperm(nodes.numel(), generator=generator)])
    return order
