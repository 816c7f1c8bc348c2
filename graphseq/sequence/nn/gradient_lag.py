"""How much of an error at the last step reaches the state of each step before.

The curve against the lag T - t is the picture of vanishing and exploding gradients (Bengio, Simard
and Frasconi, 1994): with L the sum of the last step's output and h_t the state after step t,

    norm_t = mean over the batch of || dL / dh_t ||.
"""

import torch
from torch import Tensor

from graphseq.sequence.nn.mixer import Mixer
from graphseq.sequence.nn.state import State

# What a state is mainly made of: recurrent cells, gated recurrences, prefix softmax, Jordan.
_MAIN = ("h", "value", "weighted", "context")


def gradient_norms(
    mixer: Mixer, x: Tensor, state: State | None = None, *, tensor: str | None = None
) -> Tensor:
    """``|| dL / dh_t ||`` for t = 1 .. T, the total derivative at the state after step t.

    Runs step by step with gradients recorded, whatever the caller's mode, and leaves the ``.grad``
    of parameters alone. Up to T - 1 the way to the last output leads through the next step. At T it
    is there only where the output is made of that tensor itself (Elman, LSTM, GRU, whose output is
    h_T), and the norm is 0 otherwise.

    Args:
        mixer: a mixer that streams.
        x: inputs, of one length.
        state: what came before; nothing if left out.
        tensor: which of the state's tensors to take, such as an LSTM's "c"; if left out, "h",
            "value", "weighted" or "context", the first that there is.

    Shape:
        x ``[B, T, D]`` -> ``[T]``.

    Raises:
        ValueError: the mixer does not stream, the input has no step or no sequence or does not fit,
            or the state has no such tensor.
    """
    if not mixer.streams:
        raise ValueError(
            f"gradient_norms: {type(mixer).__name__} has no step; pass a mixer that streams"
        )
    if x.dim() != 3 or 0 in x.shape[:2]:
        raise ValueError(
            f"gradient_norms: x has shape {tuple(x.shape)}; pass [B, T, D] with B and T at least 1"
        )
    states = []
    with torch.enable_grad():
        # States depend on the input, so they are recorded even where all weights are frozen.
        steps = x.detach().requires_grad_().unbind(1)
        current = mixer.init_state(x.shape[0]) if state is None else state
        y = steps[0]
        for x_t in steps:
            y, current = mixer.step(x_t, current)
            states.append(_tensor(current, tensor))
        grads = torch.autograd.grad(y.sum(), states, allow_unused=True)
    norms = [
        h.new_zeros(()) if g is None else g.flatten(1).norm(dim=1).mean()
        for h, g in zip(states, grads, strict=True)
    ]
    return torch.stack(norms).detach()


def _tensor(state: State, name: str | None) -> Tensor:
    names = _MAIN if name is None else (name,)
    found = [n for n in names if n in state.tensors]
    if not found:
        raise ValueError(
            f"gradient_norms: no tensor {' or '.join(names)} in the state of {state.owner}; "
            f"pass one of {sorted(state.tensors)} as tensor"
        )
    return state[found[0]]
