"""Cora, CiteSeer and PubMed in the Planetoid form (Yang et al. 2016, arXiv 1603.08861).

Eight files ``ind.NAME.*`` hold the graph. The nodes ``0 .. M - 1`` come first (``allx``, ``ally``;
the first of them, ``x`` and ``y``, are the public training nodes), then the test nodes (``tx``,
``ty``), whose true places are the lines of ``test.index``. In CiteSeer some places between the
smallest and the largest test node have no line: these nodes have no features, no edges and no
label, and the literature gives them class 0.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from graphseq.files import find
from graphseq.graph.adjacency import Adjacency
from graphseq.graph.data.edges import simple_edges
from graphseq.graph.data.features import as_features
from graphseq.graph.data.node_data import NodeData
from graphseq.graph.data.pickles import SparseRecord, load_pickle
from graphseq.graph.data.splits import Split, split_per_class_and_counts

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

URL = "https://github.com/kimiyoung/planetoid/raw/master/data"
PARTS = ("x", "tx", "allx", "y", "ty", "ally", "graph", "test.index")
NUM_VAL = 500
SHA256 = {  # of the original files; PubMed's are not known to us
    "ind.citeseer.allx": "2ac30345d95c9ec933a817ee0bdd6a5f077f8c184a20e696910192d534414668",
    "ind.citeseer.ally": "f704b2d986dde6c2669934de1f3ae5696a6cf9455c0f6b2646a2d135ea0a1c95",
    "ind.citeseer.graph": "d79a4ef9d3e7169aee8946145f6b7306e35bc79bffad26346cfb94e10e9912a7",
    "ind.citeseer.test.index": "2af990671580b6b2df5d158d1038f8292e30c9cd821b5453f399659b25b723d4",
    "ind.citeseer.tx": "539a8906a2da97628d212f2fdd668c109a8b3f0d36574b59e5d3fd5b5303da21",
    "ind.citeseer.ty": "55e5bd1ba1e733a04598753ad1a8d57957f4b8f89e74519f41f4f4938767e4ce",
    "ind.citeseer.x": "d20de19150741e555de0ed037195630fc194114ebc7fd72ced62810148aa22f6",
    "ind.citeseer.y": "8ba87e515d8e3ee3cf52f6d2c5b86aa73f11ecad825a808455209ec26cd54924",
    "ind.cora.allx": "9419ba2f26f5c35243db64aba110e0f35a04851609e0dc5433450676ca6b8543",
    "ind.cora.ally": "2b998f5cc7fedc86e7f97ca2498f47a1ffc1462c29e2d578b23bf3f62b6e7d71",
    "ind.cora.graph": "58f13302f39dde8852dad6fe6d15b89b077b6d7f837626bce671ef80344b383d",
    "ind.cora.test.index": "297ce89af2b51a6a194181c7dbe1796c6a1cf9cd9349a88383b1b1e227867875",
    "ind.cora.tx": "b9afbaa4a400df991f6f02ef677e1e44da55ffc04801fd02f9e673987829226a",
    "ind.cora.ty": "41f5ac76596a1699cc33f53084a2419e92961c42bb75f36fc38e616d348532ad",
    "ind.cora.x": "23cfa55d91c6f624233f5eb7b6e3f141f1bd2b2ae39608a63cf5d084bb27baab",
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
    from scipy.sparse import csr_matrix, vstack

    files = {}
    for part in PARTS:
        file = f"ind.{name.lower()}.{part}"
        place = f"planetoid/{name}/raw/{file}"
        files[part] = find(
            place, root=root, url=f"{URL}/{file}", sha256=SHA256.get(file), download=download
        )
    first, last = _read_features(files["allx"]), _read_features(files["tx"])
    one_hot = _read_labels(files["ally"]), _read_labels(files["ty"])
    num_nodes, source, target = _read_edges(files["graph"])
    test = _read_index(files["test.index"], first.shape[0], last.shape[0], num_nodes)
    rows = _rows(num_nodes, first.shape[0], test)
    y = np.concatenate([*one_hot, np.zeros_like(one_hot[0][:1])])[rows].argmax(axis=1)
    y = torch.from_numpy(y.astype(np.int64))
    edge_index = simple_edges(source, target, num_nodes)
    if split == "public":
        num_train = _read_labels(files["y"]).shape[0]
        nodes = torch.arange(num_train + NUM_VAL)
        parts = Split(nodes[:num_train], nodes[num_train:], torch.from_numpy(np.sort(test)))
    else:
        parts = split_per_class_and_counts(y, num_val=NUM_VAL, seed=seed)
    features = vstack([first, last, csr_matrix((1, first.shape[1]))], format="csr")[rows]
    return NodeData(
        x=as_features(features, normalize=normalize, sparse=sparse),
        adjacency=Adjacency.from_edge_index(edge_index, num_nodes=num_nodes),
        y=y,
        **parts._asdict(),
        num_classes=one_hot[0].shape[1],
        name=name,
    )


def _rows(num_nodes: int, num_first: int, test: np.ndarray) -> np.ndarray:
    """Which row of (first, test, one row of zeros) belongs to each node, ``[N]``."""
    rows = np.full(num_nodes, num_first + len(test))  # nodes without a line: zeros
    rows[:num_first] = np.arange(num_first)
    rows[test] = num_first + np.arange(len(test))
    return rows


def _read_features(path: Path) -> csr_matrix:
    record = load_pickle(path)
    if not isinstance(record, SparseRecord):
        raise ValueError(f"{path} holds no sparse matrix; delete it and download it again")
    return record.matrix(path)


def _read_labels(path: Path) -> np.ndarray:
    one_hot = load_pickle(path)
    if not isinstance(one_hot, np.ndarray) or one_hot.ndim != 2:
        raise ValueError(f"{path} holds no table of labels; delete it and download it again")
    return one_hot


def _read_index(path: Path, num_first: int, num_test: int, num_nodes: int) -> np.ndarray:
    """The node of each test row, ``[num_test]``."""
    try:
        index = np.array([int(line) for line in path.read_text().split()], np.int64)
    except ValueError as error:
        raise ValueError(f"{path} must hold one node id per line ({error})") from error
    inside = (index >= num_first) & (index < num_nodes)
    if len(index) != num_test or len(set(index.tolist())) != num_test or not inside.all():
        raise ValueError(
            f"{path} must hold {num_test} different node ids from {num_first} to {num_nodes - 1}; "
            "delete all files of this graph and download them again"
        )
    return index


def _read_edges(path: Path) -> tuple[int, np.ndarray, np.ndarray]:
    """Number of nodes, and the two ends of every edge."""
    neighbors = load_pickle(path)
    if not isinstance(neighbors, dict):
        raise ValueError(f"{path} holds no lists of neighbours; delete it and download it again")
    degree = [len(nodes) for nodes in neighbors.values()]
    source = np.repeat(np.array(list(neighbors), np.int64), degree)
    target = np.array([node for nodes in neighbors.values() for node in nodes], np.int64)
    return len(neighbors), source, target
