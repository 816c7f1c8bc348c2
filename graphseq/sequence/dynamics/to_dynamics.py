"""Any mixer that is linear in its past, as the matrices of a dynamical system."""

from torch import Tensor

from graphseq.sequence.dynamics.attentions import aaren, separable, softmax
from graphseq.sequence.dynamics.grouped import Grouped
from graphseq.sequence.dynamics.recurrences import (
    gated_recurrence,
    linear_recurrent_unit,
    quasi_lstm,
    state_space,
)
from graphseq.sequence.dynamics.system import DynamicalSystem
from graphseq.sequence.nn import (
    LRU,
    RGLRU,
    S4D,
    S6,
    SSD,
    AarenAttention,
    Bidirectional,
    LinearAttention,
    Mixer,
    NormalizedAttention,
    QuasiGRU,
    QuasiLSTM,
    SoftmaxAttention,
)
from graphseq.sequence.nn.recurrent_cell import RecurrentCell

_KNOWN = (
    *(SoftmaxAttention, AarenAttention, LinearAttention, NormalizedAttention),
    *(S4D, S6, SSD, LRU, QuasiLSTM, QuasiGRU, RGLRU),
)


def to_dynamics(mixer: Mixer, u: Tensor) -> DynamicalSystem:
    """Lambda, B, C and D of a mixer on given inputs.

    ``to_dynamics(mixer, u).run(u)`` is ``mixer(u)[0]``, with dropout left out. It is for analysis:
    B and C hold T N D numbers for each sequence, where N is D times the states for each channel.

    Softmax attention has a system for each given sequence, whose states are the values of all of
    its steps: N is T times D, and the result says ``finite=False``.

    Args:
        mixer: an attention, a state space model or a gated recurrence.
        u: its input.

    Shape:
        u ``[B, T, D]``.

    Raises:
        ValueError: the mixer is not of this form, named with the reason, or the input does not fit.
    """
    _refuse(mixer)
    mixer.check(u, None)
    return _grouped(mixer, u).flatten(u)


def _grouped(mixer: Mixer, u: Tensor) -> Grouped:
    if isinstance(mixer, SoftmaxAttention):
        return softmax(mixer, u)
    if isinstance(mixer, AarenAttention):
        return aaren(mixer, u)
    if isinstance(mixer, LinearAttention | NormalizedAttention):
        return separable(mixer, u)
    if isinstance(mixer, S4D | S6 | SSD):
        return state_space(mixer, u)
    if isinstance(mixer, LRU):
        return linear_recurrent_unit(mixer, u)
    if isinstance(mixer, QuasiLSTM):
        return quasi_lstm(mixer, u)
    assert isinstance(mixer, QuasiGRU | RGLRU)
    return gated_recurrence(mixer, u)


def _refuse(mixer: Mixer) -> None:
    """Refuses what is not of the form, with the reason."""
    name = type(mixer).__name__
    if isinstance(mixer, RecurrentCell):
        raise ValueError(
            f"to_dynamics: {name} puts h_(i-1) through a nonlinearity, so Lambda_i would depend on "
            "h_(i-1); pass a QuasiLSTM or QuasiGRU, whose gates see the input only"
        )
    if isinstance(mixer, Bidirectional):
        raise ValueError(
            f"to_dynamics: {name} hears the future, which no recurrence from h_(i-1) to h_i does; "
            "pass its forward_mixer or its backward_mixer"
        )
    if not isinstance(mixer, _KNOWN):
        raise ValueError(
            f"to_dynamics: nothing is known of {name}; write its Lambda, B, C and D as a "
            "DynamicalSystem"
        )
