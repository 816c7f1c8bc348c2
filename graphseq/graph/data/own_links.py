"""A user's own graph with links to find, from arrays."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from graphseq.graph.csr import CSR
from graphseq.graph.data.edges import simple_edges
from graphseq.graph.data.link_data import LinkData
from graphseq.graph.data.link_splits import draw_links, draw_non_links
from graphseq.graph.data.own_graph import features_from, node_pairs, whole_numbers

if TYPE_CHECKING:
    from scipy.sparse import sparray, spmatrix

Pairs = Tensor | np.ndarray
FEW = 1000  # negatives, if the graph has as many pairs that are no links
SPARSEST = 1000  # nodes per pair, beyond which ids are surely not counted from 0


def links_from_arrays(
    edges: Pairs,
    x: Tensor | np.ndarray | spmatrix | sparray | None = None,
    *,
    num_nodes: int | None = None,
    val: Pairs | float = 0.1,
    test: Pairs | float = 0.2,
    val_negative: Pairs | None = None,
    test_negative: Pairs | None = None,
    num_negatives: int | None = None,
    seed: int = 0,
    normalize: bool = False,
    sparse: bool = False,
    metric: str = "hits@100",
    name: str = "graph",
) -> LinkData:
    """Make a link prediction problem from tensors, numpy arrays or a scipy matrix.

    Args:
        edges: All links, of which some are drawn to be found; or, if ``val`` and ``test`` are
            links, those to learn from. Directions and repetitions do not matter.
        x: Features, numbers of any type, they become float32; or one whole number per node, its row
            of an embedding table; or None: each node has a row of its own.
        num_nodes: Number of nodes N; None means one per row of ``x``, or else the largest id plus
            one.
        val: Links to validate on, or the fraction to draw.
        test: Links to test on, or the fraction to draw.
        val_negative: Pairs that validation links are ranked against, if ``val`` is links; None
            draws them from all pairs that are no links.
        test_negative: Likewise for the test.
        num_negatives: How many pairs to draw for each of val and test; None means as many as there
            are test links and at least 1,000, but no more than half of what there is.
        seed: Seed of all draws.
        normalize: Scale each node's features to absolute sum 1.
        sparse: Store only the non-zero features.
        metric: What counts: ``"hits@K"``, ``"mrr"`` or ``"auc"``.
        name: Shown in tables and error messages.

    Shape:
        - edges: ``[2, E]``
        - x: ``[N, F]`` or ``[N]``
        - val, test: ``[2, P]``
        - val_negative, test_negative: ``[2, M]`` or ``[2, P, K]``

    Raises:
        TypeError: An argument has the wrong dtype.
        ValueError: Shapes do not fit together, features are not finite, a node id is out of range,
            a part is empty, or there are too few pairs to rank links against.
    """
    given: dict[str, Pairs | float | None] = {"edges": edges, "val": val, "test": test}
    given.update(val_negative=val_negative, test_negative=test_negative)
    pairs = {
        part: torch.from_numpy(node_pairs(value, f"{name}: {part}", lists=True))
        for part, value in given.items()
        if value is not None and not isinstance(value, float | int)
    }
    features = _features(x, name, normalize=normalize, sparse=sparse)
    if num_nodes is None:
        num_nodes = _count_nodes(pairs, name) if features is None else int(features.shape[0])
    if "val" in pairs and "test" in pairs:
        parts = _complete(pairs, num_nodes, num_negatives, seed, name)
    elif set(pairs) == {"edges"} and isinstance(val, float) and isinstance(test, float):
        parts = _drawn(pairs["edges"], num_nodes, val, test, num_negatives, seed)
    else:
        raise ValueError(
            f"{name}: give val and test both as links, with their negatives or without, or both as "
            "fractions such as 0.1, without negatives"
        )
    data = LinkData(x=features, num_nodes=num_nodes, **parts, metric=metric, name=name)
    _check_metric(data)
    return data


def _features(x: object, name: str, *, normalize: bool, sparse: bool) -> Tensor | CSR | None:
    """Features, or the rows of an embedding table."""
    if x is None:
        return None
    if len(getattr(x, "shape", ())) == 1:
        return torch.from_numpy(whole_numbers(x, f"{name}: x"))
    return features_from(x, name, normalize=normalize, sparse=sparse)


def _count_nodes(pairs: dict[str, Tensor], name: str) -> int:
    largest = max((int(part.max()) for part in pairs.values() if part.numel()), default=-1)
    if largest > SPARSEST * sum(part[0].numel() for part in pairs.values()):
        raise ValueError(
            f"{name}: the largest node id is {largest}, far more than the links can join; "
            "number the nodes from 0, or pass num_nodes"
        )
    return largest + 1


def _drawn(
    edges: Tensor, num_nodes: int, val: float, test: float, num: int | None, seed: int
) -> dict[str, Any]:
    links = _known([edges], num_nodes)
    num = _enough(num, int(test * links.shape[1]), 2, links, num_nodes)
    counts = {"num_val_negatives": num, "num_test_negatives": num}
    return draw_links(links, num_nodes, val=val, test=test, **counts, seed=seed)._asdict()


def _complete(
    pairs: dict[str, Tensor], num_nodes: int, num: int | None, seed: int, name: str
) -> dict[str, Any]:
    """The given parts, with negatives drawn where there are none."""
    # Each training link once: of two copies, target-link removal would leave one to be seen.
    parts = {part: pairs[part] for part in pairs if part != "edges"}
    parts["train"] = _known([pairs["edges"]], num_nodes)
    links = _known([parts[part] for part in ("train", "val", "test")], num_nodes)
    _warn_of_overlaps(parts, links, num_nodes, name)
    missing = [part for part in ("val", "test") if f"{part}_negative" not in parts]
    if missing:
        num = _enough(num, parts["test"].shape[1], len(missing), links, num_nodes)
        generator = torch.Generator().manual_seed(seed)
        drawn = draw_non_links(links, num_nodes, num * len(missing), generator)
        for part, negative in zip(missing, drawn.split(num, dim=1), strict=True):
            parts[f"{part}_negative"] = negative.contiguous()
    return parts


def _warn_of_overlaps(parts: dict[str, Tensor], links: Tensor, num_nodes: int, name: str) -> None:
    """What is listed in two places where it should be in one."""
    train, every = _keys(parts["train"], num_nodes), _keys(links, num_nodes)
    for part in ("val", "test"):
        known = np.isin(_keys(parts[part].sort(dim=0).values, num_nodes), train).sum()
        if known:
            warnings.warn(
                f"{name}: {known} of {parts[part].shape[1]} {part} links are training links too; "
                "a model that remembers finds them",
                stacklevel=4,
            )
        negative = parts.get(f"{part}_negative", links[:, :0])
        linked = np.isin(_keys(negative.sort(dim=0).values, num_nodes), every).sum()
        if linked:
            warnings.warn(
                f"{name}: {linked} of {negative[0].numel()} pairs in {part}_negative are links; a "
                "model that is right about them is marked down",
                stacklevel=4,
            )


def _known(parts: list[Tensor], num_nodes: int) -> Tensor:
    """All links of some parts, the smaller node first, each once."""
    source, target = torch.cat(parts, dim=1).numpy()
    both = simple_edges(source, target, num_nodes)
    return both[:, both[0] < both[1]]


def _keys(pairs: Tensor, num_nodes: int) -> np.ndarray:
    return (pairs[0] * num_nodes + pairs[1]).numpy()


def _enough(num: int | None, num_test: int, draws: int, links: Tensor, num_nodes: int) -> int:
    """How many negatives to draw, if it is left to us."""
    if num is not None:
        return num
    free = num_nodes * (num_nodes - 1) // 2 - links.shape[1]
    return max(min(max(num_test, FEW), free // draws), 1)


def _check_metric(data: LinkData) -> None:
    kind, _, k = data.metric.partition("@")
    for part in ("val_negative", "test_negative"):
        available = data.parts[part].shape[-1]
        if kind == "hits" and available < int(k):
            raise ValueError(
                f"{data.name}: {data.metric} would be 1 for every model, for {part} has only "
                f"{available} pairs; choose a smaller K, such as metric='hits@"
                f"{max(available // 10, 1)}', or 'mrr'"
            )
