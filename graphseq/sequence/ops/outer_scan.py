"""placeholder until the compiled path lands"""

import torch

from graphseq.sequence.ops import naive
from graphseq.sequence.ops.affine_state import AffineState


def outer_scan(q, k, v, log_decay=None, state=None, *, mask=None, backend="auto"):
    if log_decay is None:
        log_decay = q.new_zeros(q.shape[:3])
    if mask is not None:
        log_decay = log_decay.masked_fill(~mask[:, :, None], 0.0)
        k = k.masked_fill(~mask[:, :, None, None], 0.0)
    B, _, H, N = k.shape
    state = state or AffineState(k.new_ones(B, H), k.new_zeros(B, H, N, v.shape[-1]))
    out, last = naive.outer_scan(q, k, v, log_decay, state.value)
    return out, AffineState(state.decay * last.decay, last.value)
