"""placeholder until the compiled path lands"""
from graphseq.sequence.ops import naive
from graphseq.sequence.ops.affine_state import AffineState, identity_state, merge_affine


def gated_scan(decay, value, state=None, *, mask=None, backend="auto"):
    if mask is not None:
        decay = decay.masked_fill(~mask[:, :, None], 1.0)
        value = value.masked_fill(~mask[:, :, None], 0.0)
    state = state or identity_state(tuple(value[:, 0].shape), value[:, 0])
    out, last = naive.gated_scan(decay, value, state.value)
    return out, AffineState(state.decay * last.decay, last.value)
