"""Classical recurrent networks (Lipton, Berkowitz, Elkan 2015, arXiv 1506.00019, a review).

    Elman   h_t = tanh(W_x x_t + W_h h_{t-1} + b)
    Jordan  the same, fed back with the output instead of the hidden layer
    LSTM    s_t = f_t * s_{t-1} + i_t * g_t,      h_t = o_t * tanh(s_t)
    GRU     h_t = (1 - z_t) * n_t + z_t * h_{t-1}

Layers are stacked without residual connections, with dropout between them and not from step to
step. Read in both directions (BRNN) the model needs the whole sequence and does not stream.
"""

from functools import partial
from typing import Literal

from graphseq.sequence.models.sequence_model import Readout, SequenceModel
from graphseq.sequence.nn import GRU, LSTM, Bidirectional, Elman, Jordan

Cell = Literal["elman", "jordan", "lstm", "gru"]
_CELLS = {"elman": Elman, "jordan": Jordan, "lstm": LSTM, "gru": GRU}


class Recurrent(SequenceModel):
    """A stack of recurrent layers between an input and an answer.

    Args:
        out_channels: number of classes, tokens or values to answer with, C.
        in_channels: number of features of a continuous input, F; None where the input is tokens.
        num_tokens: size of the vocabulary, V; None where the input is continuous.
        cell: "elman", "jordan", "lstm" or "gru".
        hidden_channels: width of the layers, D.
        num_layers: number of layers.
        bidirectional: every layer reads in both directions.
        dropout: of the embedding and of each layer's output.
        readout: "all" positions, the "last" one of each sequence, or their "mean".
        tie_weights: the head uses the token embedding's weights.
        cutoffs: parts of an adaptive softmax; None for a plain one.

    Shape:
        ``[B, T, F]`` or ``[B, T]`` tokens -> ``[B, T, C]``, or ``[B, C]``; see
        :class:`SequenceModel`.

    Raises:
        ValueError: if the cell has no such name; see :class:`SequenceModel`.
    """

    def __init__(
        self,
        out_channels: int,
        *,
        in_channels: int | None = None,
        num_tokens: int | None = None,
        cell: Cell = "lstm",
        hidden_channels: int = 128,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        readout: Readout = "all",
        tie_weights: bool = False,
        cutoffs: tuple[int, ...] | None = None,
    ) -> None:
        if cell not in _CELLS:
            raise ValueError(f"Recurrent: cell is {cell!r}; pass one of {', '.join(_CELLS)}")
        one = _CELLS[cell]
        super().__init__(
            out_channels,
            mixer=partial(Bidirectional, mixer=one) if bidirectional else partial(one),
            in_channels=in_channels,
            num_tokens=num_tokens,
            hidden_channels=hidden_channels,
            num_layers=num_layers,
            norm="none",
            dropout=dropout,
            readout=readout,
            tie_weights=tie_weights,
            cutoffs=cutoffs,
        )
        self.cell, self.bidirectional = cell, bidirectional
