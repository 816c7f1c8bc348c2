"""State space models and gated linear recurrences: their equations, starts and limits.

What every mixer has to fulfil is in ``test_mixers.py``; here is what makes each the one it is.
"""

import itertools
import math
from collections.abc import Callable
from functools import partial

import pytest
import scipy.linalg
import torch
import torch.nn.functional as F
from torch import Tensor

from graphseq.sequence.nn import LRU, RGLRU, S4D, S6, SSD, Mixer, QuasiGRU, QuasiLSTM
from graphseq.sequence.nn.causal_conv import CausalConv
from graphseq.sequence.nn.initialization import init_normal
from graphseq.sequence.nn.linear_recurrence import LinearRecurrence, input_scale
from graphseq.sequence.nn.step_sizes import draw_step_sizes, inverse_softplus
from graphseq.sequence.ops import naive

B, D = 3, 6
MIXERS: dict[str, Callable[..., LinearRecurrence]] = {
    "s4d": partial(S4D, state_size=8),
    "s4d, real": partial(S4D, state_size=3, init="s4d-real"),
    "s6": partial(S6, state_size=4),
    "ssd": partial(SSD, num_heads=2, state_size=5),
    "quasi-lstm": QuasiLSTM,
    "quasi-lstm, tanh": partial(QuasiLSTM, output_tanh=True, reversed_sigmoid=True),
    "quasi-lstm, conv": partial(QuasiLSTM, expand=2, conv_width=3, gated=True),
    "quasi-gru": QuasiGRU,
    "rg-lru": RGLRU,
    "lru": partial(LRU, state_size=5),
}
every_mixer = pytest.mark.parametrize("name", MIXERS)


def made(mixer: Callable[..., Mixer], channels: int = D) -> Mixer:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return mixer(channels).double()


def inputs(time: int, batch: int = B, channels: int = D) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, time, channels, generator=generator, dtype=torch.float64)


def close(got: Tensor, expected: Tensor, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)


# The system


@every_mixer
def test_matrix_is_the_product_of_the_four(name: str) -> None:
    """Phi_ij = C_i (product of Lambda_k over j < k <= i) B_j, and + D where i = j."""
    mixer, x = made(MIXERS[name]), inputs(7)
    v, decay, gain, output, skip = mixer.dynamics(x)
    matrix = mixer.matrix(x)
    for i, j in itertools.product(range(7), repeat=2):
        between = decay[:, j + 1 : i + 1].prod(1)  # [B, G, N]
        expected = (output[:, i] * between * gain[:, j]).sum(-1).expand(B, v.shape[2])
        expected = expected if v.is_complex() else expected.real
        expected = expected if i >= j else torch.zeros_like(expected)
        if i == j and skip is not None:
            expected = expected + skip
        close(matrix[:, :, i, j], expected)


@every_mixer
def test_half_precision_weights_keep_states_in_float32(name: str) -> None:
    mixer = made(MIXERS[name])
    exact, _ = mixer(inputs(20))
    mixer, x = mixer.bfloat16(), inputs(20).bfloat16()
    y, state = mixer(x)
    y_next, state = mixer.step(x[:, 0], state)
    assert y.dtype == y_next.dtype == torch.bfloat16
    assert (y.double() - exact).abs().max() < 0.1 * exact.abs().max()
    assert {t.dtype for t in state.tensors.values()} <= {torch.float32, torch.complex64}


@every_mixer
def test_no_sequences(name: str) -> None:
    mixer = made(MIXERS[name])
    y, state = mixer(inputs(70, batch=0))
    assert y.shape == (0, 70, D)
    assert state.batch_size == 0
    assert mixer.step(inputs(1, batch=0)[:, 0], state)[0].shape == (0, D)


# S4D


def explicit_kernel(mixer: S4D, length: int) -> Tensor:
    """2 Re sum_n c B exp(delta a l), with B by the exponential of an augmented matrix."""
    delta, rate = mixer.delta_log.exp(), -mixer.a_log.exp()
    a = rate if mixer.a_imag is None else torch.complex(rate, mixer.a_imag)
    c = mixer.c if mixer.a_imag is None else 2 * torch.view_as_complex(mixer.c)
    rows = []
    for channel in range(mixer.channels):
        total = torch.zeros(length, dtype=a.dtype)
        for a_n, c_n in zip(a[channel], c[channel], strict=True):
            held = torch.tensor([[a_n.item(), 1.0], [0.0, 0.0]], dtype=a.dtype) * delta[channel]
            gain = scipy.linalg.expm(held.numpy())[0, 1]
            lags = torch.arange(length, dtype=torch.float64)
            total = total + c_n * gain * torch.exp(delta[channel] * a_n * lags)
        rows.append(total.real)
    return torch.stack(rows)


@pytest.mark.parametrize("init", ["s4d-lin", "s4d-inv", "s4d-real"])
@torch.no_grad()
def test_s4d_is_a_convolution_with_its_kernel(init: str) -> None:
    mixer, x = made(partial(S4D, state_size=6, init=init, out_proj=False)), inputs(150)
    kernel = mixer.kernel(150)
    close(kernel, explicit_kernel(mixer, 150))
    convolved = F.conv1d(F.pad(x.mT, (149, 0)), kernel.flip(1)[:, None], groups=D).mT
    close(mixer(x)[0], convolved + mixer.skip * x)


@pytest.mark.parametrize("lengths", [[0, 1, 63], [64, 65, 127], [128, 200, 199]])
@pytest.mark.parametrize("init", ["s4d-lin", "s4d-real"])
def test_s4d_ends_inside_any_block(init: str, lengths: list[int]) -> None:
    mixer, x = made(partial(S4D, state_size=4, init=init)), inputs(200)
    before = mixer(inputs(70))[1]
    y, state = mixer(x, before, lengths=torch.tensor(lengths))
    for row, length in enumerate(lengths):
        rows = torch.tensor([row])
        stepped = before.select(rows)
        for t in range(length):
            y_t, stepped = mixer.step(x[rows, t], stepped)
            close(y[rows, t], y_t)
        for key, tensor in stepped.tensors.items():
            close(state[key][rows], tensor)


def test_s4d_starts() -> None:
    linear, inverse, real = (
        S4D(D, state_size=8, init=f"s4d-{name}") for name in ("lin", "inv", "real")
    )
    n = torch.arange(4.0)
    for mixer in (linear, inverse):
        close(mixer.a_log.exp(), torch.full((D, 4), 0.5), 1e-6)
    close(linear.a_imag, (math.pi * n).repeat(D, 1), 1e-6)
    close(inverse.a_imag, (8 / math.pi * (8 / (2 * n + 1) - 1)).repeat(D, 1), 1e-6)
    close(real.a_log.exp(), torch.arange(1.0, 9.0).repeat(D, 1), 1e-6)
    assert real.a_imag is None
    assert not real.init_state(1)["value"].is_complex()
    delta = S4D(500, delta_min=0.02, delta_max=0.03).delta_log.exp()
    assert 0.0199 < delta.min() < delta.max() < 0.0301


# S6 and SSD


@torch.no_grad()
def test_s6_with_one_state_is_a_gated_rnn_with_a_reversed_sigmoid() -> None:
    """exp(-a softplus(z)) = sigmoid(-z)^a."""
    mixer, x = made(partial(S6, state_size=1)), inputs(30)
    mixer.a_log.normal_()
    low, b, c = mixer.x_proj(x).split([1, 1, 1], -1)
    z = mixer.delta_proj(low)
    forget = torch.sigmoid(-z) ** mixer.a_log.exp()[:, 0]
    h, _ = naive.gated_scan(forget, F.softplus(z) * b * x)
    close(mixer(x)[0], mixer.out_proj(c * h + mixer.skip * x))


@torch.no_grad()
def test_s6_is_a_system_per_channel_and_state() -> None:
    mixer, x = made(partial(S6, state_size=3, delta_rank=2)), inputs(20)
    low, b, c = mixer.x_proj(x).split([2, 3, 3], -1)
    delta = F.softplus(mixer.delta_proj(low))
    y, _ = naive.selective_scan(x, delta, -mixer.a_log.exp(), b, c)
    close(mixer(x)[0], mixer.out_proj(y + mixer.skip * x))


@torch.no_grad()
def test_ssd_without_decay_is_linear_attention() -> None:
    """a = 0: a causal sum of c_i . b_j, weighed with the step sizes."""
    mixer, x = made(partial(SSD, num_heads=2, state_size=4)), inputs(40)
    mixer.a_log.fill_(-math.inf)
    raw, b, c = mixer.x_proj(x).split([2, 4, 4], -1)
    delta = F.softplus(raw + mixer.delta_bias)[..., None]  # [B, T, H, 1]
    heads = x.unflatten(-1, (2, -1))
    weights = torch.tril(c @ b.mT)  # [B, T, T]
    y = torch.einsum("bij,bjhp->bihp", weights, delta * heads) + mixer.skip[:, None] * heads
    close(mixer(x)[0], mixer.out_proj(y.flatten(-2)))
    close(mixer(x)[1]["decay"], torch.ones(B, 2, dtype=torch.float64))


@torch.no_grad()
def test_ssd_is_the_outer_recurrence() -> None:
    mixer, x = made(partial(SSD, num_heads=3, state_size=4)), inputs(40)
    raw, b, c = mixer.x_proj(x).split([3, 4, 4], -1)
    delta = F.softplus(raw + mixer.delta_bias)
    heads = x.unflatten(-1, (3, -1))
    q, k = (t[:, :, None].expand(-1, -1, 3, -1) for t in (c, b))
    y, _ = naive.outer_scan(q, k, delta[..., None] * heads, -mixer.a_log.exp() * delta)
    y = y + mixer.skip[:, None] * heads
    close(mixer(x)[0], mixer.out_proj(y.flatten(-2)))


def test_step_sizes() -> None:
    sizes = draw_step_sizes(4000)
    assert 0.000999 < sizes.min() < sizes.max() < 0.1001
    assert abs(sizes.log().mean() - math.log(1e-2)) < 0.1
    close(F.softplus(inverse_softplus(sizes)), sizes, 1e-5)


def test_selective_starts() -> None:
    mixer = S6(64, state_size=5)
    close(mixer.a_log.exp(), torch.arange(1.0, 6.0).repeat(64, 1), 1e-6)
    assert mixer.delta_rank == 4
    assert mixer.delta_proj.weight.abs().max() <= 0.5
    heads = SSD(64, num_heads=64)
    assert 0.999 < heads.a_log.exp().min() < heads.a_log.exp().max() < 16.001
    for bias in (mixer.delta_proj.bias, heads.delta_bias):
        delta = F.softplus(bias)
        assert 0.00099 < delta.min() < delta.max() < 0.101
    x = torch.randn(2, 9, 64)
    for released in (S6(64, init="dsf_release"), SSD(64, init="dsf_release")):
        delta = released.project(x)[1]
        assert (delta - math.log(2.0)).abs().max() < 0.5
        assert abs(released.x_proj.weight.std() - 0.02) < 0.001
        assert not released.keeps_init
    assert not SSD(64, init="dsf_release").a_log.any()


def test_a_generic_initialiser_keeps_step_sizes() -> None:
    for init, kept in (("mamba", True), ("dsf_release", False)):
        mixer = S6(32, init=init)
        with torch.no_grad():
            mixer.delta_proj.bias.fill_(-3.0)
        init_normal(mixer, num_layers=2)
        assert bool((mixer.delta_proj.bias == -3.0).all()) is kept
        assert abs(mixer.x_proj.weight.std() - 0.02) < 0.003


def test_large_biases_are_not_rounded_by_autocast() -> None:
    mixer = S6(D)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        delta = mixer.project(torch.zeros(1, 1, D))[1]
    close(delta[0, 0], F.softplus(mixer.delta_proj.bias), 1e-6)


# Gated recurrences

OPTIONS = list(itertools.product((0, 1, 4), (False, True), (False, True), (False, True)))


@pytest.mark.parametrize(("conv_width", "gated", "reversed_sigmoid", "output_tanh"), OPTIONS)
@torch.no_grad()
def test_quasi_lstm_is_its_equations(
    conv_width: int, gated: bool, reversed_sigmoid: bool, output_tanh: bool
) -> None:
    options = {"gated": gated, "reversed_sigmoid": reversed_sigmoid, "output_tanh": output_tanh}
    mixer = made(partial(QuasiLSTM, expand=2, conv_width=conv_width, **options))
    x = inputs(12)
    v, outer = mixer.in_proj(x)[..., : 2 * D], mixer.in_proj(x)[..., 2 * D :]
    source = x
    if conv_width:
        padded = F.pad(v.mT, (conv_width - 1, 0))
        weight, bias = mixer.conv.weight[:, None], mixer.conv.bias
        source = v = F.conv1d(padded, weight, bias, groups=2 * D).mT
    f, i, o = mixer.gate_proj(source).chunk(3, -1)
    forget = torch.sigmoid(f)
    if reversed_sigmoid:
        mixer.alpha.fill_(1.7)
        forget = torch.sigmoid(-f) ** 1.7
    h, _ = naive.gated_scan(forget, torch.sigmoid(i) * v)
    y = torch.sigmoid(o) * (h.tanh() if output_tanh else h)
    close(mixer(x)[0], mixer.out_proj(F.gelu(outer) * y if gated else y))


def test_quasi_lstm_declares_what_its_options_allow() -> None:
    assert QuasiLSTM(D).merges
    mixer = QuasiLSTM(D, conv_width=4)
    assert not mixer.merges
    assert mixer.has_matrix
    assert mixer.init_state(2)["recent"].shape == (2, 3, D)
    state = mixer.init_state(2)
    with pytest.raises(NotImplementedError, match="QuasiLSTM"):
        mixer.merge(state, state)


def test_a_negative_power_forgets_nothing() -> None:
    mixer, x = made(partial(QuasiLSTM, reversed_sigmoid=True)), inputs(9)
    assert mixer.alpha.item() == 1.0
    with torch.no_grad():
        mixer.alpha.fill_(-2.0)
    close(mixer.dynamics(x).decay, torch.ones(B, 9, D, 1, dtype=torch.float64))


def test_quasi_gru_averages_its_values() -> None:
    mixer, x = made(QuasiGRU), inputs(50)
    v, z = mixer.in_proj(x), torch.sigmoid(mixer.gate_proj(x))
    h, _ = naive.gated_scan(1 - z, z * v)
    close(mixer(x)[0], mixer.out_proj(h))
    close(mixer.matrix(x).sum(-1), 1 - (1 - z).cumprod(1).transpose(1, 2))


@torch.no_grad()
def test_rg_lru_is_its_equations_and_starts_in_its_range() -> None:
    mixer, x = made(RGLRU), inputs(60)
    r, g = torch.sigmoid(mixer.gate_proj(x)).chunk(2, -1)
    a = torch.sigmoid(mixer.a_logit) ** (8 * r)
    h, _ = naive.gated_scan(a, torch.sqrt(1 - a**2) * g * mixer.in_proj(x))
    close(mixer(x)[0], mixer.out_proj(h), 1e-9)
    power = torch.sigmoid(RGLRU(1000).a_logit) ** 8
    assert 0.8999 < power.min() < 0.902
    assert 0.997 < power.max() < 0.9991


@torch.no_grad()
def test_rg_lru_stays_bounded() -> None:
    """Each step lies below sqrt(1 - a^2) |x|, so states below sqrt((1 + a) / (1 - a)) max |x|."""
    mixer = made(RGLRU)
    x = torch.randn(2, 3000, D, generator=torch.Generator().manual_seed(2)).double()
    states = [mixer(part)[1]["value"] for part in (x, x[:, :1].expand(-1, 3000, -1))]
    limit = mixer.in_proj(x).abs().max()
    log_decay = mixer.project(x)[1].max()
    rest = -torch.expm1(log_decay)
    assert torch.stack(states).abs().max() <= limit * torch.sqrt((2 - rest) / rest)
    assert states[0].abs().max() < 5 * limit


def test_rg_lru_has_finite_gradients_where_nothing_is_forgotten() -> None:
    for dtype in (torch.float32, torch.float64):
        mixer = made(RGLRU).to(dtype)
        with torch.no_grad():
            mixer.a_logit.fill_(60.0)
        x = inputs(20).to(dtype).requires_grad_()
        y, _ = mixer(x)
        assert y.abs().max() < 1e-3
        y.sum().backward()
        assert x.grad is not None
        assert x.grad.isfinite().all()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in mixer.parameters())


def test_input_scale() -> None:
    """It is sqrt(1 - decay^2) but for decays of nearly 1, where its gradient stays finite."""
    log_decay = -torch.logspace(-12, 2, 50, dtype=torch.float64)
    scale = input_scale(log_decay)
    exact = torch.sqrt(-torch.expm1(2 * log_decay))
    inside = exact**2 > 1e-6
    close(scale[inside], exact[inside])
    assert (scale <= exact * (1 + 1e-12)).all()
    no_decay = torch.zeros(1, requires_grad=True)
    input_scale(no_decay).backward()
    assert no_decay.grad is not None
    assert no_decay.grad.abs() <= 2001  # 1000 by decay^2


# LRU


def test_lru_starts_inside_the_ring() -> None:
    for r_min, r_max, max_phase in ((0.9, 0.999, 2 * math.pi), (0.0, 0.5, 0.3)):
        mixer = LRU(8, state_size=2000, r_min=r_min, r_max=r_max, max_phase=max_phase)
        decay, gain = mixer.spectrum()
        radius, phase = decay.abs(), decay.angle() % (2 * math.pi)
        assert r_min - 1e-6 <= radius.min() < radius.max() <= r_max + 1e-6
        assert phase.max() <= max_phase + 1e-5
        assert phase.max() > 0.98 * max_phase
        area = (radius**2 - r_min**2) / (r_max**2 - r_min**2)  # uniform in 0 .. 1
        assert abs(area.mean() - 0.5) < 0.05
        close(gain, torch.sqrt(1 - radius**2), 1e-3)


@torch.no_grad()
def test_lru_is_its_equations_and_stable() -> None:
    mixer, x = made(partial(LRU, state_size=7)), inputs(50)
    half = mixer.in_proj.weight
    driven = x.to(torch.complex128) @ torch.complex(half[:7], half[7:]).T
    decay = torch.exp(torch.complex(-mixer.nu_log.exp(), mixer.theta_log.exp()))
    gain = torch.sqrt(1 - decay.abs() ** 2)
    h, _ = naive.gated_scan(decay.expand_as(driven), gain * driven)
    c = torch.complex(mixer.out_proj.weight[:, :7], -mixer.out_proj.weight[:, 7:])
    close(mixer(x)[0], (h @ c.T).real + mixer.skip * x)
    mixer.nu_log.normal_(std=3.0)
    assert (mixer.spectrum()[0].abs() < 1).all()


@torch.no_grad()
def test_lru_keeps_the_variance_of_white_inputs() -> None:
    mixer = LRU(32, state_size=32)
    x = torch.randn(32, 3000, 32, generator=torch.Generator().manual_seed(3))
    driven = mixer.project(x)[1]
    value = mixer(x)[1]["value"]
    ratio = value.abs().square().mean() / driven.abs().square().mean()
    assert 0.8 < ratio < 1.2


# Sizes and errors


@pytest.mark.parametrize(
    ("mixer", "count"),
    [
        (S4D(16, state_size=8), 16 * (4 * 4 + 2) + 16 * 16),
        (S4D(16, state_size=8, init="s4d-real", out_proj=False), 16 * (2 * 8 + 2)),
        (S6(32, state_size=4), 32 * (2 + 8) + 2 * 32 + 32 + 32 * 4 + 32 + 32 * 32),
        (SSD(32, num_heads=4, state_size=8), 32 * (16 + 4) + 3 * 4 + 32 * 32),
        (QuasiLSTM(16), 16 * 16 + 3 * (16 * 16 + 16) + 16 * 16),
        (
            QuasiLSTM(16, expand=2, conv_width=4, gated=True, reversed_sigmoid=True),
            16 * 64 + 32 * 5 + 32 * 96 + 96 + 32 * 16 + 1,
        ),
        (QuasiGRU(16), 3 * 16 * 16 + 16),
        (RGLRU(16), 4 * 16 * 16 + 2 * 16 + 16),
        (LRU(16, state_size=8), 16 * 16 + 16 * 16 + 2 * 8 + 16),
    ],
)
def test_number_of_parameters(mixer: Mixer, count: int) -> None:
    assert sum(p.numel() for p in mixer.parameters()) == count


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (partial(S4D, state_size=3), "S4D: state_size is 3"),
        (partial(S4D, state_size=0), "S4D: state_size is 0"),
        (partial(S4D, init="hippo"), "S4D: init is 'hippo'"),
        (partial(S4D, delta_min=0.0), "S4D: delta_min is 0.0"),
        (partial(S6, state_size=0), "S6: state_size is 0"),
        (partial(S6, delta_rank=0), "S6: .* delta_rank 0"),
        (partial(S6, init="s6"), "S6: init is 's6'"),
        (partial(SSD, num_heads=4), "SSD: channels is 6"),
        (partial(SSD, state_size=0), "SSD: state_size is 0"),
        (partial(SSD, init="ssd"), "SSD: init is 'ssd'"),
        (partial(QuasiLSTM, expand=0), "QuasiLSTM: expand is 0"),
        (partial(QuasiLSTM, conv_width=-1), "QuasiLSTM: .* conv_width -1"),
        (partial(LRU, state_size=0), "LRU: state_size is 0"),
        (partial(LRU, r_min=0.9, r_max=0.9), "LRU: r_min is 0.9"),
        (partial(LRU, r_max=1.0), "LRU: .* r_max 1.0"),
        (partial(LRU, max_phase=0.0), "LRU: .* max_phase 0.0"),
        (partial(CausalConv, width=0), "CausalConv: width is 0"),
    ],
)
def test_refuses_options(wrong: Callable[..., Mixer], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        wrong(D)


# The convolution


@pytest.mark.parametrize("width", [1, 2, 4])
def test_causal_conv_in_parts_equals_torch(width: int) -> None:
    conv, x = CausalConv(D, width).double(), inputs(9)
    start = x.new_zeros(B, width - 1, D)
    expected = F.conv1d(
        F.pad(x.mT, (width - 1, 0)), conv.weight[:, None], conv.bias, groups=D
    ).mT  # [B, T, D]
    close(conv(x, start)[0], expected)
    for sizes in ([9], [1] * 9, [2, 0, 7]):
        outputs, recent = [], start
        for part in x.split(sizes, 1):
            y, recent = conv(part, recent)
            outputs.append(y)
        close(torch.cat(outputs, 1), expected)
        close(recent, torch.cat([start, x], 1)[:, 9:])


def test_causal_conv_remembers_up_to_each_length() -> None:
    conv, x = CausalConv(D, 4).double(), inputs(9)
    before, lengths = inputs(3), torch.tensor([0, 2, 9])
    _, recent = conv(x, before, lengths)
    for row, length in enumerate(lengths.tolist()):
        close(recent[row], torch.cat([before[row], x[row, :length]])[-3:])
