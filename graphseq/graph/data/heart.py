"""HeaRT: links ranked against hard candidates of their own (Li et al. 2023, arXiv 2306.10453).

Each link (a, b) has 500 candidates, half of them (a, ...) and half (..., b), chosen because several
heuristics rate them highly. They are read, never made here: what the published script writes
depends on the order of its steps, so another run gives other candidates and other scores.

The published folder has one folder per dataset. Cora, CiteSeer and PubMed come with their one split
of 85/5/10 % as text and with their features; the OGB datasets have OGB's own split, which on
ogbl-ppa is reduced to listed positions.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from graphseq.files import find, load_npy
from graphseq.graph.csr import CSR
from graphseq.graph.data.link_data import LinkData
from graphseq.graph.data.ogb import load_arrays, load_pt
from graphseq.graph.data.ogb_links import ogbl_citation2, ogbl_collab, ogbl_ddi, ogbl_ppa
from graphseq.graph.data.text_tables import read_numbers

PAGE = "https://cse.msu.edu/~shomerha/HeaRT-Data"
PLANETOID = ("Cora", "CiteSeer", "PubMed")
OGB = {
    "ogbl-collab": ogbl_collab,
    "ogbl-ppa": ogbl_ppa,
    "ogbl-citation2": ogbl_citation2,
    "ogbl-ddi": ogbl_ddi,
}
FILES = {"val": "valid", "test": "test"}

Name = Literal[
    "Cora", "CiteSeer", "PubMed", "ogbl-collab", "ogbl-ppa", "ogbl-citation2", "ogbl-ddi"
]


def heart_links(
    name: Name, *, sparse: bool = True, root: str | None = None, download: bool = False
) -> LinkData:
    """A dataset with HeaRT's candidates, scored by MRR.

    Args:
        name: Which dataset.
        sparse: Bag-of-words features as :class:`~graphseq.graph.csr.CSR` in place of a dense
            tensor; OGB's are dense anyway.
        root: Data folder in place of ``GRAPHSEQ_DATA``. HeaRT's files are in ``heart/cora``,
            ``heart/ogbl-ppa`` and so on, named as published: ``heart_valid_samples.npy`` and
            ``heart_test_samples.npy``; ``train_pos.txt``, ``valid_pos.txt``, ``test_pos.txt`` and
            ``gnn_feature``; for ogbl-ppa ``valid_samples_index.pt`` and ``test_samples_index.pt``.
        download: Fetch a missing OGB dataset into the cache folder; HeaRT's own files are not
            fetched.

    Returns:
        The data; the candidates ``[2, P, 500]`` are int32.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: The name is not among the choices, a file is broken, or files do not fit
            together.
    """
    if name in PLANETOID:
        return _planetoid(name, sparse=sparse, root=root)
    if name not in OGB:
        raise ValueError(f"heart_links: name must be in {(*PLANETOID, *OGB)}, got {name!r}")
    whole = OGB[name](root=root, download=download)
    parts: dict[str, Any] = {part: getattr(whole, part) for part in FILES}
    if name == "ogbl-ppa":
        for part, file in FILES.items():
            parts[part] = _chosen(parts[part], _find(name, f"{file}_samples_index.pt", root))
    for part in FILES:
        parts[f"{part}_negative"] = _candidates(name, part, parts[part], whole.num_nodes, root)
    return replace(whole, **parts, metric="mrr", name=f"{name} (HeaRT)")


def _planetoid(name: str, *, sparse: bool, root: str | None) -> LinkData:
    x = _features(_find(name, "gnn_feature", root))
    parts: dict[str, Any] = {
        part: _links(_find(name, f"{file}_pos.txt", root), num_nodes=len(x))
        for part, file in {"train": "train", **FILES}.items()
    }
    for part in FILES:
        parts[f"{part}_negative"] = _candidates(name, part, parts[part], len(x), root)
    features = CSR.from_dense(x) if sparse else x
    return LinkData(x=features, num_nodes=len(x), **parts, metric="mrr", name=f"{name} (HeaRT)")


def _find(name: str, file: str, root: str | None) -> Path:
    try:
        return find(f"heart/{name.lower()}/{file}", root=root)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}; HeaRT publishes it at {PAGE}") from None


def _features(path: Path) -> Tensor:
    x = load_arrays(path).get("entity_embedding")
    if not isinstance(x, Tensor) or x.dim() != 2 or not x.is_floating_point():
        raise ValueError(f"{path} holds no table of features 'entity_embedding'")
    return x.float()


def _links(path: Path, *, num_nodes: int) -> Tensor:
    """Links ``[2, P]``; lines that join a node with itself are no links."""
    pairs = torch.from_numpy(read_numbers(path, np.int64, columns=2))
    if int(pairs.min()) < 0 or int(pairs.max()) >= num_nodes:
        raise ValueError(f"{path} must hold node ids 0 .. {num_nodes - 1}, one per feature row")
    return pairs[pairs[:, 0] != pairs[:, 1]].t().contiguous()


def _chosen(links: Tensor, path: Path) -> Tensor:
    """The links at the listed positions."""
    index = torch.as_tensor(load_pt(path))
    if index.is_floating_point() or index.dim() != 1 or not index.numel():
        raise ValueError(f"{path} holds no list of positions")
    if int(index.min()) < 0 or int(index.max()) >= links.shape[1]:
        raise ValueError(f"{path} lists positions outside of 0 .. {links.shape[1] - 1}")
    return links[:, index.long()]


def _candidates(name: str, part: str, links: Tensor, num_nodes: int, root: str | None) -> Tensor:
    """``[2, P, K]`` from the published ``[P, K, 2]``."""
    path = _find(name, f"heart_{FILES[part]}_samples.npy", root)
    samples = load_npy(path)
    if samples.dtype.kind not in "iu" or samples.ndim != 3 or samples.shape[2] != 2:
        raise ValueError(f"{path} must hold whole numbers [P, K, 2], got shape {samples.shape}")
    if samples.shape[0] != links.shape[1]:
        raise ValueError(
            f"{path} has candidates for {samples.shape[0]} links, but there are {links.shape[1]} "
            f"{part} links; do all files come from the same release?"
        )
    if not samples.size or samples.min() < 0 or samples.max() >= num_nodes:
        raise ValueError(f"{path} must hold node ids 0 .. {num_nodes - 1}, one candidate or more")
    return torch.from_numpy(np.ascontiguousarray(samples.transpose(2, 0, 1), dtype=np.int32))
