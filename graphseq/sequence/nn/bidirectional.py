"""Two mixers over one sequence, one from its start and one from its end.

Bidirectional recurrent neural networks (M. Schuster and K. K. Paliwal, 1997).

    h_t = forward mixer of x_1 .. x_t,     z_t = backward mixer of x_T .. x_t
    y_t = W [h_t; z_t] + b     or     y_t = h_t + z_t

The backward mixer starts at each sequence's own last step. The layer needs the whole sequence and
does not stream.
"""

from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from graphseq.sequence.nn.gru import GRU
from graphseq.sequence.nn.mixer import Mixer, zero_padding
from graphseq.sequence.nn.recurrent_loop import check_choice
from graphseq.sequence.nn.state import State
from graphseq.sequence.ops.checks import length_mask


class Bidirectional(Mixer):
    """Two mixers in opposite directions.

    Args:
        channels: D, the width of input and output.
        mixer: makes each of the two from its width; any mixer, or a class with its arguments bound
            by ``functools.partial``.
        combine: "concat_project" lays both outputs side by side and maps them to D with a linear
            layer; "sum" adds them.

    Shape:
        x ``[B, T, D]`` -> ``[B, T, D]``. The returned state holds the tensors of both mixers' last
        states, named ``forward_...`` and ``backward_...``, for a decoder to begin with.

    Raises:
        ValueError: ``combine`` is none of its choices, or a mixer has another width.
    """

    streams: ClassVar[bool] = False

    def __init__(
        self,
        channels: int,
        *,
        mixer: Callable[[int], Mixer] = GRU,
        combine: Literal["concat_project", "sum"] = "concat_project",
    ) -> None:
        super().__init__(channels)
        check_choice("Bidirectional", "combine", combine, ("concat_project", "sum"))
        self.forward_mixer, self.backward_mixer = mixer(channels), mixer(channels)
        for made in (self.forward_mixer, self.backward_mixer):
            if made.channels != channels:
                raise ValueError(
                    f"Bidirectional: mixer made one of width {made.channels} when asked for "
                    f"{channels}; pass a function that keeps the width"
                )
        self.projection = nn.Linear(2 * channels, channels) if combine != "sum" else None

    def forward(
        self, x: Tensor, state: State | None = None, *, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """All steps at once; see :meth:`Mixer.forward`.

        Raises:
            ValueError: the input does not fit, or a state is passed: the backward mixer would have
                to begin with what comes after.
        """
        if x.dim() != 3 or x.shape[2] != self.channels:
            raise ValueError(
                f"Bidirectional: x has shape {tuple(x.shape)}, expected [B, T, {self.channels}]"
            )
        if state is not None:
            raise ValueError(
                "Bidirectional: state is given, but the backward direction has nothing to go on "
                "from; pass whole sequences and no state"
            )
        mask = None
        if lengths is not None:
            mask = length_mask("Bidirectional", lengths, *x.shape[:2])
        ahead, ahead_state = self.forward_mixer(x, lengths=lengths)
        back, back_state = self.backward_mixer(reverse_steps(x, lengths), lengths=lengths)
        back = reverse_steps(back, lengths)
        tensors = {f"forward_{name}": t for name, t in ahead_state.tensors.items()}
        tensors |= {f"backward_{name}": t for name, t in back_state.tensors.items()}
        if self.projection is None:
            return ahead + back, self.make_state(**tensors)
        y = self.projection(torch.cat([ahead, back], -1)).to(x.dtype)  # [B, T, D]
        return zero_padding(y, mask), self.make_state(**tensors)


def reverse_steps(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Each sequence of ``[B, T, D]`` from its own last step to its first; padding stays behind."""
    if lengths is None:
        return x.flip(1)
    steps = torch.arange(x.shape[1], device=x.device)
    back = lengths[:, None].to(x.device) - 1 - steps  # [B, T], negative at padding
    index = torch.where(back >= 0, back, steps)
    return x.gather(1, index[:, :, None].expand_as(x))
