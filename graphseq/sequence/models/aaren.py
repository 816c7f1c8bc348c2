"""Attention as an RNN (Feng, Tung, Hajimirsadeghi, Ahmed, Bengio, Mori 2024, arXiv 2405.13956).

A Transformer encoder whose attention has one learned query per layer instead of one per position.
Output k is softmax attention over the tokens 1..k, with scores s_i = <q, k_i> / sqrt(d) that no
later token changes, so that three numbers per head carry all of the past:

    m_k = max(m_{k-1}, s_k)
    c_k = c_{k-1} exp(m_{k-1} - m_k) + exp(s_k - m_k)
    a_k = a_{k-1} exp(m_{k-1} - m_k) + exp(s_k - m_k) v_k,      o_k = a_k / c_k

Training runs all k at once (:func:`~graphseq.sequence.ops.prefix_softmax`), streaming one by one at
constant memory. Order enters through the positions, which softmax attention does not see either.

========  ================  ====================
symbol    variable          shape
========  ================  ====================
q         query             ``[D]``, per layer
s         scores            ``[B, T, H]``
v         values            ``[B, T, H, D / H]``
m, c, a   PrefixState       max, sum, weighted
========  ================  ====================
"""

from functools import partial

from graphseq.sequence.models.sequence_model import Readout, SequenceModel
from graphseq.sequence.nn import AarenAttention
from graphseq.sequence.nn.block import Activation, Norm


class Aaren(SequenceModel):
    """A stack of Aaren layers, as a Transformer encoder has them.

    Args:
        out_channels: number of classes, tokens or values to answer with, C.
        in_channels: number of features of a continuous input, F; None where the input is tokens.
        num_tokens: size of the vocabulary, V; None where the input is continuous.
        hidden_channels: width, D.
        num_layers: number of layers.
        num_heads: heads of each layer, H.
        ff_channels: width of each layer's MLP.
        norm: "post", as the paper's base codes have it, "pre" or "none".
        activation: of the MLPs.
        dropout: of the embedding, of what a layer adds, and of the MLPs' hidden layers.
        max_length: longest sequence that the learned positions reach; None for no positions.
        readout: "all" positions, the "last" one of each sequence, or their "mean".
        tie_weights: the head uses the token embedding's weights.
        cutoffs: parts of an adaptive softmax; None for a plain one.

    Shape:
        ``[B, T, F]`` or ``[B, T]`` tokens -> ``[B, T, C]``, or ``[B, C]``; see
        :class:`SequenceModel`.

    Raises:
        ValueError: see :class:`SequenceModel`; if the heads do not divide the width.
    """

    def __init__(
        self,
        out_channels: int,
        *,
        in_channels: int | None = None,
        num_tokens: int | None = None,
        hidden_channels: int = 512,
        num_layers: int = 2,
        num_heads: int = 8,
        ff_channels: int | None = 2048,
        norm: Norm = "post",
        activation: Activation = "relu",
        dropout: float = 0.1,
        max_length: int | None = None,
        readout: Readout = "all",
        tie_weights: bool = False,
        cutoffs: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__(
            out_channels,
            mixer=partial(AarenAttention, num_heads=num_heads),
            in_channels=in_channels,
            num_tokens=num_tokens,
            hidden_channels=hidden_channels,
            num_layers=num_layers,
            ff_channels=ff_channels,
            norm=norm,
            activation=activation,
            dropout=dropout,
            max_length=max_length,
            readout=readout,
            tie_weights=tie_weights,
            cutoffs=cutoffs,
        )
        self.num_heads = num_heads
