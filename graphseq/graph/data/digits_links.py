"""Handwritten digits as a graph with links to find: no network needed."""

from __future__ import annotations

from graphseq.graph.data.digits import digits
from graphseq.graph.data.link_data import LinkData
from graphseq.graph.data.link_splits import draw_links


def digits_links(*, neighbors: int = 3, seed: int = 0) -> LinkData:
    """1,797 images joined with those that look most alike; 70 % of the links train, 10 % val.

    The graph is that of :func:`~graphseq.graph.data.digits`, and the split that of
    :func:`~graphseq.graph.data.planetoid_links`.

    Args:
        neighbors: Closest images that each one is joined with.
        seed: Seed of the split and of the negatives.

    Raises:
        ValueError: ``neighbors`` is not in ``1 .. 1796``.
    """
    nodes = digits(neighbors=neighbors)
    graph = nodes.adjacency
    return LinkData(
        x=nodes.x,
        num_nodes=graph.num_nodes,
        **draw_links(graph.edge_index, graph.num_nodes, seed=seed)._asdict(),
        metric="hits@20",
        name="digits",
    )
