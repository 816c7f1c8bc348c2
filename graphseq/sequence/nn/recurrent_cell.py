"""What the classical recurrent cells have in common: one cell, run over time in two ways.

A cell maps the input of one step and what it carries to an output and what it carries on. ``cell``
is its equation and serves ``step``; ``run`` takes all steps at once and must agree with it.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from graphseq.sequence.nn.mixer import Mixer, state_dtype, zero_padding
from graphseq.sequence.nn.state import State

Carried = tuple[Tensor, ...]


class RecurrentCell(Mixer):
    """A mixer that has to visit the steps one after the other.

    Inputs and weights are brought to the dtype of the state, float32 at least, and ``autocast`` is
    off inside: rounding errors of a recurrence add up over time. Outputs have the dtype of ``x``.

    Args:
        channels: D, the width of input, state and output.
    """

    state_names: ClassVar[tuple[str, ...]] = ("h",)
    """The tensors ``[B, D]`` that are carried from step to step."""

    def cell(self, x_t: Tensor, before: Carried) -> tuple[Tensor, Carried]:
        """One step: ``[B, D]`` and what was carried give ``[B, D]`` and what is carried on."""
        raise NotImplementedError(f"{type(self).__name__} has no cell")

    def run(self, x: Tensor, before: Carried, mask: Tensor | None) -> tuple[Tensor, Carried]:
        """All steps: ``[T, B, D]``, contiguous, and a mask ``[T, B, 1]``, false at padding.

        Outputs at padding may be anything; what is carried must pass it unchanged.
        """
        raise NotImplementedError(f"{type(self).__name__} has no run")

    @torch.compiler.disable  # a compiler would unroll the loop over time, for minutes
    def _run_uncompiled(
        self, x: Tensor, before: Carried, mask: Tensor | None
    ) -> tuple[Tensor, Carried]:
        return self.run(x, before, mask)

    def forward(
        self, x: Tensor, state: State | None = None, *, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        before, mask = self.check(x, state, lengths)
        if mask is not None and bool(mask.all()):
            mask = None
        with torch.autocast(x.device.type, enabled=False):
            # Padding must not reach the weights' gradients, where 0 times infinity is no zero.
            steps = zero_padding(x, mask).transpose(0, 1).to(state_dtype(self)).contiguous()
            inside = None if mask is None else mask.t()[:, :, None]
            y, after = self._run_uncompiled(steps, self.carried(before), inside)
            y = zero_padding(y.transpose(0, 1), mask)  # [B, T, D]
        return y.to(x.dtype), self.make_state(**dict(zip(self.state_names, after, strict=True)))

    def step(self, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        self.check_step(x_t, state)
        with torch.autocast(x_t.device.type, enabled=False):
            y, after = self.cell(x_t.to(state_dtype(self)), self.carried(state))
        return y.to(x_t.dtype), self.make_state(**dict(zip(self.state_names, after, strict=True)))

    def init_state(self, batch_size: int) -> State:
        like = next(self.parameters())
        shape, dtype = (batch_size, self.channels), state_dtype(self)
        return self.make_state(
            **{n: torch.zeros(shape, dtype=dtype, device=like.device) for n in self.state_names}
        )

    def carried(self, state: State) -> Carried:
        """The state's tensors in their order, in the dtype that is computed in."""
        return tuple(state[name].to(state_dtype(self)) for name in self.state_names)

    def cast(self, *weights: Tensor) -> Carried:
        """Weights in the dtype that is computed in."""
        return tuple(weight.to(state_dtype(self)) for weight in weights)


def load_torch(
    cell: RecurrentCell, module: nn.RNNBase, reverse: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The weights of a one-layer torch module: input, hidden, input bias, hidden bias.

    Args:
        cell: what they are for; brought to their dtype and device.
        module: what they are of; biases that it lacks are 0.
        reverse: the second direction of a bidirectional module, instead of the first.

    Raises:
        ValueError: the module has more layers, a projection, no second direction, or a hidden
            width that is not its input width.
    """
    name = type(cell).__name__
    if module.num_layers != 1 or module.proj_size != 0:
        raise ValueError(
            f"{name}.from_torch: module has num_layers={module.num_layers} and "
            f"proj_size={module.proj_size}; one layer without projection can be copied"
        )
    if reverse and not module.bidirectional:
        raise ValueError(f"{name}.from_torch: reverse=True, but module is not bidirectional")
    suffix = "_reverse" if reverse else ""
    weights = [getattr(module, f"weight_{part}_l0{suffix}").detach() for part in ("ih", "hh")]
    cell.to(weights[0])
    rows = weights[0].new_zeros(weights[0].shape[0])
    biases = [getattr(module, f"bias_{part}_l0{suffix}", rows).detach() for part in ("ih", "hh")]
    return weights[0], weights[1], biases[0], biases[1]


def torch_width(name: str, module: nn.Module, kind: type[nn.RNNBase]) -> int:
    """The width of a torch module that a cell of the same kind can take its weights from.

    Raises:
        TypeError: it is another kind of module.
        ValueError: its input and hidden width differ.
    """
    if not isinstance(module, kind):
        got = type(module).__name__
        raise TypeError(f"{name}.from_torch: module is a {got}; pass a torch.nn.{kind.__name__}")
    if module.input_size != module.hidden_size:
        raise ValueError(
            f"{name}.from_torch: module has input_size={module.input_size} and "
            f"hidden_size={module.hidden_size}; a mixer has one width, so they must be equal"
        )
    return module.hidden_size
