"""NCNC: Neural Common Neighbor with Completion (Wang, Yang, Zhang; ICLR 2024; arXiv 2302.00890).

Graphs lack links, and so pairs lack common neighbours. NCNC lets NCN itself judge how probable it
is that a neighbour of one end is a neighbour of the other end, too, and counts it to that degree:

    c_ij = sum of P_u X'_u over u in N(i) | N(j)
    P_u  = 1                                u in N(i) & N(j)
    P_u  = calibrated(r(j, u))              u in N(i) only
    P_u  = calibrated(r(i, u))              u in N(j) only
    calibrated(r) = alpha pi q / (pi q + 1 - q),    q = sigmoid(gamma (r - o))

where r are NCN's logits: the same weights, no gradient, dropout while training. With depth 2 they
are NCNC's own logits of depth 1, and so on. See :mod:`graphseq.graph.models.ncn.ncn` for the rest.

========  =================  ==========================================
symbol    argument           meaning
========  =================  ==========================================
alpha     ``alpha``          factor of the probability
gamma     ``scale``          slope of the calibration
o         ``offset``         logit of even odds
pi        ``prior``          factor of the odds; or learned for each pair
========  =================  ==========================================
"""

import math
from collections.abc import Mapping
from typing import Any

from graphseq.graph.models.ncn.completion import CompletionPredictor
from graphseq.graph.models.ncn.link_model import LinkModel, encoder_of, head_of, own_arguments
from graphseq.graph.models.ncn.predictor import CHUNK
from graphseq.graph.nn.graph_encoder import Conv
from graphseq.graph.nn.pair_mlps import NodeMLP


def _of_predictor(name: str, inner: str | None = None) -> property:
    """A setting that the predictor holds, there called ``inner``, and that may be changed."""
    place = inner or name

    def put(model: "NCNC", value: Any) -> None:
        if name in ("train_samples", "eval_samples", "chunk_size"):
            _check({}, {name: value})
        elif name != "learn_prior":
            _check({name: value}, {})
        setattr(model.predictor, place, value)

    return property(lambda model: getattr(model.predictor, place), put)


class NCNC(LinkModel):
    """Neural Common Neighbor with Completion.

    The defaults are the paper's for PubMed. The calibration, the numbers of samples and the depth
    are attributes that may be changed later, on a trained model, too.

    Left out: the authors' switch ``increasealpha``, which lets alpha rise from 0 to 1 between
    epochs 5 and 15. No published command uses it, and the weights of the best epoch would be scored
    and saved with another alpha than they were trained with. In a loop of your own, set ``alpha``
    before each epoch.

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
        beta: initial weight of the neighbours' part.
        depth: completions nested in each other; 0 is NCN, 2 the paper's NCNC2.
        alpha: factor of the probability, not negative.
        scale: slope of the calibration.
        offset: logit that counts as even odds.
        prior: factor of the odds, not negative.
        learn_prior: compute that factor for each pair by a small network instead.
        train_samples: while training, an end with more completed neighbours than this keeps so many
            draws, weighted to be right on average; None keeps all.
        eval_samples: the same in evaluation, by a fixed seed: a call gives the same scores again,
            but a pair's score depends on the pairs beside it.
        chunk_size: inner pairs scored at a time, which bounds memory and changes no value in
            evaluation.

    Shape:
        - x: ``[N, F]``, dense or :class:`~graphseq.graph.csr.CSR`; with ``num_embeddings`` int64
          ``[N]``, or None for row i at node i
        - graph: PyG's ``edge_index [2, E]``, or an :class:`~graphseq.graph.adjacency.Adjacency`
        - edge_label_index: ``[2, B]``, edge_label: ``[B]``
        - output: logits ``[B]``, or with ``edge_label`` the scalar sum of the cross-entropies

    Example:
        >>> import torch
        >>> from graphseq.graph.models import NCNC
        >>> path = torch.tensor([[0, 1, 2], [1, 2, 3]])
        >>> model = NCNC(in_channels=4, hidden_channels=8)
        >>> [n.kind for n in model.explain(torch.rand(4, 4), path, 0, 3).neighbors].count("common")
        0
    """

    depth: int
    predictor: CompletionPredictor
    adjustable = frozenset({"depth"})
    alpha = _of_predictor("alpha")
    scale = _of_predictor("scale")
    offset = _of_predictor("offset")
    prior = _of_predictor("prior", "odds")
    learn_prior = _of_predictor("learn_prior")
    train_samples = _of_predictor("train_samples")
    eval_samples = _of_predictor("eval_samples")
    chunk_size = _of_predictor("chunk_size")

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
        depth: int = 1,
        alpha: float = 0.3,
        scale: float = 5.3,
        offset: float = 0.5,
        prior: float = 0.5,
        learn_prior: bool = False,
        train_samples: int | None = None,
        eval_samples: int | None = None,
        chunk_size: int = CHUNK,
    ) -> None:
        arguments = own_arguments(locals())
        _check_depth(depth)
        _check(
            {"alpha": alpha, "prior": prior, "scale": scale, "offset": offset},
            {
                "train_samples": train_samples,
                "eval_samples": eval_samples,
                "chunk_size": chunk_size,
            },
        )
        encoder = encoder_of(arguments)
        head = head_of(arguments, pools=[hidden_channels])
        predictor = CompletionPredictor(
            head,
            NodeMLP(hidden_channels, pair_dropout, pair_layer_norm) if node_mlp else None,
            pair_edge_dropout,
            alpha=alpha,
            scale=scale,
            offset=offset,
            prior=prior,
            learn_prior=learn_prior,
            train_samples=train_samples,
            eval_samples=eval_samples,
            chunk_size=chunk_size,
        )
        super().__init__(encoder, predictor, arguments)

    def checked_depth(self, depth: int | None) -> int:
        return _check_depth(self.depth if depth is None else depth)

    def unused_parameters(self) -> dict[str, str]:
        """The network of the learned prior, where that is fixed or nothing is completed."""
        if self.learn_prior and self.depth > 0:
            return {}
        why = "nothing is completed" if self.depth == 0 else "the prior is fixed"
        names = (name for name, _ in self.predictor.prior.named_parameters())
        return {f"predictor.prior.{name}": why for name in names}


def _check_depth(depth: int) -> int:
    if not isinstance(depth, int) or depth < 0:
        raise ValueError(f"NCNC: depth is {depth}; pass a whole number of completions, 0 or more")
    return depth


def _check(calibration: Mapping[str, float], counts: Mapping[str, int | None]) -> None:
    for name, value in calibration.items():
        if not math.isfinite(value):
            raise ValueError(f"NCNC: {name} is {value}; pass a finite number")
        if value < 0 and name in ("alpha", "prior"):
            raise ValueError(f"NCNC: {name} is {value}; pass 0 or more")
    for name, count in counts.items():
        if count is not None and count < 1:
            raise ValueError(f"NCNC: {name} is {count}; pass 1 or more")
