"""NCN and NCNC written straight from their equations, to measure against, with our parameters.

Dense features; for every batch the adjacency of the other training links is built and sorted;
neighbour rows of both ends are gathered and intersected by one binary search over 64-bit keys;
states are pooled by a sparse product over all nodes' states.
"""

import warnings
from copy import deepcopy
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphseq.graph.models import NCN, NCNC

_SHIFT = 1 << 32


class _Graph(NamedTuple):
    rowptr: Tensor
    col: Tensor

    @property
    def num_nodes(self) -> int:
        return self.rowptr.numel() - 1


def build(edges: Tensor, num_nodes: int) -> _Graph:
    """Sorted rows of the undirected graph of links ``[2, E]``."""
    both = torch.cat([edges, edges.flip(0)], dim=1)
    keys = torch.unique(both[0] * num_nodes + both[1])
    counts = torch.bincount(keys // num_nodes, minlength=num_nodes)
    return _Graph(torch.cat([counts.new_zeros(1), counts.cumsum(0)]), keys % num_nodes)


class ReferenceNCN(nn.Module):
    """``forward(x [N, F] dense or None, edges [2, E], pairs [2, B]) -> logits [B]``."""

    def __init__(self, ours: NCN | NCNC) -> None:
        super().__init__()
        self.encoder, self.predictor = deepcopy(ours.encoder), deepcopy(ours.predictor)
        self.completes = isinstance(ours, NCNC)

    def forward(self, x: Tensor | None, edges: Tensor, pairs: Tensor, num_nodes: int) -> Tensor:
        graph = build(edges, num_nodes)
        h = self.encode(x, graph)
        return self.score(h, graph, pairs, depth=int(self.completes))

    def encode(self, x: Tensor | None, graph: _Graph) -> Tensor:
        """One parameter-free convolution, as on Cora ("pure_gcn") and ogbl-ddi ("pure_sum")."""
        encoder: Any = self.encoder
        if x is None:
            h = encoder.input.weight[: graph.num_nodes]
        else:
            h = F.dropout(x, encoder.feature_dropout, self.training)
            h = torch.addmm(encoder.input.bias, h, encoder.input.weight)
        h = F.dropout(h, encoder.dropout, self.training)
        matrix = _matrix(graph)
        if encoder.conv == "pure_gcn":
            scale = (1 + graph.rowptr.diff()).to(h.dtype).rsqrt().unsqueeze(1)
            out = scale * (torch.sparse.mm(matrix, scale * h) + scale * h)
        else:
            out = torch.sparse.mm(matrix, h)
        out = F.dropout(out, encoder.output_dropout, self.training)
        out = out + h if encoder.residual else out
        return out if encoder.layer_weights is None else encoder.layer_weights * out

    def score(self, h: Tensor, graph: _Graph, pairs: Tensor, depth: int) -> Tensor:
        """NCN's logits, or NCNC's with ``depth`` 1."""
        predictor: Any = self.predictor
        head = predictor.head
        graph = self._thinned(graph)
        lifted = h if self.predictor.node is None else h + self._node_mlp(h)
        common, left, right = _overlap(graph, pairs)
        pooled = torch.sparse.mm(_pairs_matrix(common, pairs, graph), lifted)
        if depth:
            inner = [torch.stack([pairs[1][left[0]], left[1]])]
            inner += [torch.stack([pairs[0][right[0]], right[1]])]
            for side, missing in zip((left, right), inner, strict=True):
                with torch.no_grad():
                    logits = self.score(lifted, graph, missing, depth - 1)
                    weight = predictor.probability(logits, predictor.log_prior)
                matrix = _pairs_matrix(side, pairs, graph, weight)
                pooled = pooled + torch.sparse.mm(matrix, lifted)
        pool = head.pools[0]
        z = self._linear(pool.first, pooled).relu()
        z = self._normed(pool.norm, pool.second(z))
        z = z if pool.tail is None else pool.tail(z)
        pair = self._normed(head.pair.norm, head.pair.first(h[pairs[0]] * h[pairs[1]]))
        pair = pair if head.pair.tail is None else head.pair.tail(pair)
        psi = head.score
        out = self._normed(psi.norm, psi.first(head.beta * z + pair))
        if psi.second is not None:
            out = self._normed(psi.second_norm, psi.second(out))
        return psi.last(out).squeeze(1)

    def _thinned(self, graph: _Graph) -> _Graph:
        p = self.predictor.edge_dropout if self.training else 0.0
        if p == 0.0:
            return graph
        keep = torch.rand(graph.col.numel()) >= p
        total = torch.cat([graph.rowptr.new_zeros(1), keep.cumsum(0)])
        return _Graph(total[graph.rowptr], graph.col[keep])

    def _node_mlp(self, h: Tensor) -> Tensor:
        node: Any = self.predictor.node
        return self._normed(node.norm, node.second(self._linear(node.first, h).relu()))

    def _linear(self, layer: nn.Module, x: Tensor) -> Tensor:
        return F.dropout(layer(x), self.predictor.head.pair.p, self.training)

    def _normed(self, norm: nn.Module | None, x: Tensor) -> Tensor:
        x = x if norm is None else norm(x)
        return F.dropout(x, self.predictor.head.pair.p, self.training).relu()


_List = tuple[Tensor, Tensor]  # pair and node of each entry, by pair, then node


def _overlap(graph: _Graph, pairs: Tensor) -> tuple[_List, _List, _List]:
    """Common neighbours, and those of the left and of the right end alone."""
    left, right = _keys(graph, pairs[0]), _keys(graph, pairs[1])
    if not left.numel() or not right.numel():
        common = left[:0]
        return _decoded(common), _decoded(left), _decoded(right)
    in_right = right[torch.searchsorted(right, left).clamp_max(right.numel() - 1)] == left
    in_left = left[torch.searchsorted(left, right).clamp_max(left.numel() - 1)] == right
    return _decoded(left[in_right]), _decoded(left[~in_right]), _decoded(right[~in_left])


def _keys(graph: _Graph, nodes: Tensor) -> Tensor:
    """``pair * 2^32 + neighbour`` over the neighbours of one end of every pair, sorted."""
    begin, count = graph.rowptr[nodes], graph.rowptr[nodes + 1] - graph.rowptr[nodes]
    pair = torch.repeat_interleave(count)
    first = count.cumsum(0) - count
    position = torch.arange(pair.numel()) - first[pair] + begin[pair]
    return pair * _SHIFT + graph.col[position]


def _decoded(keys: Tensor) -> _List:
    return keys // _SHIFT, keys % _SHIFT


def _pairs_matrix(
    entries: _List, pairs: Tensor, graph: _Graph, value: Tensor | None = None
) -> Tensor:
    counts = torch.bincount(entries[0], minlength=pairs.size(1))
    rowptr = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    value = torch.ones(entries[1].numel()) if value is None else value
    shape = (pairs.size(1), graph.num_nodes)
    return _csr(rowptr, entries[1], value, shape)


def _matrix(graph: _Graph) -> Tensor:
    shape, ones = (graph.num_nodes, graph.num_nodes), torch.ones(graph.col.numel())
    return _csr(graph.rowptr, graph.col, ones, shape)


def _csr(rowptr: Tensor, col: Tensor, value: Tensor, shape: tuple[int, int]) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(rowptr, col, value, shape, check_invariants=False)
