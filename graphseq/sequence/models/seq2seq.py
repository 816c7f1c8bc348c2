"""Encoder and decoder, with and without attention (Sutskever et al. 2014; Bahdanau et al. 2015).

The encoder reads the source; its last state is where the decoder starts, which reads the targets
before each position and predicts the next. With attention the decoder's state d_i looks at all
encoder outputs e_j:

    u_ij = v^T tanh(W_1 e_j + W_2 d_i),   a_i = softmax(u_i),   d'_i = sum_j a_ij e_j

and the prediction is made from ``[d_i; d'_i]``. Nothing of d'_i is fed to the next step, so with
known targets the whole decoder is one recurrent call.

========  ===============  =====================
symbol    variable         shape
========  ===============  =====================
e         encoded          ``[B, S, D]``
d         decoded          ``[B, T, D]``
W_1 e     keys             ``[B, S, D]``
W_2 d     queries          ``[B, T, D]``
========  ===============  =====================
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from graphseq.sequence.nn import LSTM, Mixer, State

IGNORED = -100


class Seq2Seq(nn.Module):
    """An encoder and a decoder of one recurrent layer each.

    Args:
        num_tokens: size of the vocabulary, V, with the end symbol 0, which also starts an answer.
        mixer: called with the width, once for the encoder and once for the decoder; must stream.
        hidden_channels: D.
        attention: whether the decoder looks at all encoder outputs.
        reverse_source: the encoder reads the source from its end (Sutskever et al. 2014).
        dropout: of the embeddings.

    Shape:
        source ``[B, S]``, target ``[B, T]`` -> logits ``[B, T, V]``.

    Raises:
        ValueError: if the mixer does not stream.
    """

    def __init__(
        self,
        num_tokens: int,
        *,
        mixer: Callable[..., Mixer] = LSTM,
        hidden_channels: int = 128,
        attention: bool = True,
        reverse_source: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_tokens, self.hidden_channels, self.attention = (
            num_tokens,
            hidden_channels,
            attention,
        )
        self.mixer, self.reverse_source, self.dropout = mixer, reverse_source, dropout
        self.embedding = nn.Embedding(num_tokens, hidden_channels)
        self.drop = nn.Dropout(dropout)
        self.encoder, self.decoder = mixer(hidden_channels), mixer(hidden_channels)
        if not self.encoder.streams:
            raise ValueError(
                f"Seq2Seq: {type(self.encoder).__name__} does not stream, and a decoder has to; "
                "pass a causal mixer"
            )
        width = 2 * hidden_channels if attention else hidden_channels
        self.head = nn.Linear(width, num_tokens)
        if attention:
            self.key = nn.Linear(hidden_channels, hidden_channels, bias=False)
            self.query = nn.Linear(hidden_channels, hidden_channels, bias=False)
            self.score = nn.Linear(hidden_channels, 1, bias=False)

    def forward(
        self, source: Tensor, target: Tensor, source_lengths: Tensor | None = None
    ) -> Tensor:
        """Logits of every target, given those before it.

        Args:
            source: tokens ``[B, S]``.
            target: tokens ``[B, T]``; -100 behind the end of a shorter one.
            source_lengths: ``[B]``; None where no source is padded.

        Returns:
            ``[B, T, V]``.
        """
        encoded, state, mask = self._encode(source, source_lengths)
        before = torch.cat([torch.zeros_like(target[:, :1]), target[:, :-1]], dim=1).clamp(min=0)
        decoded, _ = self.decoder(self.drop(self.embedding(before)), state)  # [B, T, D]
        return self.head(self._attend(decoded, encoded, mask))

    @torch.no_grad()
    def generate(self, source: Tensor, source_lengths: Tensor | None, max_length: int) -> Tensor:
        """The most likely token at each step, after which the next is chosen.

        Args:
            source: tokens ``[B, S]``.
            source_lengths: ``[B]``; None where no source is padded.
            max_length: number of steps.

        Returns:
            ``[B, max_length]``, with 0 from the end symbol on.
        """
        encoded, state, mask = self._encode(source, source_lengths)
        token = source.new_zeros(len(source))
        done, answer = torch.zeros_like(token, dtype=torch.bool), []
        for _ in range(max_length):
            d, state = self.decoder.step(self.embedding(token), state)
            logits = self.head(self._attend(d[:, None], encoded, mask))[:, 0]
            token = logits.argmax(1).masked_fill(done, 0)
            done = done | (token == 0)
            answer.append(token)
        return torch.stack(answer, 1)

    def _encode(
        self, source: Tensor, lengths: Tensor | None
    ) -> tuple[Tensor, State, Tensor | None]:
        if self.reverse_source:
            source = _reversed(source, lengths)
        encoded, state = self.encoder(self.drop(self.embedding(source)), lengths=lengths)
        steps = torch.arange(source.shape[1], device=source.device)
        return encoded, state, None if lengths is None else steps < lengths[:, None]

    def _attend(self, decoded: Tensor, encoded: Tensor, mask: Tensor | None) -> Tensor:
        """``[d_i; d'_i]``, or d_i alone without attention."""
        if not self.attention:
            return decoded
        both = self.key(encoded)[:, None] + self.query(decoded)[:, :, None]  # [B, T, S, D]
        scores = self.score(torch.tanh(both)).squeeze(-1)  # [B, T, S]
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None], torch.finfo(scores.dtype).min)
        return torch.cat([decoded, torch.softmax(scores, -1) @ encoded], -1)


def _reversed(source: Tensor, lengths: Tensor | None) -> Tensor:
    """Each source from its last token to its first; padding stays behind."""
    time = source.shape[1]
    if lengths is None:
        return source.flip(1)
    steps = torch.arange(time, device=source.device).expand_as(source)
    index = torch.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)
    return source.gather(1, index)
