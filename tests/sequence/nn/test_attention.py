"""Attention: torch's layers with the same weights, direct formulas, and numbers at the edges."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphseq.sequence.nn import (
    AarenAttention,
    LinearAttention,
    Mixer,
    NormalizedAttention,
    SoftmaxAttention,
    State,
)
from graphseq.sequence.nn.feature_maps import FeatureMap
from graphseq.sequence.nn.normalized_attention import inverse_norm

B, T, D = 2, 7, 8


def inputs(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*(shape or (B, T, D)), generator=generator, dtype=torch.float64)


def random_weights(mixer: Mixer, seed: int = 3) -> Mixer:
    mixer.double()
    generator = torch.Generator().manual_seed(seed)
    for p in mixer.parameters():
        p.data = torch.randn(p.shape, generator=generator, dtype=p.dtype) / math.sqrt(D)
    return mixer


def heads(x: Tensor, number: int) -> Tensor:
    """``[B, T, H P] -> [B, H, T, P]``."""
    return x.unflatten(-1, (number, -1)).transpose(1, 2)


def joined(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(2)


def projected(mixer: Mixer, x: Tensor) -> list[Tensor]:
    """Queries, keys and values, heads apart."""
    assert isinstance(mixer, SoftmaxAttention | LinearAttention | NormalizedAttention)
    keys = mixer.key_channels
    return [heads(p, mixer.num_heads) for p in mixer.in_proj(x).split([keys, keys, D], -1)]


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


# --- softmax ---


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("num_heads", [1, 2, 4])
def test_softmax_equals_torch_multihead(num_heads: int, bias: bool) -> None:
    ours = random_weights(SoftmaxAttention(D, num_heads=num_heads, bias=bias))
    theirs = nn.MultiheadAttention(D, num_heads, bias=bias, batch_first=True).double()
    names = {"in_proj_weight": "in_proj.weight", "in_proj_bias": "in_proj.bias"}
    weights = ours.state_dict()
    theirs.load_state_dict({k: weights[names.get(k, k)] for k in theirs.state_dict()})
    x, future = inputs(), torch.ones(T, T, dtype=torch.bool).triu(1)
    expected, attention = theirs(x, x, x, attn_mask=future, average_attn_weights=False)
    torch.testing.assert_close(ours(x)[0], expected)
    torch.testing.assert_close(ours.matrix(x), attention)
    lengths = torch.tensor([5, 3])
    padding = torch.arange(T) >= lengths[:, None]
    expected, _ = theirs(x, x, x, attn_mask=future, key_padding_mask=padding)
    got, _ = ours(x, lengths=lengths)
    torch.testing.assert_close(got[~padding], expected[~padding])


def test_softmax_starts_like_torch_multihead() -> None:
    torch.manual_seed(0)
    ours = SoftmaxAttention(64, num_heads=4)
    theirs = nn.MultiheadAttention(64, 4)
    assert not ours.in_proj.bias.any()
    assert not ours.out_proj.bias.any()
    for got, expected in (
        (ours.in_proj.weight, theirs.in_proj_weight),
        (ours.out_proj.weight, theirs.out_proj.weight),
    ):
        torch.testing.assert_close(got.abs().max(), expected.abs().max(), rtol=0.01, atol=0)


def test_softmax_with_other_key_width() -> None:
    mixer = random_weights(SoftmaxAttention(D, num_heads=2, key_channels=6))
    q, k, v = projected(mixer, inputs())
    expected = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    torch.testing.assert_close(mixer(inputs())[0], mixer.out_proj(joined(expected)))


def test_softmax_drops_weights_in_training_only() -> None:
    mixer = random_weights(SoftmaxAttention(D, dropout=0.5))
    x, plain = inputs(), SoftmaxAttention(D).double()
    plain.load_state_dict(mixer.state_dict())
    state = plain(x)[1]
    torch.manual_seed(0)
    assert not torch.allclose(mixer(x)[0], plain(x)[0])
    assert not torch.allclose(mixer.step(x[:, 0], state)[0], plain.step(x[:, 0], state)[0])
    mixer.eval()
    assert torch.equal(mixer(x)[0], plain(x)[0])
    assert torch.equal(mixer.step(x[:, 0], state)[0], plain.step(x[:, 0], state)[0])


def test_softmax_hears_itself_after_a_past_of_padding() -> None:
    """A row without any past is no row of NaN, whichever way it goes on."""
    mixer = random_weights(SoftmaxAttention(D, num_heads=2))
    x = inputs().requires_grad_()
    empty = mixer(x, lengths=torch.tensor([0, 2]))[1]
    y, _ = mixer(x, empty, lengths=torch.tensor([T, 0]))
    torch.testing.assert_close(y[0], mixer(x[:1])[0][0])
    assert not y[1].any()
    torch.testing.assert_close(mixer.step(x[:, 0], empty)[0][0], y[0, 0])
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_softmax_caches_of_padded_sequences_merge() -> None:
    mixer = random_weights(SoftmaxAttention(D))
    x, lengths = inputs(), torch.tensor([[3, 1], [2, 0]])
    first = mixer(x[:, :4], lengths=lengths[:, 0])[1]
    merged = mixer.merge(first, mixer(x[:, 4:], lengths=lengths[:, 1])[1])
    for row, (a, b) in enumerate(lengths.tolist()):
        alone = torch.cat([x[row, :a], x[row, 4 : 4 + b]])[None]
        y, _ = mixer.step(x[:, 0], merged)
        torch.testing.assert_close(y[row], mixer.step(x[row : row + 1, 0], mixer(alone)[1])[0][0])


def test_softmax_refuses_a_torn_cache() -> None:
    mixer = SoftmaxAttention(D).double()
    held = mixer(inputs())[1].tensors
    torn = State("SoftmaxAttention", {**held, "k": held["k"][:, 1:]})
    with pytest.raises(ValueError, match=r"SoftmaxAttention: state has caches of lengths .*6"):
        mixer(inputs(), torn)


# --- Aaren ---


@pytest.mark.parametrize("width", [64, 512])
def test_parameters_of_an_encoder_layer(width: int) -> None:
    """Softmax attention has those of torch's layer, Aaren one vector more."""
    layer = nn.TransformerEncoderLayer(width, 8, 4 * width)
    assert count(SoftmaxAttention(width, num_heads=8)) == count(layer.self_attn)
    assert count(AarenAttention(width)) == count(layer.self_attn) + width
    if width == 512:
        assert count(layer) == 3_152_384
        assert count(layer) - count(layer.self_attn) + count(AarenAttention(width)) == 3_152_896


def explicit_aaren(mixer: AarenAttention, x: Tensor) -> Tensor:
    """With keys, and the query at every position, by torch's attention."""
    query = mixer.q_proj(mixer.query).expand_as(x)
    q, k, v = (heads(p, mixer.num_heads) for p in (query, mixer.k_proj(x), mixer.v_proj(x)))
    return mixer.out_proj(joined(F.scaled_dot_product_attention(q, k, v, is_causal=True)))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("num_heads", [1, 2, 8])
def test_aaren_equals_attention_with_explicit_keys(num_heads: int, bias: bool) -> None:
    mixer = random_weights(AarenAttention(D, num_heads=num_heads, bias=bias))
    assert isinstance(mixer, AarenAttention)
    x = inputs().requires_grad_()
    parts = [x, *mixer.parameters()]
    outputs = mixer(x)[0], explicit_aaren(mixer, x)
    torch.testing.assert_close(*outputs)
    grads = [torch.autograd.grad(y.square().sum(), parts) for y in outputs]
    torch.testing.assert_close(*grads)
    if bias:
        place = next(i for i, p in enumerate(parts) if p is mixer.k_proj.bias)
        assert grads[0][place].abs().max() < 1e-12
    keys = mixer.k_proj(x).unflatten(-1, (num_heads, -1))
    query = mixer.q_proj(mixer.query).unflatten(-1, (num_heads, -1))
    scores = (keys * query).sum(-1) / math.sqrt(D // num_heads)
    torch.testing.assert_close(mixer.scores(x), scores)


def test_aaren_with_scores_far_apart() -> None:
    """The largest score of the past wins outright; nothing over- or underflows to NaN."""
    mixer = random_weights(AarenAttention(D, num_heads=2))
    assert isinstance(mixer, AarenAttention)
    mixer.query.data *= 1e4
    single = AarenAttention(D, num_heads=2)
    single.load_state_dict(mixer.state_dict())
    x = inputs(B, 50, D)
    exact, y = mixer(x)[0], single(x.float().requires_grad_())[0]
    assert mixer.scores(x).std() > 1000
    torch.testing.assert_close(exact, explicit_aaren(mixer, x))
    assert (y.double() - exact).abs().max() < 1e-4 * exact.abs().max()
    y.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in single.parameters())


def test_aaren_scores_keep_their_precision_under_autocast() -> None:
    mixer, x = AarenAttention(D), inputs().float()
    expected = mixer.scores(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(mixer.scores(x), expected)
    half = AarenAttention(D).bfloat16()
    assert half.scores(x.bfloat16()).dtype == torch.float32
    assert half(x.bfloat16())[0].dtype == torch.bfloat16


# --- separable attention ---

PHI: dict[str, Callable[[Tensor], Tensor]] = {
    "elu": lambda x: F.elu(x) + 1,
    "relu": torch.relu,
    "identity": lambda x: x,
}


def weighed(mixer: Mixer, x: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """Weights of the past ``[B, H, T, T]`` and values, from the definition."""
    q, k, v = projected(mixer, x)
    return (PHI[kind](q) @ PHI[kind](k).mT).tril(), v


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("num_heads", [1, 2])
@pytest.mark.parametrize("kind", PHI)
def test_linear_equals_the_direct_formula(kind: str, num_heads: int, normalize: bool) -> None:
    mixer = random_weights(
        LinearAttention(
            D, num_heads=num_heads, key_channels=6, feature_map=kind, normalize=normalize
        )
    )
    weights, v = weighed(mixer, inputs(), kind)
    if normalize:
        total = weights.sum(-1, keepdim=True)
        weights = weights / torch.where(total == 0, 1.0, total)
    torch.testing.assert_close(mixer(inputs())[0], mixer.out_proj(joined(weights @ v)))
    torch.testing.assert_close(mixer.matrix(inputs()), weights)


def test_linear_without_any_weight_gives_zero() -> None:
    """relu features that all are 0: the head says nothing, and gradients are finite."""
    mixer = random_weights(LinearAttention(D, feature_map="relu"))
    mixer.in_proj.bias.data[: 2 * D] = -100
    x = inputs().requires_grad_()
    y, state = mixer(x)
    torch.testing.assert_close(y, mixer.out_proj.bias.expand_as(y))
    torch.testing.assert_close(mixer.step(x[:, 0], state)[0], y[:, 0])
    y.square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("width", [1, 2, 4])
def test_taylor_features_are_the_series(width: int, order: int) -> None:
    features = FeatureMap("taylor", width, order=order)
    assert features.size == math.comb(width + order, order)
    features = features.float().double()  # a module that was cast is as exact
    q, k = inputs(5, width), inputs(6, width, seed=1)
    product = q @ k.t() / math.sqrt(width)
    expected = sum((product**p / math.factorial(p) for p in range(order + 1)), torch.zeros(()))
    torch.testing.assert_close(
        features(q) @ features(k).t(), expected.double(), rtol=1e-12, atol=1e-12
    )
    assert not list(features.state_dict())


def test_taylor_features_approach_softmax() -> None:
    softmax = random_weights(SoftmaxAttention(D, num_heads=2))
    x = 0.5 * inputs()
    expected, errors = softmax(x)[0], []
    for order in (2, 4, 8):  # even ones keep all weights positive
        mixer = LinearAttention(D, num_heads=2, feature_map="taylor", order=order).double()
        mixer.load_state_dict(softmax.state_dict())
        errors.append((mixer(x)[0] - expected).abs().max().item())
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-3 * errors[0]


ETA: dict[str, Callable[[Tensor], Tensor]] = {
    "exp": torch.exp,
    "softplus": F.softplus,
    "sigmoid": torch.sigmoid,
    "exp_softplus": lambda n: F.softplus(n).exp(),
    "exp_sigmoid": lambda n: n.sigmoid().exp(),
    "exp_exp": lambda n: n.exp().exp(),
}


@pytest.mark.parametrize("norm_fn", ETA)
@pytest.mark.parametrize("num_heads", [1, 2])
def test_normalized_is_linear_attention_behind_a_gate(num_heads: int, norm_fn: str) -> None:
    mixer = random_weights(NormalizedAttention(D, num_heads=num_heads, norm_fn=norm_fn))
    assert isinstance(mixer, NormalizedAttention)
    linear = LinearAttention(
        D, num_heads=num_heads, feature_map="identity", normalize=False
    ).double()
    linear.load_state_dict(mixer.state_dict(), strict=False)
    nn.init.eye_(linear.out_proj.weight)  # the heads themselves
    nn.init.zeros_(linear.out_proj.bias)
    x = inputs()
    eta = ETA[norm_fn](mixer.norm_proj(x))  # [B, T, H]
    gated = linear(x)[0].unflatten(-1, (num_heads, -1)) / eta[..., None]
    torch.testing.assert_close(mixer(x)[0], mixer.out_proj(gated.flatten(2)))
    weights, _ = weighed(mixer, x, "identity")
    torch.testing.assert_close(mixer.matrix(x), weights / eta.transpose(1, 2)[..., None])


@pytest.mark.parametrize("norm_fn", ETA)
def test_inverse_norms_far_from_zero(norm_fn: str) -> None:
    n = torch.tensor([-40.0, -20.0, 0.0, 20.0, 1000.0], requires_grad=True)
    inverse = inverse_norm(n, norm_fn)
    exact = 1 / ETA[norm_fn](n.detach().double())
    torch.testing.assert_close(inverse.double(), exact, rtol=1e-5, atol=1e-38)
    inverse.sum().backward()
    assert n.grad is not None
    assert n.grad.isfinite().all()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SoftmaxAttention(8, num_heads=3), "SoftmaxAttention: channels is 8; .* = 3"),
        (lambda: SoftmaxAttention(8, num_heads=0), "SoftmaxAttention: num_heads is 0"),
        (lambda: SoftmaxAttention(8, dropout=1.0), "SoftmaxAttention: dropout is 1.0"),
        (lambda: AarenAttention(12), "AarenAttention: channels is 12; .* = 8"),
        (lambda: LinearAttention(8, key_channels=0), "LinearAttention: key_channels is 0"),
        (
            lambda: LinearAttention(8, num_heads=2, key_channels=5),
            "LinearAttention: key_channels is 5; .* = 2",
        ),
        (lambda: LinearAttention(8, feature_map="cos"), "FeatureMap: feature_map is 'cos'"),
        (lambda: LinearAttention(8, feature_map="taylor", order=0), "FeatureMap: order is 0"),
        (lambda: NormalizedAttention(8, norm_fn="tanh"), "NormalizedAttention: norm_fn is 'tanh'"),
    ],
)
def test_refuses_arguments(build: Callable[[], Mixer], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        build()
