"""Products of the rows of two nodes."""

import pytest
import torch

from graphseq.graph.ops.pair_product import pair_product

PAIRS = torch.tensor([[0, 3, 3, 2, 2], [1, 4, 4, 2, 0]])  # one repeated, one self pair


@pytest.mark.parametrize("width", [1, 5, 40])
@pytest.mark.parametrize("pairs", [PAIRS, PAIRS[:, :0]])
@pytest.mark.usefixtures("always_parallel")
def test_equals_indexing(width: int, pairs: torch.Tensor) -> None:
    x = torch.randn(6, width, dtype=torch.float64, requires_grad=True)
    ours, plain = (pair_product(x, pairs, backend=b) for b in ("numba", "torch"))  # type: ignore[arg-type]
    assert torch.equal(ours, plain)
    direction = torch.randn_like(ours)
    (mine,), (theirs,) = (torch.autograd.grad(out, x, direction) for out in (ours, plain))
    torch.testing.assert_close(mine, theirs)


def test_gradcheck() -> None:
    x = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: pair_product(x, PAIRS), (x,))
