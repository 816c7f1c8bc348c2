"""Gradient norms against the lag: known curves, and each kind of state."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from graphseq.sequence.nn import (
    GRU,
    LSTM,
    AarenAttention,
    Bidirectional,
    Elman,
    Jordan,
    QuasiLSTM,
    gradient_norms,
)

B, T, D = 3, 12, 6


def inputs(seed: int = 0) -> Tensor:
    return torch.randn(B, T, D, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_elman_with_half_a_rotation_halves_the_gradient_at_every_step() -> None:
    """At h = 0, where tanh has slope 1: the norm is sqrt(D) 0.5^lag."""
    mixer = Elman(D, init="orthogonal").double()
    with torch.no_grad():
        mixer.weight_hidden *= 0.5
        mixer.bias.zero_()
    norms = gradient_norms(mixer, torch.zeros(B, T, D, dtype=torch.float64))
    expected = D**0.5 * 0.5 ** torch.arange(T - 1, -1, -1, dtype=torch.float64)
    torch.testing.assert_close(norms, expected)
    bent = gradient_norms(mixer, inputs())  # elsewhere the slope is less
    assert (bent[:-1] < bent[1:] * 0.5).all()


def test_an_open_forget_gate_keeps_the_gradient_at_the_cell() -> None:
    mixer = LSTM(D, forget_bias=1e3).double()
    with torch.no_grad():
        mixer.weight_hidden.zero_()  # no other way back
    norms = gradient_norms(mixer, inputs(), tensor="c")
    torch.testing.assert_close(norms, norms[-1].expand(T))
    assert norms[0] > 0
    closed = LSTM(D, forget_bias=-1e3).double()
    assert gradient_norms(closed, inputs(), tensor="c")[0] < 1e-6 * norms[0]


@pytest.mark.parametrize("build", [Elman, GRU, LSTM, partial(Jordan, self_connection=0.5)])
def test_equals_an_error_added_to_the_state(build: Any) -> None:
    """The gradient at a state is that of the rest of the sequence, run from it."""
    mixer, x = build(D).double(), inputs()
    start = mixer(inputs(1))[1].detach()
    norms = gradient_norms(mixer, x, start)
    for t in range(1, T):
        state = mixer(x[:, :t], start)[1].map(lambda h: h.detach().requires_grad_())
        y, _ = mixer(x[:, t:], state)
        name = mixer.state_names[0]
        (grad,) = torch.autograd.grad(y[:, -1].sum(), state[name])
        torch.testing.assert_close(norms[t - 1], grad.norm(dim=1).mean())
    assert norms[-1] == (0 if build not in (Elman, GRU, LSTM) else pytest.approx(D**0.5))


@pytest.mark.parametrize("build", [partial(AarenAttention, num_heads=2), QuasiLSTM])
def test_takes_the_main_tensor_of_other_states(build: Any) -> None:
    mixer = build(D).double()
    norms = gradient_norms(mixer, inputs())
    assert norms.shape == (T,)
    assert norms.isfinite().all()
    assert (norms[:-1] > 0).all()


def test_leaves_everything_as_it_was() -> None:
    mixer, x = GRU(D).double().requires_grad_(False), inputs()
    with torch.no_grad():
        norms = gradient_norms(mixer, x)
    assert not norms.requires_grad
    assert (norms > 0).all()
    assert not x.requires_grad
    trained = GRU(D).double()
    gradient_norms(trained, x)
    assert all(p.grad is None for p in trained.parameters())


def test_errors() -> None:
    x = torch.zeros(B, T, D)
    with pytest.raises(ValueError, match=r"^gradient_norms: Bidirectional has no step"):
        gradient_norms(Bidirectional(D), x)
    with pytest.raises(ValueError, match=r"^gradient_norms: x has shape \(3, 0, 6\)"):
        gradient_norms(GRU(D), x[:, :0])
    with pytest.raises(ValueError, match=r"^gradient_norms: no tensor c in the state of GRU"):
        gradient_norms(GRU(D), x, tensor="c")
