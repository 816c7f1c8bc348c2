"""A user's own graph from arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from graphseq.graph.adjacency import Adjacency
from graphseq.graph.csr import CSR
from graphseq.graph.data.edges import simple_edges
from graphseq.graph.data.features import as_features
from graphseq.graph.data.node_data import NodeData
from graphseq.graph.data.splits import Split, split_by_fractions

if TYPE_CHECKING:
    from scipy.sparse import sparray, spmatrix

Nodes = Tensor | np.ndarray | Sequence[int] | Sequence[bool] | float


def graph_from_arrays(
    x: Tensor | np.ndarray | spmatrix | sparray,
    edge_index: Tensor | np.ndarray,
    y: Tensor | np.ndarray,
    *,
    train: Nodes = 0.6,
    val: Nodes = 0.2,
    test: Nodes = 0.2,
    seed: int = 0,
    directed: bool = False,
    normalize: bool = False,
    sparse: bool = False,
    num_classes: int | None = None,
    name: str = "graph",
) -> NodeData:
    """Make a node classification problem from tensors, numpy arrays or a scipy matrix.

    Args:
        x: Features, numbers of any type; they become float32.
        edge_index: Sources and targets, whole numbers. Repeated edges count once; edges from a
            node to itself stay.
        y: Class of each node, whole numbers from 0; -1 where it is not known.
        train: Training nodes as ids, as a boolean mask ``[N]``, or as a fraction of the nodes with
            a known class. If one of the three splits is a fraction, all are.
        val: Validation nodes, likewise.
        test: Test nodes, likewise.
        seed: Seed of the draw if the splits are fractions.
        directed: Keep edges as they are; otherwise each goes both ways.
        normalize: Scale each node's features to absolute sum 1.
        sparse: Store only the non-zero features.
        num_classes: Number of classes; the largest label plus one where it is None.
        name: Shown in tables and error messages.

    Shape:
        - x: ``[N, F]``
        - edge_index: ``[2, E]``
        - y: ``[N]``

    Raises:
        TypeError: An argument has the wrong dtype.
        ValueError: Shapes do not fit together, features are not finite, an edge, a label or a
            split's node is out of range, or a split is empty.
    """
    features = features_from(x, name, normalize=normalize, sparse=sparse)
    num_nodes = int(features.shape[0])
    classes = whole_numbers(y, f"{name}: y")
    if classes.shape != (num_nodes,):
        raise ValueError(
            f"{name}: y must be [{num_nodes}], one class per row of x, got shape {classes.shape}"
        )
    known = torch.from_numpy(classes)
    source, target = node_pairs(edge_index, f"{name}: edge_index")
    edges = simple_edges(source, target, num_nodes, undirected=not directed, self_loops=True)
    return NodeData(
        x=features,
        adjacency=Adjacency.from_edge_index(edges, num_nodes=num_nodes),
        y=known,
        **_split(train, val, test, known, seed, name)._asdict(),
        num_classes=int(classes.max(initial=-1)) + 1 if num_classes is None else num_classes,
        name=name,
    )


def _array(value: Any) -> np.ndarray:
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)


def features_from(x: Any, name: str, *, normalize: bool, sparse: bool) -> Tensor | CSR:
    """A caller's features as float32, checked; ``name`` stands in the errors."""
    from scipy.sparse import csr_matrix, issparse

    matrix = csr_matrix(x) if issparse(x) else _array(x)
    if matrix.dtype.kind not in "biuf":
        raise TypeError(f"{name}: x must hold real numbers, got {matrix.dtype}; convert it first")
    if matrix.ndim != 2:
        raise ValueError(f"{name}: x must be [N, F], got shape {matrix.shape}; use x.reshape(N, F)")
    bad = ~np.isfinite(matrix.data if issparse(matrix) else matrix)
    if bad.any():
        where = "" if issparse(matrix) else f", first in row {int(bad.any(axis=1).argmax())}"
        raise ValueError(
            f"{name}: x holds {int(bad.sum())} NaN or infinite values{where}; remove or fill them"
        )
    if issparse(matrix) or normalize or sparse:
        return as_features(csr_matrix(matrix), normalize=normalize, sparse=sparse)
    return torch.from_numpy(matrix.astype(np.float32))


def whole_numbers(value: Any, argument: str) -> np.ndarray:
    """A caller's whole numbers as int64; ``argument`` stands in the error."""
    array = _array(value)
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(f"{argument} must hold whole numbers, got {array.dtype}; convert it first")
    return array.astype(np.int64)


def node_pairs(value: Any, argument: str, *, lists: bool = False) -> np.ndarray:
    """A caller's pairs of nodes ``[2, E]``, with ``lists`` also ``[2, P, K]``, as int64."""
    pairs = whole_numbers(value, argument)
    if pairs.ndim < 2 or pairs.shape[0] != 2 or (pairs.ndim > 2 and not lists):
        remedy = "; pass its transpose" if pairs.ndim == 2 and pairs.shape[1] == 2 else ""
        raise ValueError(f"{argument} must be [2, E], got shape {pairs.shape}{remedy}")
    return pairs


def _split(train: Nodes, val: Nodes, test: Nodes, y: Tensor, seed: int, name: str) -> Split:
    parts = {"train": train, "val": val, "test": test}
    if isinstance(train, float) and isinstance(val, float) and isinstance(test, float):
        return split_by_fractions(y, (train, val, test), seed=seed)
    for part, nodes in parts.items():
        if isinstance(nodes, (int, float)):
            raise ValueError(
                f"{name}: {part} is the number {nodes} but another split is not a fraction; give "
                "all three as fractions such as 0.2, or all as ids or masks"
            )
    return Split(*(_node_ids(nodes, len(y), f"{name}: {part}") for part, nodes in parts.items()))


def _node_ids(nodes: Any, num_nodes: int, argument: str) -> Tensor:
    array = _array(nodes)
    if array.dtype == bool:
        if array.shape != (num_nodes,):
            raise ValueError(
                f"{argument} is a mask of shape {array.shape}, expected ({num_nodes},); give one "
                "value per node"
            )
        return torch.from_numpy(np.flatnonzero(array))
    return torch.from_numpy(whole_numbers(array, argument))
