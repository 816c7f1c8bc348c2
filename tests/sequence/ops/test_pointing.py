"""Pointer scores: compiled == blocked == definition, gradients included."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from graphseq.sequence.ops import naive_pointing, pointer_scores, pointing

BACKENDS = ["numba", "torch"]


def inputs(
    batch: int = 2, rows: int = 3, columns: int = 4, channels: int = 5, std: float = 1.0
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = (batch, rows, channels), (batch, columns, channels), (channels,)
    q, k, v = (torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes)
    return std * q, std * k, v


def results(function: Callable[..., Tensor], *parts: Tensor) -> list[Tensor]:
    """The value, and the gradients of all parts for a fixed cotangent with a zero in it."""
    leaves = [part.detach().clone().requires_grad_() for part in parts]
    out = function(*leaves)
    cotangent = torch.arange(out.numel(), dtype=out.dtype).view(out.shape).sin()
    return [out.detach(), *torch.autograd.grad(out, leaves, cotangent)]


def assert_as_defined(backend: str, *parts: Tensor, tol: float = 1e-12) -> None:
    got = results(lambda *p: pointer_scores(*p, backend=backend), *parts)
    expected = results(naive_pointing.pointer_scores, *(p.double() for p in parts))
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=tol, atol=tol)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 1, 1, 1), (1, 9, 2, 33), (5, 2, 7, 16)])
def test_values_and_gradients(backend: str, shape: tuple[int, ...]) -> None:
    assert_as_defined(backend, *inputs(*shape))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("std", [5.0, 1000.0])
def test_large_arguments(backend: str, std: float) -> None:
    """On both sides of the size beyond which the exponentials are not used."""
    assert_as_defined(backend, *inputs(std=std))


@pytest.mark.parametrize("backend", BACKENDS)
def test_single_precision_up_to_the_limit(backend: str) -> None:
    q, k, v = (x.float() for x in inputs())
    assert_as_defined(backend, q.clamp(-1, 1) * 20, k.clamp(-1, 1) * 20, v, tol=2e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradcheck(backend: str) -> None:
    parts = [x.requires_grad_() for x in inputs(2, 2, 3, 3)]
    assert torch.autograd.gradcheck(lambda *p: pointer_scores(*p, backend=backend), parts)


def test_shared_by_threads_and_cut_into_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphseq.kernels.SERIAL_WORK", 0)
    monkeypatch.setattr(pointing, "_BLOCK_CPU", 40)
    for backend in BACKENDS:
        assert_as_defined(backend, *inputs(1, 7, 4, 5))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", [(0, 3, 4, 5), (2, 0, 4, 5), (2, 3, 0, 5)])
def test_nothing_to_score(backend: str, shape: tuple[int, ...]) -> None:
    value, *gradients = results(lambda *p: pointer_scores(*p, backend=backend), *inputs(*shape))
    assert value.shape == shape[:3]
    assert all(not g.any() for g in gradients)


@pytest.mark.parametrize("backend", BACKENDS)
def test_half_precision_is_computed_in_single(backend: str) -> None:
    parts = [x.bfloat16() for x in inputs()]
    scores = pointer_scores(*parts, backend=backend)
    assert scores.dtype == torch.bfloat16
    expected = naive_pointing.pointer_scores(*(p.float() for p in parts))
    torch.testing.assert_close(scores, expected.bfloat16(), rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_nan_is_not_hidden(backend: str) -> None:
    q, k, v = inputs()
    q[0, 0, 0] = torch.nan
    scores = pointer_scores(q, k, v, backend=backend)
    assert bool(scores[0, 0].isnan().all())
    assert bool(scores[1].isfinite().all())


def test_errors_name_the_argument() -> None:
    q, k, v = inputs()
    with pytest.raises(ValueError, match="pointer_scores: keys has shape"):
        pointer_scores(q, k[..., :2], v)
    with pytest.raises(ValueError, match="pointer_scores: v has shape"):
        pointer_scores(q, k, v[:2])
    with pytest.raises(TypeError, match="pointer_scores: queries has dtype"):
        pointer_scores(q.long(), k, v)
    with pytest.raises(TypeError, match="pointer_scores: v has dtype"):
        pointer_scores(q, k, v.to(torch.complex128))
    with pytest.raises(ValueError, match="backend is 'cuda'"):
        pointer_scores(q, k, v, backend="cuda")
