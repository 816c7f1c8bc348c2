"""NCN, NCNC and their relatives from the equations, on dense boolean matrices, without dropout."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphseq.graph.models.ncn.completion import CompletionPredictor
from graphseq.graph.models.ncn.link_model import LinkModel
from graphseq.graph.nn.pair_mlps import NodeMLP, PairMLP, PoolMLP, ScoreMLP


def dense_graph(edge_index: Tensor, num_nodes: int) -> Tensor:
    """The simple undirected graph, ``[N, N]`` of 0 and 1."""
    a = torch.zeros(num_nodes, num_nodes, dtype=torch.float64)
    a[edge_index[0], edge_index[1]] = 1.0
    a[edge_index[1], edge_index[0]] = 1.0
    return a.fill_diagonal_(0.0)


def normed(norm: nn.LayerNorm | None, x: Tensor) -> Tensor:
    return (x if norm is None else norm(x)).relu()


def phi_x(mlp: NodeMLP | None, x: Tensor) -> Tensor:
    return torch.zeros_like(x) if mlp is None else normed(mlp.norm, mlp.second(mlp.first(x).relu()))


def phi_c(mlp: PoolMLP, c: Tensor) -> Tensor:
    h = normed(mlp.norm, mlp.second(mlp.first(c).relu()))
    return h if mlp.tail is None else mlp.tail(h)


def phi_p(mlp: PairMLP, z: Tensor) -> Tensor:
    h = normed(mlp.norm, mlp.first(z))
    return h if mlp.tail is None else mlp.tail(h)


def psi(mlp: ScoreMLP, h: Tensor) -> Tensor:
    h = normed(mlp.norm, mlp.first(h))
    if mlp.second is not None:
        h = normed(mlp.second_norm, mlp.second(h))
    return mlp.last(h).squeeze(1)


def score(model: LinkModel, x: Tensor, a: Tensor, pairs: Tensor, depth: int = 0) -> Tensor:
    """Logits of pairs from node states ``x``, by the definitions."""
    predictor, head = model.predictor, model.predictor.head
    i, j = pairs
    z = x[i] * x[j]
    lifted = x + phi_x(predictor.node, x)
    total = phi_p(head.pair, z)
    common = a[i] * a[j]  # [B, N]
    if head.pools and head.pools[0].first.in_features == 1:
        return psi(head.score, total + head.beta * phi_c(head.pools[0], common.sum(1, True)))
    if head.pools:
        member = common
        if depth > 0:
            member = common + completed(model, x, lifted, a, pairs, depth)
        total = total + head.beta * phi_c(head.pools[0], member @ lifted)
    if len(head.pools) > 1:
        total = total + phi_c(head.pools[1], second_pool(predictor.neighborhood, a, i, j) @ lifted)
    return psi(head.score, total)


def second_pool(neighborhood: str, a: Tensor, i: Tensor, j: Tensor) -> Tensor:
    if neighborhood == "difference":
        return a[i] * (1 - a[j]) + a[j] * (1 - a[i])
    two = (a @ a > 0).to(a.dtype)
    return a[i] * two[j] + a[j] * two[i]


def completed(
    model: LinkModel, x: Tensor, lifted: Tensor, a: Tensor, pairs: Tensor, depth: int
) -> Tensor:
    """The soft memberships ``[B, N]``."""
    p = model.predictor
    assert isinstance(p, CompletionPredictor)
    prior = torch.full((pairs.size(1), 1), model.prior, dtype=x.dtype)
    if p.learn_prior:
        prior = p.prior(x[pairs[0]] * x[pairs[1]]).sigmoid()
    every = torch.arange(len(a))
    soft = torch.zeros(pairs.size(1), len(a), dtype=x.dtype)
    for end, other in ((0, 1), (1, 0)):
        only = a[pairs[end]] * (1 - a[pairs[other]])  # neighbours of one end
        inner = torch.cartesian_prod(pairs[other], every).t()
        with torch.no_grad():
            r = score(model, lifted, a, inner, depth - 1).view_as(only)
        q = torch.sigmoid(model.scale * (r - model.offset))
        soft = soft + only * model.alpha * prior * q / (prior * q + 1 - q)
    return soft


def loss(logits: Tensor, labels: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, labels, reduction="sum")
