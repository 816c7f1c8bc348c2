"""The pairs in an OGB link prediction split, from whichever of its forms is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphseq.graph.data.ogb import load_arrays

_OURS = {"train": "train", "valid": "val", "test": "test"}
_WHOLE = "split_dict.pt"


def read_pairs(folder: Path) -> dict[str, Any]:
    """Read a folder such as ``split/time``.

    It holds ``train.pt``, ``valid.pt`` and ``test.pt``, or all three in ``split_dict.pt``. A part
    has its links as ``edge [P, 2]``, or as ``source_node [P]`` and ``target_node [P]``; the pairs
    they are ranked against as ``edge_neg [M, 2]``, or as ``target_node_neg [P, K]``, K other
    targets for each source. Training links may have a ``weight`` and a ``year``.

    Args:
        folder: The folder.

    Returns:
        What :class:`~graphseq.graph.data.LinkData` takes: ``train``, ``val``, ``val_negative``,
        ``test``, ``test_negative``, and ``train_weight`` and ``train_year`` where they are known.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A file is broken, or its content has another form.
    """
    whole = load_arrays(folder / _WHOLE) if (folder / _WHOLE).is_file() else {}
    found: dict[str, Tensor] = {}
    for theirs, ours in _OURS.items():  # one after the other: citation2's take 0.7 GB each
        path = folder / (_WHOLE if whole else f"{theirs}.pt")
        part = whole.get(theirs) if whole else load_arrays(path)
        if not isinstance(part, dict):
            raise ValueError(f"{path} holds no dict of arrays {theirs!r}; is it a split file?")
        found[ours] = _links(part, path)
        if ours != "train":
            found[f"{ours}_negative"] = _negatives(part, found[ours], path)
            continue
        for key in ("weight", "year"):
            if key in part:
                found[f"train_{key}"] = _tensor(part, key, path, dims=1)
    return found


def _links(part: dict[str, Any], path: Path) -> Tensor:
    """``[2, P]``."""
    if "edge" in part:
        return _transposed(part, "edge", path)
    ends = [_tensor(part, key, path, dims=1) for key in ("source_node", "target_node")]
    if ends[0].shape != ends[1].shape:
        raise ValueError(
            f"{path} holds {len(ends[0])} source nodes and {len(ends[1])} target nodes; delete it "
            "and download it again"
        )
    return torch.stack(ends)


def _negatives(part: dict[str, Any], links: Tensor, path: Path) -> Tensor:
    """``[2, M]`` or, in int32, ``[2, P, K]``."""
    if "edge_neg" in part:
        return _transposed(part, "edge_neg", path)
    targets = _tensor(part, "target_node_neg", path, dims=2)
    if len(targets) != links.shape[1]:
        raise ValueError(
            f"{path} holds other targets for {len(targets)} of {links.shape[1]} links; delete it "
            "and download it again"
        )
    negatives = torch.empty((2, *targets.shape), dtype=torch.int32)
    negatives[0] = links[0][:, None]
    negatives[1] = targets
    return negatives


def _transposed(part: dict[str, Any], key: str, path: Path) -> Tensor:
    pairs = _tensor(part, key, path, dims=2)
    if pairs.shape[1] != 2:
        raise ValueError(f"{path}: {key} must be [P, 2], got shape {tuple(pairs.shape)}")
    return pairs.t().contiguous()


def _tensor(part: dict[str, Any], key: str, path: Path, *, dims: int) -> Tensor:
    """One array of whole numbers, in memory of its own."""
    array = part.get(key)
    if isinstance(array, np.ndarray):  # inside split_dict.pt
        array = torch.tensor(array)
    if not isinstance(array, Tensor) or array.dim() != dims or array.is_floating_point():
        raise ValueError(f"{path} holds no {dims}-dimensional whole numbers {key!r}")
    return array.long()
