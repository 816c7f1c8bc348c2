"""A linear layer on many dropped-out copies of a row, against making the copies."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from graphseq.graph.ops.dropout import hash_torch, keys
from graphseq.graph.ops.repeated_linear import _dropped, repeated_linear


def setting(width: int, out: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(width)
    shapes = [(width,), (out, width), (out,)]
    tensors = [torch.randn(shape, dtype=dtype, generator=generator) for shape in shapes]
    return [tensor.requires_grad_() for tensor in tensors]


@pytest.mark.parametrize(("width", "out", "size"), [(7, 5, 0), (1, 1, 3), (17, 90, 200)])
@pytest.mark.parametrize("p", [0.05, 0.5, 1.0])
@pytest.mark.usefixtures("always_parallel")
def test_equals_copies(width: int, out: int, size: int, p: float) -> None:
    results = []
    for backend in ("numba", "torch"):
        row, weight, bias = setting(width, out)
        found = repeated_linear(row, size, weight, bias, p, seed=3, backend=backend)  # type: ignore[arg-type]
        direction = torch.linspace(-1, 2, found.numel(), dtype=found.dtype).view_as(found)
        results.append([found, *torch.autograd.grad(found, [row, weight, bias], direction)])
    assert results[0][0].shape == (size, out)
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_gradcheck() -> None:
    inputs = setting(5, 4)

    def of(row: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return repeated_linear(row, 6, weight, bias, 0.2, seed=5, backend="numba")

    assert torch.autograd.gradcheck(of, inputs)


def test_without_dropout_all_rows_are_one() -> None:
    row, weight, bias = setting(6, 3)
    expected = F.linear(row.relu(), weight, bias).expand(4, -1)
    torch.testing.assert_close(repeated_linear(row, 4, weight, bias, 0.3, False), expected)
    torch.testing.assert_close(repeated_linear(row, 4, weight, bias, 0.0), expected)


def test_each_row_has_its_own_mask_and_the_mean_is_kept() -> None:
    row, weight, bias = setting(120, 3)
    torch.manual_seed(0)
    found = repeated_linear(row, 20_000, weight, bias, 0.2)
    assert len(found.unique(dim=0)) > 19_000
    expected = F.linear(row.relu(), weight, bias)
    spread = found.std(0) / 20_000**0.5
    assert ((found.mean(0) - expected).abs() < 5 * spread).all()


def test_positions_beyond_32_bits() -> None:
    begin, width, seed = (1 << 32) - 3, 8, 7
    active = torch.arange(width)
    hashed = hash_torch(begin + active, seed)
    threshold = int(hashed.median()) + 1
    found = np.empty(width, np.int32)
    numbers = [np.uint32(number) for number in (*keys(seed), threshold)]
    count = _dropped(begin, active.numpy(), *numbers, np.empty(width, np.uint32), found)
    assert found[:count].tolist() == (hashed < threshold).nonzero().squeeze(1).tolist()


def test_wrong_probability() -> None:
    with pytest.raises(ValueError, match=r"p is 1\.5; pass a probability"):
        repeated_linear(*setting(2, 2)[:1], 3, *setting(2, 2)[1:], p=1.5)
