"""Every mixer of the common form equals its system, run as a recurrence and applied as Phi."""

from functools import partial

import pytest
import torch
from torch import Tensor
from torch.autograd.functional import jacobian

import graphseq.sequence.nn as layers
from graphseq.sequence.dynamics import DynamicalSystem, apply_phi, phi, to_dynamics
from graphseq.sequence.nn import Mixer

B, D = 2, 4

CASES: dict[str, partial[Mixer]] = {
    "softmax": partial(layers.SoftmaxAttention),
    "softmax, heads": partial(layers.SoftmaxAttention, num_heads=2, key_channels=6, bias=False),
    "aaren": partial(layers.AarenAttention, num_heads=1),
    "aaren, heads": partial(layers.AarenAttention, num_heads=4, bias=False),
    "linear": partial(layers.LinearAttention),
    "linear, heads": partial(layers.LinearAttention, num_heads=2, key_channels=6, bias=False),
    "linear, relu": partial(layers.LinearAttention, feature_map="relu"),
    "linear, taylor": partial(layers.LinearAttention, num_heads=2, feature_map="taylor"),
    "linear, plain": partial(layers.LinearAttention, feature_map="identity", normalize=False),
    "normalized": partial(layers.NormalizedAttention),
    "normalized, heads": partial(layers.NormalizedAttention, num_heads=2, bias=False),
    "normalized, softplus": partial(layers.NormalizedAttention, norm_fn="softplus"),
    "normalized, sigmoid": partial(layers.NormalizedAttention, norm_fn="sigmoid"),
    "normalized, exp_softplus": partial(layers.NormalizedAttention, norm_fn="exp_softplus"),
    "normalized, exp_exp": partial(
        layers.NormalizedAttention, norm_fn="exp_exp", feature_map="elu"
    ),
    "ssd": partial(layers.SSD, state_size=3),
    "ssd, heads": partial(layers.SSD, num_heads=2, state_size=5, init="dsf_release"),
    "ssd, bare": partial(layers.SSD, num_heads=4, state_size=1, out_proj=False),
    "s6": partial(layers.S6, state_size=3),
    "s6, one state": partial(layers.S6, state_size=1, delta_rank=2, out_proj=False),
    "s4d": partial(layers.S4D, state_size=6),
    "s4d, inverse": partial(layers.S4D, state_size=4, init="s4d-inv", out_proj=False),
    "s4d, real": partial(layers.S4D, state_size=3, init="s4d-real"),
    "lru": partial(layers.LRU),
    "lru, wide": partial(layers.LRU, state_size=7, r_min=0.0),
    "quasi-lstm": partial(layers.QuasiLSTM),
    "quasi-lstm, reversed": partial(layers.QuasiLSTM, expand=2, reversed_sigmoid=True),
    "quasi-lstm, gated": partial(layers.QuasiLSTM, expand=2, gated=True),
    "quasi-gru": partial(layers.QuasiGRU),
    "rg-lru": partial(layers.RGLRU),
}
INVARIANT = ["s4d", "s4d, inverse", "s4d, real", "lru", "lru, wide"]
BETWEEN_0_AND_1 = [
    *("aaren", "aaren, heads", "ssd", "ssd, heads", "ssd, bare", "s6", "s6, one state"),
    *("s4d", "s4d, inverse", "s4d, real", "lru", "lru, wide", "quasi-lstm"),
    *("quasi-lstm, reversed", "quasi-lstm, gated", "quasi-gru", "rg-lru"),
]
ONE = ["softmax", "softmax, heads", "linear, plain"]
POSITIVE = ["linear", "linear, heads", "linear, taylor", "normalized", "normalized, softplus"]

every_case = pytest.mark.parametrize("name", CASES)


def make(name: str, channels: int = D) -> Mixer:
    """A mixer whose parameters, biases too, are moved off their initial values."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        mixer = CASES[name](channels).double().eval()
        for parameter in mixer.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    return mixer


def inputs(time: int, *, seed: int = 1, channels: int = D) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(B, time, channels, generator=generator, dtype=torch.float64)


def assert_near(got: Tensor, expected: Tensor, tolerance: float = 1e-10) -> None:
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    error = (got - expected).abs().max().item()
    assert error <= tolerance * max(1.0, expected.abs().max().item())


def phi_by_definition(system: DynamicalSystem) -> Tensor:
    """Each block by itself, as a product of matrices."""
    time = system.length
    blocks = torch.zeros(system.batch_size, time, time, system.channels, system.channels)
    blocks = blocks.to(system.D.dtype)
    for i in range(time):
        for j in range(i + 1):
            between = system.Lambda[:, j + 1 : i + 1].prod(1)
            block = system.C[:, i] @ torch.diag_embed(between) @ system.B[:, j]
            blocks[:, i, j] = block.real + (system.D[:, i] if i == j else 0.0)
    return blocks


@pytest.mark.parametrize("time", [1, 2, 11])
@every_case
def test_the_system_is_the_mixer(name: str, time: int) -> None:
    mixer, u = make(name), inputs(time)
    system, y = to_dynamics(mixer, u), mixer(u)[0]
    assert_near(system.run(u), y)
    blocks = phi(mixer, u)
    assert blocks.shape == (B, time, time, D, D)
    assert_near(apply_phi(blocks, u) + system.offset(), y)
    if "bias=False" in repr(CASES[name]):
        assert system.state_bias is system.output_bias is None
        assert not system.offset().any()


@every_case
def test_phi_is_its_definition_and_causal(name: str) -> None:
    system = to_dynamics(make(name), inputs(6))
    blocks = system.phi()
    assert_near(blocks, phi_by_definition(system))
    assert not blocks.permute(0, 3, 4, 1, 2).triu(1).any()
    assert blocks.permute(0, 3, 4, 1, 2).tril(-1).any()


@every_case
def test_the_past_of_a_system_does_not_hear_the_future(name: str) -> None:
    mixer, u = make(name), inputs(7)
    changed = torch.cat([u[:, :4], -2 * u[:, 4:]], 1)
    before, after = phi(mixer, u), phi(mixer, changed)
    assert_near(after[:, :4], before[:, :4], 1e-13)
    if name not in INVARIANT:
        assert not torch.allclose(after[:, 4:], before[:, 4:])


@pytest.mark.parametrize("name", INVARIANT)
def test_phi_of_a_time_invariant_mixer_is_its_jacobian(name: str) -> None:
    mixer, u = make(name), inputs(5)
    exact = jacobian(lambda x: mixer(x[None])[0][0], u[0])  # [T, D, T, D]
    assert_near(phi(mixer, u)[0], exact.transpose(1, 2))


@every_case
def test_one_matrix_over_time_agrees(name: str) -> None:
    """The mixer's own matrix, values and readout are Phi, seen from inside."""
    mixer, u = make(name), inputs(6)
    system = to_dynamics(mixer, u)
    values = mixer.values(u)
    mixed = torch.einsum("bgij,bjgp->bigp", mixer.matrix(u), values)
    assert_near(system.run(u), mixer.readout(mixed, u))


@pytest.mark.parametrize("name", BETWEEN_0_AND_1)
def test_transitions_that_forget(name: str) -> None:
    moduli = to_dynamics(make(name), inputs(20)).Lambda[:, 1:].abs()
    assert (moduli > 0).all()
    assert (moduli < 1).all()


@pytest.mark.parametrize("name", ONE)
def test_transitions_that_keep_all(name: str) -> None:
    assert (to_dynamics(make(name), inputs(20)).Lambda == 1).all()


@pytest.mark.parametrize("name", POSITIVE)
def test_ratios_of_normalisers(name: str) -> None:
    """Positive, on both sides of 1, and 0 where nothing lies before."""
    found = to_dynamics(make(name), inputs(40)).Lambda
    assert not found[:, 0].any()
    assert (found[:, 1:] > 0).all()
    assert found.max() > 1


def test_only_softmax_attention_is_not_finite() -> None:
    u = inputs(9)
    systems = {name: to_dynamics(make(name), u) for name in CASES}
    growing = {name for name, system in systems.items() if not system.finite}
    assert growing == {"softmax", "softmax, heads"}
    assert systems["softmax"].Lambda.shape == (B, 9, 9 * D)
    for name in CASES.keys() - growing:
        shorter = to_dynamics(make(name), u[:, :3])
        assert shorter.Lambda.shape[2] == systems[name].Lambda.shape[2]


def test_no_steps() -> None:
    for name in CASES:
        system = to_dynamics(make(name), inputs(0))
        assert system.run(inputs(0)).shape == (B, 0, D)
        assert system.phi().shape == (B, 0, 0, D, D)


def test_large_scores_of_aaren() -> None:
    mixer, u = make("aaren"), 1000 * inputs(12)
    system = to_dynamics(mixer, u)
    assert system.Lambda.isfinite().all()
    assert_near(system.run(u), mixer(u)[0])


def test_half_precision_is_computed_in_float32() -> None:
    mixer, u = make("s6").bfloat16(), inputs(5).bfloat16()
    system = to_dynamics(mixer, u)
    assert {t.dtype for t in (system.Lambda, system.B, system.C, system.D)} == {torch.float32}
    assert (system.run(u) - mixer(u)[0].float()).abs().max() < 0.1
    complex_system = to_dynamics(make("lru").bfloat16(), u)
    assert complex_system.B.dtype == torch.complex64
    assert complex_system.run(u).dtype == torch.float32


def test_gradients_reach_weights_and_inputs() -> None:
    mixer, u = make("linear, heads"), inputs(4).requires_grad_()
    parts = [u, *mixer.parameters()]
    through_system = torch.autograd.grad(to_dynamics(mixer, u).run(u).square().sum(), parts)
    for got, expected in zip(
        through_system, torch.autograd.grad(mixer(u)[0].square().sum(), parts), strict=True
    ):
        assert_near(got, expected)


@pytest.mark.parametrize("kind", [layers.Elman, layers.Jordan, layers.LSTM, layers.GRU])
def test_classical_cells_are_refused_by_name(kind: type[Mixer]) -> None:
    with pytest.raises(ValueError, match=rf"{kind.__name__} puts h_\(i-1\) through.*QuasiLSTM"):
        to_dynamics(kind(D), torch.zeros(1, 3, D))


@pytest.mark.parametrize(
    ("mixer", "message"),
    [
        (layers.QuasiLSTM(D, output_tanh=True), "QuasiLSTM with output_tanh=True"),
        (layers.QuasiLSTM(D, conv_width=4), "QuasiLSTM with conv_width=4"),
        (layers.Bidirectional(D), "Bidirectional hears the future"),
        (Mixer(D), "nothing is known of Mixer"),
    ],
)
def test_refusals_name_reason_and_remedy(mixer: Mixer, message: str) -> None:
    with pytest.raises(ValueError, match=f"to_dynamics: {message}.*(pass|write)"):
        to_dynamics(mixer, torch.zeros(1, 3, D))


def test_wrong_inputs_are_refused() -> None:
    with pytest.raises(ValueError, match=r"S6: x has shape \(1, 3, 5\)"):
        to_dynamics(layers.S6(D), torch.zeros(1, 3, 5))


def test_a_normaliser_out_of_range_is_refused() -> None:
    mixer = layers.NormalizedAttention(D)
    with pytest.raises(ValueError, match=r"NormalizedAttention's eta leaves the range of .*32"):
        to_dynamics(mixer, torch.full((1, 3, D), 1e3))
