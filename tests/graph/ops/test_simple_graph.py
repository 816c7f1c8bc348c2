"""The simple graph of listed links, both ways of building it, against a count of pairs."""

from collections import Counter
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from graphseq.graph.csr import CSR
from graphseq.graph.ops.simple_graph import _by_sorting, simple_graph

Build = Callable[[Tensor, Tensor, int], tuple[CSR, Tensor | None]]
BUILDS: dict[str, Build] = {"dealing": simple_graph, "sorting": _by_sorting}


def check(build: Build, source: list[int], target: list[int], num_nodes: int) -> None:
    ends = torch.tensor([source, target], dtype=torch.int64).view(2, -1)
    graph, copies = build(*ends, num_nodes)
    CSR(graph.rowptr, graph.col, None, graph.shape, graph.edge_id)  # passes the checks
    assert graph.shape == (num_nodes, num_nodes)
    assert graph.transpose() is graph
    listed = Counter(
        pair for i, j in zip(source, target, strict=True) if i != j for pair in ((i, j), (j, i))
    )
    pairs = list(zip(graph.row.tolist(), graph.col.tolist(), strict=True))
    assert pairs == sorted(listed)
    if copies is None:
        assert set(listed.values()) <= {1}
    else:
        assert copies.dtype == torch.int32
        assert copies.tolist() == [listed[pair] for pair in pairs]


CASES = st.integers(1, 12).flatmap(
    lambda nodes: st.tuples(
        st.just(nodes),
        st.lists(st.tuples(st.integers(0, nodes - 1), st.integers(0, nodes - 1)), max_size=60),
    )
)


def both_are_right(case: tuple[int, list[tuple[int, int]]]) -> None:
    num_nodes, links = case
    for build in BUILDS.values():
        check(build, [i for i, _ in links], [j for _, j in links], num_nodes)


@settings(max_examples=500)
@given(CASES)
def test_random_lists(case: tuple[int, list[tuple[int, int]]]) -> None:
    both_are_right(case)


@pytest.mark.nightly
@settings(max_examples=10_000)
@given(CASES)
def test_many_random_lists(case: tuple[int, list[tuple[int, int]]]) -> None:
    both_are_right(case)


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
@pytest.mark.parametrize(
    ("source", "target", "num_nodes"),
    [
        ([], [], 0),
        ([], [], 3),
        ([0, 0], [0, 0], 1),  # self pairs only
        ([4, 4, 0], [0, 2, 2], 6),  # every link once, the last node alone
        ([0, 1, 0, 0, 0, 2], [1, 0, 1, 1, 2, 2], 3),
    ],
)
def test_corners(build: Build, source: list[int], target: list[int], num_nodes: int) -> None:
    check(build, source, target, num_nodes)


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
def test_whether_a_link_repeats_is_told(build: Build) -> None:
    once = build(torch.tensor([0, 3]), torch.tensor([1, 1]), 4)[1]
    twice = build(torch.tensor([0, 1]), torch.tensor([1, 0]), 2)[1]
    assert once is None
    assert twice is not None
    assert twice.tolist() == [2, 2]


def test_columns_beyond_int32_are_refused() -> None:
    from graphseq.graph.ops import LinkRemoval

    with pytest.raises(ValueError, match="LinkRemoval: shape has 3000000000 columns"):
        LinkRemoval(torch.tensor([[0], [1]]), 3_000_000_000)
