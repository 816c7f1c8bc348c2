"""Normalised attention (Sieber et al., NeurIPS 2024, arXiv 2405.15731, eq. 21).

    y_i = (1 / eta(n_i)) sum_{j <= i} (phi(q_i) . phi(k_j)) v_j,     n_i = W_n u_i + b

per head, followed by an output projection: the normaliser is learned from the present input u_i
instead of summed over the past. That is linear attention without its normaliser, behind a gate.

================  ==================  =====================
norm_fn           eta(n)              1 / eta(n)
================  ==================  =====================
"exp"             exp(n)              exp(-n)
"softplus"        log(1 + exp(n))
"sigmoid"         1 / (1 + exp(-n))   1 + exp(-n)
"exp_softplus"    1 + exp(n)          sigmoid(-n)
"exp_sigmoid"     exp(sigmoid(n))     in (1 / e, 1)
"exp_exp"         exp(exp(n))         in (0, 1)
================  ==================  =====================
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphseq.sequence.nn.feature_maps import Features
from graphseq.sequence.nn.mixer import at_least_float32, no_autocast
from graphseq.sequence.nn.separable_attention import SeparableAttention

NormFunction = Literal["exp", "softplus", "sigmoid", "exp_softplus", "exp_sigmoid", "exp_exp"]


class NormalizedAttention(SeparableAttention):
    """Linear attention divided by a learned function of the present input.

    The first three of the functions leave 1 / eta unbounded: in float32 it overflows for n below
    -88, and the gradient of that of "softplus" for n below -44. The last three keep it below 1.

    Args:
        channels: D.
        num_heads: H, a divisor of D and of the key channels.
        key_channels: width of queries and of keys, all heads together; D where it is None.
        norm_fn: eta, what the sum is divided by.
        feature_map: phi: "identity" (as published), "elu" (elu + 1), "relu", or "taylor" up to the
            second power.
        bias: whether the projections, that of n included, add one.

    Shape:
        ``[B, T, D] -> [B, T, D]``; state ``outer [B, H, N, D / H]`` for N features.

    Raises:
        ValueError: if a width is not a multiple of ``num_heads``, or ``norm_fn`` or
            ``feature_map`` is none of these.
    """

    def __init__(
        self,
        channels: int,
        *,
        num_heads: int = 1,
        key_channels: int | None = None,
        norm_fn: NormFunction = "exp",
        feature_map: Features = "identity",
        bias: bool = True,
    ) -> None:
        super().__init__(
            channels,
            num_heads=num_heads,
            key_channels=key_channels,
            feature_map=feature_map,
            order=2,
            sums_weights=False,
            bias=bias,
        )
        inverse_norm(torch.zeros(()), norm_fn)  # refuses a name before training does
        self.norm_fn = norm_fn
        self.norm_proj = nn.Linear(channels, num_heads, bias=bias)

    def normalize(self, weighted: Tensor, total: Tensor | None, x: Tensor) -> Tensor:
        """Multiplies by 1 / eta, in float32 at least."""
        with no_autocast(x):
            x, weight = at_least_float32(x), at_least_float32(self.norm_proj.weight)
            bias = self.norm_proj.bias
            n = F.linear(x, weight, None if bias is None else at_least_float32(bias))  # [..., H]
        return inverse_norm(n, self.norm_fn)[..., None] * weighted


def inverse_norm(n: Tensor, norm_fn: NormFunction) -> Tensor:
    """``1 / eta(n)``, written so that eta itself cannot overflow.

    Args:
        n: any shape.
        norm_fn: name of eta.

    Raises:
        ValueError: if eta has no such name.
    """
    if norm_fn == "exp":
        return torch.exp(-n)
    if norm_fn == "softplus":
        return -1 / F.logsigmoid(-n)
    if norm_fn == "sigmoid":
        return 1 + torch.exp(-n)
    if norm_fn == "exp_softplus":
        return torch.sigmoid(-n)
    if norm_fn == "exp_sigmoid":
        return torch.exp(-torch.sigmoid(n))
    if norm_fn == "exp_exp":
        return torch.exp(-torch.exp(n.clamp(max=10.0)))  # 0 from there on; inf * 0 has no gradient
    raise ValueError(
        f"NormalizedAttention: norm_fn is {norm_fn!r}; pass exp, softplus, sigmoid, exp_softplus, "
        "exp_sigmoid or exp_exp"
    )
