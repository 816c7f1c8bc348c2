"""Peak memory of one forward and backward pass of the ops along time.

The peak is that of a fresh process above its libraries and inputs. Beside it stand what inputs and
outputs take, for S6 what a tensor of all its states would, and the plain formulations.
``with_inputs`` is the share of inputs and peak together in the first of these: 1 were it possible
to make nothing but the output.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from graphseq.bench.memory import peak_megabytes
from graphseq.bench.scan_inputs import (
    BATCH,
    CHANNELS,
    HEADS,
    STATES,
    WIDTH,
    Function,
    prefix,
    prefix_inputs,
    s6_inputs,
    selective,
)
from graphseq.bench.scan_reference import doubling_softmax, selective_doubling, selective_steps
from graphseq.bench.timing import Row

Inputs = Callable[[int, int], tuple[Tensor, ...]]

MIB = 1 << 20
WARM = 256
"""Steps that are enough work for two threads, whose loops are compiled beforehand."""
OPS: dict[str, tuple[Inputs, int, dict[str, Function]]] = {
    "prefix_softmax": (prefix_inputs, 4096, {"ours": prefix, "paper": doubling_softmax}),
    "s6": (
        s6_inputs,
        2048,
        {"ours": selective, "paper": selective_steps, "strong": selective_doubling},
    ),
}


def rows(shrink: int = 1) -> list[Row]:
    """The peaks of prefix softmax and of S6.

    Args:
        shrink: divides the lengths of the sequences.
    """
    return [row for op in OPS for row in _rows(op, OPS[op][1] // shrink)]


def _rows(op: str, time: int) -> list[Row]:
    make, _, functions = OPS[op]
    peaks = {name: peak_megabytes(setup, op, name, time) for name in functions}
    ours = peaks.pop("ours")
    inputs = make(BATCH, time)
    held = sum(x.nbytes for x in inputs) / MIB
    whole = held + inputs[1].nbytes / MIB  # the output has the shape of the values, or of delta
    sizes = {"inputs + output": whole}
    if op == "s6":
        sizes["B x T x d x n"] = BATCH * time * CHANNELS * STATES * 4 / MIB
    width = f"H={HEADS} D={WIDTH}" if op == "prefix_softmax" else f"d={CHANNELS} n={STATES}"
    return [
        {
            "op": f"{op} memory",
            "case": f"B={BATCH} {width} T={time}",
            "ours_mb": ours,
            "reference": reference,
            "reference_mb": used,
            "ratio": used / ours,
            "with_inputs": (held + ours) / whole,
        }
        for reference, used in (sizes | peaks).items()
    ]


def setup(op: str, name: str, time: int) -> Callable[[], object]:
    """In a fresh process: the inputs, and everything compiled on short ones."""
    make, _, functions = OPS[op]
    _pass(functions[name], make(BATCH, WARM))
    inputs = make(BATCH, time)
    return lambda: _pass(functions[name], inputs)


def _pass(function: Function, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Forward and backward; the gradient of the output is counted too."""
    inputs = [x.detach().requires_grad_() for x in inputs]
    out = function(*inputs)
    return torch.autograd.grad(out, inputs, torch.ones_like(out))
