"""The first layer of a graph model: dropout and a linear map on dense or bag-of-words features.

Features of citation graphs are more than 98 % zeros, and dropping a zero changes nothing. So the
layer multiplies the stored values only, and draws its dropout for them alone; the result has the
same distribution as the dense computation.
"""

import math

import torch
from torch import Tensor, nn

from graphseq.graph.csr import CSR
from graphseq.graph.ops import dropout, sparse_linear


class FeatureLinear(nn.Module):
    """Computes ``dropout(x) @ weight + bias`` for dense or sparse features.

    Parameters start from the same distribution as those of :class:`torch.nn.Linear`. The weight is
    stored as ``[in_channels, out_channels]``, so that a stored value meets one contiguous row.

    Args:
        in_channels: number of features F.
        out_channels: number of outputs H.
        dropout: probability in [0, 1] of dropping an input value while training.

    Shape:
        - x: dense ``[N, F]`` or :class:`~graphseq.graph.csr.CSR` of that shape
        - output: ``[N, H]``
    """

    def __init__(self, in_channels: int, out_channels: int, dropout: float = 0.0) -> None:
        super().__init__()
        if not 0.0 <= dropout <= 1.0:
            raise ValueError(f"FeatureLinear: dropout must lie in [0, 1], got {dropout}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.dropout = dropout
        self.weight = nn.Parameter(torch.empty(in_channels, out_channels))
        self.bias = nn.Parameter(torch.empty(out_channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws weight and bias from U(-1/sqrt(F), 1/sqrt(F)), as ``torch.nn.Linear`` does."""
        bound = 1.0 / math.sqrt(self.in_channels) if self.in_channels else 0.0
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor | CSR) -> Tensor:
        if len(x.shape) != 2 or x.shape[1] != self.in_channels:
            raise ValueError(
                f"FeatureLinear: x has shape {tuple(x.shape)}, expected [N, {self.in_channels}]; "
                "pass in_channels=x.shape[1] to the model"
            )
        if isinstance(x, CSR):
            return sparse_linear(x, self.weight, self.bias, p=self.dropout, training=self.training)
        if not torch.is_autocast_enabled(x.device.type) and x.dtype != self.weight.dtype:
            raise TypeError(
                f"FeatureLinear: x is {x.dtype}, the weight {self.weight.dtype}; convert one of "
                "them, for example x.float()"
            )
        x = dropout(x, self.dropout, training=self.training)
        return torch.addmm(self.bias, x, self.weight)  # [N, H]

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, dropout={self.dropout}"
