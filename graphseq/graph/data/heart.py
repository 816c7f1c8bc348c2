"""HeaRT: links ranked against hard candidates of their own (Li et al. 2023, arXiv 2306.10453).

Each link (a, b) has 500 candidates, half of them (a, ...) and half (..., b), chosen because several
heuristics rate them highly. They are read, never made here: what the published script writes
depends on the order of its steps, so another run gives other candidates and other scores.

The published archive has one folder per dataset. Cora, CiteSeer and PubMed come with their one
split of 85/5/10 % as text and with their features; the OGB datasets have OGB's own split, which on
ogbl-ppa is reduced to listed positions.

Names of files and folders are those that the authors' scripts write and, in their last versions,
nearly all open: ``ogbl-ppa/heart_valid_samples.npy``. Earlier versions, and for the OGB datasets
those of NCN to the end, open ``ogbl_ppa/valid_samples.npy``; either is taken. The archive itself
has not been checked.
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

ARCHIVE = "https://cse.msu.edu/~shomerha/HeaRT-Data/dataset.tar.gz"
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
        root: Data folder in place of ``GRAPHSEQ_DATA``. HeaRT's folders are ``heart/cora``,
            ``heart/ogbl-ppa`` and so on, with ``heart_valid_samples.npy`` and
            ``heart_test_samples.npy``; for Cora, CiteSeer and PubMed ``train_pos.txt``,
            ``valid_pos.txt``, ``test_pos.txt`` and ``gnn_feature``; for ogbl-ppa
            ``valid_samples_index.pt`` and ``test_samples_index.pt``.
        download: Fetch a missing OGB dataset into the cache folder; HeaRT's own files are not
            fetched.

    Returns:
        The data; the candidates ``[2, P, 500]`` are int32.

    Raises:
        FileNotFoundError: A file is missing; the message says where it is published and belongs.
        ValueError: The name is not among the choices, a file is broken, or files do not fit
            together.
    """
    if name not in PLANETOID and name not in OGB:
        raise ValueError(f"heart_links: name must be in {(*PLANETOID, *OGB)}, got {name!r}")
    files = {file: _find(name, file, root) for file in _names(name)}
    if name in PLANETOID:
        return _planetoid(name, files, sparse=sparse)
    whole = OGB[name](root=root, download=download)
    parts: dict[str, Any] = {part: getattr(whole, part) for part in FILES}
    for part, file in FILES.items():
        if name == "ogbl-ppa":
            parts[part] = _chosen(parts[part], files[f"{file}_samples_index.pt"])
        candidates = files[f"heart_{file}_samples.npy"]
        parts[f"{part}_negative"] = _candidates(part, candidates, parts[part], whole.num_nodes)
    return replace(whole, **parts, metric="mrr", name=f"{name} (HeaRT)", official=None)


def _names(name: str) -> list[str]:
    """The files in a dataset's folder."""
    candidates = [f"heart_{file}_samples.npy" for file in FILES.values()]
    if name in PLANETOID:
        return [*candidates, "train_pos.txt", "valid_pos.txt", "test_pos.txt", "gnn_feature"]
    indices = [f"{file}_samples_index.pt" for file in FILES.values()]
    return [*candidates, *indices] if name == "ogbl-ppa" else candidates


def _find(name: str, file: str, root: str | None) -> Path:
    """The file under any of its names; the first one is what a missing file is called."""
    folder = name.lower()
    places = [f"heart/{folder}/{file}"]
    if name in OGB:
        older = folder.replace("-", "_")
        places += [f"heart/{older}/{file}", f"heart/{older}/{file.removeprefix('heart_')}"]
    errors = []
    for place in places:
        try:
            return find(place, root=root)
        except FileNotFoundError as error:
            errors.append(error)
    raise FileNotFoundError(
        f"{errors[0]}; HeaRT publishes it in {ARCHIVE}, whose folder dataset/{folder} belongs at "
        f"heart/{folder}, with {', '.join(_names(name))}"
    )


def _planetoid(name: str, files: dict[str, Path], *, sparse: bool) -> LinkData:
    x = _features(files["gnn_feature"])
    parts: dict[str, Any] = {
        part: _links(files[f"{file}_pos.txt"], num_nodes=len(x))
        for part, file in {"train": "train", **FILES}.items()
    }
    for part, file in FILES.items():
        candidates = files[f"heart_{file}_samples.npy"]
        parts[f"{part}_negative"] = _candidates(part, candidates, parts[part], len(x))
    features = CSR.from_dense(x) if sparse else x
    return LinkData(x=features, num_nodes=len(x), **parts, metric="mrr", name=f"{name} (HeaRT)")


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


def _candidates(part: str, path: Path, links: Tensor, num_nodes: int) -> Tensor:
    """``[2, P, K]`` from the published ``[P, K, 2]``."""
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
