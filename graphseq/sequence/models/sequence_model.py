"""A stack of blocks around any mixer, between an input and an answer.

Continuous inputs enter through a linear layer, tokens through an embedding; the answer is one per
position, or one per sequence from its last position or from the mean of all. The same model trains
in parallel over time and streams: :meth:`SequenceModel.stream`.
"""

from collections.abc import Callable
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from graphseq.sequence.models.stream import Stream
from graphseq.sequence.nn import Mixer
from graphseq.sequence.nn.block import Activation, Block, Norm, dropout_layer
from graphseq.sequence.nn.head import Head
from graphseq.sequence.nn.initialization import init_normal
from graphseq.sequence.nn.positions import Positions
from graphseq.sequence.nn.state import State, join

Readout = Literal["all", "last", "mean"]


class SequenceModel(nn.Module):
    """Embedding, blocks, final norm and head, around a mixer that is an argument.

    Args:
        out_channels: number of classes, tokens or values to answer with, C.
        mixer: called with the width, ``mixer(hidden_channels)``, once for each layer: a class of
            ``graphseq.sequence.nn``, or ``functools.partial(S6, state_size=64)``.
        in_channels: number of features of a continuous input, F; None where the input is tokens.
        num_tokens: size of the vocabulary, V; None where the input is continuous.
        hidden_channels: width of the stack, D.
        num_layers: number of blocks.
        ff_channels: width of each block's MLP; None for none.
        norm: "pre", "post", or "none" of either; see :class:`~graphseq.sequence.nn.Block`.
        activation: of the MLPs.
        dropout: of what a block adds, and of the MLPs' hidden layers.
        input_dropout: of the embedding; as ``dropout`` where it is None.
        max_length: longest sequence that the learned position embedding reaches; None for no
            position embedding.
        readout: "all" positions, the "last" one of each sequence, or their "mean".
        tie_weights: the head uses the token embedding's weights and has no bias.
        cutoffs: where an adaptive softmax (Grave et al. 2017) cuts the vocabulary, which is sorted
            by frequency; None for a plain softmax.
        init: "default" leaves every layer as it made itself; "normal" draws linear and embedding
            weights from N(0, 0.02), those of output projections from 1/sqrt(2 num_layers) of it,
            except where a mixer keeps its own (see ``Mixer.keeps_init``).

    Shape:
        ``[B, T, F]`` or ``[B, T]`` tokens -> ``[B, T, C]``, with readout "last" or "mean"
        ``[B, C]``, with ``asked`` one row per asked position, ``[M, C]``.

    Raises:
        ValueError: if the input is neither or both of continuous and tokens, a name is unknown, or
            weights are tied to no embedding.
    """

    def __init__(
        self,
        out_channels: int,
        *,
        mixer: Callable[..., Mixer],
        in_channels: int | None = None,
        num_tokens: int | None = None,
        hidden_channels: int = 64,
        num_layers: int = 2,
        ff_channels: int | None = None,
        norm: Norm = "pre",
        activation: Activation = "gelu",
        dropout: float = 0.0,
        input_dropout: float | None = None,
        max_length: int | None = None,
        readout: Readout = "all",
        tie_weights: bool = False,
        cutoffs: tuple[int, ...] | None = None,
        init: Literal["default", "normal"] = "default",
    ) -> None:
        super().__init__()
        self._check(in_channels, num_tokens, out_channels, readout, tie_weights, init)
        self.in_channels, self.num_tokens, self.out_channels = in_channels, num_tokens, out_channels
        self.mixer, self.hidden_channels, self.num_layers = mixer, hidden_channels, num_layers
        self.ff_channels, self.norm, self.activation = ff_channels, norm, activation
        self.max_length, self.readout, self.tie_weights = max_length, readout, tie_weights
        self.cutoffs, self.init, self.dropout = cutoffs, init, dropout
        self.input_dropout = input_dropout
        self.embedding: nn.Module = (
            nn.Embedding(num_tokens, hidden_channels)
            if num_tokens is not None
            else nn.Linear(in_channels or 0, hidden_channels)
        )
        self.positions = None if max_length is None else Positions(max_length, hidden_channels)
        self.drop = dropout_layer(dropout if input_dropout is None else input_dropout)
        around: dict[str, Any] = {"norm": norm, "activation": activation, "dropout": dropout}
        self.blocks = nn.ModuleList(
            Block(mixer(hidden_channels), ff_channels=ff_channels, **around)
            for _ in range(num_layers)
        )
        self.final_norm = nn.LayerNorm(hidden_channels) if norm == "pre" else nn.Identity()
        tied = self.embedding if tie_weights else None
        self.head = Head(hidden_channels, out_channels, tied=tied, cutoffs=cutoffs)
        if init == "normal":
            init_normal(self, num_layers)

    def _check(
        self,
        in_channels: int | None,
        num_tokens: int | None,
        out_channels: int,
        readout: str,
        tie_weights: bool,
        init: str,
    ) -> None:
        name = type(self).__name__
        if (in_channels is None) == (num_tokens is None):
            raise ValueError(
                f"{name}: got in_channels={in_channels} and num_tokens={num_tokens}; pass one of "
                "them, features or a vocabulary"
            )
        if readout not in ("all", "last", "mean"):
            raise ValueError(f"{name}: readout is {readout!r}; pass all, last or mean")
        if init not in ("default", "normal"):
            raise ValueError(f"{name}: init is {init!r}; pass default or normal")
        if tie_weights and num_tokens != out_channels:
            raise ValueError(
                f"{name}: tie_weights needs as many outputs as tokens, got "
                f"out_channels={out_channels} and num_tokens={num_tokens}; pass tie_weights=False"
            )

    def forward(
        self,
        x: Tensor,
        state: State | None = None,
        *,
        lengths: Tensor | None = None,
        asked: Tensor | None = None,
        targets: Tensor | None = None,
    ) -> tuple[Tensor, State | None]:
        """All steps at once.

        Args:
            x: ``[B, T, F]`` or tokens ``[B, T]``.
            state: what came before; a model with readout "mean" and a bidirectional one take none.
            lengths: ``[B]``, the true length of each sequence; what lies behind is padding.
            asked: boolean ``[B, T]``: answer only there, ``[M, C]`` in row-major order.
            targets: tokens ``[B, T]``: instead of an answer, the negative log likelihood of each
                target (``[M]`` where asked, else ``[B, T]``), which an adaptive softmax computes
                without all C scores.

        Returns:
            The answer, and the state after each sequence's last step.
        """
        self._check_asked(x, asked, targets)
        hidden, state = self.encode(x, state, lengths=lengths)  # [B, T, D]
        if self.readout != "all":
            hidden = self._summary(hidden, lengths)  # [B, D]
        if asked is not None:
            hidden = hidden[asked]  # [M, D]
            targets = None if targets is None else targets[asked]
        return self.head(hidden, targets), state

    def encode(
        self, x: Tensor, state: State | None = None, *, lengths: Tensor | None = None
    ) -> tuple[Tensor, State | None]:
        """The last hidden states ``[B, T, D]``, and the state after them."""
        self._check_input(x, step=False)
        before = self._parts(state, x.shape[0])
        start = None if state is None else state["position"]
        h = self.embedding(x)  # [B, T, D]
        h = self.drop(h if self.positions is None else h + self.positions(x.shape[1], start))
        after: list[State | None] = []
        for block, part in zip(self._layers, before, strict=True):
            h, new = block(h, part, lengths=lengths)
            after.append(new)
        return self.final_norm(h), self._joined(after, start, x, lengths)

    def step(self, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        """One step: ``[B, F]`` or tokens ``[B]``, and the state before it.

        With readout "last" the answer is that of a sequence which ends here.

        Returns:
            ``[B, C]``, and the state after the step.

        Raises:
            ValueError: if the model does not stream, or the state is not its own.
        """
        self._check_input(x_t, step=True)
        self._require_streaming()
        before = self._parts(state, x_t.shape[0])
        position = state["position"]
        h = self.embedding(x_t)  # [B, D]
        h = self.drop(h if self.positions is None else h + self.positions(1, position)[:, 0])
        after: dict[str, State] = {}
        for i, (block, part) in enumerate(zip(self._layers, before, strict=True)):
            assert part is not None
            h, after[str(i)] = block.step(h, part)
        return self.head(self.final_norm(h)), self._join(after, position + 1)

    def init_state(self, batch_size: int) -> State:
        """The state before anything was read.

        Raises:
            ValueError: if the model does not stream.
        """
        self._require_streaming()
        parts = {str(i): block.init_state(batch_size) for i, block in enumerate(self._layers)}
        device = next(self.parameters()).device
        return self._join(parts, torch.zeros(batch_size, dtype=torch.int64, device=device))

    def stream(self, batch_size: int | None = None) -> Stream:
        """Reads one step at a time: ``stream(x_t)`` answers, and remembers.

        Args:
            batch_size: number of sequences side by side; None for one, without a batch dimension.
        """
        return Stream(self, batch_size)

    @property
    def streams(self) -> bool:
        """Whether it has ``step``, ``init_state`` and ``stream``."""
        return self.readout != "mean" and all(block.streams for block in self._layers)

    def _summary(self, hidden: Tensor, lengths: Tensor | None) -> Tensor:
        """One vector for each sequence, ``[B, D]``; zeros where it is empty."""
        batch, time = hidden.shape[:2]
        lengths = hidden.new_full((batch,), time).long() if lengths is None else lengths
        steps = torch.arange(time, device=hidden.device)
        if self.readout == "last":
            weight = steps == lengths[:, None] - 1  # [B, T]
        else:
            weight = (steps < lengths[:, None]) / lengths.clamp(min=1)[:, None]
        return torch.einsum("bt,btd->bd", weight.to(hidden.dtype), hidden)

    def _parts(self, state: State | None, batch_size: int) -> list[State | None]:
        if state is None:
            return [None] * len(self.blocks)
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
                f"{name}: state is of {state.batch_size} sequences, x of {batch_size}; "
                "start with init_state or choose rows with state.select"
            )
        return [state.part(str(i), type(b.mixer).__name__) for i, b in enumerate(self._layers)]

    @property
    def _layers(self) -> list[Block]:
        return cast(list[Block], list(self.blocks))

    def _joined(
        self, parts: list[State | None], start: Tensor | None, x: Tensor, lengths: Tensor | None
    ) -> State | None:
        if not self.streams:
            return None
        read = torch.full((x.shape[0],), x.shape[1], device=x.device)
        read = read if lengths is None else lengths.to(read)
        held = {str(i): part for i, part in enumerate(parts) if part is not None}
        return self._join(held, read if start is None else start + read)

    def _join(self, parts: dict[str, State], position: Tensor) -> State:
        return join(type(self).__name__, parts, position=position)

    def _check_input(self, x: Tensor, step: bool) -> None:
        dims = "B" if step else "B, T"
        want = f"[{dims}] tokens" if self.in_channels is None else f"[{dims}, {self.in_channels}]"
        tokens = not (x.is_floating_point() or x.is_complex() or x.dtype == torch.bool)
        continuous = self.in_channels is not None
        width = x.shape[-1:] == (self.in_channels,) if continuous else tokens
        if x.dim() != (1 if step else 2) + continuous or not width or tokens == continuous:
            raise ValueError(
                f"{type(self).__name__}: x has shape {tuple(x.shape)} and dtype {x.dtype}, "
                f"expected {want}"
            )

    def _check_asked(self, x: Tensor, asked: Tensor | None, targets: Tensor | None) -> None:
        name = type(self).__name__
        for word, given in (("asked", asked), ("targets", targets)):
            if given is None:
                continue
            if self.readout != "all":
                raise ValueError(
                    f"{name}: {word} needs an answer at every position, but readout is "
                    f"{self.readout}; build the model with readout='all'"
                )
            if given.shape != x.shape[:2]:
                raise ValueError(
                    f"{name}: {word} has shape {tuple(given.shape)}, expected "
                    f"{list(x.shape[:2])}, one for each position"
                )
        if asked is not None and asked.dtype != torch.bool:
            raise ValueError(f"{name}: asked has dtype {asked.dtype}; pass booleans")

    def _require_streaming(self) -> None:
        if not self.streams:
            why = "readout is mean" if self.readout == "mean" else "a mixer reads both ways"
            raise ValueError(f"{type(self).__name__}: does not stream, for {why}; call forward")
