"""The Open Graph Benchmark's link prediction datasets (Hu et al. 2020, arXiv 2005.00687).

The training links are the graph, so only the splits and the node features are read. Features are
text, and kept in the cache once parsed. Splits are binary and read anew each time: to check and
read a copy in the cache takes half as long at best (ogbl-citation2), and 2 GB of disk.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from graphseq.files import cached_arrays
from graphseq.graph.data.link_data import LinkData
from graphseq.graph.data.ogb import Release, ogb_folder, read_table
from graphseq.graph.data.ogb_pairs import read_pairs

URL = "https://snap.stanford.edu/ogb/data/linkproppred"
DDI = Release(name="ogbl-ddi", version=1, url=f"{URL}/ddi.zip", top="ddi")
COLLAB = Release(name="ogbl-collab", version=1, url=f"{URL}/collab.zip", top="collab")
PPA = Release(name="ogbl-ppa", version=1, url=f"{URL}/ppassoc.zip", top="ppassoc")
CITATION2 = Release(
    name="ogbl-citation2", version=1, url=f"{URL}/citation-v2.zip", top="citation-v2"
)
NUM_SPECIES = 58  # in ogbl-ppa


def ogbl_ddi(*, root: str | None = None, download: bool = False) -> LinkData:
    """4,267 drugs and 1,334,889 interactions between them, split by the protein they act on.

    There are no features: every drug has a row of an embedding table. The table has one row more
    than there are drugs, which nobody uses: so it has in the published 1,412,098 parameters of NCN.

    Args:
        root: Data folder in place of ``GRAPHSEQ_DATA``; the dataset is its folder ``ogbl_ddi`` or
            ``ogb/ogbl_ddi``, as the ``ogb`` package leaves it.
        download: Fetch a missing dataset (about 47 MB) into the cache folder.

    Raises:
        FileNotFoundError: The dataset or a part of it is missing.
        ValueError: A file is broken, or the folder holds another version.
    """
    folder = ogb_folder(DDI, root=root, download=download)
    num_nodes = int(read_table(folder / "raw" / "num-node-list.csv.gz", np.int64)[0, 0])
    return LinkData(
        x=None,
        num_nodes=num_nodes,
        **read_pairs(folder / "split" / "target"),
        metric="hits@20",
        name=DDI.name,
        num_embeddings=num_nodes + 1,
        multigraph=True,  # as OGB lists them
        official=DDI.name,
    )


def ogbl_collab(*, root: str | None = None, download: bool = False) -> LinkData:
    """235,868 authors and who wrote with whom, split by year; 128 features (mean word vectors).

    The same two authors are a training link once for every year in which they wrote together;
    ``train_year`` says which, and ``train_weight`` how many papers.

    Args:
        root: Data folder in place of ``GRAPHSEQ_DATA``; the dataset is its folder ``ogbl_collab``
            or ``ogb/ogbl_collab``, as the ``ogb`` package leaves it.
        download: Fetch a missing dataset (about 120 MB) into the cache folder.

    Raises:
        FileNotFoundError: The dataset or a part of it is missing.
        ValueError: A file is broken, or the folder holds another version.
    """
    folder = ogb_folder(COLLAB, root=root, download=download)
    return _with_features(COLLAB, folder, "time", "hits@50")


def ogbl_ppa(*, root: str | None = None, download: bool = False) -> LinkData:
    """576,289 proteins of 58 species and 30,326,273 associations, split by how they were found.

    A protein's feature is its species, the row of an embedding table that it uses.

    Args:
        root: Data folder in place of ``GRAPHSEQ_DATA``; the dataset is its folder ``ogbl_ppa`` or
            ``ogb/ogbl_ppa``, as the ``ogb`` package leaves it.
        download: Fetch a missing dataset (about 180 MB) into the cache folder.

    Raises:
        FileNotFoundError: The dataset or a part of it is missing.
        ValueError: A file is broken, or the folder holds another version.
    """
    folder = ogb_folder(PPA, root=root, download=download)
    return _with_features(PPA, folder, "throughput", "hits@100", num_embeddings=NUM_SPECIES)


def ogbl_citation2(*, root: str | None = None, download: bool = False) -> LinkData:
    """2,927,963 papers and 30,561,187 citations, split by year; 128 features (mean word vectors).

    Each citation to be found is ranked against 1,000 other papers that the same paper might cite.
    Citations are kept as (citing, cited); the graph is undirected, as every loader's here is.

    Args:
        root: Data folder in place of ``GRAPHSEQ_DATA``; the dataset is its folder
            ``ogbl_citation2`` or ``ogb/ogbl_citation2``, as the ``ogb`` package leaves it.
        download: Fetch a missing dataset (about 2.2 GB) into the cache folder.

    Returns:
        The data; the negatives are int32, 0.7 GB for each of val and test.

    Raises:
        FileNotFoundError: The dataset or a part of it is missing.
        ValueError: A file is broken, or the folder holds another version.
    """
    folder = ogb_folder(CITATION2, root=root, download=download)
    return _with_features(CITATION2, folder, "time", "mrr")


def _with_features(
    release: Release, folder: Path, scheme: str, metric: str, num_embeddings: int | None = None
) -> LinkData:
    """The split ``scheme`` with the node features, which are one-hot where embeddings are given."""
    table = folder / "raw" / "node-feat.csv.gz"

    def parse() -> dict[str, np.ndarray]:
        x = read_table(table, np.float32)
        return {"x": x if num_embeddings is None else _places(x, table)}

    # Parsing the text takes far longer than reading numbers back.
    x = torch.from_numpy(cached_arrays(f"{release.folder}-1", [table], parse)["x"])
    return LinkData(
        x=x,
        num_nodes=len(x),
        **read_pairs(folder / "split" / scheme),
        metric=metric,
        name=release.name,
        num_embeddings=num_embeddings,
        multigraph=True,  # as OGB lists them: in collab links repeat
        official=release.name,
    )


def _places(one_hot: np.ndarray, path: Path) -> np.ndarray:
    """Column of the one in each row, ``[N]``."""
    if not (((one_hot == 0) | (one_hot == 1)).all() and (one_hot.sum(axis=1) == 1).all()):
        raise ValueError(f"{path} is not one-hot: each row must hold a single 1 and else 0")
    return one_hot.argmax(axis=1)
