"""The constant input of one layer after the other, prepared for the rows that are asked for."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from graphseq.graph.adjacency import Adjacency
from graphseq.graph.csr import CSR
from graphseq.graph.nn.local_conv import Prepared
from graphseq.graph.nn.row_view import RowView
from graphseq.graph.ops.slicing import unit_scale


class FrozenInput:
    """The features, then the output of one trained layer after the other.

    Args:
        graph: the graph of all nodes.
        features: of the first nodes ``[N, F]`` and, where there are more, of those after them.
        row_block: see :class:`~graphseq.graph.models.forward_gnn.learner.Problem`.
    """

    def __init__(
        self,
        graph: Adjacency,
        features: Sequence[Tensor | CSR],
        row_block: int | None = None,
    ) -> None:
        self.graph, self.features, self.row_block = graph, features, row_block
        self.whole: list[Prepared] | None = None  # of all rows, above the first layer

    def parts(self, layer: Any, view: RowView, once: bool = False) -> list[Prepared]:
        """What ``layer`` needs for the rows of a view; ``once``: nothing to be kept for reuse."""
        if self.whole is not None:
            rows = view.rows
            return self.whole if rows is None else [layer.at(part, rows) for part in self.whole]
        return self._prepared(layer, view, once, scaled=True)

    def plain(self, layer: Any, view: RowView) -> list[Prepared]:
        """What the first layer would need of features that are not brought to length 1."""
        return self._prepared(layer, view, once=True, scaled=False)

    def _prepared(self, layer: Any, view: RowView, once: bool, scaled: bool) -> list[Prepared]:
        found, node = [], 0
        for x in self.features:
            options = reading(x, once, self.row_block if node == 0 else None)
            scale = unit_scale(x) if scaled else None
            found.append(layer.prepare(view, x, scale, node=node, **options))
            node += int(x.shape[0])
        return found

    @torch.no_grad()
    def advance(self, layer: Any, following: Any) -> None:
        """Puts the output of ``layer``, all rows, in the place of its input."""
        view = RowView(self.graph)
        parts = self.parts(layer, view, once=True)
        self.whole = None  # freed before the next comes
        states = layer(view, parts)  # [N, H]
        del parts
        self.whole = [following.prepare(view, states, unit_scale(states))]


def reading(x: Tensor | CSR, once: bool, row_block: int | None) -> dict[str, Any]:
    """How features are multiplied: a few rows at a time, without aggregating, or the cheapest way.

    Args:
        x: the features.
        once: whether what is prepared serves a single product.
        row_block: rows to take at a time, or None.
    """
    if row_block is not None and isinstance(x, Tensor):
        return {"way": "streamed", "row_block": row_block}
    return {"way": "factored"} if once else {}
