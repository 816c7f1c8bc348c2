"""Common neighbours in all their forms against dense boolean matrices, sets and networkx."""

from collections.abc import Callable

import networkx as nx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from graphseq.graph.csr import CSR
from graphseq.graph.ops import (
    LinkRemoval,
    common_neighbors,
    count_common,
    count_common_many,
    intersection,
    is_edge,
    naive_neighbors,
    one_sided_neighbors,
    pool_common,
    pool_common_many,
)


def random_graph(num_nodes: int, links: int, seed: int = 0, hubs: bool = False) -> CSR:
    generator = torch.Generator().manual_seed(seed)
    ends = torch.rand(2, links, generator=generator) ** (4.0 if hubs else 1.0)
    return LinkRemoval((ends * num_nodes).long(), num_nodes).adjacency.csr


def random_pairs(num_nodes: int, number: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    pairs = torch.randint(num_nodes, (2, number), generator=generator)
    pairs[:, : number // 8] = pairs[0, : number // 8]  # both ends the same
    pairs[:, -(number // 8) :] = pairs[:, -1:]  # and a pair that repeats
    return pairs


GRAPHS = {
    "one_node": random_graph(1, 0),
    "no_edges": random_graph(9, 0),
    "sparse": random_graph(40, 50),
    "dense": random_graph(70, 3000),
    "hubs": random_graph(400, 2000, hubs=True),
    "directed": CSR.from_coo(torch.tensor([0, 0, 2, 3]), torch.tensor([1, 2, 1, 2]), shape=(4, 4)),
    "tall": CSR.from_coo(torch.tensor([0, 0, 1, 4]), torch.tensor([0, 2, 2, 1]), shape=(5, 3)),
}


@pytest.fixture(params=GRAPHS)
def graph(request: pytest.FixtureRequest) -> CSR:
    return GRAPHS[request.param]


def checked(matrix: CSR) -> Tensor:
    """As a dense boolean matrix, after the checks that a matrix from outside goes through."""
    CSR(matrix.rowptr, matrix.col, matrix.value, matrix.shape, matrix.edge_id)
    assert torch.equal(matrix.edge_id, torch.arange(matrix.nnz))
    return matrix.to_dense() != 0


def features(graph: CSR, width: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(graph.shape[1], width, dtype=dtype, generator=generator)


@pytest.mark.parametrize("number", [0, 1, 200])
def test_lists_equal_the_dense_rows(graph: CSR, backend: str, number: int) -> None:
    pairs = random_pairs(graph.shape[0], number)
    expected = naive_neighbors.one_sided_neighbors(graph, pairs)
    for matrix, rows in zip(
        one_sided_neighbors(graph, pairs, backend=backend), expected, strict=True
    ):
        assert torch.equal(checked(matrix), rows)
    assert torch.equal(checked(common_neighbors(graph, pairs, backend=backend)), expected[0])


@pytest.mark.parametrize("number", [0, 1, 200])
def test_counts(graph: CSR, backend: str, number: int, assert_same: Callable[..., None]) -> None:
    pairs = random_pairs(graph.shape[0], number)
    counts = count_common(graph, pairs, backend=backend)
    assert torch.equal(counts, naive_neighbors.count_common(graph, pairs))
    assert_same(
        lambda weight: count_common(graph, pairs, weight, backend=backend),
        lambda weight: naive_neighbors.count_common(graph, pairs, weight),
        [features(graph, 1)[:, 0]],
    )


@pytest.mark.parametrize("width", [0, 1, 5, 33])
@pytest.mark.parametrize("number", [0, 1, 200])
def test_pooling(
    graph: CSR, backend: str, number: int, width: int, assert_same: Callable[..., None]
) -> None:
    pairs = random_pairs(graph.shape[0], number)
    assert_same(
        lambda x: pool_common(graph, x, pairs, backend),
        lambda x: naive_neighbors.pool_common(graph, x, pairs),
        [features(graph, width)],
    )


def test_gradcheck(graph: CSR, backend: str) -> None:
    pairs = random_pairs(graph.shape[0], 9)
    x = features(graph, 2).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: pool_common(graph, x, pairs, backend), x, fast_mode=True
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_lower_precision(backend: str, dtype: torch.dtype) -> None:
    graph, pairs = GRAPHS["dense"], random_pairs(70, 50)
    x = features(graph, 8, dtype)
    out = pool_common(graph, x, pairs, backend)
    assert out.dtype == dtype
    expected = naive_neighbors.pool_common(graph, x.float(), pairs)
    torch.testing.assert_close(out, expected.to(dtype), rtol=1e-2, atol=1e-4)


def test_one_versus_many(graph: CSR, backend: str, assert_same: Callable[..., None]) -> None:
    generator = torch.Generator().manual_seed(4)
    source = torch.randint(graph.shape[0], (3,), generator=generator)
    candidates = torch.randint(graph.shape[0], (3, 20), generator=generator)
    expected = naive_neighbors.count_common_many(graph, source, candidates)
    assert torch.equal(count_common_many(graph, source, candidates, backend=backend), expected)
    x = features(graph, 3)
    assert_same(
        lambda x: pool_common_many(graph, x, source, candidates, backend=backend),
        lambda x: torch.stack(
            [naive_neighbors.count_common_many(graph, source, candidates, w) for w in x.t()], 2
        ),
        [x],
    )
    none = count_common_many(graph, source[:0], candidates[:0], x[:, 0], backend=backend)
    assert none.shape == (0, 20)


def test_networkx_agrees() -> None:
    graph, pairs = GRAPHS["hubs"], random_pairs(400, 300)
    other = nx.Graph(zip(graph.row.tolist(), graph.col.tolist(), strict=True))
    other.add_nodes_from(range(400))
    common = common_neighbors(graph, pairs)
    weight = 1 / graph.rowptr.diff().double()
    strength = count_common(graph, pairs, weight)
    both = [pair for pair in pairs.t().tolist() if pair[0] != pair[1]]
    allocation = {(i, j): p for i, j, p in nx.resource_allocation_index(other, both)}
    for b, (i, j) in enumerate(pairs.t().tolist()):
        row = common.col[common.rowptr[b] : common.rowptr[b + 1]].tolist()
        assert row == sorted(set(other[i]) & set(other[j]))
        if i != j:
            assert float(strength[b]) == pytest.approx(allocation[i, j])


@pytest.mark.parametrize("name", sorted(GRAPHS.keys() - {"tall"}))
def test_membership(name: str, backend: str) -> None:
    graph = GRAPHS[name]
    nodes = torch.arange(graph.shape[0])
    pairs = torch.cartesian_prod(nodes, nodes).t()
    found = is_edge(graph, pairs, backend=backend)
    assert torch.equal(found, naive_neighbors.is_edge(graph, pairs))
    assert is_edge(graph, pairs[:, :0], backend=backend).shape == (0,)


def test_more_pairs_than_fit_one_block(
    monkeypatch: pytest.MonkeyPatch, assert_same: Callable[..., None]
) -> None:
    monkeypatch.setattr(intersection, "BLOCK", 100)
    graph, pairs = GRAPHS["dense"], random_pairs(70, 200)
    expected = naive_neighbors.common_neighbors(graph, pairs)
    assert torch.equal(checked(common_neighbors(graph, pairs)), expected)
    assert torch.equal(count_common(graph, pairs), expected.sum(1))
    assert_same(
        lambda x: pool_common(graph, x, pairs),
        lambda x: naive_neighbors.pool_common(graph, x, pairs),
        [features(graph, 5)],
    )


def test_the_bits_do_not_depend_on_the_threads(always_parallel: None) -> None:
    graph = random_graph(500, 9000, hubs=True)
    pairs, x = random_pairs(500, 3000), features(graph, 24, torch.float32)

    def result(threads: int) -> list[Tensor]:
        torch.set_num_threads(threads)
        leaf = x.clone().requires_grad_()
        out = pool_common(graph, leaf, pairs)
        (out * out.detach()).sum().backward()
        assert leaf.grad is not None
        lists = one_sided_neighbors(graph, pairs)
        return [out.detach(), leaf.grad, *(matrix.col for matrix in lists)]

    first = result(1)
    for threads in (2, 3, 2):
        assert all(torch.equal(a, b) for a, b in zip(result(threads), first, strict=True))


GRAPH_AND_PAIRS = st.tuples(
    st.integers(1, 90),  # nodes: one or two words of bits
    st.integers(0, 400),
    st.integers(0, 60),
    st.booleans(),
    st.integers(0, 2**30),
)


def agree(case: tuple[int, int, int, bool, int]) -> None:
    nodes, links, number, hubs, seed = case
    graph = random_graph(nodes, links, seed, hubs)
    pairs = random_pairs(nodes, number, seed + 1)
    expected = naive_neighbors.one_sided_neighbors(graph, pairs)
    for matrix, rows in zip(one_sided_neighbors(graph, pairs), expected, strict=True):
        assert torch.equal(matrix.to_dense() != 0, rows)
    assert torch.equal(common_neighbors(graph, pairs).to_dense() != 0, expected[0])
    assert torch.equal(is_edge(graph, pairs), naive_neighbors.is_edge(graph, pairs))
    assert torch.equal(count_common(graph, pairs), expected[0].sum(1))
    leaves = [features(graph, 3).requires_grad_() for _ in range(2)]
    out = pool_common(graph, leaves[0], pairs)
    twin = expected[0].double() @ leaves[1]
    torch.testing.assert_close(out, twin)
    for each in (out, twin):
        (each * torch.arange(number).unsqueeze(1)).sum().backward()
    torch.testing.assert_close(leaves[0].grad, leaves[1].grad)


def agree_one_versus_many(case: tuple[int, int, int, bool, int]) -> None:
    nodes, links, number, hubs, seed = case
    graph = random_graph(nodes, links, seed, hubs)
    generator = torch.Generator().manual_seed(seed + 1)
    source = torch.randint(nodes, (1 + number // 20,), generator=generator)
    candidates = torch.randint(nodes, (len(source), 1 + number), generator=generator)
    counts = naive_neighbors.count_common_many(graph, source, candidates)
    assert torch.equal(count_common_many(graph, source, candidates), counts)
    leaves = [features(graph, 2).requires_grad_() for _ in range(2)]
    out = pool_common_many(graph, leaves[0], source, candidates)
    columns = [
        naive_neighbors.count_common_many(graph, source, candidates, x) for x in leaves[1].t()
    ]
    twin = torch.stack(columns, dim=2)
    torch.testing.assert_close(out, twin)
    for each in (out, twin):
        (each * torch.arange(candidates.numel()).view(*candidates.shape, 1)).sum().backward()
    torch.testing.assert_close(leaves[0].grad, leaves[1].grad)


@settings(max_examples=500)
@given(GRAPH_AND_PAIRS)
def test_random_graphs_one_versus_many(case: tuple[int, int, int, bool, int]) -> None:
    agree_one_versus_many(case)


@pytest.mark.nightly
@settings(max_examples=10_000)
@given(GRAPH_AND_PAIRS)
def test_many_random_graphs_one_versus_many(case: tuple[int, int, int, bool, int]) -> None:
    agree_one_versus_many(case)


@settings(max_examples=500)
@given(GRAPH_AND_PAIRS)
def test_random_graphs(case: tuple[int, int, int, bool, int]) -> None:
    agree(case)


@pytest.mark.nightly
@settings(max_examples=10_000)
@given(GRAPH_AND_PAIRS)
def test_many_random_graphs(case: tuple[int, int, int, bool, int]) -> None:
    agree(case)


@pytest.mark.parametrize(
    "call",
    [
        lambda graph, pairs: common_neighbors(graph, pairs),
        lambda graph, pairs: one_sided_neighbors(graph, pairs),
        lambda graph, pairs: count_common(graph, pairs),
        lambda graph, pairs: pool_common(graph, torch.ones(40, 2), pairs),
        lambda graph, pairs: is_edge(graph, pairs),
    ],
)
@pytest.mark.parametrize(
    ("pairs", "error", "words"),
    [
        (torch.tensor([[0], [40]]), ValueError, r"pairs contains 40, outside 0\.\.39"),
        (torch.tensor([[0], [-1]]), ValueError, "pairs contains -1"),
        (torch.zeros(3, 2).long(), ValueError, r"pairs has shape \(3, 2\), expected \[2, B\]"),
        (torch.zeros(2, 3), TypeError, "pairs has dtype torch.float32"),
        (torch.zeros(2, 3, device="meta").long(), ValueError, "pairs is on meta"),
    ],
)
def test_wrong_pairs_are_named(
    call: Callable[[CSR, Tensor], object], pairs: Tensor, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        call(GRAPHS["sparse"], pairs)


def test_other_errors_name_the_argument() -> None:
    graph, pairs = GRAPHS["sparse"], torch.tensor([[0], [1]])
    repeated = CSR.from_coo(torch.tensor([0, 0]), torch.tensor([1, 1]), shape=(2, 2))
    with pytest.raises(ValueError, match="graph stores an entry more than once"):
        common_neighbors(repeated, pairs)
    with pytest.raises(ValueError, match=r"x has shape \(7, 2\), expected 40 rows"):
        pool_common(graph, torch.ones(7, 2), pairs)
    with pytest.raises(ValueError, match=r"x has shape \(40,\), expected \[N, D\]"):
        pool_common(graph, torch.ones(40), pairs)
    with pytest.raises(ValueError, match=r"weight has shape \(40, 1\)"):
        count_common(graph, pairs, torch.ones(40, 1))
    with pytest.raises(ValueError, match="candidates contains 99"):
        count_common_many(graph, pairs[0], torch.tensor([[99]]))
    with pytest.raises(ValueError, match=r"pass source \[S\] and candidates \[S, M\]"):
        pool_common_many(graph, torch.ones(40, 1), pairs[0], pairs[0])
    with pytest.raises(ValueError, match="not square"):
        is_edge(GRAPHS["tall"], pairs)
