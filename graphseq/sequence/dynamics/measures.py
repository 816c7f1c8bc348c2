"""Numbers that tell systems apart: the size of the state, its transition, what is left of an input.

Three differences between mixers of this form (arXiv 2405.15731, section 4): how many states a
channel has, how the transition is built, and how the input is scaled against what is forgotten.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from graphseq.sequence.dynamics.system import DynamicalSystem


class Transition(NamedTuple):
    """What Lambda is like on given inputs.

    Attributes:
        structure: "identity", "scalar" (times I), "scalar for each of k blocks", "diagonal" or
            "complex diagonal".
        varies: whether it is another one at some step or in some sequence. Step 0 does not count:
            there Lambda meets no state.
        smallest: the smallest modulus of an entry, again without step 0.
        largest: the largest one.
    """

    structure: str
    varies: bool
    smallest: float
    largest: float


def state_size(system: DynamicalSystem) -> float:
    """Real numbers in the state for each channel, the state expansion n; a complex one is two."""
    numbers = system.Lambda.shape[-1] * (2 if system.is_complex else 1)
    return numbers / system.channels


def eigenvalues(system: DynamicalSystem) -> Tensor:
    """Moduli of the eigenvalues of Lambda along each sequence, ``[B, T, N]``."""
    return system.Lambda.detach().abs()


def transition(system: DynamicalSystem) -> Transition:
    """Structure and range of Lambda, as found in its numbers.

    Raises:
        ValueError: there are fewer than two steps, or there is no sequence.
    """
    if system.length < 2 or system.batch_size < 1:
        raise ValueError(
            f"transition: the system has {system.batch_size} sequences of {system.length} steps; "
            "pass inputs with two steps or more"
        )
    found = system.Lambda.detach()[:, 1:]
    moduli = found.abs()
    return Transition(
        structure=_structure(found),
        varies=not torch.equal(found, found[:1, :1].expand_as(found)),
        smallest=moduli.min().item(),
        largest=moduli.max().item(),
    )


def memory(system: DynamicalSystem, source: int = 0) -> Tensor:
    """What outputs have of one input: the Frobenius norms of ``Phi_tj``, for t = j .. T - 1.

    Args:
        system: the system.
        source: j, the step at which the impulse enters.

    Shape:
        ``[B, T - j]``.

    Raises:
        ValueError: there is no such step.
    """
    if not 0 <= source < system.length:
        raise ValueError(
            f"memory: source is {source}; pass a step of 0 .. {system.length - 1} of the system"
        )
    with torch.no_grad():
        left, norms = system.B[:, source], []
        for t in range(source, system.length):
            if t > source:
                left = system.Lambda[:, t, :, None] * left
            block = (system.C[:, t] @ left).real
            if t == source:
                block = block + system.D[:, t]
            norms.append(torch.linalg.matrix_norm(block))
        return torch.stack(norms, 1)


def _structure(found: Tensor) -> str:
    if bool((found == 1).all()):
        return "identity"
    if found.is_complex():
        return "complex diagonal"
    # Entries that are one number in the mixer are equal to the last bit: they were copied.
    changes = found.sort(-1).values.diff(dim=-1).ne(0)
    distinct = 1 + int(changes.sum(-1).max())
    if distinct == 1 and found.shape[-1] > 1:
        return "scalar"
    if distinct < found.shape[-1]:
        return f"scalar for each of {distinct} blocks"
    return "diagonal"
