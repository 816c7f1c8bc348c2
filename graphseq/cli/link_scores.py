"""Scores of pairs given a graph, where no pair sees its own link if the model was trained so."""

import torch
from torch import Tensor

from graphseq.graph.ops import LinkRemoval, is_edge
from graphseq.graph.tasks import ForwardLinkLearning, LinkPrediction

PARTS = 100
"""Known links are hidden one by one up to so many, beyond that in so many groups."""


@torch.no_grad()
def score_pairs(
    task: LinkPrediction | ForwardLinkLearning, pairs: Tensor, device: str
) -> tuple[Tensor, Tensor]:
    """Probability of each pair, and whether it is a link of the data already.

    Models are trained with the links of a batch hidden, and a link that is visible scores higher
    for being there. Pairs that are no link are scored with all links of the data in the graph; a
    pair that is one, with all but its own. Beyond 100 known links they are hidden in 100 groups,
    each at most one in a hundred of the graph's links, or in more if a group would be larger than
    the batch that the model was trained with: one encoding of the graph per link would take too
    long.

    Forward learning hides no link in training. Its models score all pairs alike, links or not, with
    the training links in the graph.

    Args:
        task: a trained task.
        pairs: int64 ``[2, B]``, nodes of the task's graph.
        device: where to compute.

    Returns:
        float ``[B]`` and bool ``[B]``, on the CPU.
    """
    if isinstance(task, ForwardLinkLearning):
        return _with_training_links(task, pairs, device)
    data = task.data.to(device)
    model = task.model.to(device)
    pairs = pairs.to(device)
    links = torch.cat([data.train, data.val, data.test], dim=1)
    removal = LinkRemoval(links, data.num_nodes)
    known = is_edge(removal.adjacency.csr, pairs)
    logits = torch.empty(pairs.size(1), device=device)
    others = (~known).nonzero().view(-1)
    if len(others):
        logits[others] = model(data.x, removal.adjacency, pairs[:, others]).float()
    keys, group_of = _keys(pairs[:, known], data.num_nodes).unique(return_inverse=True)
    rows = known.nonzero().view(-1)
    listed = _keys(links, data.num_nodes)
    size = min(-(-len(keys) // PARTS), task.batch_size)
    for begin in range(0, len(keys), max(size, 1)):
        # Every listing of a link: with the last one the link is gone.
        hidden = torch.isin(listed, keys[begin : begin + size]).nonzero().view(-1)
        now = rows[(group_of >= begin) & (group_of < begin + size)]
        logits[now] = model(data.x, removal.without(hidden), pairs[:, now]).float()
    return logits.sigmoid().cpu(), known.cpu()


def _with_training_links(
    task: ForwardLinkLearning, pairs: Tensor, device: str
) -> tuple[Tensor, Tensor]:
    task.to(device).prepare(torch.device(device))
    data, pairs = task.data, pairs.to(device)
    links = torch.cat([data.train, data.val, data.test], dim=1)
    known = is_edge(LinkRemoval(links, data.num_nodes).adjacency.csr, pairs)
    scores = task.local.scores_by_depth(data.x, data.adjacency, pairs, task.row_block)[:, -1]
    scores = scores.float()
    return (scores.sigmoid() if task.local.gives_logits else scores).cpu(), known.cpu()


def _keys(pairs: Tensor, num_nodes: int) -> Tensor:
    """One number per pair, whatever its direction."""
    low, high = pairs.sort(dim=0).values
    return low * num_nodes + high
