"""Nodes in five folds, each of which is tested on once: the splits of ForwardGNN (2403.11004)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from graphseq.graph.adjacency import Adjacency
from graphseq.graph.csr import CSR
from graphseq.graph.data.features import as_features
from graphseq.graph.data.github import find_github, read_github
from graphseq.graph.data.node_data import NodeData
from graphseq.graph.data.npz_graphs import find_npz_graph, read_npz_graph
from graphseq.graph.data.splits import Split

FoldedGraph = Literal["Cora_ML", "CiteSeer", "PubMed", "Photo", "GitHub"]

_NUM_FOLDS = 5
_SHUFFLE_SEED = 101  # of the folds, the same for all runs
_VAL_SEED = 127  # times the fold: of the validation nodes
_FAMILIES: dict[str, Literal["amazon", "citation_full"]] = {
    "Cora_ML": "citation_full",
    "CiteSeer": "citation_full",
    "PubMed": "citation_full",
    "Photo": "amazon",
}


def split_by_fold(y: Tensor, *, fold: int, num_folds: int = _NUM_FOLDS) -> Split:
    """Test on one fold of the nodes, validate on a fifth of the others, train on the rest.

    With five folds 64 % train, 16 % val, 20 % test. The folds are scikit-learn's ``KFold``,
    shuffled by seed 101, and the validation nodes its ``train_test_split`` with seed 127 times the
    fold, as in ForwardGNN (arXiv 2403.11004).

    Args:
        y: Class of each node ``[N]``; nodes with -1 are in no split.
        fold: Which fold is the test, ``0 .. num_folds - 1``. Every node is in that of one fold.
        num_folds: Number of folds.

    Raises:
        ValueError: There is no such fold, or there are too few nodes.
    """
    from sklearn.model_selection import KFold, train_test_split

    nodes = (y >= 0).nonzero()[:, 0].cpu().numpy()
    if not 2 <= num_folds <= len(nodes) // 2:
        raise ValueError(
            f"split_by_fold: num_folds must be in 2 .. {len(nodes) // 2}, two of the {len(nodes)} "
            f"labelled nodes in each, got {num_folds}"
        )
    if not 0 <= fold < num_folds:
        raise ValueError(f"split_by_fold: fold must be in 0 .. {num_folds - 1}, got {fold}")
    folds = KFold(num_folds, shuffle=True, random_state=_SHUFFLE_SEED)
    others, tested = list(folds.split(nodes))[fold]
    parts = train_test_split(others, test_size=0.2, random_state=_VAL_SEED * fold)
    return Split(*(torch.from_numpy(nodes[part]).sort().values for part in (*parts, tested)))


def five_folds(
    name: FoldedGraph,
    *,
    seed: int = 0,
    normalize: bool = True,
    sparse: bool = True,
    root: str | None = None,
    download: bool = False,
) -> NodeData:
    """A graph of ForwardGNN (arXiv 2403.11004) with a fifth of its nodes to test, by the seed.

    The published numbers are means over seeds 0 to 4, which together test every node once.

    ======== ====== ============== ======== =======
    name      nodes directed edges features classes
    ======== ====== ============== ======== =======
    Cora_ML   2,995         16,316    2,879       7
    CiteSeer  4,230         10,674      602       6
    PubMed   19,717         88,648      500       3
    Photo     7,650        238,162      745       8
    GitHub   37,700        578,006      128       2
    ======== ====== ============== ======== =======

    Args:
        name: Which graph: the first three are :func:`~graphseq.graph.data.citation_full`'s, which
            are not Planetoid's; Photo is :func:`~graphseq.graph.data.amazon`'s, GitHub is
            :func:`~graphseq.graph.data.github`'s.
        seed: The fold to test on, 0 .. 4, see :func:`split_by_fold`.
        normalize: Scale each node's features to sum 1.
        sparse: Features as :class:`~graphseq.graph.csr.CSR` in place of a dense tensor; those of
            GitHub, of which hardly one is 0, are always dense.
        root: Data folder in place of ``GRAPHSEQ_DATA``; the files are where those functions look.
        download: Fetch a missing file into the cache folder.

    Raises:
        FileNotFoundError: The file is missing and ``download`` is False.
        ValueError: An argument is not among the choices, or the file is broken.
    """
    names = (*_FAMILIES, "GitHub")
    if name not in names:
        raise ValueError(f"five_folds: name must be one of {', '.join(names)}, got {name!r}")
    if seed not in range(_NUM_FOLDS):
        raise ValueError(
            f"five_folds: seed must be in 0 .. {_NUM_FOLDS - 1}, for it is the fold to test on, "
            f"got {seed}"
        )
    x: Tensor | CSR
    if name == "GitHub":
        path = find_github(root=root, download=download)
        x, edge_index, y = read_github(path, normalize=normalize)
    else:
        path = find_npz_graph(_FAMILIES[name], name, root=root, download=download)
        features, edge_index, y = read_npz_graph(path)
        x = as_features(features, normalize=normalize, sparse=sparse)
    return NodeData(
        x=x,
        adjacency=Adjacency.from_edge_index(edge_index, num_nodes=len(y)),
        y=y,
        **split_by_fold(y, fold=seed)._asdict(),
        num_classes=int(y.max()) + 1,
        name=name,
    )
