"""An encoder and a predictor together: what callers of GAE, NCN and NCNC see."""

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from graphseq.graph.adjacency import Adjacency
from graphseq.graph.checks import check_tensor
from graphseq.graph.csr import CSR
from graphseq.graph.models.ncn.explanation import Explanation, explain_pair
from graphseq.graph.models.ncn.predictor import PairPredictor
from graphseq.graph.nn.graph_encoder import GraphEncoder
from graphseq.graph.nn.node_input import check_features, check_finite
from graphseq.graph.nn.pair_head import PairHead
from graphseq.graph.ops.pairs import check_pairs
from graphseq.graph.ops.undirected import undirected


class LinkModel(nn.Module):
    """Scores pairs of nodes of an undirected graph.

    ``torch.compile`` leaves it as it is: each batch has other numbers of neighbours, at which the
    compiler breaks off or starts anew. Compiled all the same, NCN on the digits needed 150 s for
    two epochs on one CPU thread, and 66 ms for each further one, against 28 ms as it is.

    Dense features that are not finite are an error. In evaluation mode all are looked at, which is
    little beside encoding them. In training mode they are looked at only if the result is not
    finite: there a NaN of a node that no pair hears of goes unnoticed.

    Args:
        encoder: from features to node states.
        predictor: from node states to logits of pairs.
        arguments: of the model's own constructor, kept as attributes so that it can be saved. They
            cannot be changed later, except those that are properties or named in ``adjustable``.
    """

    adjustable: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self, encoder: GraphEncoder, predictor: PairPredictor, arguments: Mapping[str, Any]
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.predictor = predictor
        for name, value in arguments.items():
            setattr(self, name, value)
        own = (name for name in arguments if not hasattr(type(self), name))
        self._fixed = frozenset(own) - self.adjustable

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__.get("_fixed", ()):
            raise AttributeError(
                f"{type(self).__name__}: {name} is fixed once the model exists; make a new model"
            )
        super().__setattr__(name, value)

    @torch.compiler.disable
    def forward(
        self,
        x: Tensor | CSR | None,
        graph: Tensor | Adjacency,
        edge_label_index: Tensor,
        edge_label: Tensor | None = None,
        depth: int | None = None,
        states: Tensor | None = None,
    ) -> Tensor:
        """Logits of pairs, or the loss.

        Args:
            x: features ``[N, F]``, dense or sparse; or int64 ``[N]`` or None, see the class.
            graph: PyG's ``edge_index``, of which either direction is enough, or an adjacency.
            edge_label_index: int64 ``[2, B]``, the pairs.
            edge_label: ``[B]``, 1 for links and 0 for others.
            depth: completions nested in each other, instead of the model's own number.
            states: node states ``[N, H]`` that :meth:`encode` gave, instead of computing them.

        Returns:
            Logits ``[B]``; with ``edge_label`` the sum over the pairs of the binary cross-entropy,
            whose gradients are computed at once, block by block.

        Raises:
            TypeError: if an argument is of the wrong type, or no tensor.
            ValueError: if it is of the wrong shape, a node is outside the graph, a label is neither
                0 nor 1, the model nests no completions of that number, or features are not finite
                (in training mode: and for that reason the result is not).
        """
        csr = self.prepare(x, graph)
        pairs = check_pairs(type(self).__name__, csr, edge_label_index, "edge_label_index")
        if edge_label is not None:
            _check_labels(type(self).__name__, edge_label, pairs.size(1))
        h = self.encoder(x, csr) if states is None else states  # [N, H]
        out = self.predictor(h, csr, pairs, edge_label, self.checked_depth(depth))
        if self.training and not bool(out.isfinite().all()):
            check_finite(type(self).__name__, x)
        return out

    def encode(self, x: Tensor | CSR | None, graph: Tensor | Adjacency) -> Tensor:
        """Node states ``[N, H]``, which ``forward`` takes back; arguments as there."""
        h: Tensor = self.encoder(x, self.prepare(x, graph))
        return h

    def prepare(self, x: Tensor | CSR | None, graph: Tensor | Adjacency) -> CSR:
        """The graph as an undirected, simple adjacency of as many nodes as ``x`` has."""
        check_features(type(self).__name__, x, self.encoder.in_channels)
        if not self.training:
            check_finite(type(self).__name__, x)
        num_nodes = None if x is None else x.shape[0]
        if num_nodes is None and isinstance(graph, Tensor):
            num_nodes = getattr(self, "num_embeddings", None)
        return undirected(graph, num_nodes)

    def checked_depth(self, depth: int | None) -> int:
        """The number of completions to nest; models without completion have 0.

        Raises:
            ValueError: if the model cannot nest so many.
        """
        if depth not in (None, 0):
            raise ValueError(
                f"{type(self).__name__}: depth is {depth}, but this model completes nothing; leave "
                "depth out, or use NCNC"
            )
        return 0

    @torch.no_grad()
    def explain(
        self, x: Tensor | CSR | None, graph: Tensor | Adjacency, u: int, v: int
    ) -> Explanation:
        """Which neighbours speak for a link between two nodes, and how much; without dropout.

        Args:
            x: as in ``forward``.
            graph: as in ``forward``.
            u: one node.
            v: the other node.

        Returns:
            The logit and, by falling contribution, every neighbour that was pooled. A contribution
            is what the logit would lose if this neighbour alone were left out of its sum.
        """
        training = self.training
        self.eval()
        try:
            csr = self.prepare(x, graph)
            pair = torch.tensor([[u], [v]], device=csr.device)
            pair = check_pairs(f"{type(self).__name__}.explain", csr, pair, "(u, v)")
            h = self.encoder(x, csr)
            return explain_pair(self.predictor, h, csr, pair, self.checked_depth(None))
        finally:
            self.train(training)


def _check_labels(where: str, labels: Tensor, num_pairs: int) -> None:
    check_tensor(where, "edge_label", labels)
    if labels.shape != (num_pairs,):
        raise ValueError(
            f"{where}: edge_label has shape {tuple(labels.shape)}, expected [{num_pairs}]; one per "
            "pair"
        )
    wrong = labels[(labels != 0) & (labels != 1)]
    if wrong.numel():
        raise ValueError(
            f"{where}: edge_label contains {wrong[0].item()}; pass 1 for links and 0 for others"
        )


def own_arguments(scope: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments in a constructor's ``locals()``, taken before it defines anything else."""
    return {name: v for name, v in scope.items() if name != "self" and not name.startswith("__")}


def encoder_of(arguments: Mapping[str, Any]) -> GraphEncoder:
    """The encoder by a model's arguments, which have the encoder's own names."""
    names = inspect.signature(GraphEncoder).parameters
    return GraphEncoder(**{name: arguments[name] for name in names})


def head_of(arguments: Mapping[str, Any], pools: Sequence[int]) -> PairHead:
    """The networks on pairs by a model's arguments, with pools of these widths."""
    if not math.isfinite(arguments["beta"]):
        raise ValueError(f"beta is {arguments['beta']}; pass a finite number")
    return PairHead(
        arguments["hidden_channels"],
        p=arguments["pair_dropout"],
        layer_norm=arguments["pair_layer_norm"],
        tails=not arguments["tail_activation"],
        two_layers=arguments["two_layer_output"],
        beta=arguments["beta"],
        pools=pools,
    )
