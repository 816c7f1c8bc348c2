"""State space models and gated recurrences in the common form.

Their ``dynamics`` gives decays, gains and outputs of each group on the values; what is left is how
values come from the input and how the output comes from the groups, which is linear in both.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from graphseq.sequence.dynamics.grouped import Grouped
from graphseq.sequence.nn import LRU, RGLRU, S4D, S6, SSD, QuasiGRU, QuasiLSTM
from graphseq.sequence.nn.linear_recurrence import Dynamics
from graphseq.sequence.nn.mixer import at_least_float32


def state_space(mixer: S4D | S6 | SSD, u: Tensor) -> Grouped:
    """Values are the input itself, by channels or heads; D is the skip behind the projection."""
    system = mixer.dynamics(u)
    groups, width = system.values.shape[2:]
    identity = torch.eye(mixer.channels, dtype=system.values.dtype, device=u.device)
    project = identity if isinstance(mixer.out_proj, nn.Identity) else mixer.out_proj.weight
    skip = system.skip
    return Grouped(
        decay=system.decay,
        gain=system.gain,
        output=system.output,
        enter=identity.unflatten(0, (groups, width)),
        read=project.unflatten(1, (groups, width)),
        skip=None if skip is None else project * skip.repeat_interleave(width),
    )


def gated_recurrence(mixer: QuasiGRU | RGLRU, u: Tensor) -> Grouped:
    """One state for each of the values W u."""
    return _gated(mixer.dynamics(u), mixer.in_proj.weight, mixer.out_proj.weight)


def quasi_lstm(mixer: QuasiLSTM, u: Tensor) -> Grouped:
    """As the other gated recurrences; an outer gate, which sees u_i only, belongs to C_i.

    Raises:
        ValueError: the mixer's output is no linear function of its state, or its state not of its
            inputs with a diagonal transition.
    """
    if mixer.output_tanh:
        raise ValueError(
            "to_dynamics: QuasiLSTM with output_tanh=True reads its state through a tanh, so y_i "
            "is not C_i h_i; pass one with output_tanh=False"
        )
    if mixer.conv_width:
        raise ValueError(
            f"to_dynamics: QuasiLSTM with conv_width={mixer.conv_width} remembers its last inputs "
            "as well, and a shift of inputs is no diagonal transition; pass one with conv_width=0"
        )
    width = mixer.out_proj.in_features
    system = mixer.dynamics(u)
    if mixer.gated:
        gate = nn.functional.gelu(mixer.in_proj(u)[..., width:])  # [B, T, E D]
        system = system._replace(output=system.output * gate[..., None])
    return _gated(system, mixer.in_proj.weight[:width], mixer.out_proj.weight)


def linear_recurrent_unit(mixer: LRU, u: Tensor) -> Grouped:
    """Complex states: ``out_proj [Re h; Im h] = Re((R_1 - i R_2) h)`` for its halves R_1, R_2."""
    real, imag = at_least_float32(mixer.in_proj.weight).chunk(2)
    read_real, read_imag = at_least_float32(mixer.out_proj.weight).chunk(2, 1)
    enter, read = torch.complex(real, imag), torch.complex(read_real, -read_imag)
    return replace(_gated(mixer.dynamics(u), enter, read), skip=torch.diag(mixer.skip))


def _gated(system: Dynamics, enter: Tensor, read: Tensor) -> Grouped:
    """Groups of one value and one state: enter ``[G, D]``, read ``[D, G]``."""
    return Grouped(
        decay=system.decay,
        gain=system.gain,
        output=system.output,
        enter=enter[:, None],
        read=read[:, :, None],
    )
