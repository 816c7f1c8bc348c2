"""Mixers side by side, as a table in Markdown."""

from collections.abc import Mapping

import torch
from torch import Tensor

from graphseq.sequence.dynamics.measures import memory, state_size, transition
from graphseq.sequence.dynamics.to_dynamics import to_dynamics
from graphseq.sequence.nn import Mixer
from graphseq.sequence.nn.recurrent_cell import RecurrentCell

_HEADER = ("mixer", "state per channel", "transition", "varies", "moduli of Lambda", "kept")


def table(mixers: Mapping[str, Mixer], u: Tensor) -> str:
    """One row for each mixer, measured on one batch of inputs.

    The columns: real numbers in the state for each channel; structure of Lambda; whether Lambda
    varies with the input or the step; smallest and largest modulus of its entries; and how much of
    the first input's part in the second output is left in the last one, the root mean square over
    the batch of the norm of ``Phi_{T-1,0}`` by that of ``Phi_{1,0}``.

    A classical cell has no Lambda: its row says so, with the size of its state.

    Args:
        mixers: name -> mixer.
        u: the inputs.

    Shape:
        u ``[B, T, D]`` with T 3 or more.

    Raises:
        ValueError: a mixer is not causal or nothing is known of it, or there are too few steps.
    """
    if u.dim() != 3 or u.shape[0] < 1 or u.shape[1] < 3:
        raise ValueError(
            f"table: u has shape {tuple(u.shape)}; pass [B, T, D] with 1 sequence and 3 steps or "
            "more"
        )
    rows = [_HEADER, ("---",) * len(_HEADER)]
    with torch.no_grad():
        for name, mixer in mixers.items():
            cells = _classical if isinstance(mixer, RecurrentCell) else _linear
            rows.append((name, *cells(mixer, u)))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _linear(mixer: Mixer, u: Tensor) -> tuple[str, ...]:
    system = to_dynamics(mixer, u)
    kind = transition(system)
    size = f"{state_size(system):g}"
    moduli = [_modulus(kind.smallest), _modulus(kind.largest)]
    left = memory(system).square().mean(0).sqrt()  # [T]
    return (
        size if system.finite else f"{size} = T",
        kind.structure,
        "yes" if kind.varies else "no",
        moduli[0] if moduli[0] == moduli[1] else " to ".join(moduli),
        f"{(left[-1] / left[1]).item():.2g}",
    )


def _classical(mixer: Mixer, u: Tensor) -> tuple[str, ...]:
    tensors = mixer.init_state(1).tensors.values()
    size = sum(t.numel() for t in tensors) / mixer.channels
    return f"{size:g}", "not linear in the state", "-", "-", "-"


def _modulus(value: float) -> str:
    """Two digits, but never 1 for what is not 1: there a state neither fades nor grows."""
    text = f"{value:.2g}"
    if text != "1" or value == 1:
        return text
    return "< 1" if value < 1 else "> 1"
