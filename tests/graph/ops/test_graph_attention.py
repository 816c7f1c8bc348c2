"""Graph attention against its equation row by row, in values and gradients."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch_geometric.nn import GATConv

from graphseq.graph.csr import CSR
from graphseq.graph.ops import graph_attention, naive_forward


def inputs(
    graph: CSR, heads: int = 2, width: int = 5, std: float = 1.0, dtype: torch.dtype = torch.float64
) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    shapes = (graph.shape[1], heads, width), (graph.shape[1], heads), (graph.shape[0], heads)
    h, source, target = (
        torch.randn(*shape, dtype=torch.float64, generator=generator) for shape in shapes
    )
    return [h.to(dtype), (std * source).to(dtype), (std * target).to(dtype)]


@pytest.mark.parametrize(("heads", "width"), [(1, 32), (2, 32), (3, 32), (4, 32), (3, 1), (2, 0)])
def test_equals_the_equation(
    matrix: CSR, backend: str, heads: int, width: int, assert_same: Callable[..., None]
) -> None:
    assert_same(
        lambda *parts: graph_attention(matrix, *parts, backend=backend),
        lambda *parts: naive_forward.graph_attention(matrix, *parts),
        inputs(matrix, heads, width),
    )


@pytest.mark.parametrize("negative_slope", [0.0, 0.01, 1.0])
def test_any_negative_slope(
    square: CSR, backend: str, negative_slope: float, assert_same: Callable[..., None]
) -> None:
    assert_same(
        lambda *parts: graph_attention(square, *parts, negative_slope, backend=backend),
        lambda *parts: naive_forward.graph_attention(square, *parts, negative_slope),
        inputs(square),
    )


@pytest.mark.usefixtures("always_parallel")
def test_parallel_rows_are_the_serial_rows(
    random_matrix: Callable[..., CSR], assert_same: Callable[..., None]
) -> None:
    graph = random_matrix(300, 4000, cols=200)
    assert_same(
        lambda *parts: graph_attention(graph, *parts, backend="numba"),
        lambda *parts: naive_forward.graph_attention(graph, *parts),
        inputs(graph, 3, 9),
    )


def test_equals_the_torch_path_on_thousands_of_nodes(
    random_matrix: Callable[..., CSR], assert_same: Callable[..., None]
) -> None:
    graph = random_matrix(3000, 40_000)
    assert_same(
        lambda *parts: graph_attention(graph, *parts, backend="numba"),
        lambda *parts: graph_attention(graph, *parts, backend="torch"),
        inputs(graph, 4, 32),
    )


def test_equals_the_layer_of_pyg(random_matrix: Callable[..., CSR]) -> None:
    graph = random_matrix(50, 400)
    layer = GATConv(7, 6, heads=3, bias=False, add_self_loops=False).double()
    x = torch.randn(50, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    h = layer.lin(x).view(50, 3, 6)
    source, target = (h * layer.att_src).sum(2), (h * layer.att_dst).sum(2)
    expected = layer(x, torch.stack([graph.col.long(), graph.row]))
    torch.testing.assert_close(graph_attention(graph, h, source, target).flatten(1), expected)


@pytest.mark.parametrize("seed", range(3))
def test_gradcheck(random_matrix: Callable[..., CSR], backend: str, seed: int) -> None:
    graph = random_matrix(5, 12, seed, cols=4)
    parts = [part.requires_grad_() for part in inputs(graph, 2, 3)]
    assert torch.autograd.gradcheck(
        lambda *parts: graph_attention(graph, *parts, backend=backend), parts, fast_mode=True
    )


def test_rows_without_entries_give_zeros(backend: str) -> None:
    graph = CSR.from_coo(torch.tensor([1]), torch.tensor([0]), shape=(3, 3))
    h, source, target = inputs(graph)
    out = graph_attention(graph, h, source, target, backend=backend)
    assert out[[0, 2]].eq(0).all()
    torch.testing.assert_close(out[1], h[0])  # one neighbour has all the weight


def test_values_of_the_graph_are_not_read(matrix: CSR, backend: str) -> None:
    bare = CSR(matrix.rowptr, matrix.col, None, matrix.shape)
    outs = [graph_attention(graph, *inputs(matrix), backend=backend) for graph in (matrix, bare)]
    assert torch.equal(*outs)


@pytest.mark.parametrize("stds", [(1.0, 1.0), (1.0, 1000.0), (1000.0, 1000.0)])
def test_float32_is_near_float64(
    random_matrix: Callable[..., CSR], backend: str, stds: tuple[float, float]
) -> None:
    """Scores go to 3,000 and more: exp without a shift overflows at 88."""
    graph = random_matrix(200, 3000)
    h, source, target = inputs(graph, 4, 32, dtype=torch.float32)
    single = h, stds[0] * source, stds[1] * target
    results = []
    for dtype in (torch.float32, torch.float64):
        parts = [part.to(dtype).requires_grad_() for part in single]
        out = graph_attention(graph, *parts, backend=backend)
        results.append([out, *torch.autograd.grad(out.square().sum(), parts)])
    # Torch rounds scores of 1,000 to 1e-4 in float32, and weights are their exponentials.
    tolerance = 1e-5 if backend == "numba" or max(stds) == 1.0 else 1e-3
    # A score's gradient is the difference of two numbers <g, h> and <g, out>.
    size = results[1][0].square().sum(2).max()
    for got, exact in zip(*results, strict=True):
        assert got.dtype == torch.float32
        assert (got - exact).abs().max() <= tolerance * exact.abs().max().maximum(size)


def test_large_scores_in_float64(
    random_matrix: Callable[..., CSR], backend: str, assert_same: Callable[..., None]
) -> None:
    graph = random_matrix(50, 400)
    assert_same(
        lambda *parts: graph_attention(graph, *parts, backend=backend),
        lambda *parts: naive_forward.graph_attention(graph, *parts),
        inputs(graph, std=1000.0),
        tolerance=1e-11,
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(
    random_matrix: Callable[..., CSR], backend: str, dtype: torch.dtype
) -> None:
    graph = random_matrix(9, 30)
    parts = inputs(graph, dtype=dtype)
    exact = graph_attention(graph, *(part.float() for part in parts), backend=backend)
    out = graph_attention(graph, *parts, backend=backend)
    assert out.dtype == dtype
    assert torch.equal(out, exact.to(dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        kept = graph_attention(graph, *parts, backend=backend)
    assert kept.dtype == torch.float32
    torch.testing.assert_close(kept, exact)


def test_strided_inputs_and_gradients(
    random_matrix: Callable[..., CSR], backend: str, assert_same: Callable[..., None]
) -> None:
    graph = random_matrix(7, 20)
    h, source, target = inputs(graph)
    assert_same(
        lambda h, s, t: graph_attention(graph, h.mT, s.t(), t.t(), backend=backend).permute(
            2, 0, 1
        ),
        lambda h, s, t: naive_forward.graph_attention(graph, h.mT, s.t(), t.t()).permute(2, 0, 1),
        [h.mT.contiguous(), source.t().contiguous(), target.t().contiguous()],
    )


def test_nan_passes_through(backend: str) -> None:
    graph = CSR.from_coo(torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 1, 2]), shape=(3, 3))
    for spoilt in range(3):
        parts = inputs(graph)
        parts[spoilt][0] = float("nan")
        out = graph_attention(graph, *parts, backend=backend)
        assert out[0].isnan().all()
        assert out[1:].isfinite().all()


@pytest.mark.usefixtures("always_parallel")
def test_bitwise_the_same_every_time(random_matrix: Callable[..., CSR]) -> None:
    graph = random_matrix(500, 9000)
    results = []
    for threads in (1, 2, 2):
        torch.set_num_threads(threads)
        parts = [p.requires_grad_() for p in inputs(graph, 3, 16, dtype=torch.float32)]
        out = graph_attention(graph, *parts)
        results.append([out, *torch.autograd.grad(out.square().sum(), parts)])
    for first, *others in zip(*results, strict=True):
        assert all(torch.equal(first, other) for other in others)


class Largest(TorchDispatchMode):
    """Notes the size of the largest tensor that any operation returns."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor):
            self.numel = max(self.numel, out.numel())
        return out


def test_messages_are_never_made(random_matrix: Callable[..., CSR]) -> None:
    graph, sizes = random_matrix(50, 4000), {}
    for backend in ("numba", "torch"):
        parts = [part.requires_grad_() for part in inputs(graph, 2, 32)]
        with Largest() as largest:
            graph_attention(graph, *parts, backend=backend).sum().backward()  # type: ignore[arg-type]
        sizes[backend] = largest.numel
    assert sizes["numba"] <= 4000 * 2 * 2  # alpha and ds, [nnz, heads] each
    assert sizes["torch"] == 4000 * 2 * 32  # what the mode would have seen


def test_a_second_derivative_is_refused_clearly(random_matrix: Callable[..., CSR]) -> None:
    graph = random_matrix(5, 9)
    parts = [part.requires_grad_() for part in inputs(graph)]
    out = graph_attention(graph, *parts).pow(2).sum()
    (grad,) = torch.autograd.grad(out, parts[:1], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


def test_traced_by_the_compiler(
    random_matrix: Callable[..., CSR], assert_same: Callable[..., None]
) -> None:
    graph = random_matrix(6, 14)
    compiled = torch.compile(
        lambda *parts: graph_attention(graph, *parts), backend="aot_eager", fullgraph=True
    )
    assert_same(
        compiled, lambda *parts: naive_forward.graph_attention(graph, *parts), inputs(graph)
    )


@pytest.mark.parametrize(
    ("position", "part", "error", "words"),
    [
        (0, torch.ones(4, 2, 3), ValueError, r"h has shape \(4, 2, 3\), expected 5 rows"),
        (0, torch.ones(5, 2), ValueError, r"pass h \[S, heads, D\]"),
        (0, torch.ones(5, 2, 3).long(), TypeError, "h has dtype torch.int64"),
        (0, torch.ones(5, 2, 3, device="meta"), ValueError, "h is on meta"),
        (1, torch.ones(6, 2), ValueError, r"source has shape \(6, 2\), expected 5 rows"),
        (1, torch.ones(5, 3), ValueError, r"source \[S, heads\]"),
        (1, torch.ones(5, 2, 1), ValueError, r"source \[S, heads\]"),
        (2, torch.ones(5, 2), ValueError, r"target has shape \(5, 2\), expected 6 rows"),
        (2, torch.ones(6, 1), ValueError, r"target \[R, heads\]"),
        (2, torch.ones(6), ValueError, r"target \[R, heads\]"),
        (2, torch.ones(6, 2).int(), TypeError, "target has dtype torch.int32"),
    ],
)
def test_errors_name_the_argument(
    random_matrix: Callable[..., CSR],
    position: int,
    part: Tensor,
    error: type[Exception],
    words: str,
) -> None:
    graph = random_matrix(6, 9, cols=5)
    parts = inputs(graph, 2, 3)
    parts[position] = part
    with pytest.raises(error, match=f"graph_attention: .*{words}"):
        graph_attention(graph, *parts)


def test_an_unknown_backend_is_refused(random_matrix: Callable[..., CSR]) -> None:
    graph = random_matrix(5, 9)
    with pytest.raises(ValueError, match="backend is 'fast'"):
        graph_attention(graph, *inputs(graph), backend="fast")  # type: ignore[arg-type]
