"""The statements that the common form proves, and where they stop to hold."""

import pytest
import torch
from torch import Tensor

from graphseq.sequence.dynamics import theorems, to_dynamics
from graphseq.sequence.nn import (
    S6,
    AarenAttention,
    LinearAttention,
    NormalizedAttention,
    QuasiGRU,
    SoftmaxAttention,
)

D, T = 6, 17


@pytest.fixture(autouse=True)
def _same_draws() -> None:
    torch.manual_seed(0)


def inputs() -> Tensor:
    return torch.randn(3, T, D, dtype=torch.float64)


def plain(**kwargs: bool) -> LinearAttention:
    return LinearAttention(
        D, feature_map="identity", normalize=False, bias=False, key_channels=4, **kwargs
    ).double()


def test_linear_attention_without_normaliser_is_ssd() -> None:
    sides = theorems.linear_attention_is_ssd(plain(), inputs())
    assert sides.left.abs().max() > 0.1
    assert sides.difference < 1e-12


def test_its_ssd_keeps_all_and_scales_nothing() -> None:
    system = to_dynamics(theorems.ssd_of_linear_attention(plain()), inputs())
    assert (system.Lambda == 1).all()
    assert not system.D.any()


@pytest.mark.parametrize(
    "attention",
    [
        LinearAttention(D, feature_map="identity", normalize=False),
        LinearAttention(D, feature_map="identity", bias=False),
        LinearAttention(D, feature_map="elu", normalize=False, bias=False),
        LinearAttention(D, feature_map="identity", normalize=False, bias=False, num_heads=2),
    ],
)
def test_other_attentions_have_no_such_ssd(attention: LinearAttention) -> None:
    with pytest.raises(ValueError, match="ssd_of_linear_attention: attention has heads, biases"):
        theorems.ssd_of_linear_attention(attention)


@pytest.mark.parametrize(
    "attention",
    [
        LinearAttention(D),
        LinearAttention(D, num_heads=2),
        NormalizedAttention(D),
        NormalizedAttention(D, num_heads=2, norm_fn="exp_softplus"),
    ],
)
def test_attention_with_a_normaliser_is_no_ssd(
    attention: LinearAttention | NormalizedAttention,
) -> None:
    u = inputs()
    assert theorems.demanded_rates(attention.double(), u).std() > 0.1
    assert theorems.ssd_with_normalizer(attention, u).difference > 0.01


@pytest.mark.parametrize("heads", [1, 2])
def test_unless_its_normaliser_is_constant(heads: int) -> None:
    attention, u = NormalizedAttention(D, num_heads=heads).double(), inputs()
    torch.nn.init.zeros_(attention.norm_proj.weight)
    torch.nn.init.normal_(attention.norm_proj.bias)
    assert theorems.demanded_rates(attention, u).abs().max() < 1e-12
    assert theorems.ssd_with_normalizer(attention, u).difference < 1e-12


def test_one_step_is_no_difference() -> None:
    sides = theorems.ssd_with_normalizer(LinearAttention(D).double(), inputs()[:, :1])
    assert sides.difference < 1e-12


def test_a_normaliser_with_both_signs_has_no_rates() -> None:
    attention = LinearAttention(D, feature_map="identity").double()
    with pytest.raises(ValueError, match="demanded_rates: some eta is not positive"):
        theorems.demanded_rates(attention, inputs())


@pytest.mark.parametrize("a", [0.3, 1.0, 4.0])
def test_reversed_sigmoid(a: float) -> None:
    x = torch.linspace(-20, 20, 41, dtype=torch.float64)  # torch takes softplus(x) = x above
    assert theorems.reversed_sigmoid(x, torch.tensor(a, dtype=torch.float64)).difference < 1e-14


@pytest.mark.parametrize("out_proj", [True, False])
def test_s6_with_one_state_is_a_gated_network(out_proj: bool) -> None:
    mixer = S6(D, state_size=1, delta_rank=2, out_proj=out_proj).double()
    torch.nn.init.normal_(mixer.a_log)
    assert theorems.s6_is_gated(mixer, inputs()).difference < 1e-12
    with pytest.raises(ValueError, match="s6_is_gated: mixer has state_size=2"):
        theorems.s6_is_gated(S6(D, state_size=2), inputs())


def test_taylor_features_approach_softmax_attention() -> None:
    attention, u = SoftmaxAttention(D, num_heads=3, dropout=0.5).double(), inputs()
    errors = theorems.taylor_errors(attention, u, (2, 4, 6, 8, 10, 12, 14))
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 1e-3
    assert errors[-1] < 1e-6 * errors[0]
    assert attention.training


@pytest.mark.parametrize("norm_fn", ["exp", "softplus", "sigmoid", "exp_softplus", "exp_exp"])
@pytest.mark.parametrize("bias", [True, False])
def test_normalised_attention_is_linear_attention_with_a_gate(norm_fn: str, bias: bool) -> None:
    attention = NormalizedAttention(D, num_heads=2, norm_fn=norm_fn, bias=bias).double()  # type: ignore[arg-type]
    u = inputs()
    for parameter in attention.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    assert theorems.normalized_is_gated(attention, u).difference < 1e-11


def test_a_change_of_scale_moves_the_normaliser_to_the_output() -> None:
    attention, u = NormalizedAttention(D, bias=False).double(), inputs()
    system = to_dynamics(attention, u)
    moved = system.rescaled(attention.norm_proj(u).exp())
    torch.testing.assert_close(moved.Lambda[:, 1:], torch.ones_like(moved.Lambda[:, 1:]))
    torch.testing.assert_close(moved.phi(), system.phi())


@pytest.mark.parametrize("heads", [1, 3])
def test_aaren_is_a_gated_average(heads: int) -> None:
    attention = AarenAttention(D, num_heads=heads).double()
    assert theorems.aaren_is_gated(attention, inputs()).difference < 1e-12


def test_aaren_couples_its_gates_as_a_quasi_gru_does() -> None:
    """In both, what is kept and what enters add up to 1."""
    u = inputs()
    aaren, gru = AarenAttention(D, num_heads=1).double(), QuasiGRU(D).double()
    for system, weight in (
        (to_dynamics(aaren, u), aaren.v_proj.weight),
        (to_dynamics(gru, u), gru.in_proj.weight),
    ):
        entering = (1 - system.Lambda)[..., None] * weight
        torch.testing.assert_close(system.B, entering)
