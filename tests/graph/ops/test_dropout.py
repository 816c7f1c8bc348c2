"""Dropout as a function of (seed, position): the same everywhere, and statistically a coin."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from scipy import stats

from graphseq.graph.ops import dropout, naive

N = 1 << 20


def kept(p: float, seed: int, size: int = N, backend: str = "numba") -> torch.Tensor:
    return dropout(torch.ones(size), p, seed=seed, backend=backend) != 0


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("p", [0.0, 0.2, 0.8, 1.0])
@pytest.mark.parametrize("shape", [(0,), (1,), (7, 33), (2, 3, 50)])
def test_equals_the_masked_input(
    backend: str,
    shape: tuple[int, ...],
    p: float,
    relu: bool,
    assert_same: Callable[..., None],
) -> None:
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    mask = dropout(torch.ones(shape), p, seed=5, backend="torch") != 0
    assert_same(
        lambda x: dropout(x, p, seed=5, relu=relu, backend=backend),
        lambda x: naive.dropout(x, p, mask, relu),
        [x],
    )


@pytest.mark.parametrize("seed", [0, 1, -1, 12345, 2**31, 2**63 - 1, -(2**63), 2**70])
def test_both_backends_draw_the_same_bits(seed: int) -> None:
    x = torch.randn(10_007, generator=torch.Generator().manual_seed(0))
    for p in (1e-6, 0.37, 0.999):
        for relu in (False, True):
            fast = dropout(x, p, seed=seed, relu=relu, backend="numba")
            plain = dropout(x, p, seed=seed, relu=relu, backend="torch")
            assert torch.equal(fast, plain)


def test_the_mask_depends_on_positions_beyond_32_bits() -> None:
    """The torch path at index 2^32 + i must not repeat index i; checked on its hash alone."""
    from graphseq.graph.ops.dropout import hash_torch

    index = torch.arange(1000)
    assert not torch.equal(hash_torch(index, 1), hash_torch(index + 2**32, 1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_mask_is_the_same_for_every_dtype_and_layout(dtype: torch.dtype) -> None:
    x = torch.ones(50, 40, dtype=dtype)
    out = dropout(x, 0.5, seed=9)
    assert out.dtype == dtype
    assert out.unique().tolist() == [0.0, 2.0]
    assert torch.equal(out != 0, kept(0.5, 9, 2000).view(50, 40))
    strided = dropout(torch.ones(40, 50, dtype=dtype).t(), 0.5, seed=9)
    assert torch.equal(strided, out)


def test_any_number_of_threads_gives_the_same_mask(always_parallel: None) -> None:
    expected = kept(0.3, 4, 100_003)
    torch.set_num_threads(1)
    assert torch.equal(kept(0.3, 4, 100_003), expected)


def test_seeds_come_from_torchs_default_generator() -> None:
    x = torch.ones(1000)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        first, second = dropout(x, 0.5), dropout(x, 0.5)
        torch.manual_seed(0)
        assert torch.equal(dropout(x, 0.5), first)
        assert not torch.equal(first, second)
        before = torch.get_rng_state()
        dropout(x, 0.5, seed=1)
        dropout(x, 0.5, training=False)
        assert torch.equal(torch.get_rng_state(), before)


def test_evaluation_changes_nothing() -> None:
    x = torch.tensor([-1.0, 2.0])
    assert dropout(x, 0.5, training=False) is x
    assert dropout(x, 0.5, training=False, relu=True).tolist() == [0.0, 2.0]


def test_nan_is_not_hidden(backend: str) -> None:
    x = torch.full((1000,), float("nan"))
    for relu in (False, True):
        out = dropout(x, 0.5, seed=0, relu=relu, backend=backend)
        assert torch.equal(out.isnan(), kept(0.5, 0, 1000))


def test_gradcheck(backend: str) -> None:
    x = torch.linspace(-2, 2, 11, dtype=torch.float64).add(0.05).requires_grad_()
    for relu in (False, True):
        torch.autograd.gradcheck(
            lambda x, relu=relu: dropout(x, 0.4, seed=2, relu=relu, backend=backend), (x,)
        )


def test_traced_by_the_compiler() -> None:
    compiled = torch.compile(
        lambda x: dropout(x, 0.5, seed=3, relu=True), backend="aot_eager", fullgraph=True
    )
    x = torch.linspace(-1, 1, 100)
    assert torch.equal(compiled(x), dropout(x, 0.5, seed=3, relu=True))


def test_without_a_seed_the_compiler_is_not_interrupted() -> None:
    compiled = torch.compile(
        lambda x: dropout(x, 0.5, relu=True), backend="aot_eager", fullgraph=True
    )
    x = torch.linspace(-1, 1, 2000)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        first, second = compiled(x), compiled(x)
    assert 400 < (first != 0).sum() < 600
    assert torch.equal(first[first != 0], 2 * x[first != 0])
    assert not torch.equal(first, second)


# Statistics. Seeds are fixed, so these cannot flake; bounds are at 5 standard deviations or at
# p-values of 1e-6, over few enough tests that a sound hash passes.


@pytest.mark.parametrize("p", [0.001, 0.2, 0.5, 0.8])
@pytest.mark.parametrize("seed", range(6))
def test_the_share_of_dropped_elements(p: float, seed: int) -> None:
    deviation = math.sqrt(p * (1 - p) / N)
    assert abs((~kept(p, seed)).double().mean().item() - p) < 5 * deviation


@pytest.mark.parametrize("p", [0.2, 0.5, 0.8])
def test_shares_over_seeds_vary_like_coins(p: float) -> None:
    """200 seeds, 4,096 elements: sum of squared standard scores is chi-square with 200."""
    size, seeds = 4096, 200
    counts = torch.stack([kept(p, seed, size).sum() for seed in range(seeds)]).double()
    scores = (counts - size * (1 - p)) / math.sqrt(size * p * (1 - p))
    tail = stats.chi2.cdf(scores.square().sum().item(), seeds)
    assert 1e-6 < tail < 1 - 1e-6


@pytest.mark.parametrize("period", [2, 3, 7, 16, 64, 256, 1433])
def test_no_position_inside_a_row_is_preferred(period: int) -> None:
    """Chi-square over the columns of a matrix with ``period`` columns."""
    for seed in (0, 1, 77):
        mask = kept(0.4, seed)[: N // period * period].view(-1, period).double()
        rows = mask.size(0)
        statistic = ((mask.sum(0) - rows * 0.6).square() / (rows * 0.6 * 0.4)).sum().item()
        assert 1e-6 < stats.chi2.cdf(statistic, period) < 1 - 1e-6


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 7, 8, 16, 32, 64, 100, 256, 1433, 65536, 2**18])
def test_neighbours_are_independent(lag: int) -> None:
    for seed in (0, 1, 77):
        mask = kept(0.5, seed).double().sub(0.5).mul(2)
        correlation = (mask[lag:] * mask[:-lag]).mean().item()
        assert abs(correlation) < 5 / math.sqrt(N - lag)


def test_windows_of_twelve_bits_are_uniform() -> None:
    """All 4,096 patterns of 12 neighbours occur alike often."""
    bits = kept(0.5, 123)[: N // 12 * 12].view(-1, 12).long()
    patterns = torch.bincount(bits @ (1 << torch.arange(12)), minlength=4096)
    assert 1e-6 < stats.chisquare(patterns.numpy()).pvalue < 1 - 1e-6


def test_different_seeds_are_independent() -> None:
    """Close seeds, seeds that differ in one bit, and mirrored seeds."""
    seeds = [0, 1, 2, 3, 2**16, 2**31, 2**32, 2**32 + 1, 2**62, -1, -2]
    masks = {seed: kept(0.5, seed).double().sub(0.5).mul(2) for seed in seeds}
    for one, other in itertools.combinations(seeds, 2):
        correlation = (masks[one] * masks[other]).mean().item()
        assert abs(correlation) < 5 / math.sqrt(N), (one, other)


def test_runs_have_geometric_lengths() -> None:
    mask = kept(0.5, 31)
    changes = (mask[1:] != mask[:-1]).nonzero()[:, 0]
    lengths = changes.diff().clamp(max=12)
    counts = torch.bincount(lengths, minlength=13)[1:].numpy()
    shares = [0.5**k for k in range(1, 12)] + [0.5**11]
    expected = [share * counts.sum() for share in shares]
    assert 1e-6 < stats.chisquare(counts, expected).pvalue < 1 - 1e-6


@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan")])
def test_errors(p: float) -> None:
    with pytest.raises(ValueError, match="dropout: p is"):
        dropout(torch.ones(2), p)
    with pytest.raises(TypeError, match=r"x has dtype torch\.int64"):
        dropout(torch.ones(2).long(), 0.5)
