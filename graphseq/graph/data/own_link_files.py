"""A user's own graph with links to find, from an edge list."""

from __future__ import annotations

from pathlib import Path

from graphseq.graph.data.link_data import LinkData
from graphseq.graph.data.own_files import existing, read_edges, read_features, stem_of
from graphseq.graph.data.own_links import Pairs, links_from_arrays


def links_from_files(
    *,
    edges: Path | str,
    features: Path | str | None = None,
    split: tuple[float, float, float] = (0.7, 0.1, 0.2),
    val: Path | str | None = None,
    test: Path | str | None = None,
    val_negative: Path | str | None = None,
    test_negative: Path | str | None = None,
    num_nodes: int | None = None,
    num_negatives: int | None = None,
    seed: int = 0,
    normalize: bool = False,
    sparse: bool = False,
    metric: str = "hits@100",
    name: str | None = None,
) -> LinkData:
    """Read a link prediction problem from files. Nodes are numbered from 0.

    Text files may have commas or spaces between numbers, a header, ``#`` comments, and may be
    gzipped (``.csv.gz``).

    Args:
        edges: Text with two node ids per line, or an npy array ``[2, E]``: all links, or those to
            learn from if there are files for the others.
        features: Text with one line of numbers per node, an npy array ``[N, F]``, or an npz file:
            either one array ``[N, F]`` or what ``scipy.sparse.save_npz`` writes. None: each node
            has a row of an embedding table.
        split: Fractions of train, val and test, which sum to 1, if ``edges`` are all links.
        val: Links to validate on, in the form of ``edges``.
        test: Links to test on.
        val_negative: Pairs that ``val`` is ranked against; drawn where it is None.
        test_negative: Pairs that ``test`` is ranked against; drawn where it is None.
        num_nodes: Number of nodes; None means one per row of features, or else the largest id plus
            one.
        num_negatives: How many pairs to draw for each of val and test; None leaves it to
            :func:`~graphseq.graph.data.links_from_arrays`.
        seed: Seed of all draws.
        normalize: Scale each node's features to absolute sum 1.
        sparse: Store only the non-zero features.
        metric: What counts: ``"hits@K"``, ``"mrr"`` or ``"auc"``.
        name: Shown in tables; the name of the edge file where it is None.

    Raises:
        FileNotFoundError: A file is missing.
        TypeError: An array has the wrong dtype.
        ValueError: A file is broken or its content does not fit; the message names the file and,
            for text, the line.
    """
    where = "links_from_files"
    if len(split) != 3 or abs(sum(split) - 1) > 1e-6:
        raise ValueError(f"{where}: split must be 3 fractions that sum to 1, got {split}")
    if (val is None) != (test is None):
        raise ValueError(f"{where}: give both val and test, or neither and fractions as split")
    x = None if features is None else read_features(existing(features, f"{where}: features"))
    num_rows = None if x is None else x.shape[0]

    def pairs(path: Path | str, argument: str) -> Pairs:
        return read_edges(existing(path, f"{where}: {argument}"), num_nodes=num_rows)

    negatives = {"val_negative": val_negative, "test_negative": test_negative}
    return links_from_arrays(
        pairs(edges, "edges"),
        x,
        num_nodes=num_nodes if num_rows is None else num_rows,
        val=split[1] if val is None else pairs(val, "val"),
        test=split[2] if test is None else pairs(test, "test"),
        **{part: pairs(path, part) for part, path in negatives.items() if path is not None},
        num_negatives=num_negatives,
        seed=seed,
        normalize=normalize,
        sparse=sparse,
        metric=metric,
        name=name or stem_of(edges),
    )
