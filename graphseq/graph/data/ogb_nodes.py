"""ogbn-arxiv: arXiv papers in computer science and their citations (Hu et al. 2020)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from graphseq.files import cached_arrays
from graphseq.graph.adjacency import Adjacency
from graphseq.graph.data.edges import simple_edges
from graphseq.graph.data.node_data import NodeData
from graphseq.graph.data.ogb import Release, load_arrays, ogb_folder, read_table

ARXIV = Release(
    name="ogbn-arxiv",
    version=1,
    url="https://snap.stanford.edu/ogb/data/nodeproppred/arxiv.zip",
    top="arxiv",
)
NUM_CLASSES = 40


def ogbn_arxiv(*, root: str | None = None, download: bool = False) -> NodeData:
    """169,343 papers with 128 features each, 40 classes, split by year of publication.

    The 1,166,243 citations are made undirected; OGB's ``valid`` is called ``val``.

    Args:
        root: Data folder in place of ``GRAPHSEQ_DATA``; the dataset is its folder ``ogbn_arxiv``
            or ``ogb/ogbn_arxiv``, as the ``ogb`` package leaves it.
        download: Fetch a missing dataset (about 80 MB) into the cache folder.

    Returns:
        The data, with dense features.

    Raises:
        FileNotFoundError: The dataset or a part of it is missing.
        ValueError: A file is broken, or the folder holds another version.
    """
    folder = ogb_folder(ARXIV, root=root, download=download)
    raw = folder / "raw"
    tables = [raw / f"{name}.csv.gz" for name in ("edge", "node-feat", "node-label")]

    # Parsing the text takes many times as long as reading the numbers back.
    arrays = cached_arrays("ogbn_arxiv-1", tables, lambda: _parse(*tables))
    x, y = torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["y"])
    edge_index = torch.from_numpy(arrays["edge_index"])
    return NodeData(
        x=x,
        adjacency=Adjacency.from_edge_index(edge_index, num_nodes=len(x)),
        y=y,
        **_read_split(folder / "split" / "time"),
        num_classes=NUM_CLASSES,
        name=ARXIV.name,
        official=ARXIV.name,
    )


def _parse(edges: Path, features: Path, labels: Path) -> dict[str, np.ndarray]:
    source, target = read_table(edges, np.int64).T
    x = read_table(features, np.float32)
    edge_index = simple_edges(source, target, len(x), self_loops=True)
    return {"x": x, "y": read_table(labels, np.int64)[:, 0], "edge_index": edge_index.numpy()}


def _read_split(folder: Path) -> dict[str, Tensor]:
    """The three parts, from whichever of OGB's two forms is there."""
    if (folder / "split_dict.pt").is_file():
        parts = load_arrays(folder / "split_dict.pt")
    else:
        parts = {
            part: torch.from_numpy(read_table(folder / f"{part}.csv.gz", np.int64)[:, 0].copy())
            for part in ("train", "valid", "test")
        }
    return {"train": parts["train"], "val": parts["valid"], "test": parts["test"]}
