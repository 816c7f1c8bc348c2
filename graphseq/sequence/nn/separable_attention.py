"""What attentions share whose weights are a product of features: one matrix as memory.

    S_i = S_{i-1} + phi(k_i) v_i^T,   o_i = S_i^T phi(q_i) = sum_{j <= i} (phi(q_i) . phi(k_j)) v_j

per head; a subclass says how o_i is normalised. The memory is kept unnormalised: normalising it at
every step instead would divide by normalisers that may be near 0 (Sieber et al. 2024, arXiv
2405.15731, section 4).

========  ===========  ================  ===========================================
symbol    variable     shape             meaning
========  ===========  ================  ===========================================
q, k      q, k         ``[B, T, H, N]``  features of queries and keys, N per head
v         v            ``[B, T, H, P]``  values, P = D / H
S         outer        ``[B, H, N, P]``  the memory; P + 1 where it sums the weights as well
========  ===========  ================  ===========================================
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphseq.sequence.nn.feature_maps import FeatureMap, Features
from graphseq.sequence.nn.mixer import (
    Mixer,
    at_least_float32,
    check_heads,
    merge_heads,
    no_autocast,
    split_heads,
    state_dtype,
    zero_padding,
)
from graphseq.sequence.nn.state import State
from graphseq.sequence.ops import AffineState, outer_scan


class SeparableAttention(Mixer):
    """Projections, features and memory; a subclass writes ``normalize``.

    Args:
        channels: D.
        num_heads: H.
        key_channels: width of queries and of keys, all heads together; D where it is None.
        feature_map: phi, see :mod:`graphseq.sequence.nn.feature_maps`.
        order: highest power of "taylor" features.
        sums_weights: whether a column of ones beside the values sums the weights, for a normaliser.
        bias: whether projections add one.
    """

    has_matrix = True
    merges = True

    def __init__(
        self,
        channels: int,
        *,
        num_heads: int,
        key_channels: int | None,
        feature_map: Features,
        order: int,
        sums_weights: bool,
        bias: bool,
    ) -> None:
        super().__init__(channels)
        keys = channels if key_channels is None else key_channels
        check_heads(type(self).__name__, num_heads, channels=channels, key_channels=keys)
        self.num_heads, self.key_channels, self.sums_weights = num_heads, keys, sums_weights
        self.in_proj = nn.Linear(channels, 2 * keys + channels, bias=bias)
        self.out_proj = nn.Linear(channels, channels, bias=bias)
        self.features = FeatureMap(feature_map, keys // num_heads, order=order)
        init_projections(self.in_proj, self.out_proj)

    def normalize(self, weighted: Tensor, total: Tensor | None, x: Tensor) -> Tensor:
        """The outputs of the heads.

        Args:
            weighted: sums of values ``[..., H, P]``.
            total: sums of weights ``[..., H, 1]``, where the mixer keeps them.
            x: the input ``[..., D]``.
        """
        raise NotImplementedError

    def forward(
        self, x: Tensor, state: State | None = None, *, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """All steps at once, see :meth:`Mixer.forward`."""
        state, mask = self.check(x, state, lengths)
        x = zero_padding(x, mask)
        q, k, v = self._project(x)
        outer = state["outer"]
        before = AffineState(outer.new_ones(outer.shape[:2]), outer)
        mixed, after = outer_scan(q, k, self._widen(v), state=before, mask=mask)
        y = self._output(mixed, x)
        return zero_padding(y, mask), self.make_state(outer=after.value)

    def step(self, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        """One step: add the outer product, read with the query."""
        self.check_step(x_t, state)
        q, k, v = self._project(x_t)
        with no_autocast(x_t):
            outer = state["outer"] + k[..., :, None] * self._widen(v)[..., None, :]
            mixed = torch.einsum("bhn,bhnp->bhp", q, outer)
        return self._output(mixed, x_t), self.make_state(outer=outer)

    def init_state(self, batch_size: int) -> State:
        """A memory of zeros."""
        columns = self.channels // self.num_heads + self.sums_weights
        shape = batch_size, self.num_heads, self.features.size, columns
        device = self.in_proj.weight.device
        return self.make_state(outer=torch.zeros(shape, dtype=state_dtype(self), device=device))

    def merge(self, first: State, second: State) -> State:
        """The sum of both."""
        self.check_merge(first, second)
        return self.make_state(outer=first["outer"] + second["outer"])

    def matrix(self, x: Tensor) -> Tensor:
        """The normalised weights ``[B, H, T, T]``."""
        self.check(x, None)
        q, k, _ = self._project(x)
        with no_autocast(x):
            scores = torch.einsum("bihn,bjhn->bihj", q, k)
        time = torch.arange(x.shape[1], device=x.device)
        scores = scores.masked_fill(time > time[:, None, None], 0.0)  # [B, T, H, T]
        return self.normalize(scores, scores.sum(-1, keepdim=True), x).transpose(1, 2)

    def values(self, x: Tensor) -> Tensor:
        """``[B, T, H, P]``."""
        return self._project(x)[2]

    def readout(self, mixed: Tensor, x: Tensor) -> Tensor:
        """Heads side by side, projected."""
        return self.out_proj(merge_heads(mixed).to(self.out_proj.weight.dtype))

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features of queries and keys ``[..., H, N]`` and values ``[..., H, P]``, in float32."""
        widths = [self.key_channels, self.key_channels, self.channels]
        projected = at_least_float32(self.in_proj(x)).split(widths, -1)
        q, k, v = (split_heads(part, self.num_heads) for part in projected)
        return self.features(q), self.features(k), v

    def _widen(self, v: Tensor) -> Tensor:
        return F.pad(v, (0, 1), value=1.0) if self.sums_weights else v

    def _output(self, mixed: Tensor, x: Tensor) -> Tensor:
        total = mixed[..., -1:] if self.sums_weights else None
        weighted = mixed[..., :-1] if self.sums_weights else mixed
        return self.readout(self.normalize(weighted, total, x), x)


def init_projections(in_proj: nn.Linear, out_proj: nn.Linear) -> None:
    """As ``torch.nn.MultiheadAttention`` starts: Glorot for the stacked weight, biases of 0."""
    nn.init.xavier_uniform_(in_proj.weight)
    for layer in (in_proj, out_proj):
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
