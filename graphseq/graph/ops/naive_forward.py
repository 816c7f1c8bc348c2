"""The slow twins of attention, sampled products, goodness of many labelings, frozen products."""

import torch
import torch.nn.functional as F
from torch import Tensor

from graphseq.graph.csr import CSR


def graph_attention(
    graph: CSR, h: Tensor, source: Tensor, target: Tensor, negative_slope: float = 0.2
) -> Tensor:
    """Row by row."""
    # No rows at all still depend on their inputs.
    rows = [h[:0] + source[:0].unsqueeze(2) + target[:0].unsqueeze(2)]
    for i in range(graph.shape[0]):
        j = graph.col[graph.rowptr[i] : graph.rowptr[i + 1]].long()
        alpha = F.leaky_relu(source[j] + target[i], negative_slope).softmax(0)  # [n, heads]
        rows.append((alpha.unsqueeze(2) * h[j]).sum(0, keepdim=True))
    return torch.cat(rows)


def shared_goodness(base: Tensor, mix: Tensor, table: Tensor) -> Tensor:
    """All labelings at once ``[G, R, H]``."""
    return (base + mix @ table).relu().square().sum(2)


def sampled_product(pattern: CSR, left: Tensor, right: Tensor) -> Tensor:
    """Entries of the dense product."""
    return (left @ right.t())[pattern.row, pattern.col.long()]


def frozen_product(
    matrix: CSR | None, x: Tensor | CSR, weight: Tensor, scale: Tensor | None = None
) -> Tensor:
    """Dense matrices, the features scaled first."""
    dense = x.to_dense() if isinstance(x, CSR) else x
    dense = dense.to(weight) if scale is None else scale.to(weight).unsqueeze(1) * dense.to(weight)
    return (dense if matrix is None else matrix.to_dense().to(weight) @ dense) @ weight
