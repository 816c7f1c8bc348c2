"""Two straightforward DAGNNs to measure against, with the parameters of ours.

``PaperDAGNN`` is the published formulation: dense features, PyG message passing, the normalisation
in every forward, all hops stacked. ``StrongDAGNN`` is the best that library calls give: a cached
normalised CSR matrix, features in CSR with dropout on the stored values, a running sum of hops.
"""

from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing
from torch_geometric.nn.conv.gcn_conv import gcn_norm

from graphseq.graph.models import DAGNN


class _Propagate(MessagePassing):
    def __init__(self) -> None:
        super().__init__(aggr="add")

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor) -> Tensor:
        return self.propagate(edge_index, x=x, edge_weight=edge_weight)

    def message(self, x_j: Tensor, edge_weight: Tensor) -> Tensor:
        return edge_weight.view(-1, 1) * x_j


class PaperDAGNN(nn.Module):
    """``forward(x [N, F] dense, edge_index [2, E]) -> logits [N, C]``."""

    def __init__(self, ours: DAGNN) -> None:
        super().__init__()
        self.num_hops = ours.num_hops
        self.dropout, self.input_dropout = ours.dropout, ours.input_dropout
        self.input, self.output, self.norm, self.score = copies(ours)
        self.propagate = _Propagate()

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        h = F.dropout(x, self.input_dropout, self.training)
        h = F.dropout(self.norm(self.input(h)).relu(), self.dropout, self.training)
        return self.adapt(self.output(h), edge_index)

    def adapt(self, z: Tensor, edge_index: Tensor) -> Tensor:
        """The propagation half alone, on class scores ``[N, C]``."""
        edge_index, weight = gcn_norm(edge_index, num_nodes=z.shape[0], dtype=z.dtype)
        hops = [z]
        for _ in range(self.num_hops):
            hops.append(self.propagate(hops[-1], edge_index, weight))
        stack = torch.stack(hops, dim=1)  # [N, K + 1, C]
        retainment = self.score(stack).sigmoid()  # [N, K + 1, 1]
        return (retainment.transpose(1, 2) @ stack).squeeze(1)  # [N, C]


class StrongDAGNN(nn.Module):
    """``forward(x, matrix) -> logits [N, C]``, both torch sparse CSR tensors (x may be dense)."""

    def __init__(self, ours: DAGNN) -> None:
        super().__init__()
        self.num_hops = ours.num_hops
        self.dropout, self.input_dropout = ours.dropout, ours.input_dropout
        self.input, self.output, self.norm, self.score = copies(ours)

    def forward(self, x: Tensor, matrix: Tensor) -> Tensor:
        if x.layout == torch.sparse_csr:
            values = F.dropout(x.values(), self.input_dropout, self.training)
            kept = torch.sparse_csr_tensor(
                x.crow_indices(), x.col_indices(), values, x.shape, check_invariants=False
            )
            h = torch.sparse.mm(kept, self.input.weight.t()) + self.input.bias
        else:
            h = self.input(F.dropout(x, self.input_dropout, self.training))
        z = self.output(F.dropout(self.norm(h).relu(), self.dropout, self.training))
        out = self.score(z).sigmoid() * z
        for _ in range(self.num_hops):
            z = torch.sparse.mm(matrix, z)
            out = out + self.score(z).sigmoid() * z
        return out


def copies(ours: DAGNN) -> tuple[nn.Linear, nn.Linear, nn.Module, nn.Linear]:
    """Input, output, norm and score layers with the values of our parameters."""
    with torch.no_grad():
        first = nn.Linear(ours.in_channels, ours.hidden_channels)
        first.weight.copy_(ours.input.weight.t())
        first.bias.copy_(ours.input.bias)
        last = nn.Linear(ours.hidden_channels, ours.out_channels)
        last.load_state_dict(ours.output.state_dict())
        score = nn.Linear(ours.out_channels, 1)
        score.weight.copy_(ours.propagation.weight.view(1, -1))
        score.bias.copy_(ours.propagation.bias)
    return first, last, deepcopy(ours.norm), score
