"""The batches of link prediction: links in a drawn order, each with a drawn pair that is none."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from graphseq.graph.data import LinkData
from graphseq.graph.ops import sample_non_edges
from graphseq.training import Shard

Negatives = Literal["non_edges", "destinations"]
SIZE = 1024  # of a batch, where nobody says otherwise
SHARE, MOST = 10, 2  # of so many links one is hidden at once: as a rule, and whatever is asked


class Pairs(NamedTuple):
    """This rank's share of a batch, and the links that the whole batch hides.

    ``positive`` is ``[2, P]``, ``negative`` ``[2, M]`` or ``[2, P, K]``, ``hidden`` the positions
    of the whole batch's positives in ``data.train``, on every rank the same.
    """

    positive: Tensor
    negative: Tensor
    hidden: Tensor | None = None


def batch_links(asked: int | None, links: int, hides: bool) -> int:
    """How many of so many training links a batch has.

    Args:
        asked: what the user says, or None.
        links: there are.
        hides: the batch's links are hidden from the model, which is to see most of the others.
    """
    part = 1 if not hides else SHARE if asked is None else MOST
    return max(min(SIZE if asked is None else asked, links // part), 1)


def training_batches(
    data: LinkData,
    negatives: Negatives,
    size: int,
    generator: torch.Generator,
    shard: Shard,
    keep_rest: bool = False,
) -> Iterator[Pairs]:
    """One epoch: each link at most once, with one pair of its own.

    Args:
        data: on any device.
        negatives: see :class:`~graphseq.graph.tasks.LinkPrediction`.
        size: links in a batch, of all ranks together.
        generator: draws the order and the negatives; of any device.
        shard: this rank's share.
        keep_rest: what is left over is a smaller batch; otherwise it is dropped.
    """
    train = data.train
    order = torch.randperm(train.size(1), generator=generator, device=generator.device)
    negative = _draw_negatives(data, negatives, generator)
    for begin in range(0, train.size(1) if keep_rest else train.size(1) - size + 1, size):
        whole = order[begin : begin + size].to(train.device)
        own = shard.take(whole)
        yield Pairs(train[:, own], negative[:, own], whole)


def _draw_negatives(data: LinkData, negatives: Negatives, generator: torch.Generator) -> Tensor:
    """One pair for each training link, ``[2, E]``."""
    train = data.train
    if negatives == "non_edges":
        return sample_non_edges(data.adjacency.csr, train.size(1), generator)
    size, device = train.shape[1:], generator.device
    target = torch.randint(data.num_nodes, size, generator=generator, device=device)
    return torch.stack([train[0], target.to(train.device)])


def scored_batch(positive: Tensor, negative: Tensor, shard: Shard) -> Pairs:
    """All links and candidates of a split as one batch, ``[2, P]`` and ``[2, M]`` or more."""
    return Pairs(_share(positive, shard), _share(negative, shard))


def _share(pairs: Tensor, shard: Shard) -> Tensor:
    """This rank's columns of ``[2, B, ...]``."""
    return shard.take(pairs.transpose(0, 1)).transpose(0, 1)


def seeded(seed: int, number: int) -> torch.Generator:
    """A generator for two numbers, as far as 64 bits allow different for different pairs."""
    mixed = (seed * 0x9E3779B97F4A7C15 + number * 0xBF58476D1CE4E5B9 + 1) % 2**63
    return torch.Generator().manual_seed(mixed)
