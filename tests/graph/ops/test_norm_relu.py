"""Layer norm, dropout and ReLU in one pass against the three modules one after the other."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from graphseq.graph.ops.dropout import hash_torch, keys
from graphseq.graph.ops.norm_relu import _forward, norm_relu

WIDTH = 17


def setting(rows: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, nn.LayerNorm]:
    generator = torch.Generator().manual_seed(rows)
    x = 3 * torch.randn(rows, WIDTH, dtype=dtype, generator=generator) + 1
    norm = nn.LayerNorm(WIDTH, dtype=dtype)
    with torch.no_grad():
        norm.weight.copy_(torch.randn(WIDTH, generator=generator))
        norm.bias.copy_(torch.randn(WIDTH, generator=generator))
    return x.requires_grad_(), norm


@pytest.mark.parametrize("rows", [0, 1, 5, 64, 200])
@pytest.mark.parametrize("p", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.usefixtures("always_parallel")
def test_equals_the_modules(rows: int, p: float, training: bool) -> None:
    results = []
    for backend in ("numba", "torch"):
        x, norm = setting(rows)
        out = norm_relu(x, norm, p, training, seed=3, backend=backend)  # type: ignore[arg-type]
        direction = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view_as(out)
        inputs = [x, norm.weight, norm.bias]
        results.append([out, *torch.autograd.grad(out, inputs, direction)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_gradcheck() -> None:
    x, norm = setting(6)

    def function(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        fresh = nn.LayerNorm(WIDTH, dtype=x.dtype)
        del fresh.weight, fresh.bias
        fresh.weight, fresh.bias = weight, bias
        return norm_relu(x, fresh, 0.3, seed=5, backend="numba")

    def of(x: Tensor) -> Tensor:
        return norm_relu(x, norm, 0.3, seed=5, backend="numba")

    assert torch.autograd.gradcheck(of, (x,))


def test_without_norm_it_is_dropout_and_relu() -> None:
    x, _ = setting(9)
    torch.testing.assert_close(norm_relu(x, None, 0.5, False), x.relu())
    assert (norm_relu(x, None, 0.5, True) == 0).any()


def test_constant_rows_and_nan() -> None:
    x, norm = setting(3)
    x = x.detach().clone()
    x[0] = 4.0
    x[1, 2] = torch.nan
    for p in (0.0, 0.5):
        out = norm_relu(x, norm, p, seed=1, backend="numba")
        twin = norm_relu(x, norm, p, seed=1, backend="torch")
        torch.testing.assert_close(out, twin, equal_nan=True)


def test_half_precision_is_computed_in_float32() -> None:
    x, norm = setting(8, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        out = norm_relu(x.detach().bfloat16(), norm, 0.0)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, norm(x.detach().bfloat16().float()).relu())
    half = norm_relu(x.detach().bfloat16(), norm.bfloat16(), 0.0)
    assert half.dtype == torch.bfloat16


def test_the_mask_follows_positions_across_2_to_the_32() -> None:
    """A row in which the high half of the position changes, far down a tall matrix."""
    width = 1 << 20
    row = 4095  # ends at 2^32; a shift of one row would begin there
    hashes = hash_torch(torch.tensor([row * width + width - 1, (row + 1) * width]), 11)
    assert hashes.shape == (2,)
    numbers = [np.uint32(number) for number in (*keys(11), 2**31)]
    x = np.tile(np.array([1.0, -1.0], np.float32), 8)[None]
    ones, out = np.ones(16, np.float32), np.empty((1, 16), np.float32)
    mean, rstd = np.empty(1, np.float32), np.empty(1, np.float32)
    one = np.float32(2)
    _forward(x, ones, 3 * ones, np.float32(0), *numbers, one, out, mean, rstd)
    kept = hash_torch(torch.arange(16), 11) >= 2**31
    assert torch.equal(torch.from_numpy(out)[0] != 0, kept)


def test_a_wrong_probability_is_refused() -> None:
    x, norm = setting(2)
    with pytest.raises(ValueError, match="p is 2"):
        norm_relu(x, norm, 2.0)
