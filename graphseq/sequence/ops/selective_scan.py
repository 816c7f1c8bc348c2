"""placeholder until the compiled path lands"""
from graphseq.sequence.ops import naive
from graphseq.sequence.ops.affine_state import AffineState


def selective_scan(u, delta, a, b, c, state=None, *, mask=None, backend="auto"):
    if mask is not None:
        delta = delta.masked_fill(~mask[:, :, None], 0.0)
    state = state or AffineState(u.new_ones(u.shape[0], *a.shape), u.new_zeros(u.shape[0], *a.shape))
    out, last = naive.selective_scan(u, delta, a, b, c, state.value)
    return out, AffineState(state.decay * last.decay, last.value)
