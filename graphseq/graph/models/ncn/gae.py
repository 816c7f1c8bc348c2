"""GAE: a graph auto-encoder (Kipf and Welling, 2016; arXiv 1611.07308) in NCN's encoder.

    s_ij = psi(phi_p(X_i * X_j))                                   GAE
    s_ij = psi(phi_p(X_i * X_j) + beta phi_c(|N(i) & N(j)|))       GAE+CN

with the symbols of :mod:`graphseq.graph.models.ncn.ncn`. It is what NCN is compared with: the same
networks, without structure or with the number of common neighbours only.
"""

from torch import Tensor

from graphseq.graph.csr import CSR
from graphseq.graph.models.ncn.link_model import LinkModel, encoder_of, head_of, own_arguments
from graphseq.graph.models.ncn.predictor import Neighbors, PairPredictor
from graphseq.graph.nn.graph_encoder import Conv
from graphseq.graph.nn.pair_mlps import PoolMLP
from graphseq.graph.nn.pooled import Pooled
from graphseq.graph.ops import common_neighbors, count_common


class CountPredictor(PairPredictor):
    """GAE's predictor; a head with a pool of width 1 also sees the number of common neighbours."""

    def pool(
        self, x: Tensor, graph: CSR, pairs: Tensor, depth: int = 0, lifted: Tensor | None = None
    ) -> list[Pooled]:
        if not self.head.pools:
            return []
        count = count_common(graph, pairs).to(x.dtype).unsqueeze(1)  # [B, 1]
        return [Pooled(self.head.pool_mlps[0].project(count))]

    def neighbors(
        self, x: Tensor, lifted: Tensor, graph: CSR, pairs: Tensor, depth: int
    ) -> list[list[Neighbors]]:
        return [[Neighbors("common", common_neighbors(graph, pairs))]] if self.head.pools else []

    def summands(self, pool: PoolMLP, lifted: Tensor, nodes: Tensor) -> Tensor:
        return pool.project(lifted.new_ones(len(nodes), 1))  # each counts 1


class GAE(LinkModel):
    """Graph auto-encoder for link prediction, optionally with common-neighbour counts.

    Args:
        in_channels: number of node features F; None for nodes without features.
        hidden_channels: H.
        num_embeddings: rows of a trainable table for nodes without features.
        num_layers: message passing steps.
        conv: "gcn", "sage", "gin", "max", "pure_gcn", "pure_mean", "pure_sum", "pure_max" or
            "none", see :class:`~graphseq.graph.nn.GraphEncoder`.
        feature_dropout: probability in [0, 1] on the features.
        dropout: probability in the encoder, behind input layer or table and inside layers.
        edge_dropout: probability of dropping a direction of an edge in a layer.
        output_dropout: probability behind the last "pure" layer.
        layer_norm: norms in the encoder.
        residual: residual connections in the encoder.
        jumping_knowledge: sum the layers' outputs with trainable weights.
        pair_dropout: probability in the pair networks.
        pair_edge_dropout: probability of overlooking an edge when common neighbours are counted.
        pair_layer_norm: norms in the pair networks.
        tail_activation: phi_p and phi_c end with their ReLU, not with a linear layer.
        two_layer_output: psi has two hidden layers.
        beta: initial weight of the count's part.
        count_common: whether the number of common neighbours counts (GAE+CN).

    Shape:
        - x: ``[N, F]``, dense or :class:`~graphseq.graph.csr.CSR`; with ``num_embeddings`` int64
          ``[N]``, or None for row i at node i
        - graph: PyG's ``edge_index [2, E]``, or an :class:`~graphseq.graph.adjacency.Adjacency`
        - edge_label_index: ``[2, B]``, edge_label: ``[B]``
        - output: logits ``[B]``, or with ``edge_label`` the scalar sum of the cross-entropies
    """

    def __init__(
        self,
        in_channels: int | None = None,
        hidden_channels: int = 256,
        *,
        num_embeddings: int | None = None,
        num_layers: int = 1,
        conv: Conv = "pure_gcn",
        feature_dropout: float = 0.3,
        dropout: float = 0.1,
        edge_dropout: float = 0.0,
        output_dropout: float = 0.0,
        layer_norm: bool = True,
        residual: bool = False,
        jumping_knowledge: bool = True,
        pair_dropout: float = 0.05,
        pair_edge_dropout: float = 0.0,
        pair_layer_norm: bool = True,
        tail_activation: bool = False,
        two_layer_output: bool = False,
        beta: float = 1.0,
        count_common: bool = False,
    ) -> None:
        arguments = own_arguments(locals())
        encoder = encoder_of(arguments)
        head = head_of(arguments, pools=[1] if count_common else [])
        super().__init__(encoder, CountPredictor(head, None, pair_edge_dropout), arguments)
