"""DAGNN: Towards Deeper Graph Neural Networks (Liu, Gao, Ji; KDD 2020; arXiv 2007.09296).

Deep graph networks degrade because every layer both transforms and propagates. DAGNN takes the two
apart: an MLP first turns features into class scores, which then travel K hops without any weights,
and every node decides by itself how much of each hop it keeps.

    Z     = MLP(X)                                       transformation
    A_hat = D^(-1/2) (A + I) D^(-1/2)                    D: degrees of A + I
    H_k   = A_hat^k Z,              k = 0 .. K           propagation
    S     = sigmoid(H s + b)                             retainment scores
    out_v = sum_k S_{v,k} H_{v,k}                        adaptive adjustment

========  ====================  ================  =========================================
symbol    variable              shape             meaning
========  ====================  ================  =========================================
X         ``x``                 ``[N, F]``        node features, dense or sparse
A_hat     ``matrix``            ``[N, N]``        normalised adjacency, rows are targets
Z, H_0    ``z``                 ``[N, C]``        class scores before propagation
K         ``num_hops``                            number of hops
s, b      ``propagation``       ``[C]``, ``[1]``  projection shared by all hops and nodes
S         ``scores``            ``[N, K + 1]``    retainment scores, each in (0, 1)
========  ====================  ================  =========================================

Another model of that name works on directed acyclic graphs (Thost and Chen, 2021); this is not it.
"""

from torch import Tensor, nn

from graphseq.graph.adjacency import Adjacency, as_adjacency
from graphseq.graph.csr import CSR
from graphseq.graph.nn import AdaptivePropagation, FeatureLinear
from graphseq.graph.ops import dropout, norm_linear


class DAGNN(nn.Module):
    """Deep adaptive graph neural network for node classification.

    The defaults are the paper's model for citation and co-author graphs. The authors' version for
    ogbn-arxiv is ``DAGNN(128, 40, hidden_channels=256, num_hops=16, dropout=0.2, input_dropout=0.0,
    batch_norm=True)``.

    Args:
        in_channels: number of node features F.
        out_channels: number of classes C.
        hidden_channels: width of the MLP's one hidden layer.
        num_hops: K, the number of propagation steps.
        dropout: probability in [0, 1] on the hidden layer.
        input_dropout: probability in [0, 1] on the features; ``None`` means the same as
            ``dropout``.
        batch_norm: normalise the hidden layer before its ReLU.

    Shape:
        - x: ``[N, F]``, a tensor or a :class:`~graphseq.graph.csr.CSR`
        - graph: PyG's ``edge_index [2, E]``, or an :class:`~graphseq.graph.adjacency.Adjacency`,
          which is sorted and normalised once instead of in every call
        - output: class scores (logits) ``[N, C]``

    Example:
        >>> import torch
        >>> from graphseq import DAGNN
        >>> path = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
        >>> DAGNN(in_channels=4, out_channels=3)(torch.rand(3, 4), path).shape
        torch.Size([3, 3])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        hidden_channels: int = 64,
        num_hops: int = 10,
        dropout: float = 0.8,
        input_dropout: float | None = None,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.hidden_channels = hidden_channels
        self.num_hops = num_hops
        self.dropout = dropout
        self.input_dropout = dropout if input_dropout is None else input_dropout
        self.batch_norm = batch_norm
        self.input = FeatureLinear(in_channels, hidden_channels, self.input_dropout)
        self.norm = nn.BatchNorm1d(hidden_channels) if batch_norm else nn.Identity()
        self.output = nn.Linear(hidden_channels, out_channels)
        self.propagation = AdaptivePropagation(out_channels, num_hops)

    def reset_parameters(self) -> None:
        """Draws all parameters anew."""
        for module in (self.input, self.norm, self.output, self.propagation):
            if not isinstance(module, nn.Identity):
                module.reset_parameters()

    def forward(
        self, x: Tensor | CSR, graph: Tensor | Adjacency, return_retainment_scores: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Class scores of every node, and the retainment scores ``[N, K + 1]`` where asked for."""
        adjacency = as_adjacency(graph, num_nodes=x.shape[0])
        matrix = adjacency.normalized("sym", dtype=self.output.weight.dtype)
        h = self.input(x)  # [N, hidden]
        if isinstance(self.norm, nn.BatchNorm1d):
            z = norm_linear(h, self.norm, self.output, self.dropout)  # [N, C]
        else:
            z = self.output(dropout(h, self.dropout, training=self.training, relu=True))  # [N, C]
        return self.propagation(z, matrix, return_retainment_scores)
