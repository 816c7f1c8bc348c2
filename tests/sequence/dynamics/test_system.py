"""The system itself: shapes, constants, changes of scale."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from graphseq.sequence.dynamics import DynamicalSystem, apply_phi


def random_system(*, complex_states: bool = False) -> DynamicalSystem:
    dtype = torch.complex128 if complex_states else torch.float64
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int, dtype: torch.dtype = dtype) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype)

    real = torch.float64
    return DynamicalSystem(
        Lambda=draw(2, 6, 5),
        B=draw(2, 6, 5, 3),
        C=draw(2, 6, 3, 5),
        D=draw(2, 6, 3, 3, dtype=real),
        state_bias=draw(2, 6, 5),
        output_bias=draw(2, 6, 3, dtype=real),
    )


def random_input() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 6, 3, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("complex_states", [False, True])
def test_run_is_phi_and_offset(complex_states: bool) -> None:
    system, u = random_system(complex_states=complex_states), random_input()
    y = apply_phi(system.phi(), u) + system.offset()
    torch.testing.assert_close(system.run(u), y)
    assert not y.is_complex()


def test_constants_are_an_input_that_is_always_1() -> None:
    """In the framework's own terms: one input more, whose columns are the biases."""
    system, u = random_system(), random_input()
    assert system.state_bias is not None
    assert system.output_bias is not None
    wide = DynamicalSystem(
        Lambda=system.Lambda,
        B=torch.cat([system.B, system.state_bias[..., None]], 3),
        C=torch.cat([system.C, torch.zeros_like(system.C[:, :, :1])], 2),
        D=torch.nn.functional.pad(system.D, (0, 1, 0, 1)),
    )
    wide.D[:, :, :3, 3] = system.output_bias
    y = wide.run(torch.cat([u, torch.ones_like(u[..., :1])], 2))
    torch.testing.assert_close(y[..., :3], system.run(u))


def test_without_constants_zero_stays_zero() -> None:
    system = replace(random_system(), state_bias=None, output_bias=None)
    assert not system.offset().any()


def test_states_of_another_scale_are_the_same_map() -> None:
    system, u = random_system(), random_input()
    scale = 0.5 + torch.rand(2, 6, 5, dtype=torch.float64)
    moved = system.rescaled(scale)
    torch.testing.assert_close(moved.states(u), scale * system.states(u))
    torch.testing.assert_close(moved.run(u), system.run(u))
    torch.testing.assert_close(moved.phi(), system.phi())
    assert not torch.allclose(moved.Lambda, system.Lambda)
    torch.testing.assert_close(moved.rescaled(1 / scale).Lambda, system.Lambda)


def test_shapes_that_do_not_fit_are_refused() -> None:
    system = random_system()
    with pytest.raises(ValueError, match=r"DynamicalSystem: B has shape .*, expected \[B=2, T=6"):
        replace(system, B=system.B[:, :, :2])
    with pytest.raises(ValueError, match="DynamicalSystem: output_bias has shape"):
        replace(system, output_bias=system.C[..., 0, :])
    with pytest.raises(ValueError, match=r"DynamicalSystem\.run: u has shape \(1, 6, 3\), .*batch"):
        system.run(random_input()[:1])
