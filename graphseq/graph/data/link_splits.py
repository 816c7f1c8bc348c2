"""Drawing links to learn from and links to find, and other pairs to rank them against."""

from __future__ import annotations

from typing import NamedTuple, overload

import numpy as np
import torch
from torch import Tensor

from graphseq.graph.data.edges import simple_edges

_LARGE = 4  # times as many pairs as are wanted: beyond it, drawing beats listing
_LISTED = 1 << 24  # pairs that may be listed one by one
_ROUNDING = 1e-9  # 0.29 of 100 links are 29, though the product is a little less


class LinkSplit(NamedTuple):
    """Pairs of nodes, int64 ``[2, ...]`` with the smaller node first; none appears twice."""

    train: Tensor
    val: Tensor
    val_negative: Tensor
    test: Tensor
    test_negative: Tensor


class FixedLinkSplit(NamedTuple):
    """A :class:`LinkSplit` with pairs to learn from as no links, which are in no other part."""

    train: Tensor
    train_negative: Tensor
    val: Tensor
    val_negative: Tensor
    test: Tensor
    test_negative: Tensor


@overload
def draw_links(
    edges: Tensor,
    num_nodes: int,
    *,
    val: float = ...,
    test: float = ...,
    num_train_negatives: None = None,
    num_val_negatives: int | None = ...,
    num_test_negatives: int | None = ...,
    seed: int = ...,
) -> LinkSplit: ...


@overload
def draw_links(
    edges: Tensor,
    num_nodes: int,
    *,
    val: float = ...,
    test: float = ...,
    num_train_negatives: int,
    num_val_negatives: int | None = ...,
    num_test_negatives: int | None = ...,
    seed: int = ...,
) -> FixedLinkSplit: ...


def draw_links(
    edges: Tensor,
    num_nodes: int,
    *,
    val: float = 0.1,
    test: float = 0.2,
    num_train_negatives: int | None = None,
    num_val_negatives: int | None = None,
    num_test_negatives: int | None = None,
    seed: int = 0,
) -> LinkSplit | FixedLinkSplit:
    """Split the links of a graph at random, and draw pairs that are no links.

    Args:
        edges: The graph's edges in any order and direction; repeated ones and self loops are
            dropped first.
        num_nodes: Number of nodes N.
        val: Fraction of the links to validate on.
        test: Fraction of the links to test on; the others, and what rounding leaves, are trained.
        num_train_negatives: How many pairs to learn from as no links; None means none at all, for
            training usually draws new ones every epoch.
        num_val_negatives: How many pairs validation links are ranked against; None means as many as
            there are test links. (More than validation links: so does the split that NCN's numbers
            on Cora, CiteSeer and PubMed come from.)
        num_test_negatives: Likewise for the test; None means as many as there are test links.
        seed: Seed of all draws.

    Shape:
        - edges: ``[2, E]``

    Returns:
        The parts; with ``train_negative`` among them where ``num_train_negatives`` is a number.

    Raises:
        ValueError: A node is out of range, a fraction leaves a part without links, or there are too
            few pairs that are no links.
    """
    if not (0 < val and 0 < test and val + test < 1):
        raise ValueError(
            f"draw_links: val and test must be positive and leave something to train, got {val} "
            f"and {test}"
        )
    source, target = edges.cpu().numpy()
    both = simple_edges(source, target, num_nodes)
    links = both[:, both[0] < both[1]]
    generator = torch.Generator().manual_seed(seed)
    links = links[:, torch.randperm(links.shape[1], generator=generator)]
    num = links.shape[1]
    sizes = {"val": int(val * num + _ROUNDING), "test": int(test * num + _ROUNDING)}
    for part, size in sizes.items():
        if not size:
            raise ValueError(
                f"draw_links: {part} would get none of the graph's {num} links; give a larger "
                "graph or a larger fraction, or bring your own split"
            )
    parts = links.split([num - sum(sizes.values()), sizes["val"], sizes["test"]], dim=1)
    wanted = [
        sizes["test"] if wanted is None else wanted
        for wanted in (num_val_negatives, num_test_negatives)
    ]
    wanted += [] if num_train_negatives is None else [num_train_negatives]
    drawn = draw_non_links(links, num_nodes, sum(wanted), generator).split(wanted, dim=1)
    train, val_links, test_links, *negatives = (part.contiguous() for part in (*parts, *drawn))
    if num_train_negatives is None:
        return LinkSplit(train, val_links, negatives[0], test_links, negatives[1])
    return FixedLinkSplit(train, negatives[2], val_links, negatives[0], test_links, negatives[1])


def draw_non_links(links: Tensor, num_nodes: int, num: int, generator: torch.Generator) -> Tensor:
    """Different pairs ``i < j`` that are no links, uniformly, in random order, int64 ``[2, num]``.

    No N x N matrix: a pair is one number ``i N + j``, drawn, and dropped where it is a link.

    Args:
        links: Pairs to leave out, the smaller node first, each once, ``[2, E]``.
        num_nodes: Number of nodes N.
        num: How many to draw.
        generator: Where the draws come from.

    Raises:
        ValueError: There are fewer such pairs.
    """
    free = num_nodes * (num_nodes - 1) // 2 - links.shape[1]
    if num > free:
        raise ValueError(
            f"draw_non_links: {num} pairs are wanted, but only {free} pairs of the {num_nodes} "
            "nodes are no links; ask for fewer negatives"
        )
    taken = (links[0] * num_nodes + links[1]).numpy()
    if free < _LARGE * num and num_nodes**2 <= _LISTED:  # nearly all: drawing would take forever
        rows, cols = np.triu_indices(num_nodes, k=1)
        keys = np.setdiff1d(rows * num_nodes + cols, taken, assume_unique=True)
        order = torch.randperm(len(keys), generator=generator)[:num]
        return _pairs(keys[order.numpy()], num_nodes)
    found = np.empty(0, np.int64)
    while len(found) < num:
        size = (2, 2 * (num - len(found)) + 16)
        ends = torch.randint(num_nodes, size, generator=generator).numpy()
        keys = (ends.min(axis=0) * num_nodes + ends.max(axis=0))[ends[0] != ends[1]]
        found = _first_of_each(np.concatenate([found, keys[~np.isin(keys, taken)]]))
    return _pairs(found[:num], num_nodes)


def _first_of_each(keys: np.ndarray) -> np.ndarray:
    """The different numbers in the order of their first appearance."""
    return keys[np.sort(np.unique(keys, return_index=True)[1])]


def _pairs(keys: np.ndarray, num_nodes: int) -> Tensor:
    return torch.from_numpy(np.stack([keys // num_nodes, keys % num_nodes]))
