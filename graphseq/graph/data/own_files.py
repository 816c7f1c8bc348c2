"""A user's own graph from an edge list, a file of features and a file of labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from graphseq.files import load_npy, load_npz
from graphseq.graph.data.node_data import NodeData
from graphseq.graph.data.own_graph import Nodes, graph_from_arrays
from graphseq.graph.data.text_tables import line_of_row, read_numbers, read_words

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

PARTS = ("train", "val", "test")


def graph_from_files(
    *,
    edges: Path | str,
    features: Path | str,
    labels: Path | str,
    split: Path | str | tuple[float, float, float] = (0.6, 0.2, 0.2),
    seed: int = 0,
    directed: bool = False,
    normalize: bool = False,
    sparse: bool = False,
    num_classes: int | None = None,
    name: str | None = None,
) -> NodeData:
    """Read a node classification problem from files. Nodes are numbered from 0.

    Text files may have commas or spaces between numbers, a header, ``#`` comments, and may be
    gzipped (``.csv.gz``).

    Args:
        edges: Text with two node ids per line, source and target, or an npy array ``[2, E]``.
        features: Text with one line of numbers per node, an npy array ``[N, F]``, or an npz file:
            either one array ``[N, F]`` or what ``scipy.sparse.save_npz`` writes.
        labels: Text with one class per line, or an npy array ``[N]``; whole numbers from 0, and -1
            where the class is not known.
        split: Fractions of train, val and test, or a file: text with one of the words ``train``,
            ``val``, ``test``, ``none`` per node, or an npz file of three arrays ``train``, ``val``,
            ``test`` (ids or masks).
        seed: Seed of the draw if the split is given as fractions.
        directed: Keep edges as they are; otherwise each goes both ways.
        normalize: Scale each node's features to absolute sum 1.
        sparse: Store only the non-zero features.
        num_classes: Number of classes; the largest label plus one where it is None.
        name: Shown in tables; the name of the edge file where it is None.

    Raises:
        FileNotFoundError: A file is missing.
        TypeError: An array has the wrong dtype.
        ValueError: A file is broken or its content does not fit; the message names the file and,
            for text, the line.
    """
    x = read_features(existing(features, "graph_from_files: features"))
    pairs = read_edges(existing(edges, "graph_from_files: edges"), num_nodes=x.shape[0])
    y = _read_labels(labels, num_nodes=x.shape[0])
    train, val, test = _read_split(split, num_nodes=x.shape[0])
    return graph_from_arrays(
        x,
        pairs,
        y,
        train=train,
        val=val,
        test=test,
        seed=seed,
        directed=directed,
        normalize=normalize,
        sparse=sparse,
        num_classes=num_classes,
        name=name or stem_of(edges),
    )


def stem_of(path: Path | str) -> str:
    """The name of a file without its endings: ``graph`` of ``data/graph.csv.gz``."""
    return Path(path).name.partition(".")[0]


def existing(path: Path | str, argument: str) -> Path:
    """The path of a file that is there; ``argument`` says in the error who names it."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{argument} names {path}, which is no file")
    return path


def read_features(path: Path) -> np.ndarray | csr_matrix:
    """One row of numbers per node, from text, npy or npz.

    Raises:
        ValueError: The file is broken, or holds NaN or infinity; the message names it and the line
            of a text, the row of an array.
    """
    x = _read_any_features(path)
    values = x if isinstance(x, np.ndarray) else x.data
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return x
    first = np.argwhere(~np.isfinite(values))[0][0]
    if not isinstance(x, np.ndarray):  # a place among the stored values
        first = np.searchsorted(x.indptr, first, side="right") - 1
    text = path.suffix not in (".npy", ".npz")
    place = f"line {line_of_row(path, int(first))}" if text else f"row {int(first)} of x"
    raise ValueError(f"{path}, {place}: a feature is NaN or infinite; remove or fill it")


def _read_any_features(path: Path) -> np.ndarray | csr_matrix:
    if path.suffix == ".npy":
        return load_npy(path)
    if path.suffix != ".npz":
        return read_numbers(path, np.float32)
    from scipy.sparse import csr_matrix

    arrays = load_npz(path)
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    try:
        parts = (arrays["data"], arrays["indices"], arrays["indptr"])
        matrix = csr_matrix(parts, shape=tuple(arrays["shape"].tolist()))
        matrix.check_format(full_check=True)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} holds no csr matrix ({error}); save it with save_npz") from error
    return matrix


def read_edges(path: Path, *, num_nodes: int | None = None) -> np.ndarray:
    """Pairs of node ids ``[2, E]`` from text or npy; text is checked, with errors naming the line.

    Args:
        path: The file.
        num_nodes: Number of rows of the features; None where there are none.

    Raises:
        ValueError: The file is broken, or a line holds a node id that cannot be.
    """
    if path.suffix == ".npy":
        return load_npy(path)
    pairs = read_numbers(path, np.int64, columns=2)
    end = np.inf if num_nodes is None else num_nodes
    outside = ((pairs < 0) | (pairs >= end)).any(axis=1)
    if outside.any():
        row = int(outside.argmax())
        rule = "node ids count from 0"
        if num_nodes is not None:
            rule = f"the features have {num_nodes} rows; node ids go from 0 to {num_nodes - 1}"
        raise ValueError(
            f"{path}, line {line_of_row(path, row)}: edge {pairs[row, 0]} -> {pairs[row, 1]}, but "
            + rule
        )
    return pairs.T


def _read_labels(labels: Path | str, *, num_nodes: int) -> np.ndarray:
    path = existing(labels, "graph_from_files: labels")
    if path.suffix == ".npy":
        y = load_npy(path)
    else:
        y = read_numbers(path, np.int64, columns=1)[:, 0]
    if y.shape != (num_nodes,):
        raise ValueError(
            f"{path} holds labels of shape {y.shape}, but the features have {num_nodes} rows; "
            "give one class per node"
        )
    return y


def _read_split(
    split: Path | str | Sequence[float], *, num_nodes: int
) -> tuple[Nodes, Nodes, Nodes]:
    if not isinstance(split, Path | str):
        if len(split) != 3:
            raise ValueError(f"graph_from_files: split must be a file or 3 fractions, got {split}")
        return split[0], split[1], split[2]
    path = existing(split, "graph_from_files: split")
    if path.suffix == ".npz":
        arrays = load_npz(path, PARTS)
        return arrays["train"], arrays["val"], arrays["test"]
    lines = read_words(path)
    for line, word in lines:
        if word not in (*PARTS, "none"):
            raise ValueError(f"{path}, line {line}: {word!r} is not train, val, test or none")
    if len(lines) != num_nodes:
        raise ValueError(f"{path} has {len(lines)} lines, expected one per node: {num_nodes}")
    words = np.array([word for _, word in lines])
    return words == "train", words == "val", words == "test"
