"""Cora, CiteSeer and PubMed in the Planetoid form (Yang et al. 2016, arXiv 1603.08861).

The files ``ind.NAME.*`` hold the graph. The nodes ``0 .. M - 1`` come first (``allx``, ``ally``; as
many of them as ``y`` has rows are the public training nodes), then the test nodes (``tx``, ``ty``),
whose true places are the lines of ``test.index``. In CiteSeer some places between the
smallest and the largest test node have no line: these nodes have no features, no edges and no
label, and the literature gives them class 0.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from graphseq.files import find
from graphseq.graph.adjacency import Adjacency
from graphseq.graph.data.edges import simple_edges
from graphseq.graph.data.features import as_features
from graphseq.graph.data.node_data import NodeData
from graphseq.graph.data.pickles import ArrayRecord, SparseRecord, load_pickle
from graphseq.graph.data.splits import Split, split_per_class_and_counts

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

URL = "https://github.com/kimiyoung/planetoid/raw/master/data"
PARTS = ("allx", "tx", "ally", "ty", "y", "graph", "test.index")
NUM_VAL = 500
AGAIN = "delete the files of this graph and download them again"
SHA256 = {  # of the original files; PubMed's are not known to us
    "ind.citeseer.allx": "2ac30345d95c9ec933a817ee0bdd6a5f077f8c184a20e696910192d534414668",
    "ind.citeseer.ally": "f704b2d986dde6c2669934de1f3ae5696a6cf9455c0f6b2646a2d135ea0a1c95",
    "ind.citeseer.graph": "d79a4ef9d3e7169aee8946145f6b7306e35bc79bffad26346cfb94e10e9912a7",
    "ind.citeseer.test.index": "2af990671580b6b2df5d158d1038f8292e30c9cd821b5453f399659b25b723d4",
    "ind.citeseer.tx": "539a8906a2da97628d212f2fdd668c109a8b3f0d36574b59e5d3fd5b5303da21",
    "ind.citeseer.ty": "55e5bd1ba1e733a04598753ad1a8d57957f4b8f89e74519f41f4f4938767e4ce",
    "ind.citeseer.y": "8ba87e515d8e3ee3cf52f6d2c5b86aa73f11ecad825a808455209ec26cd54924",
    "ind.cora.allx": "9419ba2f26f5c35243db64aba110e0f35a04851609e0dc5433450676ca6b8543",
    "ind.cora.ally": "2b998f5cc7fedc86e7f97ca2498f47a1ffc1462c29e2d578b23bf3f62b6e7d71",
    "ind.cora.graph": "58f13302f39dde8852dad6fe6d15b89b077b6d7f837626bce671ef80344b383d",
    "ind.cora.test.index": "297ce89af2b51a6a194181c7dbe1796c6a1cf9cd9349a88383b1b1e227867875",
    "ind.cora.tx": "b9afbaa4a400df991f6f02ef677e1e44da55ffc04801fd02f9e673987829226a",
    "ind.cora.ty": "41f5ac76596a1699cc33f53084a2419e92961c42bb75f36fc38e616d348532ad",
    "ind.cora.y": "94465c14eb53e04ca262198dcbb2521ee8af60fb3f3d546cd6ca24a511b0e7d1",
}


def planetoid(
    name: Literal["Cora", "CiteSeer", "PubMed"],
    *,
    split: Literal["public", "random"] = "public",
    seed: int = 0,
    normalize: bool = True,
    sparse: bool = True,
    root: str | None = None,
    download: bool = False,
) -> NodeData:
    """A citation graph with bag-of-words features.

    ========  ======  ==============  ========  =======
    name      nodes   directed edges  features  classes
    ========  ======  ==============  ========  =======
    Cora       2,708          10,556     1,433        7
    CiteSeer   3,327           9,104     3,703        6
    PubMed    19,717          88,648       500        3
    ========  ======  ==============  ========  =======

    Args:
        name: Which graph.
        split: ``"public"`` is the fixed split of the files: 20 training nodes per class, the next
            500 nodes to validate, 1,000 to test. ``"random"`` draws as many of each.
        seed: Seed of the random split.
        normalize: Scale each node's features to sum 1.
        sparse: Features as :class:`~graphseq.graph.csr.CSR` in place of a dense tensor.
        root: Data folder in place of ``GRAPHSEQ_DATA``; files are in ``planetoid/NAME/raw``.
        download: Fetch missing files into the cache folder.

    Raises:
        FileNotFoundError: A file is missing and ``download`` is False.
        ValueError: An argument is not among the choices, or a file is broken.
    """
    if name not in ("Cora", "CiteSeer", "PubMed"):
        raise ValueError(f"planetoid: name must be 'Cora', 'CiteSeer' or 'PubMed', got {name!r}")
    if split not in ("public", "random"):
        raise ValueError(f"planetoid: split must be 'public' or 'random', got {split!r}")
    raw = _read(_locate(name, root=root, download=download))
    if split == "public":
        nodes = torch.arange(raw.num_train + NUM_VAL)
        parts = Split(nodes[: raw.num_train], nodes[raw.num_train :], raw.test.sort().values)
    else:
        parts = split_per_class_and_counts(raw.y, num_val=NUM_VAL, seed=seed)
    return NodeData(
        x=as_features(raw.features, normalize=normalize, sparse=sparse),
        adjacency=Adjacency.from_edge_index(raw.edge_index, num_nodes=len(raw.y)),
        y=raw.y,
        **parts._asdict(),
        num_classes=raw.num_classes,
        name=name,
    )


class _Raw(NamedTuple):
    """What the files hold, rows in the order of the nodes."""

    features: csr_matrix
    y: Tensor
    num_classes: int
    edge_index: Tensor
    num_train: int
    test: Tensor


def _locate(name: str, *, root: str | None, download: bool) -> dict[str, Path]:
    files = {}
    for part in PARTS:
        file = f"ind.{name.lower()}.{part}"
        files[part] = find(
            f"planetoid/{name}/raw/{file}",
            root=root,
            url=f"{URL}/{file}",
            sha256=SHA256.get(file),
            download=download,
        )
    return files


def _read(files: dict[str, Path]) -> _Raw:
    from scipy.sparse import csr_matrix, vstack

    first = _read_features(files["allx"])
    last = _read_features(files["tx"], num_columns=first.shape[1])
    nothing = csr_matrix((1, first.shape[1]))
    first_y = _read_labels(files["ally"], num_rows=first.shape[0])
    last_y = _read_labels(files["ty"], num_rows=last.shape[0], num_columns=first_y.shape[1])
    nothing_y = np.zeros_like(first_y[:1])

    num_nodes, source, target = _read_edges(files["graph"])
    test = _read_index(files["test.index"], first.shape[0], last.shape[0], num_nodes)
    rows = _rows(num_nodes, first.shape[0], test)
    y = np.concatenate([first_y, last_y, nothing_y])[rows].argmax(axis=1)
    return _Raw(
        features=vstack([first, last, nothing], format="csr")[rows],
        y=torch.from_numpy(y.astype(np.int64)),
        num_classes=first_y.shape[1],
        edge_index=simple_edges(source, target, num_nodes),
        num_train=len(_read_labels(files["y"])),
        test=torch.from_numpy(test),
    )


def _rows(num_nodes: int, num_first: int, test: np.ndarray) -> np.ndarray:
    """Which row of (first, test, one row of zeros) belongs to each node, ``[N]``."""
    rows = np.full(num_nodes, num_first + len(test))  # nodes without a line: zeros
    rows[:num_first] = np.arange(num_first)
    rows[test] = num_first + np.arange(len(test))
    return rows


def _read_features(path: Path, *, num_columns: int | None = None) -> csr_matrix:
    record = load_pickle(path)
    if not isinstance(record, SparseRecord):
        raise ValueError(f"{path} holds no sparse matrix; {AGAIN}")
    matrix = record.matrix(path)
    if num_columns not in (None, matrix.shape[1]):
        raise ValueError(f"{path} has {matrix.shape[1]} columns, not {num_columns}; {AGAIN}")
    return matrix


def _read_labels(
    path: Path, *, num_rows: int | None = None, num_columns: int | None = None
) -> np.ndarray:
    record = load_pickle(path)
    one_hot = record.array(path) if isinstance(record, ArrayRecord) else np.zeros(0)
    if one_hot.ndim != 2:
        raise ValueError(f"{path} holds no table of labels; {AGAIN}")
    for axis, expected in enumerate((num_rows, num_columns)):
        if expected not in (None, one_hot.shape[axis]):
            raise ValueError(f"{path} is a {one_hot.shape} table that does not fit; {AGAIN}")
    return one_hot


def _read_index(path: Path, num_first: int, num_test: int, num_nodes: int) -> np.ndarray:
    """The node of each test row, ``[num_test]``."""
    try:
        index = np.array([int(line) for line in path.read_text().split()], np.int64)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{path} must hold one node id per line ({error}); {AGAIN}") from error
    inside = (index >= num_first) & (index < num_nodes)
    if len(index) != num_test or len(set(index.tolist())) != num_test or not inside.all():
        raise ValueError(
            f"{path} must hold {num_test} different node ids from {num_first} to {num_nodes - 1}; "
            + AGAIN
        )
    return index


def _read_edges(path: Path) -> tuple[int, np.ndarray, np.ndarray]:
    """Number of nodes, and the two ends of every edge."""
    neighbors = load_pickle(path)
    try:
        degree = [len(nodes) for nodes in neighbors.values()]
        source = np.repeat(np.array(list(neighbors), np.int64), degree)
        target = np.array([node for nodes in neighbors.values() for node in nodes], np.int64)
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path} holds no lists of neighbours ({error}); {AGAIN}") from error
    return len(neighbors), source, target
