"""Linear attention (Katharopoulos et al., ICML 2020, arXiv 2006.16236), causal.

    y_i = S_i^T phi(q_i) / eta_i,     eta_i = phi(q_i) . z_i

    S_i = S_{i-1} + phi(k_i) v_i^T,   z_i = z_{i-1} + phi(k_i)

per head, followed by an output projection. A column of ones beside the values makes z the last
column of S. With "taylor" features it is softmax attention with the exponential cut off after some
powers (Sieber et al. 2024, arXiv 2405.15731); the memory is as large as the features are many.
"""

from torch import Tensor

from graphseq.sequence.nn.feature_maps import Features
from graphseq.sequence.nn.separable_attention import SeparableAttention


class LinearAttention(SeparableAttention):
    """Attention whose weights are products of features, with a memory that does not grow.

    The normaliser eta is a sum of weights. "elu" features and "taylor" features of even order keep
    every weight positive, and "relu" features keep it from being negative; where all weights are 0
    the output of the head is 0. With "identity" or an odd order weights have both signs, eta may
    come near 0 and outputs be huge: take ``normalize=False`` there.

    Args:
        channels: D.
        num_heads: H, a divisor of D and of the key channels.
        key_channels: width of queries and of keys, all heads together; D where it is None.
        feature_map: phi: "elu" (elu + 1), "identity", "relu" or "taylor", see
            :mod:`graphseq.sequence.nn.feature_maps`.
        order: highest power of "taylor" features; the other maps have none.
        normalize: whether to divide by eta.
        bias: whether the projections add one.

    Shape:
        ``[B, T, D] -> [B, T, D]``; state ``outer [B, H, N, D / H + 1]``, without the last column
        where nothing is normalised, for N features.

    Raises:
        ValueError: if a width is not a multiple of ``num_heads``, or ``feature_map`` or ``order``
            is none of these.
    """

    def __init__(
        self,
        channels: int,
        *,
        num_heads: int = 1,
        key_channels: int | None = None,
        feature_map: Features = "elu",
        order: int = 2,
        normalize: bool = True,
        bias: bool = True,
    ) -> None:
        super().__init__(
            channels,
            num_heads=num_heads,
            key_channels=key_channels,
            feature_map=feature_map,
            order=order,
            sums_weights=normalize,
            bias=bias,
        )

    def normalize(self, weighted: Tensor, total: Tensor | None, x: Tensor) -> Tensor:
        """Divides by the sum of the weights, if it is kept."""
        if total is None or not self.sums_weights:
            return weighted
        return weighted / total.masked_fill(total == 0, 1.0)
