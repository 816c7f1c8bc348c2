"""Answers of a network that points: the most likely token at each step, or the best of K beams.

With logp ``[B, K]`` the log probability of what each beam has said, 0 for the first and -inf for
the others in the beginning, a step of beam search is::

    S = log softmax of the scores of the allowed tokens          [B, K, N + 1]
    logp, i = the K largest of logp + S over all K (N + 1) pairs
    parent, token = i div (N + 1), i mod (N + 1)

and everything that belongs to a beam is taken from its parent. A beam that has ended gives token 0
with probability 1. Ties go to the lower i, on every device. Tokens and parents are kept, and
followed backwards once at the end. The search ends when each instance's first beam has: no other
can overtake it, as log probabilities only fall.

All beams of an instance share its keys; nothing but the decoder's state is held per beam.
"""

from typing import Protocol

import torch
from torch import Tensor

from graphseq.sequence.models.constraints import Constraint, Progress, allowed

Pair = tuple[Tensor, Tensor]
# Asking a device whether all have ended makes the host wait for it.
_ASK_DEVICE_EVERY = 8


class Pointing(Protocol):
    """One decoder step of one batch of instances."""

    counts: Tensor
    """Number of points of each instance, ``[B]``."""
    num_tokens: int
    """N + 1."""
    state: Pair
    """h and c before the first step, ``[B, D]``."""

    def advance(self, token: Tensor, state: Pair) -> tuple[Tensor, Pair]:
        """Reads ``[B, K]`` tokens; scores ``[B, K, N + 1]``, and the state ``[B K, D]`` after."""
        ...


def greedy(
    network: Pointing, *, constraint: Constraint | None, max_steps: int
) -> tuple[Tensor, Tensor]:
    """The most likely token at each step.

    Args:
        network: the decoder.
        constraint: form of the answers; None for any.
        max_steps: number of tokens, at most.

    Returns:
        Tokens ``[B, M]``, 0 from the end on, and log probabilities ``[B]``.
    """
    batch, answer = len(network.counts), []
    progress, state = Progress.start(network.counts, 1, network.num_tokens), network.state
    token = network.counts.new_zeros(batch, 1)
    logp = torch.zeros(batch, 1, dtype=network.state[0].dtype, device=token.device)
    for step in range(max_steps):
        candidates, state = _candidates(network, token, state, progress, constraint, logp)
        token = candidates.flatten(1).argmax(1, keepdim=True)  # [B, 1]
        logp = candidates.flatten(1).gather(1, token)
        progress = progress.extend(token)
        answer.append(token)
        if _ended(progress, step):
            break
    return _trim(torch.cat(answer, 1)), logp[:, 0]


def beam_search(
    network: Pointing, *, beam: int, constraint: Constraint | None, max_steps: int
) -> tuple[Tensor, Tensor]:
    """The best of K answers that are extended side by side; arguments as of :func:`greedy`.

    Args:
        network: the decoder.
        beam: K.
        constraint: form of the answers; None for any.
        max_steps: number of tokens, at most.

    Returns:
        Tokens ``[B, M]``, 0 from the end on, and log probabilities ``[B]``.
    """
    batch, num_tokens = len(network.counts), network.num_tokens
    first_row = beam * torch.arange(batch, device=network.counts.device)[:, None]
    progress = Progress.start(network.counts, beam, num_tokens)
    h, c = (part.repeat_interleave(beam, 0) for part in network.state)
    token = network.counts.new_zeros(batch, beam)
    logp = torch.full((batch, beam), -torch.inf, dtype=h.dtype, device=h.device)
    logp[:, 0] = 0.0
    tokens, parents = [], []
    for step in range(max_steps):
        candidates, (h, c) = _candidates(network, token, (h, c), progress, constraint, logp)
        # torch.topk breaks ties as it likes; a stable sort keeps them in order.
        best, index = candidates.flatten(1).sort(dim=1, descending=True, stable=True)
        logp, index = best[:, :beam], index[:, :beam]
        parent, token = index // num_tokens, index % num_tokens
        progress = progress.select(parent).extend(token)
        rows = (first_row + parent).flatten()
        h, c = h[rows], c[rows]
        tokens.append(token)
        parents.append(parent)
        if _ended(progress, step):
            break
    return _trim(_follow(tokens, parents)), logp[:, 0]


def log_prob(
    scores: Tensor, sequences: Tensor, counts: Tensor, constraint: Constraint | None
) -> Tensor:
    """Log probabilities of given answers, up to and with their first 0.

    Args:
        scores: of every next token, ``[B, M, N + 1]``.
        sequences: tokens ``[B, M]``; negative ones are left out.
        counts: number of points of each instance, ``[B]``.
        constraint: form of the answers; None for any.

    Returns:
        ``[B]``, in float32 at least.
    """
    tokens, permitted = sequences.clamp(min=0), []
    progress = Progress.start(counts, 1, scores.shape[2])
    for token in tokens.split(1, 1):
        permitted.append(allowed(constraint, progress))
        progress = progress.extend(token)
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    each = _log_softmax(scores, torch.cat(permitted, 1))
    each = each.gather(2, tokens[..., None])[..., 0]  # [B, M]
    ends = (sequences <= 0).long()
    counted = (ends.cumsum(1) - ends == 0) & (sequences >= 0)
    return torch.where(counted, each, 0.0).sum(1)


def _log_softmax(scores: Tensor, permitted: Tensor) -> Tensor:
    """Log probabilities of permitted tokens, -inf of the others and where nothing is permitted."""
    some = permitted.any(-1, keepdim=True)
    masked = scores.masked_fill(~permitted & some, -torch.inf)
    return torch.log_softmax(masked, -1).masked_fill(~permitted, -torch.inf)


def _candidates(
    network: Pointing,
    token: Tensor,
    state: Pair,
    progress: Progress,
    constraint: Constraint | None,
    logp: Tensor,
) -> tuple[Tensor, Pair]:
    """Log probabilities of all answers that are a token longer, ``[B, K, N + 1]``."""
    scores, state = network.advance(token, state)
    scores = _log_softmax(scores.to(logp.dtype), allowed(constraint, progress))
    return logp[..., None] + scores, state


def _ended(progress: Progress, step: int) -> bool:
    if progress.done.device.type != "cpu" and step % _ASK_DEVICE_EVERY != _ASK_DEVICE_EVERY - 1:
        return False
    return bool(progress.done[:, 0].all())


def _follow(tokens: list[Tensor], parents: list[Tensor]) -> Tensor:
    """What the first beam said, from its last token back to its first."""
    place, answer = torch.zeros_like(parents[-1][:, :1]), []
    for token, parent in zip(reversed(tokens), reversed(parents), strict=True):
        answer.append(token.gather(1, place))
        place = parent.gather(1, place)
    return torch.cat(answer[::-1], 1)


def _trim(answer: Tensor) -> Tensor:
    """Without columns behind the end of the longest answer."""
    if not len(answer):
        return answer[:, :0]
    return answer[:, : int((answer != 0).sum(1).max()) + 1]
