"""What the common form proves, as checks that run: each function returns two sides to compare.

The statements are those of Sieber et al. (NeurIPS 2024, arXiv 2405.15731, section 4), as we derive
them. ``Sides.difference`` is 0 up to rounding where a theorem says that both are one map.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from graphseq.sequence.dynamics.attentions import features, normalizer
from graphseq.sequence.nn import (
    S6,
    SSD,
    AarenAttention,
    LinearAttention,
    NormalizedAttention,
    SoftmaxAttention,
)
from graphseq.sequence.nn.mixer import merge_heads, split_heads
from graphseq.sequence.nn.step_sizes import inverse_softplus
from graphseq.sequence.ops import gated_scan, outer_scan


class Sides(NamedTuple):
    """Two ways to compute the same, or what is not the same."""

    left: Tensor
    right: Tensor

    @property
    def difference(self) -> float:
        """The largest absolute difference."""
        return (self.left - self.right).abs().max().item()


def ssd_of_linear_attention(attention: LinearAttention) -> SSD:
    """The SSD layer that is a given linear attention without features and without normaliser.

    SSD, ``S_i = exp(delta_i a) S_{i-1} + delta_i b_i x_i^T`` and ``y_i = S_i^T c_i``, with a = 0
    and delta_i = 1 forgets nothing and scales nothing. Then b_i is the key and c_i the query. SSD
    has no projection of its values; being linear it can be part of the output's, W_out W_V.

    Raises:
        ValueError: the attention has several heads, biases, features or a normaliser. Keys and
            queries of an SSD serve all heads.
    """
    plain = attention.features.kind == "identity" and not attention.sums_weights
    if not plain or attention.num_heads != 1 or attention.in_proj.bias is not None:
        raise ValueError(
            "ssd_of_linear_attention: attention has heads, biases, features or a normaliser; pass "
            'a LinearAttention(D, feature_map="identity", normalize=False, bias=False)'
        )
    size, channels = attention.key_channels, attention.channels
    stacked = attention.in_proj.weight.detach()
    w_q, w_k, w_v = stacked.split([size, size, channels])
    ssd = SSD(channels, state_size=size).to(stacked)
    assert isinstance(ssd.out_proj, torch.nn.Linear)
    with torch.no_grad():
        ssd.x_proj.weight.copy_(torch.cat([torch.zeros_like(stacked[:1]), w_k, w_q]))
        ssd.delta_bias.copy_(inverse_softplus(torch.ones_like(stacked[0, :1])))
        ssd.a_log.fill_(-torch.inf)  # a = -exp(a_log) = 0
        ssd.skip.zero_()
        ssd.out_proj.weight.copy_(attention.out_proj.weight @ w_v)
    return ssd


def linear_attention_is_ssd(attention: LinearAttention, u: Tensor) -> Sides:
    """Linear attention without a normaliser is SSD with decay 1 and step size 1.

    Left: the attention. Right: the layer of :func:`ssd_of_linear_attention`.
    """
    return Sides(attention(u)[0], ssd_of_linear_attention(attention)(u)[0])


def demanded_rates(attention: LinearAttention | NormalizedAttention, u: Tensor) -> Tensor:
    """The rates a_i that SSD would need at each step to do what a normaliser does, ``[B, T-1, H]``.

    Attention has ``Lambda_i = eta_{i-1} / eta_i`` and scales inputs by ``1 / eta_i``; SSD has
    ``exp(a delta_i)`` and ``delta_i``. Both agree iff ``delta_i = 1 / eta_i`` and, with one number
    a <= 0 for all steps, ``delta_i / delta_{i-1} = exp(a delta_i)``, that is

        a = eta_i log(eta_{i-1} / eta_i).

    One step size couples what SSD forgets with what it takes in; a normaliser couples them in
    another way. For each a the equation gives delta_i from delta_{i-1} alone, so no input can have
    a say in it: delta is constant where a = 0, and else falls to 0 on a path that its first number
    fixes.

    Raises:
        ValueError: some eta is not positive.
    """
    eta = normalizer(attention, u)
    if not bool((eta > 0).all()):
        raise ValueError(
            "demanded_rates: some eta is not positive, and step sizes are; pass an attention with "
            'positive weights, such as feature_map="elu"'
        )
    return eta[:, 1:] * (eta[:, :-1] / eta[:, 1:]).log()


def ssd_with_normalizer(attention: LinearAttention | NormalizedAttention, u: Tensor) -> Sides:
    """Attention with a normaliser is no SSD, unless its normaliser is constant.

    Left: the attention. Right: the recurrence of SSD on its queries, keys and values, with step
    sizes 1 / eta_i and the mean of the rates that :func:`demanded_rates` gives, at most 0.

    Raises:
        ValueError: see :func:`demanded_rates`.
    """
    rates = demanded_rates(attention, u)
    rate = rates.mean((0, 1)).clamp(max=0.0) if rates.numel() else rates.new_zeros(())
    delta = 1 / normalizer(attention, u)  # [B, T, H]
    q, k = features(attention, u)
    mixed, _ = outer_scan(q, k, delta[..., None] * attention.values(u), rate * delta)
    return Sides(attention(u)[0], attention.readout(mixed, u))


def reversed_sigmoid(x: Tensor, a: Tensor) -> Sides:
    """``exp(-a softplus(x)) = sigmoid(-x)^a``, since ``exp(-softplus(x)) = 1 / (1 + exp(x))``."""
    return Sides(torch.exp(-a * F.softplus(x)), torch.sigmoid(-x) ** a)


def s6_is_gated(mixer: S6, u: Tensor) -> Sides:
    """S6 with one state for each channel is a gated recurrent network.

    With x_i = W_2 W_1 u_i + bias, for each channel,

        h_i = sigmoid(-x_i)^a h_{i-1} + softplus(x_i) b_i u_i,   y_i = c_i h_i + d u_i

    a forget gate that is a power of a reversed sigmoid. The input gate is not free as in a
    quasi-LSTM: the same x_i opens one and closes the other.

    Left: the layer. Right: the gated recurrence.

    Raises:
        ValueError: the layer has more states.
    """
    if mixer.state_size != 1:
        raise ValueError(
            f"s6_is_gated: mixer has state_size={mixer.state_size}; pass S6(D, state_size=1)"
        )
    low, b, c = mixer.x_proj(u).split([mixer.delta_rank, 1, 1], -1)
    x = mixer.delta_proj(low)
    forget = torch.sigmoid(-x) ** mixer.a_log.exp().squeeze(-1)
    h, _ = gated_scan(forget, F.softplus(x) * b * u)
    return Sides(mixer(u)[0], mixer.out_proj(c * h + mixer.skip * u))


def taylor_attention(attention: SoftmaxAttention, order: int) -> LinearAttention:
    """Linear attention with the weights of a softmax attention and the exponential cut off.

    Its features are the monomials of q and k up to the order, C(M + P, P) for keys of width M and
    order P; with an even order all weights are positive.
    """
    made = LinearAttention(
        attention.channels,
        num_heads=attention.num_heads,
        key_channels=attention.key_channels,
        feature_map="taylor",
        order=order,
        bias=attention.in_proj.bias is not None,
    )
    made.load_state_dict(attention.state_dict())
    return made.to(attention.in_proj.weight)


def taylor_errors(attention: SoftmaxAttention, u: Tensor, orders: Sequence[int]) -> list[float]:
    """Attention with finitely many features comes as near to softmax attention as one likes.

    The exponential is the limit of its series, so with the order the largest difference of outputs
    falls to 0, for any bounded inputs. No finite number N of features gives 0 for all inputs: their
    products are matrices of rank at most N, and the exponential gives matrices of any rank.

    Returns:
        The largest absolute difference for each order, dropout left out.
    """
    weighted = torch.einsum("bhij,bjhp->bihp", attention.matrix(u), attention.values(u))
    exact = attention.readout(weighted, u)
    return [Sides(exact, taylor_attention(attention, p)(u)[0]).difference for p in orders]


def normalized_is_gated(attention: NormalizedAttention, u: Tensor) -> Sides:
    """Normalised attention is linear attention without a normaliser behind an output gate.

    A normaliser 1 / eta(u_i) that sees only the present input is a factor of the output, one for
    each head. In the common form: states of another scale, Lambda = I and C_i = phi(q_i) / eta_i.

    Left: the attention. Right: the linear attention with its weights, gated.
    """
    channels, heads = attention.channels, attention.num_heads
    made = LinearAttention(
        channels,
        num_heads=heads,
        key_channels=attention.key_channels,
        feature_map=attention.features.kind,
        normalize=False,
        bias=attention.in_proj.bias is not None,
    ).to(attention.in_proj.weight)
    with torch.no_grad():
        made.in_proj.load_state_dict(attention.in_proj.state_dict())
        made.out_proj.weight.copy_(torch.eye(channels))  # the gate comes before the projection
        if made.out_proj.bias is not None:
            made.out_proj.bias.zero_()
    gate = 1 / normalizer(attention, u)[..., None]  # [B, T, H, 1]
    gated = gate * split_heads(made(u)[0], heads)
    return Sides(attention(u)[0], attention.out_proj(merge_heads(gated)))


def aaren_is_gated(attention: AarenAttention, u: Tensor) -> Sides:
    """Attention with one query for all steps is a quasi-GRU whose gate sees the past.

    With ``z_i = exp(s_i) / sum_{j <= i} exp(s_j)``, the weight of the newest step, for each head,

        h_i = (1 - z_i) h_{i-1} + z_i v_i

    since both sides are the mean of the values with weights exp(s_j). Left: the attention. Right:
    the gated recurrence. See :class:`~graphseq.sequence.nn.QuasiGRU`, whose gate is sigmoid(W u_i).
    """
    scores = attention.scores(u)  # [B, T, H]
    gate = torch.exp(scores - scores.logcumsumexp(1))
    v = attention.values(u)  # [B, T, H, P]
    z = gate[..., None].expand_as(v)
    h, _ = gated_scan(merge_heads(1 - z), merge_heads(z * v))
    return Sides(attention(u)[0], attention.out_proj(h))
