"""Adaptive propagation: streaming == stored == stacked under autograd, to rounding."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from graphseq.graph.adjacency import Adjacency
from graphseq.graph.csr import CSR
from graphseq.graph.ops import adaptive_propagation, naive


def inputs(nodes: int, width: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(4)
    shapes = [(nodes, width), (width,), (1,)]
    return [torch.randn(s, dtype=torch.float64, generator=generator).to(dtype) for s in shapes]


def stacked(matrix: CSR, num_hops: int) -> Callable[..., Tensor]:
    return lambda *parts: naive.adaptive_propagation(matrix, *parts, num_hops)[0]


@pytest.mark.parametrize("store_hops", [True, False])
@pytest.mark.parametrize("num_hops", [0, 1, 2, 5])
@pytest.mark.parametrize("width", [1, 7])
def test_equals_the_stacked_form(
    square: CSR,
    backend: str,
    width: int,
    num_hops: int,
    store_hops: bool,
    assert_same: Callable[..., None],
) -> None:
    assert_same(
        lambda *parts: adaptive_propagation(square, *parts, num_hops, store_hops, backend=backend),
        stacked(square, num_hops),
        inputs(square.shape[0], width),
    )


@pytest.mark.parametrize("store_hops", [True, False])
@pytest.mark.parametrize("width", [1, 7, 9, 16, 40])
def test_every_width_in_parallel(
    width: int,
    store_hops: bool,
    random_matrix: Callable[..., CSR],
    always_parallel: None,
    assert_same: Callable[..., None],
) -> None:
    matrix = random_matrix(200, 1000)
    matrix = CSR(
        matrix.rowptr, matrix.col, matrix.value / 4, matrix.shape, matrix.edge_id
    )  # hops that neither grow nor vanish
    assert_same(
        lambda *parts: adaptive_propagation(matrix, *parts, 6, store_hops),
        stacked(matrix, 6),
        inputs(200, width),
    )


@pytest.mark.parametrize("store_hops", [True, False])
def test_gradcheck(backend: str, store_hops: bool, random_matrix: Callable[..., CSR]) -> None:
    matrix = random_matrix(5, 9)
    parts = [part.requires_grad_() for part in inputs(5, 3)]
    torch.autograd.gradcheck(
        lambda *parts: adaptive_propagation(matrix, *parts, 3, store_hops, backend=backend), parts
    )


@pytest.mark.parametrize("store_hops", [True, False, None])
def test_scores_are_the_gates(
    backend: str, store_hops: bool | None, random_matrix: Callable[..., CSR]
) -> None:
    matrix, parts = random_matrix(9, 20), inputs(9, 3)
    parts[0].requires_grad_()
    out, scores = adaptive_propagation(matrix, *parts, 4, store_hops, True, backend=backend)
    expected = naive.adaptive_propagation(matrix, *parts, 4)
    torch.testing.assert_close((out, scores), expected, rtol=1e-12, atol=1e-12)
    assert scores.shape == (9, 5)
    assert not scores.requires_grad
    out.sum().backward()
    assert parts[0].grad is not None


def test_no_hops_is_the_gated_input(backend: str, random_matrix: Callable[..., CSR]) -> None:
    z, weight, bias = inputs(8, 3)
    out = adaptive_propagation(random_matrix(8, 20), z, weight, bias, 0, backend=backend)
    torch.testing.assert_close(out, torch.sigmoid(z @ weight + bias)[:, None] * z)


def test_an_isolated_node_keeps_its_input(backend: str) -> None:
    """Only its self loop, so H_k = H_0 and every score is the same, exactly."""
    adjacency = Adjacency.from_edge_index(torch.tensor([[0, 1], [1, 0]]), 3)
    z, weight, bias = inputs(3, 3)
    matrix = adjacency.normalized(dtype=torch.float64)
    out, scores = adaptive_propagation(
        matrix, z, weight, bias, 10, return_scores=True, backend=backend
    )
    assert scores[2].unique().numel() == 1
    torch.testing.assert_close(out[2], 11 * scores[2, 0] * z[2])


@given(st.integers(0, 10_000))
def test_permutation_equivariance(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    edge_index = torch.randint(12, (2, 30), generator=generator)
    permutation = torch.randperm(12, generator=generator)
    z, weight, bias = inputs(12, 7)
    graphs = [
        Adjacency.from_edge_index(index, 12) for index in (edge_index, permutation[edge_index])
    ]
    matrices = [graph.normalized(dtype=torch.float64) for graph in graphs]
    permuted = torch.empty_like(z)
    permuted[permutation] = z
    out = adaptive_propagation(matrices[0], z, weight, bias, 4)
    out_permuted = adaptive_propagation(matrices[1], permuted, weight, bias, 4)
    torch.testing.assert_close(out_permuted[permutation], out)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(
    backend: str, dtype: torch.dtype, random_matrix: Callable[..., CSR]
) -> None:
    matrix, parts = random_matrix(9, 20, dtype=torch.float32), inputs(9, 3, dtype)
    exact = adaptive_propagation(matrix, *(part.float() for part in parts), 4)
    out = adaptive_propagation(matrix, *parts, 4, backend=backend)
    assert out.dtype == dtype
    assert torch.equal(out, exact.to(dtype)) or backend == "torch"
    with torch.autocast("cpu", dtype=torch.bfloat16):
        kept = adaptive_propagation(matrix, *parts, 4, backend=backend)
    assert kept.dtype == torch.float32
    torch.testing.assert_close(kept, exact)


@pytest.mark.parametrize("store_hops", [True, False])
def test_float32_is_near_float64(store_hops: bool, random_matrix: Callable[..., CSR]) -> None:
    graph = random_matrix(400, 3000)
    matrix = Adjacency(CSR(graph.rowptr, graph.col, None, graph.shape)).normalized()
    double = matrix.to(dtype=torch.float64)
    results = []
    for m, dtype in ((matrix, torch.float32), (double, torch.float64)):
        parts = [part.requires_grad_() for part in inputs(400, 9, dtype)]
        out = adaptive_propagation(m, *parts, 10, store_hops)
        results.append([out, *torch.autograd.grad(out.square().sum(), parts)])
    for single, exact in zip(*results, strict=True):
        assert (single - exact).abs().max() <= 1e-5 * exact.abs().max()


def test_saturated_gates_stay_finite(backend: str) -> None:
    matrix = Adjacency.from_edge_index(torch.tensor([[0, 1], [1, 0]])).normalized()
    z = torch.tensor([[1e4, -1e4, 0.0], [-3e4, 1.0, 2.0]], requires_grad=True)
    weight, bias = torch.tensor([100.0, -100.0, 1.0], requires_grad=True), torch.zeros(1)
    out = adaptive_propagation(matrix, z, weight, bias, 3, backend=backend)
    out.sum().backward()
    assert out.isfinite().all()
    assert z.grad is not None
    assert z.grad.isfinite().all()


def test_nan_passes_through(backend: str) -> None:
    matrix = Adjacency.from_edge_index(torch.tensor([[0, 1], [1, 0]]), 3).normalized()
    z = torch.ones(3, 3)
    z[0, 0] = float("nan")
    out = adaptive_propagation(matrix, z, torch.ones(3), torch.zeros(1), 2, backend=backend)
    assert out[:2].isnan().all()
    assert out[2].isfinite().all()


def test_bitwise_the_same_every_time_and_for_every_number_of_threads(
    random_matrix: Callable[..., CSR],
) -> None:
    matrix = random_matrix(700, 4000, dtype=torch.float32)
    parts = [part.requires_grad_() for part in inputs(700, 7, torch.float32)]

    def step() -> list[Tensor]:
        out = adaptive_propagation(matrix, *parts, 5)
        return [out.detach(), *torch.autograd.grad(out.sum(), parts)]

    first = step()
    for threads in (2, 1):
        torch.set_num_threads(threads)
        assert all(torch.equal(a, b) for a, b in zip(step(), first, strict=True))


def test_many_threads_at_once(random_matrix: Callable[..., CSR], always_parallel: None) -> None:
    matrix = random_matrix(300, 1500)

    def step(_: int) -> list[Tensor]:
        torch.set_num_threads(2)  # torch counts per thread, too
        parts = [part.requires_grad_() for part in inputs(300, 7)]
        out = adaptive_propagation(matrix, *parts, 5, store_hops=False)
        return [out.detach(), *torch.autograd.grad(out.sum(), parts)]

    expected = step(0)
    with ThreadPoolExecutor(8) as pool:
        for result in pool.map(step, range(40)):
            assert all(torch.equal(a, b) for a, b in zip(result, expected, strict=True))


def test_inputs_that_need_no_gradient_get_none(random_matrix: Callable[..., CSR]) -> None:
    z, weight, bias = inputs(9, 3)
    weight.requires_grad_()
    adaptive_propagation(random_matrix(9, 20), z, weight, bias, 3).sum().backward()
    assert weight.grad is not None
    assert z.grad is None


def test_a_second_derivative_is_refused_clearly(random_matrix: Callable[..., CSR]) -> None:
    parts = [part.requires_grad_() for part in inputs(5, 3)]
    out = adaptive_propagation(random_matrix(5, 9), *parts, 2).pow(2).sum()
    (grad,) = torch.autograd.grad(out, parts[0], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


def test_after_inference_mode_training_still_works(random_matrix: Callable[..., CSR]) -> None:
    matrix, parts = random_matrix(5, 9, dtype=torch.float32), inputs(5, 3)
    with torch.inference_mode():
        adaptive_propagation(matrix, *parts, 2)
    parts[0].requires_grad_()
    adaptive_propagation(matrix, *parts, 2).sum().backward()
    assert parts[0].grad is not None


def test_traced_by_the_compiler(
    random_matrix: Callable[..., CSR], assert_same: Callable[..., None]
) -> None:
    matrix = random_matrix(6, 14)
    compiled = torch.compile(
        lambda *parts: adaptive_propagation(matrix, *parts, 2), backend="aot_eager", fullgraph=True
    )
    assert_same(compiled, stacked(matrix, 2), inputs(6, 3))


def test_errors_name_the_argument(random_matrix: Callable[..., CSR]) -> None:
    matrix, (z, weight, bias) = random_matrix(6, 14), inputs(6, 3)
    with pytest.raises(ValueError, match=r"z has shape \(5, 3\), expected 6 rows"):
        adaptive_propagation(matrix, z[:5], weight, bias, 2)
    with pytest.raises(ValueError, match=r"pass z \[N, C\], weight \[C\] and bias \[1\]"):
        adaptive_propagation(matrix, z, weight[:2], bias, 2)
    with pytest.raises(ValueError, match=r"pass z \[N, C\], weight \[C\] and bias \[1\]"):
        adaptive_propagation(matrix, z, weight, bias[0], 2)
    with pytest.raises(ValueError, match="num_hops is -1"):
        adaptive_propagation(matrix, z, weight, bias, -1)
    with pytest.raises(ValueError, match="need a square matrix"):
        adaptive_propagation(random_matrix(6, 14, cols=5), z, weight, bias, 2)
    with pytest.raises(TypeError, match=r"z has dtype torch\.int64"):
        adaptive_propagation(matrix, z.long(), weight, bias, 2)


def test_evaluation_keeps_two_hops_whatever_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, ...]] = []
    new_empty = torch.Tensor.new_empty

    def spy(self: torch.Tensor, *shape: int, **options: object) -> torch.Tensor:
        asked.append(shape)
        return new_empty(self, *shape, **options)

    matrix = Adjacency.from_edge_index(torch.tensor([[0, 1], [1, 0]]), 2).normalized()
    z, weight, bias = torch.rand(2, 3), torch.rand(3, requires_grad=True), torch.zeros(1)
    monkeypatch.setattr(torch.Tensor, "new_empty", spy)
    with torch.no_grad():
        adaptive_propagation(matrix, z, weight, bias, 9)
    assert (2, 2, 3) in asked
    assert (10, 2, 3) not in asked
    adaptive_propagation(matrix, z, weight, bias, 9)
    assert (10, 2, 3) in asked
