"""The contract of a mixer: one map of sequences, run in up to three ways that agree.

A mixer maps ``[B, T, D] -> [B, T, D]``. It runs in **parallel** over time for training
(``forward``), **step by step** with a state (``step``), and, where the past enters linearly, as an
explicit **matrix** over time: with G groups (heads or channels),

    forward(x) = readout(matrix(x) @ values(x), x),      matrix [B, G, T, T], values [B, T, G, P]

Each class says which of these it has; ``tests/sequence/nn/test_mixers.py`` holds it to that.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from graphseq.sequence.nn.state import State
from graphseq.sequence.ops.checks import length_mask


class Mixer(nn.Module):
    """What mixers share: their words, and the checks of inputs and states.

    A subclass calls ``super().__init__(channels)`` and writes ``forward``, and ``step`` with
    ``init_state`` where it streams, and ``matrix``, ``values``, ``readout`` where it has a matrix.

    Args:
        channels: D, the width of input and output.
    """

    streams: ClassVar[bool] = True
    """Whether it is causal and has ``step`` and ``init_state``."""
    has_matrix: ClassVar[bool] = False
    """Whether the past enters linearly, with weights that ``matrix`` gives."""
    merges: ClassVar[bool] = False
    """Whether states of consecutive segments can be joined by ``merge``."""
    constant_state: ClassVar[bool] = True
    """Whether the state has the same size at every step."""
    keeps_init: tuple[str, ...] = ()
    """Submodules whose own initialisation a generic one must not replace."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels < 1:
            raise ValueError(f"{type(self).__name__}: channels is {channels}; pass 1 or more")
        self.channels = channels

    def forward(
        self, x: Tensor, state: State | None = None, *, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """All steps at once.

        Args:
            x: ``[B, T, D]``; T may be 0.
            state: what came before; nothing if left out.
            lengths: ``[B]``, the true length of each sequence. What lies behind is padding: it
                leaves the state as it is, and outputs there are 0.

        Returns:
            ``[B, T, D]``, and the state after each sequence's last step.
        """
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def step(self, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        """One step: ``[B, D]`` and the state before it give ``[B, D]`` and the state after it."""
        raise NotImplementedError(f"{type(self).__name__} does not stream")

    def init_state(self, batch_size: int) -> State:
        """The state before anything was read."""
        raise NotImplementedError(f"{type(self).__name__} does not stream")

    def merge(self, first: State, second: State) -> State:
        """The state after two consecutive segments, each of which was run from ``init_state``."""
        raise NotImplementedError(f"{type(self).__name__}: its states cannot be merged")

    def matrix(self, x: Tensor) -> Tensor:
        """The weights ``[B, G, T, T]`` with which step i hears step j; 0 where j > i."""
        raise NotImplementedError(f"{type(self).__name__} has no matrix over time")

    def values(self, x: Tensor) -> Tensor:
        """What the matrix weighs, ``[B, T, G, P]``."""
        raise NotImplementedError(f"{type(self).__name__} has no matrix over time")

    def readout(self, mixed: Tensor, x: Tensor) -> Tensor:
        """From the mixed values ``[B, T, G, P]`` and the input to the output ``[B, T, D]``."""
        raise NotImplementedError(f"{type(self).__name__} has no matrix over time")

    def make_state(self, **tensors: Tensor) -> State:
        """A state of this mixer."""
        return State(type(self).__name__, tensors)

    def check(
        self, x: Tensor, state: State | None, lengths: Tensor | None = None
    ) -> tuple[State, Tensor | None]:
        """The state to start from, and the mask ``[B, T]`` that the lengths stand for.

        Raises:
            ValueError: the input is not ``[B, T, D]``, or the state is of another mixer, batch
                size, shape or device.
        """
        name = type(self).__name__
        if x.dim() != 3 or x.shape[2] != self.channels:
            raise ValueError(
                f"{name}: x has shape {tuple(x.shape)}, expected [B, T, {self.channels}]"
            )
        mask = None if lengths is None else length_mask(name, lengths, x.shape[0], x.shape[1])
        if state is None:
            return self.init_state(x.shape[0]), mask
        self.check_state(state, x.shape[0])
        return state, mask

    def check_step(self, x_t: Tensor, state: State) -> None:
        """Refuses an input that is not ``[B, D]``, and a state that does not belong to it.

        Raises:
            ValueError: see :meth:`check`.
        """
        if x_t.dim() != 2 or x_t.shape[1] != self.channels:
            raise ValueError(
                f"{type(self).__name__}: x_t has shape {tuple(x_t.shape)}, expected "
                f"[B, {self.channels}]; one step, without the time dimension"
            )
        self.check_state(state, x_t.shape[0])

    def check_state(self, state: State, batch_size: int) -> None:
        """Refuses the state of another mixer or batch size, by name.

        Raises:
            ValueError: the owner, the batch size, a name or a shape differs.
            TypeError: it is no state at all.
        """
        name = type(self).__name__
        if not isinstance(state, State):
            raise TypeError(
                f"{name}: state is a {type(state).__name__}; pass what forward, step or "
                "init_state returned"
            )
        if state.owner != name:
            raise ValueError(f"{name}: state belongs to {state.owner}; states are not exchanged")
        if state.batch_size != batch_size:
            raise ValueError(
                f"{name}: state is of {state.batch_size} sequences, expected {batch_size}; "
                "start with init_state or choose rows with state.select"
            )
        wanted = dict(self.state_shapes(batch_size))
        got = {key: tuple(t.shape) for key, t in state.tensors.items()}
        if got.keys() != wanted.keys() or not all(_fits(got[k], wanted[k]) for k in wanted):
            raise ValueError(
                f"{name}: state has shapes {got}, expected {wanted}; pass a state that a "
                f"{name} of these sizes returned"
            )

    def check_merge(self, first: State, second: State) -> None:
        """Refuses to merge states that are not both of this mixer and of one batch size.

        Raises:
            ValueError: see :meth:`check_state`.
            TypeError: likewise.
        """
        batch_size = first.batch_size if isinstance(first, State) else 0
        for state in (first, second):
            self.check_state(state, batch_size)

    def state_shapes(self, batch_size: int) -> Mapping[str, tuple[int, ...]]:
        """Name -> shape of a state's tensors, -1 where any size will do.

        A mixer whose state grows overrides it.
        """
        tensors = self.init_state(batch_size).tensors
        return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return len(shape) == len(wanted) and all(
        w in (-1, n) for n, w in zip(shape, wanted, strict=True)
    )


def check_heads(owner: str, num_heads: int, **widths: int) -> None:
    """Refuses widths that the heads cannot share, by the argument's name.

    Raises:
        ValueError: there is no head, or a width is not a positive multiple of their number.
    """
    if num_heads < 1:
        raise ValueError(f"{owner}: num_heads is {num_heads}; pass 1 or more")
    for argument, width in widths.items():
        if width < 1 or width % num_heads:
            raise ValueError(
                f"{owner}: {argument} is {width}; pass a positive multiple of num_heads = "
                f"{num_heads}"
            )


def merge_heads(x: Tensor) -> Tensor:
    """``[..., H, P] -> [..., H * P]``."""
    return x.flatten(-2)


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """``[..., H * P] -> [..., H, P]``."""
    return x.unflatten(-1, (num_heads, -1))


def zero_padding(y: Tensor, mask: Tensor | None) -> Tensor:
    """``y`` with zeros where the mask ``[B, T]`` is false."""
    return y if mask is None else y.masked_fill(~mask[:, :, None], 0.0)


def state_dtype(module: nn.Module) -> torch.dtype:
    """The dtype that a mixer's state is kept in: that of its weights, at least float32."""
    dtype = next(module.parameters()).dtype
    return dtype if dtype in (torch.float32, torch.float64) else torch.float32


def at_least_float32(x: Tensor) -> Tensor:
    """``x`` in float32 if its precision is lower."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def no_autocast(x: Tensor) -> torch.autocast:
    """A context in which products keep the precision of their factors."""
    return torch.autocast(x.device.type, enabled=False)
