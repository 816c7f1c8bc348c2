"""Pointer Networks (O. Vinyals, M. Fortunato and N. Jaitly, 2015, arXiv 1506.03134).

An answer is a list of positions of the input: the corners of a hull, the cities of a tour. An LSTM
encodes the points; a second one starts from its last state, reads the point that was chosen before
(a learned start vector at first), and its output d_i scores all positions:

    e_1, .., e_N = encoder(P_1, .., P_N),   d_i = decoder(P_{C_{i-1}}, d_{i-1})
    u_ij = v^T tanh(W_1 e_j + W_2 d_i),     p(C_i | C_1, .., C_{i-1}, P) = softmax(u_i)

Points are 1..N; e_0, a learned vector, stands for the end of the answer, token 0. Its two rivals in
the paper predict from a dictionary of fixed size, one with attention and one without: with
``a_i = softmax(u_i)`` over the points and ``d'_i = sum_j a_ij e_j`` from ``[d_i; d'_i]`` or from
d_i. Nothing of d' is fed to the next step here, so with known targets the decoder is one recurrent
call in all three.

Where the paper leaves something open: e_0 is no initial state of the encoder, the order of gates
and biases is that of :class:`~graphseq.sequence.nn.LSTM`, and entries of a dictionary that an
instance has no points for have probability 0.

========  =========  ======================
symbol    variable   shape
========  =========  ======================
P         points     ``[B, N, F]``
e         memory     ``[B, N + 1, D]``
W_1 e     keys       ``[B, N + 1, D]``
d         decoded    ``[B, M, D]``
u         scores     ``[B, M, N + 1]``
C         targets    ``[B, M]``
========  =========  ======================
"""

from typing import Literal

import torch
from torch import Tensor, nn

from graphseq.sequence.models.constraints import Constraint, check_constraint, longest
from graphseq.sequence.models.pointer_decoding import beam_search, greedy, log_prob
from graphseq.sequence.models.pointer_reading import Reading, gather_rows
from graphseq.sequence.nn.point_encoder import PointEncoder
from graphseq.sequence.nn.point_lstm import PointLSTM
from graphseq.sequence.nn.pointer_attention import PointerAttention
from graphseq.sequence.ops.checks import length_mask


class PointerNetwork(nn.Module):
    """An encoder and a decoder of one LSTM each, and a head that points.

    Args:
        in_channels: F, coordinates of a point.
        hidden_channels: D.
        head: "pointer", or one of the rivals with a dictionary, "attention" and "seq2seq".
        max_nodes: points in the dictionary of the rivals; None for "pointer".
        glimpses: attention steps before pointing, each of which replaces d by what it saw (a
            variant of Bello et al., arXiv 1611.09940); 0 in the paper.
        clip: scores become ``clip * tanh(u)`` (of Bello et al. too); None in the paper.
        bidirectional: the encoder reads both ways, with D / 2 channels each (a variant).
        init_scale: all weights are drawn from U(-init_scale, init_scale).

    Shape:
        points ``[B, N, F]``, targets ``[B, M]`` -> scores ``[B, M, N + 1]``.

    Raises:
        ValueError: an argument is none of its choices, or does not go with the head.
    """

    def __init__(
        self,
        *,
        in_channels: int = 2,
        hidden_channels: int = 256,
        head: Literal["pointer", "attention", "seq2seq"] = "pointer",
        max_nodes: int | None = None,
        glimpses: int = 0,
        clip: float | None = None,
        bidirectional: bool = False,
        init_scale: float = 0.08,
    ) -> None:
        super().__init__()
        _check_choices(head, max_nodes, glimpses, clip, bidirectional, hidden_channels)
        self.in_channels, self.hidden_channels, self.head = in_channels, hidden_channels, head
        self.max_nodes, self.glimpses, self.clip = max_nodes, glimpses, clip
        self.bidirectional, self.init_scale = bidirectional, init_scale
        self.encoder = PointEncoder(in_channels, hidden_channels, bidirectional=bidirectional)
        self.decoder = PointLSTM(in_channels, hidden_channels)
        self.start = nn.Parameter(torch.empty(in_channels))
        self.looks = nn.ModuleList(PointerAttention(hidden_channels) for _ in range(glimpses))
        self.attention = None if head == "seq2seq" else PointerAttention(hidden_channels, clip=clip)
        if head == "pointer":
            self.end = nn.Parameter(torch.empty(hidden_channels))
        else:
            width = 2 * hidden_channels if head == "attention" else hidden_channels
            self.dictionary = nn.Linear(width, (max_nodes or 0) + 1)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -init_scale, init_scale)

    def forward(self, points: Tensor, targets: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Scores of every next token, given the targets before it.

        Args:
            points: coordinates.
            targets: tokens 0..N; -100 behind the end of a shorter answer.
            lengths: ``[B]``, number of points of each instance; None where none is padded.

        Returns:
            ``[B, M, N + 1]``, -inf at padding.

        Raises:
            ValueError: shapes do not fit, or a target or length is out of range.
            TypeError: targets or lengths are not whole numbers.
        """
        reading = self.read(points, lengths)
        self._check_targets(points, targets)
        before = torch.cat([torch.zeros_like(targets[:, :1]), targets[:, :-1]], 1).clamp(min=0)
        inputs = gather_rows(reading.inputs, before)  # [B, M, F]
        decoded, _ = self.decoder(inputs, reading.state)  # [B, M, D]
        return reading.score(decoded)

    def read(self, points: Tensor, lengths: Tensor | None = None) -> Reading:
        """Encodes the points, once for all that is asked about them; arguments as of forward."""
        mask = self._check_points(points, lengths)
        encoded, state = self.encoder(points, mask)  # [B, N, D]
        return Reading(self, points, encoded, state, mask)

    def log_prob(
        self,
        points: Tensor,
        sequences: Tensor,
        lengths: Tensor | None = None,
        *,
        constraint: Constraint | None = None,
    ) -> Tensor:
        """Log probability of answers, up to and with their first 0, ``[B]``.

        Args:
            points: coordinates.
            sequences: tokens ``[B, M]``, as ``decode`` returns them; -100 is left out.
            lengths: ``[B]``; None where no instance is padded.
            constraint: the form that other answers have no probability without, as in ``decode``.
        """
        check_constraint("PointerNetwork.log_prob", constraint)
        scores = self(points, sequences, lengths)  # [B, M, N + 1]
        return log_prob(scores, sequences, self._counts(points, lengths), constraint)

    @torch.no_grad()
    def decode(
        self,
        points: Tensor,
        lengths: Tensor | None = None,
        *,
        beam: int = 1,
        constraint: Constraint | None = None,
        max_steps: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Answers: greedy, or the best that a beam search finds.

        Args:
            points: coordinates ``[B, N, F]``.
            lengths: ``[B]``; None where no instance is padded.
            beam: K; 1 takes the most likely token at each step.
            constraint: "hull", "delaunay" or "tour", see
                :mod:`graphseq.sequence.models.constraints`; None for any tokens.
            max_steps: number of tokens at most; None for as many as the form may need, or as a
                closed tour has where there is none.

        Returns:
            Tokens ``[B, M]``, 0 from the end on, and log probabilities ``[B]`` among the answers
            that the constraint allows.

        Raises:
            ValueError: shapes do not fit, or an argument is out of range.
        """
        check_constraint("PointerNetwork.decode", constraint)
        max_steps = longest(constraint, points.shape[1]) if max_steps is None else max_steps
        for name, value in (("beam", beam), ("max_steps", max_steps)):
            if value < 1:
                raise ValueError(f"PointerNetwork.decode: {name} is {value}; pass 1 or more")
        reading = self.read(points, lengths)
        if beam == 1:
            return greedy(reading, constraint=constraint, max_steps=max_steps)
        return beam_search(reading, beam=beam, constraint=constraint, max_steps=max_steps)

    def _check_points(self, points: Tensor, lengths: Tensor | None) -> Tensor | None:
        shape = tuple(points.shape)
        if points.dim() != 3 or shape[2] != self.in_channels or shape[1] < 1:
            raise ValueError(
                f"PointerNetwork: points have shape {shape}, expected [B, N, {self.in_channels}] "
                "with at least one point"
            )
        if self.max_nodes is not None and shape[1] > self.max_nodes:
            raise ValueError(
                f"PointerNetwork: points have {shape[1]} nodes, the dictionary max_nodes = "
                f'{self.max_nodes}; raise max_nodes or use head="pointer"'
            )
        if lengths is None:
            return None
        mask = length_mask("PointerNetwork", lengths, *shape[:2])
        if not bool(mask[:, :1].all()):
            raise ValueError("PointerNetwork: lengths hold a 0; leave out instances without points")
        return mask

    def _check_targets(self, points: Tensor, targets: Tensor) -> None:
        if targets.dtype != torch.int64:
            raise TypeError(f"PointerNetwork: targets have dtype {targets.dtype}; pass int64")
        if targets.dim() != 2 or len(targets) != len(points) or not targets.shape[1]:
            raise ValueError(
                f"PointerNetwork: targets have shape {tuple(targets.shape)}, expected "
                f"[{len(points)}, M] with at least one step"
            )
        if targets.numel() and int(targets.max()) > points.shape[1]:
            raise ValueError(
                f"PointerNetwork: targets reach {int(targets.max())}, but there are "
                f"{points.shape[1]} points; number them from 1 and end with 0"
            )

    def _counts(self, points: Tensor, lengths: Tensor | None) -> Tensor:
        if lengths is not None:
            return lengths.long()
        return torch.full((len(points),), points.shape[1], device=points.device)


def _check_choices(
    head: str,
    max_nodes: int | None,
    glimpses: int,
    clip: float | None,
    bidirectional: bool,
    hidden_channels: int,
) -> None:
    if head not in ("pointer", "attention", "seq2seq"):
        raise ValueError(f"PointerNetwork: head is {head!r}; pass pointer, attention or seq2seq")
    if (max_nodes is None) != (head == "pointer") or (max_nodes is not None and max_nodes < 1):
        raise ValueError(
            f"PointerNetwork: max_nodes is {max_nodes} with head {head!r}; pass the size of the "
            "dictionary for attention and seq2seq, None for pointer"
        )
    if glimpses < 0 or (head != "pointer" and (glimpses or clip is not None)):
        raise ValueError(
            f"PointerNetwork: glimpses is {glimpses} and clip is {clip} with head {head!r}; pass "
            "0 or more glimpses, and both with pointer only"
        )
    if bidirectional and hidden_channels % 2:
        raise ValueError(
            f"PointerNetwork: hidden_channels is {hidden_channels} with bidirectional=True; pass "
            "an even number"
        )
