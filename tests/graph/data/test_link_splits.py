"""Drawn splits: every link in one part, no negative a link, none twice, and uniform."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from graphseq.graph.data import draw_links, draw_non_links

pytestmark = pytest.mark.usefixtures("generators_untouched")


def random_edges(num_nodes, num, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(num_nodes, (2, num), generator=generator)


def as_set(*parts):
    return {tuple(pair) for part in parts for pair in part.t().tolist()}


@given(st.integers(25, 60), st.integers(40, 120), st.integers(0, 99))
def test_parts_are_disjoint_and_complete(num_nodes, num_edges, seed):
    edges = random_edges(num_nodes, num_edges, seed)
    split = draw_links(edges, num_nodes, seed=seed)
    links = {(min(a, b), max(a, b)) for a, b in edges.t().tolist() if a != b}
    parts = [split.train, split.val, split.test]
    assert as_set(*parts) == links
    assert [part.shape[1] for part in parts[1:]] == [len(links) // 10, len(links) // 5]
    assert sum(part.shape[1] for part in parts) == len(links)
    negatives = as_set(split.val_negative, split.test_negative)
    assert len(negatives) == 2 * (len(links) // 5)
    assert split.val_negative.shape[1] == split.test_negative.shape[1]
    assert not negatives & links
    assert all(0 <= a < b < num_nodes for a, b in negatives)
    assert all(part.is_contiguous() and part.dtype == torch.int64 for part in split)


def test_split_depends_on_the_seed_and_on_nothing_else():
    edges = random_edges(40, 200)
    first, again, other = (draw_links(edges, 40, seed=seed) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert as_set(first.test) != as_set(other.test)
    shuffled = edges.flip(0)[:, torch.randperm(200, generator=torch.Generator().manual_seed(0))]
    for a, b in zip(first, draw_links(shuffled, 40, seed=3), strict=True):
        assert torch.equal(a, b)


def test_without_training_negatives_the_numbers_are_the_ones_they_always_were():
    """The order of the draws, written out: committed results depend on it."""
    edges, num_nodes = random_edges(40, 200), 40
    links = torch.zeros(num_nodes, num_nodes)
    links[edges.min(0).values, edges.max(0).values] = 1
    links = links.triu(1).t().nonzero().t().flip(0)  # by the larger node, then by the smaller
    generator = torch.Generator().manual_seed(7)
    links = links[:, torch.randperm(links.shape[1], generator=generator)]
    val, test = links.shape[1] // 10, links.shape[1] // 5
    drawn = draw_non_links(links, num_nodes, 2 * test, generator)
    expected = (
        *(links[:, : -val - test], links[:, -val - test : -test], drawn[:, :test]),
        *(links[:, -test:], drawn[:, test:]),
    )
    split = draw_links(edges, num_nodes, seed=7)
    assert split._fields == ("train", "val", "val_negative", "test", "test_negative")
    assert all(torch.equal(a, b) for a, b in zip(split, expected, strict=True))


@given(st.integers(25, 60), st.integers(40, 90), st.integers(0, 99))
def test_training_negatives_are_apart_from_everything_else(num_nodes, num_edges, seed):
    edges = random_edges(num_nodes, num_edges, seed)
    split = draw_links(edges, num_nodes, num_train_negatives=60, num_val_negatives=5, seed=seed)
    bare = draw_links(edges, num_nodes, seed=seed)
    for part in ("train", "val", "test"):
        assert torch.equal(getattr(split, part), getattr(bare, part))
    sizes = [60, 5, bare.test.shape[1]]
    negatives = [split.train_negative, split.val_negative, split.test_negative]
    assert [part.shape[1] for part in negatives] == sizes
    assert len(as_set(*negatives)) == sum(sizes)
    assert not as_set(*negatives) & as_set(split.train, split.val, split.test)
    assert all(part.is_contiguous() and part.dtype == torch.int64 for part in split)


def test_sizes():
    split = draw_links(
        random_edges(40, 200), 40, val=0.25, test=0.5, num_val_negatives=7, num_test_negatives=9
    )
    num = split.train.shape[1] + split.val.shape[1] + split.test.shape[1]
    assert (split.val.shape[1], split.test.shape[1]) == (num // 4, num // 2)
    assert (split.val_negative.shape[1], split.test_negative.shape[1]) == (7, 9)
    path = torch.arange(101).unfold(0, 2, 1).t()  # 100 links; 0.29 * 100 is 28.999999999999996
    assert draw_links(path, 101, val=0.29).val.shape[1] == 29


@pytest.mark.parametrize("num", [5, 28])
def test_non_links_are_uniform(num):
    """Both ways of drawing: by rejection, and from the list of all pairs."""
    links = torch.tensor([[0, 0, 2, 5, 1], [1, 7, 3, 8, 8]])
    generator = torch.Generator().manual_seed(0)
    counts = torch.zeros(9, 9)
    for _ in range(1500):
        a, b = draw_non_links(links, 9, num, generator)
        assert (a < b).all()
        assert len(as_set(torch.stack([a, b]))) == num
        counts[a, b] += 1
    assert counts[links[0], links[1]].sum() == 0
    free = counts[(torch.ones(9, 9).triu(1) > 0) & (counts > 0)]
    assert len(free) == 36 - 5
    if num < 28:
        assert chisquare(free.numpy()).pvalue > 1e-3
    first = torch.zeros(9, 9)
    for _ in range(1500):
        a, b = draw_non_links(links, 9, num, generator)[:, 0]
        first[a, b] += 1
    assert chisquare(first[first > 0].numpy()).pvalue > 1e-3


def test_all_non_links_of_a_graph_can_be_drawn():
    generator = torch.Generator().manual_seed(0)
    links = torch.tensor([[0, 1], [1, 2]])
    drawn = draw_non_links(links, 4, 4, generator)
    assert as_set(drawn) == {(0, 2), (0, 3), (1, 3), (2, 3)}
    assert draw_non_links(links, 4, 0, generator).shape == (2, 0)


def test_large_sparse_graphs_need_no_square_of_memory():
    links = torch.stack([torch.arange(99_999), torch.arange(1, 100_000)])
    drawn = draw_non_links(links, 3_000_000, 50_000, torch.Generator().manual_seed(0))
    assert len(as_set(drawn)) == 50_000
    assert not as_set(drawn) & as_set(links)


def test_impossible_draws():
    complete = torch.ones(6, 6).triu(1).nonzero().t()
    with pytest.raises(ValueError, match="6 pairs are wanted, but only 0 pairs of the 6 nodes"):
        draw_links(complete, 6)
    with pytest.raises(ValueError, match=r"val would get none of the graph's 3 links"):
        draw_links(torch.tensor([[0, 1, 2], [1, 2, 3]]), 9)
    for val, test in ((0, 0.2), (0.5, 0.5), (0.1, -0.1)):
        with pytest.raises(ValueError, match="leave something to train"):
            draw_links(complete, 9, val=val, test=test)
    with pytest.raises(ValueError, match="edge number 0 joins 0 and 9"):
        draw_links(torch.tensor([[0], [9]]), 9)
