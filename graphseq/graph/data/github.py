"""GitHub: developers who follow each other, from an npz file of edges, features and classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from graphseq.files import find, load_npz
from graphseq.graph.adjacency import Adjacency
from graphseq.graph.data.edges import simple_edges
from graphseq.graph.data.node_data import NodeData
from graphseq.graph.data.splits import split_by_fractions

URL = "https://graphmining.ai/datasets/ptg/github.npz"
_FRACTIONS = (0.64, 0.16, 0.2)
_EXACT = 1 << 53  # the whole numbers below are all exact in float64


def github(
    *, seed: int = 0, normalize: bool = True, root: str | None = None, download: bool = False
) -> NodeData:
    """Developers who follow each other, from Rozemberczki et al. 2019 (MUSAE, arXiv 1909.13021).

    37,700 nodes, 578,006 directed edges, 128 features and 2 classes (web or machine learning) in
    the file of PyG's class of this name. We have not seen that file: its hash is not known to us,
    so a download is not checked by it, and the sizes are PyG's.

    No split belongs to the graph. This one is random, 64 % train, 16 % val, 20 % test;
    :func:`~graphseq.graph.data.folds.five_folds` has the one of ForwardGNN.

    Args:
        seed: Seed of the split.
        normalize: Make all features positive and scale each node's to sum 1, see
            :func:`read_github`.
        root: Data folder in place of ``GRAPHSEQ_DATA``; the file is in ``github/raw``.
        download: Fetch a missing file into the cache folder.

    Returns:
        The graph, made undirected and simple, with dense features.

    Raises:
        FileNotFoundError: The file is missing and ``download`` is False.
        ValueError: The file is broken or its arrays do not fit together.
    """
    path = find_github(root=root, download=download)
    x, edge_index, y = read_github(path, normalize=normalize)
    return NodeData(
        x=x,
        adjacency=Adjacency.from_edge_index(edge_index, num_nodes=len(y)),
        y=y,
        **split_by_fractions(y, _FRACTIONS, seed)._asdict(),
        num_classes=int(y.max()) + 1,
        name="GitHub",
    )


def find_github(*, root: str | None = None, download: bool = False) -> Path:
    """Find the file, and fetch it if that was asked for.

    Args:
        root: Data folder in place of ``GRAPHSEQ_DATA``.
        download: Fetch a missing file into the cache folder.

    Raises:
        FileNotFoundError: The file is missing and ``download`` is False.
    """
    return find("github/raw/github.npz", root=root, url=URL, download=download)


def read_github(path: Path | str, *, normalize: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Read a file of ``edges`` ``[E, 2]``, ``features`` ``[N, F]`` and ``target`` ``[N]``.

    Args:
        path: The npz file.
        normalize: Subtract the smallest of all features, then divide each row by its sum, or by 1
            where that is larger. This is PyG's ``NormalizeFeatures``, and on features of 0 and 1
            no other than the division by the sum. These are real numbers of both signs, whose sum
            may be anywhere near 0.

    Returns:
        Dense features ``[N, F]``, ``edge_index [2, E']`` of the simple undirected graph, and the
        classes ``[N]``.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is broken or its arrays do not fit together.
    """
    arrays = load_npz(path, ("edges", "features", "target"))
    features, edges, target = arrays["features"], arrays["edges"], arrays["target"]
    _check(path, features, edges, target)
    try:
        edge_index = simple_edges(edges[:, 0], edges[:, 1], len(features))
    except ValueError as error:
        raise ValueError(f"{path}: {error}; delete the file and download it again") from error
    x = features.astype(np.float64)
    if normalize:  # in float64 and rounded once
        x -= x.min()
        x /= np.maximum(x.sum(axis=1, keepdims=True), 1)
    classes = torch.from_numpy(target.astype(np.int64))
    return torch.from_numpy(x.astype(np.float32)), edge_index, classes


def _check(path: Path | str, features: np.ndarray, edges: np.ndarray, target: np.ndarray) -> None:
    """Refuses arrays that are not what their names say."""
    remedy = "delete it and download it again"
    if features.ndim != 2 or not features.size or features.dtype.kind not in "fiu":
        raise ValueError(
            f"{path} holds features of shape {features.shape} and type {features.dtype} in place "
            f"of one row of numbers per node; {remedy}"
        )
    if not np.isfinite(features).all():
        raise ValueError(f"{path} holds NaN or infinite features; {remedy}")
    if edges.ndim != 2 or edges.shape[1] != 2 or not _whole(edges):
        raise ValueError(
            f"{path} holds edges of shape {edges.shape} and type {edges.dtype} in place of two "
            f"node ids per edge; {remedy}"
        )
    if target.shape != (len(features),) or not _whole(target) or target.min() < 0:
        raise ValueError(
            f"{path} holds a target of shape {target.shape} and type {target.dtype} in place of "
            f"one class, counted from 0, for each of {len(features)} nodes; {remedy}"
        )


def _whole(array: np.ndarray) -> bool:
    """Whether an array holds whole numbers, in whatever type the file's author chose."""
    if array.dtype.kind != "f":
        return array.dtype.kind in "biu"
    return bool(((np.abs(array) < _EXACT) & (array == np.trunc(array))).all())
