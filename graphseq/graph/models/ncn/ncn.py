"""NCN: Neural Common Neighbor with Completion for Link Prediction (Wang, Yang, Zhang; ICLR 2024;
arXiv 2302.00890).

One message passing network runs on the whole graph; then the structure decides which node states
are pooled for a pair: those of its common neighbours.

    X     = encoder(features, A)                                   node states
    X'    = X + phi_x(X)
    c_ij  = sum of X'_u over u in N(i) & N(j)
    s_ij  = psi(phi_p(X_i * X_j) + beta phi_c(c_ij))               logit

========  =============  ===========  ==============================================
symbol    variable       shape        meaning
========  =============  ===========  ==============================================
X         ``h, x``       ``[N, H]``   node states
X'        ``lifted``     ``[N, H]``   what a common neighbour contributes
i, j      ``pairs``      ``[2, B]``   ends of the pairs
X_i * X_j ``z``          ``[B, H]``   elementwise product
c         ``pooled``     ``[B, H]``   sum over common neighbours, projected
phi, psi  ``head``                    the networks of :mod:`graphseq.graph.nn.pair_mlps`
========  =============  ===========  ==============================================

The paper writes the two parts of s side by side; its experiments add them up, as here.
"""

from graphseq.graph.models.ncn.link_model import LinkModel, encoder_of, head_of, own_arguments
from graphseq.graph.models.ncn.neighbor_predictor import (
    NEIGHBORHOODS,
    Neighborhood,
    NeighborPredictor,
)
from graphseq.graph.nn.graph_encoder import Conv
from graphseq.graph.nn.pair_mlps import NodeMLP


class NCN(LinkModel):
    """Neural Common Neighbor.

    The defaults are the paper's for PubMed. Train it on the graph without the links that it is to
    predict (:class:`~graphseq.graph.ops.LinkRemoval`).

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
        pair_edge_dropout: probability of overlooking an edge when neighbours are looked up.
        pair_layer_norm: norms in the pair networks.
        node_mlp: whether there is phi_x.
        tail_activation: phi_p and phi_c end with their ReLU, not with a linear layer.
        two_layer_output: psi has two hidden layers.
        beta: initial weight of the common neighbours' part.
        neighborhood: "common"; "two_hop" (NCN2) and "difference" (NCN-diff) add a second pool.

    Shape:
        - x: ``[N, F]``, dense or :class:`~graphseq.graph.csr.CSR`; with ``num_embeddings`` int64
          ``[N]``, or None for row i at node i
        - graph: PyG's ``edge_index [2, E]``, or an :class:`~graphseq.graph.adjacency.Adjacency`
        - edge_label_index: ``[2, B]``, edge_label: ``[B]``
        - output: logits ``[B]``, or with ``edge_label`` the scalar sum of the cross-entropies

    Example:
        >>> import torch
        >>> from graphseq.graph.models import NCN
        >>> square = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])
        >>> NCN(in_channels=4, hidden_channels=8)(torch.rand(4, 4), square, square).shape
        torch.Size([4])
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
        node_mlp: bool = True,
        tail_activation: bool = True,
        two_layer_output: bool = False,
        beta: float = 1.0,
        neighborhood: Neighborhood = "common",
    ) -> None:
        arguments = own_arguments(locals())
        if neighborhood not in NEIGHBORHOODS:
            raise ValueError(
                f"NCN: neighborhood is {neighborhood!r}; use one of {', '.join(NEIGHBORHOODS)}"
            )
        encoder = encoder_of(arguments)
        head = head_of(arguments, pools=[hidden_channels] * (1 if neighborhood == "common" else 2))
        node = NodeMLP(hidden_channels, pair_dropout, pair_layer_norm) if node_mlp else None
        predictor = NeighborPredictor(head, node, pair_edge_dropout, neighborhood)
        super().__init__(encoder, predictor, arguments)
