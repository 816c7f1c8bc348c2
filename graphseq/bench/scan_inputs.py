"""Inputs of the ops along time, and each op as a function from inputs to its result alone."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from graphseq.bench.scan_reference import summed_scores
from graphseq.sequence.ops import naive, outer_scan, prefix_softmax, selective_scan

BATCH, TIME, HEADS, WIDTH = 4, 2048, 8, 64
CHANNELS, STATES = 256, 16  # of S6

Function = Callable[..., Tensor]


def prefix(scores: Tensor, values: Tensor) -> Tensor:
    """Prefix softmax of this package, its scores given."""
    return prefix_softmax(scores, values)[0]


def scored_prefix(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """The same with the scores' computation."""
    return prefix_softmax(summed_scores(query, keys), values)[0]


def outer(q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor | None = None) -> Tensor:
    """Linear attention of this package, with a decay or without."""
    return outer_scan(q, k, v, log_decay)[0]


def naive_outer(q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor | None = None) -> Tensor:
    """Its naive twin."""
    log_decay = q.new_zeros(q.shape[:3]) if log_decay is None else log_decay
    return naive.outer_scan(q, k, v, log_decay)[0]


def selective(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """S6's scan of this package."""
    return selective_scan(u, delta, a, b, c)[0]


def naive_selective(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Its naive twin."""
    return naive.selective_scan(u, delta, a, b, c)[0]


def prefix_inputs(batch: int, time: int) -> tuple[Tensor, Tensor]:
    """Scores and values."""
    return normal(0, batch, time, HEADS), normal(1, batch, time, HEADS, WIDTH)


def outer_inputs(batch: int, time: int, *, decaying: bool) -> tuple[Tensor, ...]:
    """q, k, v, and log decays between -1 and -0.001 if there shall be any."""
    q, k, v = (normal(i, batch, time, HEADS, WIDTH) for i in range(3))
    if not decaying:
        return q, k, v
    return q, k, v, -_log_uniform(1e-3, 1.0, batch, time, HEADS)


def s6_inputs(batch: int, time: int) -> tuple[Tensor, ...]:
    """u, delta, a, b, c; step sizes and rates as a freshly made S6 has them."""
    u = normal(0, batch, time, CHANNELS)
    delta = _log_uniform(1e-3, 0.1, batch, time, CHANNELS)
    a = -torch.arange(1.0, STATES + 1).repeat(CHANNELS, 1)
    b, c = (normal(i, batch, time, STATES) for i in (1, 2))
    return u, delta, a, b, c


def normal(seed: int, *shape: int) -> Tensor:
    """Standard normal numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _log_uniform(low: float, high: float, *shape: int) -> Tensor:
    share = torch.rand(shape, generator=torch.Generator().manual_seed(4))
    return low * torch.exp(share * math.log(high / low))


def both(function: Function, inputs: Sequence[Tensor], grad: Tensor) -> list[Tensor]:
    """The result and the gradients of all inputs, by autograd."""
    inputs = [x.detach().requires_grad_() for x in inputs]
    out = function(*inputs)
    return [out.detach(), *torch.autograd.grad(out, inputs, grad, materialize_grads=True)]


def exact(twin: Function, inputs: Sequence[Tensor], grad: Tensor) -> list[Tensor]:
    """The same in float64, sequence by sequence: under autograd a loop keeps all of its states.

    Inputs of more than two dimensions have the batch first; others serve all sequences.
    """
    wide = [x.detach().double().requires_grad_() for x in inputs]
    outputs = []
    for i in range(grad.shape[0]):
        out = twin(*(x[i : i + 1] if x.dim() > 2 else x for x in wide))
        out.backward(grad[i : i + 1].double())
        outputs.append(out.detach())
    grads = (torch.zeros_like(x) if x.grad is None else x.grad for x in wide)
    return [torch.cat(outputs), *grads]
