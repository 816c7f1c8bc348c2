"""Attention as an RNN (Feng et al. 2024, arXiv 2405.13956): a query that is learned, not read.

    y_i = sum_{j <= i} exp(s_j) v_j / sum_{j <= i} exp(s_j),     s_j = (W_q q + b_q) . k_j / sqrt(P)

per head, with keys and values of the input and one q for the layer, followed by an output
projection. Step by step, with the running maximum m as the exponent's zero:

    m_i = max(m_{i-1}, s_i),    c_i = c_{i-1} e^(m_{i-1} - m_i) + e^(s_i - m_i)
    y_i = a_i / c_i,            a_i = a_{i-1} e^(m_{i-1} - m_i) + e^(s_i - m_i) v_i

The query is the same at every step, so keys are never formed: with k_j = W_k u_j + b_k,

    s_j = kappa . u_j + const,     kappa = W_k^T (W_q q + b_q) / sqrt(P)

which is 2 D H operations a token instead of 2 D^2. The constant shifts all scores of a head alike
and so changes no output; it is added so that scores, and states, mean what the equations say. The
gradient of b_k is 0 for the same reason.

========  ===============================  =============
symbol    variable                         shape
========  ===============================  =============
q         query                            ``[D]``
kappa     fold                             ``[H, D]``
m, c      state["max"], state["sum"]       ``[B, H]``
a         state["weighted"]                ``[B, H, P]``
========  ===============================  =============
"""

import math

import torch
from torch import Tensor, nn

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
from graphseq.sequence.ops import PrefixState, merge_prefix, prefix_softmax


class AarenAttention(Mixer):
    """Softmax attention of a learned query over every prefix, with a state of H (P + 2) numbers.

    It has D parameters more than the self-attention that it replaces. Outputs know the order of
    what came before only through positions in the input.

    Args:
        channels: D.
        num_heads: H, a divisor of D.
        bias: whether the projections add one.

    Shape:
        ``[B, T, D] -> [B, T, D]``; state ``max`` and ``sum [B, H]``, ``weighted [B, H, D / H]``.

    Raises:
        ValueError: if ``channels`` is not a multiple of ``num_heads``.
    """

    has_matrix = True
    merges = True

    def __init__(self, channels: int, *, num_heads: int = 8, bias: bool = True) -> None:
        super().__init__(channels)
        check_heads("AarenAttention", num_heads, channels=channels)
        self.num_heads = num_heads
        self.query = nn.Parameter(torch.empty(channels))
        self.q_proj = nn.Linear(channels, channels, bias=bias)
        self.k_proj = nn.Linear(channels, channels, bias=bias)
        self.v_proj = nn.Linear(channels, channels, bias=bias)
        self.out_proj = nn.Linear(channels, channels, bias=bias)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """As ``torch.nn.MultiheadAttention`` starts; the query is of the size of a normed token."""
        nn.init.normal_(self.query)
        for layer in (self.q_proj, self.k_proj, self.v_proj):
            # Glorot's bound for the three weights stacked, [3 D, D]
            nn.init.xavier_uniform_(layer.weight, gain=1 / math.sqrt(2))
        for layer in (self.q_proj, self.k_proj, self.v_proj, self.out_proj):
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(
        self, x: Tensor, state: State | None = None, *, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """All steps at once, see :meth:`Mixer.forward`."""
        state, mask = self.check(x, state, lengths)
        x = zero_padding(x, mask)
        mixed, after = prefix_softmax(self.scores(x), self.values(x), _prefix(state), mask=mask)
        y = self.readout(mixed, x)
        return zero_padding(y, mask), self.make_state(**after._asdict())

    def step(self, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        """One step of the recurrence above."""
        self.check_step(x_t, state)
        score, value = self.scores(x_t), self.values(x_t)
        top = torch.maximum(state["max"], score).detach()  # any zero of the exponent gives the same
        kept, new = torch.exp(state["max"] - top), torch.exp(score - top)
        total = kept * state["sum"] + new
        weighted = kept[..., None] * state["weighted"] + new[..., None] * value
        y = self.readout(weighted / total[..., None], x_t)
        return y, self.make_state(max=top, sum=total, weighted=weighted)

    def init_state(self, batch_size: int) -> State:
        """No score yet: a maximum of -inf over nothing."""
        weight, width = self.query, self.channels // self.num_heads
        zeros = torch.zeros(
            batch_size, self.num_heads, width, dtype=state_dtype(self), device=weight.device
        )
        total = torch.zeros_like(zeros[..., 0])
        return self.make_state(max=torch.full_like(total, -torch.inf), sum=total, weighted=zeros)

    def merge(self, first: State, second: State) -> State:
        """Both sums, rescaled to the larger maximum."""
        self.check_merge(first, second)
        return self.make_state(**merge_prefix(_prefix(first), _prefix(second))._asdict())

    def scores(self, x: Tensor) -> Tensor:
        """``[..., D] -> [..., H]``, in float32 at least: exponentials follow."""
        split = (self.num_heads, -1)
        with no_autocast(x):
            query, w_q, w_k = map(
                at_least_float32, (self.query, self.q_proj.weight, self.k_proj.weight)
            )
            q = w_q @ query
            if self.q_proj.bias is not None:
                q = q + self.q_proj.bias
            q = q.unflatten(0, split) / math.sqrt(self.channels // self.num_heads)  # [H, P]
            fold = torch.einsum("hp,hpd->hd", q, w_k.unflatten(0, split))
            scores = at_least_float32(x) @ fold.t()
            if self.k_proj.bias is not None:
                scores = scores + (q * self.k_proj.bias.unflatten(0, split)).sum(-1)
        return scores

    def matrix(self, x: Tensor) -> Tensor:
        """Row i of head h is the softmax of the scores up to i; ``[B, H, T, T]``."""
        self.check(x, None)
        time = torch.arange(x.shape[1], device=x.device)
        scores = self.scores(x).transpose(1, 2)[:, :, None]  # [B, H, 1, T]
        return scores.masked_fill(time > time[:, None], -torch.inf).softmax(-1)

    def values(self, x: Tensor) -> Tensor:
        """``[..., D] -> [..., H, P]``."""
        return split_heads(at_least_float32(self.v_proj(x)), self.num_heads)

    def readout(self, mixed: Tensor, x: Tensor) -> Tensor:
        """Heads side by side, projected."""
        return self.out_proj(merge_heads(mixed).to(self.out_proj.weight.dtype))


def _prefix(state: State) -> PrefixState:
    return PrefixState(state["max"], state["sum"], state["weighted"])
