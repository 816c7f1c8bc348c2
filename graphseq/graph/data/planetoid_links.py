"""Cora, CiteSeer and PubMed with links to find: the 70/10/20 protocol of NCN (arXiv 2302.00890)."""

from __future__ import annotations

from typing import Literal

from graphseq.graph.data.link_data import LinkData
from graphseq.graph.data.link_splits import draw_links
from graphseq.graph.data.planetoid import planetoid


def planetoid_links(
    name: Literal["Cora", "CiteSeer", "PubMed"],
    *,
    seed: int = 0,
    normalize: bool = False,
    sparse: bool = True,
    root: str | None = None,
    download: bool = False,
) -> LinkData:
    """A citation graph whose links are split at random: 70 % train, 10 % val, 20 % test.

    A fifth of the links goes to the test and half of another fifth to validation; each of the two
    is ranked against as many pairs as a fifth of the links, drawn uniformly from all pairs that
    are no links. Validation therefore has twice as many negatives as links. Every seed is a split
    of its own, so the spread over seeds contains that of the splits.

    Args:
        name: Which graph.
        seed: Seed of the split and of the negatives.
        normalize: Scale each node's features to sum 1; the published numbers use raw ones.
        sparse: Features as :class:`~graphseq.graph.csr.CSR` in place of a dense tensor.
        root: Data folder in place of ``GRAPHSEQ_DATA``; files are in ``planetoid/NAME/raw``.
        download: Fetch missing files into the cache folder.

    Raises:
        FileNotFoundError: A file is missing and ``download`` is False.
        ValueError: An argument is not among the choices, or a file is broken.
    """
    nodes = planetoid(name, normalize=normalize, sparse=sparse, root=root, download=download)
    graph = nodes.adjacency
    return LinkData(
        x=nodes.x,
        num_nodes=graph.num_nodes,
        **draw_links(graph.edge_index, graph.num_nodes, seed=seed)._asdict(),
        metric="hits@100",
        name=name,
    )
