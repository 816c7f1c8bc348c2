"""Splits are disjoint, balanced where they say so, drawn from the seed alone, and never silent."""

import networkx as nx
import numpy as np
import pytest
import torch

from graphseq.graph.adjacency import Adjacency
from graphseq.graph.data import (
    largest_component,
    split_by_fractions,
    split_component,
    split_per_class,
    split_per_class_and_counts,
)

pytestmark = pytest.mark.usefixtures("generators_untouched")


def labels(sizes=(90, 60, 75), unknown=5):
    y = torch.cat([torch.full((size,), label) for label, size in enumerate(sizes)])
    y = torch.cat([y, torch.full((unknown,), -1)])
    return y[torch.randperm(len(y), generator=torch.Generator().manual_seed(3))]


DRAWS = {
    "per class": lambda y, seed: split_per_class(y, seed=seed),
    "counts": lambda y, seed: split_per_class_and_counts(y, num_val=50, num_test=70, seed=seed),
    "fractions": lambda y, seed: split_by_fractions(y, (0.5, 0.2, 0.3), seed=seed),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_parts_are_sorted_disjoint_labelled_and_follow_the_seed(draw):
    y = labels()
    split = draw(y, 0)
    together = torch.cat(split)
    assert together.unique().numel() == together.numel()
    assert (y[together] >= 0).all()
    for part in split:
        assert part.dtype == torch.int64
        assert torch.equal(part, part.sort().values)
    again, other = draw(y, 0), draw(y, 1)
    assert all(torch.equal(a, b) for a, b in zip(split, again, strict=True))
    assert all(not torch.equal(a, b) for a, b in zip(split, other, strict=True))


def test_per_class_counts():
    y = labels()
    train, val, test = split_per_class(y)
    assert torch.bincount(y[train]).tolist() == [20, 20, 20]
    assert torch.bincount(y[val]).tolist() == [30, 30, 30]
    assert torch.bincount(y[test]).tolist() == [40, 10, 25]


def test_per_class_and_counts():
    y = labels()
    train, val, test = split_per_class_and_counts(y, num_val=50, num_test=70)
    assert torch.bincount(y[train]).tolist() == [20, 20, 20]
    assert (val.numel(), test.numel()) == (50, 70)


def test_fractions_use_every_labelled_node():
    y = labels()
    parts = split_by_fractions(y, (0.6, 0.2, 0.2))
    assert [part.numel() for part in parts] == [135, 45, 45]
    assert [part.numel() for part in split_by_fractions(y, (0.1, 0.1, 0.1))] == [22, 23, 23]


def test_every_node_is_equally_likely():
    y = labels(sizes=(60, 60), unknown=0)
    counts = torch.zeros(120)
    draws = 300
    for seed in range(draws):
        counts[split_per_class(y, seed=seed).train] += 1
    # Each count is binomial with mean draws / 3; five standard deviations of it.
    assert (counts - draws / 3).abs().max() < 5 * (draws * 2 / 9) ** 0.5


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: split_per_class(labels(sizes=(90, 50, 75))), "class 1 has 50 nodes"),
        (lambda: split_per_class(torch.tensor([0, 2] * 60)), "class 1 has 0 nodes"),
        (lambda: split_per_class_and_counts(labels()), "only 165 are left"),
        (lambda: split_by_fractions(labels(), (0.6, 0.3, 0.2)), "at most 1"),
        (lambda: split_by_fractions(labels(), (1.0, 0.0, 0.0)), "must be positive"),
    ],
)
def test_impossible_splits_say_why(call, words):
    with pytest.raises(ValueError, match=r"^split: ") as caught:
        call()
    assert words in str(caught.value)


@pytest.mark.parametrize("seed", range(5))
def test_largest_component_as_networkx_finds_it(seed):
    graph = nx.gnp_random_graph(80, 0.015, seed=seed, directed=True)
    edge_index = torch.tensor(list(graph.edges)).T
    found = largest_component(Adjacency.from_edge_index(edge_index, num_nodes=80))
    sizes = sorted((len(part) for part in nx.weakly_connected_components(graph)), reverse=True)
    assert len(found) == sizes[0]
    assert set(found.tolist()) in [set(part) for part in nx.weakly_connected_components(graph)]
    assert torch.equal(found, found.sort().values)


def path_graph(first, size):
    """A path over nodes first .. size - 1; the nodes before are alone."""
    nodes = torch.arange(first, size)
    pairs = torch.stack([nodes[:-1], nodes[1:]])
    return Adjacency.from_edge_index(torch.cat([pairs, pairs.flip(0)], dim=1), num_nodes=size)


def test_on_a_connected_graph_all_ways_agree():
    y = labels(sizes=(90, 60, 75), unknown=0)
    splits = [split_component(y, path_graph(0, 225), lcc=lcc) for lcc in ("fixed", "paper", None)]
    for other in splits[1:]:
        assert all(torch.equal(a, b) for a, b in zip(splits[0], other, strict=True))


def test_paper_masks_are_the_fixed_ones_shifted():
    alone = 40
    y = torch.from_numpy(np.random.default_rng(0).permutation(np.repeat([0, 1, 2], 100)))
    graph = path_graph(alone, 300)
    fixed = split_component(y, graph, lcc="fixed", seed=2)
    paper = split_component(y, graph, lcc="paper", seed=2)
    # The component is nodes 40 .. 299, so a position is a node id less 40.
    assert all(torch.equal(a, b + alone) for a, b in zip(fixed, paper, strict=True))
    assert torch.bincount(y[fixed.train]).tolist() == [20, 20, 20]
    assert torch.bincount(y[paper.train]).tolist() != [20, 20, 20]
    assert torch.cat(fixed).min() >= alone
    assert torch.cat(paper).min() < alone  # nodes outside of the component get in
    assert torch.cat(paper).max() == 299 - alone  # and the last ones are never used
    everywhere = split_component(y, graph, lcc=None, seed=2)
    assert torch.cat(everywhere).numel() == 300


def test_unknown_way_is_named():
    with pytest.raises(ValueError, match="lcc must be 'fixed', 'paper' or None, got 'Paper'"):
        split_component(labels(), path_graph(0, 230), lcc="Paper")
