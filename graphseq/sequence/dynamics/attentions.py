"""Attentions in the common form.

Attention whose weights are a product of features, up to a normaliser,

    y_i = sum_{j <= i} (phi(q_i) . psi(k_j)) / eta_i v_j,

is, per head with N features and for each of the values (arXiv 2405.15731, section 4),

    Lambda_i = eta_{i-1} / eta_i I,   B_i = psi(k_i) / eta_i W_V,   C_i = phi(q_i),   D_i = 0

where nothing lies before the first step: eta_{-1} = 0. Three ways to have such weights:

- linear and normalised attention have feature maps;
- with one query for all steps (Aaren) a feature of one number is enough: psi(k_j) = exp(s_j);
- softmax attention has no finite features that serve all sequences. For one sequence of T steps the
  keys themselves will do: psi(k_j) = e_j, the j-th of T unit vectors, and phi(q_i) the weights of
  step i. The state is the list of all values so far, what is called a cache, and Lambda = I.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from graphseq.sequence.dynamics.grouped import Grouped
from graphseq.sequence.nn import (
    AarenAttention,
    LinearAttention,
    NormalizedAttention,
    SoftmaxAttention,
)
from graphseq.sequence.nn.mixer import at_least_float32, split_heads
from graphseq.sequence.nn.normalized_attention import inverse_norm
from graphseq.sequence.nn.separable_attention import SeparableAttention


def features(mixer: SeparableAttention, u: Tensor) -> tuple[Tensor, Tensor]:
    """phi(q) and phi(k), ``[B, T, H, N]``."""
    projected = at_least_float32(mixer.in_proj(u))[..., : 2 * mixer.key_channels]
    q, k = (split_heads(part, mixer.num_heads) for part in projected.chunk(2, -1))
    return mixer.features(q), mixer.features(k)


def normalizer(mixer: SeparableAttention, u: Tensor) -> Tensor:
    """eta, ``[B, T, H]``; 1 where nothing is normalised.

    Where linear attention has no weight other than 0, its eta counts as 1, as in its ``forward``.

    Raises:
        ValueError: a learned eta, or its inverse, is 0 or infinite in the floating point numbers.
    """
    if isinstance(mixer, NormalizedAttention):
        inverse = inverse_norm(at_least_float32(mixer.norm_proj(u)), mixer.norm_fn)
        eta = 1 / inverse
        if not bool((eta.isfinite() & inverse.isfinite()).all()):
            raise ValueError(
                f"to_dynamics: NormalizedAttention's eta leaves the range of {eta.dtype} at some "
                "step, and Lambda is a ratio of two; pass smaller inputs, or double() of both"
            )
        return eta
    if isinstance(mixer, LinearAttention) and not mixer.sums_weights:
        return at_least_float32(u.new_ones(*u.shape[:2], mixer.num_heads))
    q, k = features(mixer, u)
    eta = (q * k.cumsum(1)).sum(-1)
    return eta.masked_fill(eta == 0, 1.0)


def separable(mixer: LinearAttention | NormalizedAttention, u: Tensor) -> Grouped:
    """Features of keys enter, features of queries read; Lambda is 1 where nothing is normalised."""
    q, k = features(mixer, u)
    eta = normalizer(mixer, u)[..., None]  # [B, T, H, 1]
    ratio = torch.cat([torch.zeros_like(eta[:, :1]), eta[:, :-1]], 1) / eta
    normalized = isinstance(mixer, NormalizedAttention) or mixer.sums_weights
    return _projected(
        mixer,
        ratio if normalized else torch.ones_like(ratio),
        k / eta,
        q,
        *_value_weights(mixer),
    )


def aaren(mixer: AarenAttention, u: Tensor) -> Grouped:
    """eta_i = sum_{j <= i} exp(s_j), by its logarithm; one state for each value."""
    scores = mixer.scores(u)[..., None]  # [B, T, H, 1]
    log_eta = scores.logcumsumexp(1)
    before = F.pad(log_eta, (0, 0, 0, 0, 1, 0), value=-torch.inf)[:, :-1]
    gain = torch.exp(scores - log_eta)
    decay = torch.exp(before - log_eta)
    v = mixer.v_proj
    return _projected(mixer, decay, gain, torch.ones_like(gain), v.weight, v.bias)


def softmax(mixer: SoftmaxAttention, u: Tensor) -> Grouped:
    """A state for each step and value, which keeps what that step brought; without dropout."""
    weights = at_least_float32(mixer.matrix(u)).transpose(1, 2)  # [B, T, H, T]
    unit = torch.eye(u.shape[1], dtype=weights.dtype, device=u.device)[:, None]  # [T, 1, T]
    gain = unit.expand_as(weights)
    v = _value_weights(mixer)
    return _projected(mixer, torch.ones_like(gain), gain, weights, *v, finite=False)


def _value_weights(mixer: SeparableAttention | SoftmaxAttention) -> tuple[Tensor, Tensor | None]:
    """W_V and its bias, the last rows of the stacked projection."""
    bias = mixer.in_proj.bias
    rows = slice(2 * mixer.key_channels, None)
    return mixer.in_proj.weight[rows], None if bias is None else bias[rows]


def _projected(
    mixer: SeparableAttention | SoftmaxAttention | AarenAttention,
    decay: Tensor,
    gain: Tensor,
    output: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    finite: bool = True,
) -> Grouped:
    """Heads between a projection to values and one to the output."""
    split = (mixer.num_heads, -1)
    return Grouped(
        decay=decay,
        gain=gain,
        output=output,
        enter=weight.unflatten(0, split),
        read=mixer.out_proj.weight.unflatten(1, split),
        enter_bias=None if bias is None else bias.unflatten(0, split),
        read_bias=mixer.out_proj.bias,
        finite=finite,
    )
