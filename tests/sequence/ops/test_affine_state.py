"""States of linear recurrences: maps that compose."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from graphseq.sequence.ops import AffineState, merge_affine
from graphseq.sequence.ops.affine_state import check_state, identity_state


def random_state(seed: int, decay: tuple[int, ...], value: tuple[int, ...]) -> AffineState:
    generator = torch.Generator().manual_seed(seed)
    return AffineState(
        torch.rand(decay, generator=generator, dtype=torch.float64),
        torch.randn(value, generator=generator, dtype=torch.float64),
    )


SHAPES = [((2, 3), (2, 3)), ((2, 3), (2, 3, 4, 5)), ((2, 3, 4), (2, 3, 4))]


@given(st.integers(0, 10_000), st.sampled_from(SHAPES))
def test_merging_is_associative(seed: int, shapes: tuple[tuple[int, ...], ...]) -> None:
    a, b, c = (random_state(seed + i, *shapes) for i in range(3))
    left, right = merge_affine(merge_affine(a, b), c), merge_affine(a, merge_affine(b, c))
    torch.testing.assert_close(tuple(left), tuple(right), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shapes", SHAPES)
def test_the_identity_changes_nothing(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    state = random_state(0, *shapes)
    identity = identity_state(shapes[0], state.value)
    for merged in (merge_affine(identity, state), merge_affine(state, identity)):
        assert torch.equal(merged.decay, state.decay)
        assert torch.equal(merged.value, state.value)


def test_merging_composes_the_maps() -> None:
    first, second = random_state(0, (2,), (2, 3)), random_state(1, (2,), (2, 3))
    h = torch.randn(2, 3, dtype=torch.float64)

    def apply(state: AffineState, h: torch.Tensor) -> torch.Tensor:
        return state.decay[:, None] * h + state.value

    expected = apply(second, apply(first, h))
    torch.testing.assert_close(apply(merge_affine(first, second), h), expected)


def test_merging_is_differentiable() -> None:
    values = [torch.randn(2, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    decays = [torch.rand(2, dtype=torch.float64) for _ in range(2)]

    def merged(*values: torch.Tensor) -> torch.Tensor:
        return merge_affine(*map(AffineState, decays, values)).value

    torch.autograd.gradcheck(merged, values)


def test_states_that_do_not_belong_together_are_refused() -> None:
    one, other = random_state(0, (2, 3), (2, 3)), random_state(0, (2, 4), (2, 4))
    with pytest.raises(ValueError, match=r"merge_affine: first has decay \(2, 3\).*one recurrence"):
        merge_affine(one, other)


def test_a_checked_state_is_the_given_one() -> None:
    state = random_state(0, (2,), (2, 3))
    checked = check_state("op", state, (2,), (2, 3), torch.float64, torch.device("cpu"))
    assert torch.equal(checked.decay, state.decay)
    assert torch.equal(checked.value, state.value)
    single = check_state("op", state, (2,), (2, 3), torch.float32, torch.device("cpu"))
    assert {single.decay.dtype, single.value.dtype} == {torch.float32}


def test_no_state_is_the_identity() -> None:
    state = check_state("op", None, (2,), (2, 3), torch.complex64, torch.device("cpu"))
    assert state.value.dtype == torch.complex64
    assert state.value.shape == (2, 3)
    assert bool((state.decay == 1).all())
    assert not state.value.any()


def test_errors_name_the_field() -> None:
    cpu, state = torch.device("cpu"), random_state(0, (2,), (2, 3))
    with pytest.raises(ValueError, match=r"op: state.decay has shape \(2,\), expected \[3\]"):
        check_state("op", state, (3,), (2, 3), torch.float64, cpu)
    with pytest.raises(ValueError, match=r"op: state.value has shape \(2, 3\), expected \[2, 4\]"):
        check_state("op", state, (2,), (2, 4), torch.float64, cpu)
    with pytest.raises(TypeError, match="op: state is a Tensor; pass an AffineState"):
        check_state("op", state.value, (2,), (2, 3), torch.float64, cpu)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"op: state.decay is on cpu, other arguments on meta"):
        check_state("op", state, (2,), (2, 3), torch.float64, torch.device("meta"))
