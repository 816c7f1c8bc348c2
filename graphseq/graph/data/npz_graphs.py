"""Graphs kept as npz files of two sparse matrices: Amazon, Coauthor, CitationFull.

A file holds the adjacency (``adj_data``, ``adj_indices``, ``adj_indptr``, ``adj_shape``), the
features (``attr_*`` alike) and ``labels``. As in the literature, the graph is made undirected, self
loops and repeated edges are dropped, and the features become 1 where they are positive.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from graphseq.files import find, load_npz
from graphseq.graph.adjacency import Adjacency
from graphseq.graph.data.edges import simple_edges
from graphseq.graph.data.features import as_features
from graphseq.graph.data.node_data import NodeData
from graphseq.graph.data.splits import Component, split_component

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

SHCHUR = "https://github.com/shchur/gnn-benchmark/raw/master/data/npz"
BOJCHEVSKI = "https://github.com/abojchevski/graph2gauss/raw/master/data"
AMAZON = {"Computers": "amazon_electronics_computers", "Photo": "amazon_electronics_photo"}
COAUTHOR = {"CS": "ms_academic_cs", "Physics": "ms_academic_phy"}
CITATION_FULL = {name: name.lower() for name in ("Cora", "Cora_ML", "CiteSeer", "DBLP", "PubMed")}
_FAMILIES = {  # function: its graphs' files, their address, their place below a data folder
    "amazon": (AMAZON, SHCHUR, "amazon/{name}/raw/{stem}.npz"),
    "coauthor": (COAUTHOR, SHCHUR, "coauthor/{name}/raw/{stem}.npz"),
    "citation_full": (CITATION_FULL, BOJCHEVSKI, "citationfull/{stem}/raw/{stem}.npz"),
}
SHA256 = {  # of the original files; those of CitationFull's other three are not known to us
    "amazon_electronics_computers": (
        "498b98144761c1592e7ba7c127637ffbfdda088ec2ca9cf4d431d6dabbb84d5d"
    ),
    "amazon_electronics_photo": "4f552b0f6631b465c417b05db89d9d280fa7d01061b89fcc4602d88dd82ed22d",
    "ms_academic_cs": "68fa28e570b9abf8f0e890fbd446d03f052ba2a757e5e5853ec3b546eee9aef6",
    "ms_academic_phy": "3da759527a8d4f316f24edf55c4f998850b1b10d53f06cb817e9278593395916",
    "citeseer": "1b64c204131ade5d4d523fb89ed863408380a4a178c78d85b034699aa8124c84",
    "cora_ml": "aa5e4e81a9f97c90a40d1b86add3256e1124353275dc806236054e35fde53cdf",
}


def amazon(
    name: Literal["Computers", "Photo"],
    *,
    lcc: Component | None = "fixed",
    seed: int = 0,
    normalize: bool = True,
    sparse: bool = True,
    root: str | None = None,
    download: bool = False,
) -> NodeData:
    """Products bought together, from Shchur et al. 2018 (arXiv 1811.05868).

    Computers has 13,752 nodes, 491,722 directed edges, 767 features and 10 classes; Photo has
    7,650, 238,162, 745 and 8. Neither is connected, so the choice of ``lcc`` matters.

    Args:
        name: Which graph.
        lcc: Draw the splits (20 nodes per class to train, 30 to validate, the rest to test) inside
            the largest connected component, correctly (``"fixed"``) or as DAGNN's authors did
            (``"paper"``), or from all nodes (None). The graph itself is always whole.
        seed: Seed of the split.
        normalize: Scale each node's features to sum 1.
        sparse: Features as :class:`~graphseq.graph.csr.CSR` in place of a dense tensor.
        root: Data folder in place of ``GRAPHSEQ_DATA``; the file is in ``amazon/NAME/raw``.
        download: Fetch a missing file into the cache folder.

    Raises:
        FileNotFoundError: The file is missing and ``download`` is False.
        ValueError: An argument is not among the choices, or the file is broken.
    """
    path = find_npz_graph("amazon", name, root=root, download=download)
    return _node_data(path, name, lcc=lcc, seed=seed, normalize=normalize, sparse=sparse)


def coauthor(
    name: Literal["CS", "Physics"],
    *,
    lcc: Component | None = "fixed",
    seed: int = 0,
    normalize: bool = True,
    sparse: bool = True,
    root: str | None = None,
    download: bool = False,
) -> NodeData:
    """Authors who wrote together, from Shchur et al. 2018 (arXiv 1811.05868).

    CS has 18,333 nodes, 163,788 directed edges, 6,805 features and 15 classes; Physics has 34,493,
    495,924, 8,415 and 5. Both are connected: every choice of ``lcc`` draws the same splits.

    Args:
        name: Which graph.
        lcc: See :func:`amazon`.
        seed: Seed of the split: 20 nodes per class to train, 30 to validate, the rest to test.
        normalize: Scale each node's features to sum 1.
        sparse: Features as :class:`~graphseq.graph.csr.CSR` in place of a dense tensor.
        root: Data folder in place of ``GRAPHSEQ_DATA``; the file is in ``coauthor/NAME/raw``.
        download: Fetch a missing file into the cache folder.

    Raises:
        FileNotFoundError: The file is missing and ``download`` is False.
        ValueError: An argument is not among the choices, or the file is broken.
    """
    path = find_npz_graph("coauthor", name, root=root, download=download)
    return _node_data(path, name, lcc=lcc, seed=seed, normalize=normalize, sparse=sparse)


def citation_full(
    name: Literal["Cora", "Cora_ML", "CiteSeer", "DBLP", "PubMed"],
    *,
    lcc: Component | None = None,
    seed: int = 0,
    normalize: bool = True,
    sparse: bool = True,
    root: str | None = None,
    download: bool = False,
) -> NodeData:
    """Whole citation graphs, from Bojchevski and Guennemann 2018 (arXiv 1707.03815).

    They are other graphs than Planetoid's: Cora_ML has 2,995 nodes, 16,316 directed edges, 2,879
    features and 7 classes; this CiteSeer has 4,230, 10,674, 602 and 6.

    Args:
        name: Which graph.
        lcc: See :func:`amazon`.
        seed: Seed of the split: 20 nodes per class to train, 30 to validate, the rest to test.
        normalize: Scale each node's features to sum 1.
        sparse: Features as :class:`~graphseq.graph.csr.CSR` in place of a dense tensor.
        root: Data folder in place of ``GRAPHSEQ_DATA``; the file is in ``citationfull/name/raw``,
            with the name in small letters.
        download: Fetch a missing file into the cache folder.

    Raises:
        FileNotFoundError: The file is missing and ``download`` is False.
        ValueError: An argument is not among the choices, the file is broken, or a class has too
            few nodes for the split.
    """
    path = find_npz_graph("citation_full", name, root=root, download=download)
    return _node_data(path, name, lcc=lcc, seed=seed, normalize=normalize, sparse=sparse)


def find_npz_graph(
    family: Literal["amazon", "coauthor", "citation_full"],
    name: str,
    *,
    root: str | None = None,
    download: bool = False,
) -> Path:
    """Find a graph's file, and fetch it if that was asked for.

    Args:
        family: The function that returns the graph.
        name: Which of its graphs.
        root: Data folder in place of ``GRAPHSEQ_DATA``.
        download: Fetch a missing file into the cache folder.

    Raises:
        FileNotFoundError: The file is missing and ``download`` is False.
        ValueError: The family has no such graph.
    """
    stems, address, place = _FAMILIES[family]
    if name not in stems:
        raise ValueError(f"{family}: name must be one of {', '.join(stems)}, got {name!r}")
    stem = stems[name]
    return find(
        place.format(name=name, stem=stem),
        root=root,
        url=f"{address}/{stem}.npz",
        sha256=SHA256.get(stem),
        download=download,
    )


def read_npz_graph(path: Path | str) -> tuple[csr_matrix, Tensor, Tensor]:
    """Read one file of the form described above.

    Args:
        path: The npz file.

    Returns:
        Binary features ``[N, F]``, ``edge_index [2, E]`` of the simple undirected graph, and the
        classes ``[N]``.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is broken or its arrays do not fit together.
    """
    parts = ("data", "indices", "indptr", "shape")
    names = [f"{matrix}_{part}" for matrix in ("adj", "attr") for part in parts]
    arrays = load_npz(path, [*names, "labels"])
    edges = _matrix(arrays, "adj", path).tocoo()
    features = _matrix(arrays, "attr", path)
    if edges.shape[0] != edges.shape[1] or features.shape[0] != edges.shape[0]:
        raise ValueError(
            f"{path} pairs a {edges.shape} adjacency with {features.shape} features; delete it and "
            "download it again"
        )
    if arrays["labels"].shape != (features.shape[0],):
        raise ValueError(
            f"{path} holds labels of shape {arrays['labels'].shape} for {features.shape[0]} nodes; "
            "delete it and download it again"
        )
    features.data = (features.data > 0).astype(np.float32)
    edge_index = simple_edges(edges.row, edges.col, edges.shape[0])
    return features, edge_index, torch.from_numpy(arrays["labels"].astype(np.int64))


def _matrix(arrays: dict[str, np.ndarray], kind: str, path: Path | str) -> csr_matrix:
    from scipy.sparse import csr_matrix

    data, indices, indptr, shape = (
        arrays[f"{kind}_{part}"] for part in ("data", "indices", "indptr", "shape")
    )
    try:
        matrix = csr_matrix((data, indices, indptr), shape=tuple(shape.tolist()))
        matrix.check_format(full_check=True)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{path} holds a damaged {kind} matrix ({error}); delete it and download it again"
        ) from error
    return matrix


def _node_data(
    path: Path, name: str, *, lcc: Component | None, seed: int, normalize: bool, sparse: bool
) -> NodeData:
    features, edge_index, y = read_npz_graph(path)
    adjacency = Adjacency.from_edge_index(edge_index, num_nodes=features.shape[0])
    return NodeData(
        x=as_features(features, normalize=normalize, sparse=sparse),
        adjacency=adjacency,
        y=y,
        **split_component(y, adjacency, lcc=lcc, seed=seed)._asdict(),
        num_classes=int(y.max()) + 1,
        name=name,
    )
