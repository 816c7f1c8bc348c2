"""The graphs of ForwardGNN (2403.11004) with links to find, and fixed non-links to learn from."""

from __future__ import annotations

from graphseq.graph.data.folds import FoldedGraph, five_folds
from graphseq.graph.data.link_data import LinkData
from graphseq.graph.data.link_splits import draw_links

_VAL, _TEST = 0.16, 0.2
_SEED = 101  # times the run's seed: that of the draws


def five_link_splits(
    name: FoldedGraph,
    *,
    seed: int = 0,
    normalize: bool = True,
    sparse: bool = True,
    root: str | None = None,
    download: bool = False,
) -> LinkData:
    """A graph of ForwardGNN (arXiv 2403.11004) whose links are split 64/16/20 at random.

    Of E undirected links ``int(0.16 E)`` are validated on, ``int(0.2 E)`` tested on, and the others
    trained. Each part has as many pairs that are no links as it has links, those to learn from
    (``train_negative``) included: they are drawn once, uniformly, and no pair is in two parts. This
    is the law of PyG's ``RandomLinkSplit(num_val=0.16, num_test=0.2, is_undirected=True)``, except
    that there a non-link may come twice, once in each direction. The numbers drawn are not those
    of PyG.

    Args:
        name: Which graph, see :func:`~graphseq.graph.data.five_folds`.
        seed: Every seed is a split of its own; the published numbers are means over 0 to 4.
        normalize: Scale each node's features to sum 1.
        sparse: Features as :class:`~graphseq.graph.csr.CSR` in place of a dense tensor; those of
            GitHub are always dense.
        root: Data folder in place of ``GRAPHSEQ_DATA``; files are where ``five_folds`` looks.
        download: Fetch a missing file into the cache folder.

    Raises:
        FileNotFoundError: The file is missing and ``download`` is False.
        ValueError: An argument is not among the choices, or the file is broken.
    """
    nodes = five_folds(name, normalize=normalize, sparse=sparse, root=root, download=download)
    graph = nodes.adjacency
    num = graph.num_edges // 2
    val, test = int(_VAL * num), int(_TEST * num)
    split = draw_links(
        graph.edge_index,
        graph.num_nodes,
        val=_VAL,
        test=_TEST,
        num_train_negatives=num - val - test,
        num_val_negatives=val,
        num_test_negatives=test,
        seed=_SEED * seed,
    )
    return LinkData(
        x=nodes.x, num_nodes=graph.num_nodes, **split._asdict(), metric="auc", name=name
    )
