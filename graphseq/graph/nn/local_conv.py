"""A graph layer that is trained by itself: what is constant about its input is prepared once.

    linear layers:   Y = relu(sum_k S_k X W_k + b)        S_k: constant matrices, one per weight

A layer is asked in two steps. :meth:`LocalConv.prepare` turns constant features into what the layer
needs of them; ``forward`` applies the weights, as often as they change. Several prepared parts add
up, each with rows of the weights of its own: features of different kinds of nodes, or columns of
different origin. So nothing is ever concatenated, and only what changed is prepared again.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from graphseq.graph.csr import CSR
from graphseq.graph.nn.row_view import Propagation, RowView
from graphseq.graph.ops.frozen_product import FrozenProduct, Way
from graphseq.graph.ops.shared_goodness import shared_goodness


class Prepared(NamedTuple):
    """Constant features as a layer needs them: a product per weight, or None where they have none.

    ``first`` is the row of the weights that meets the first column. A tensor is a product that was
    computed before, with the very weights that the layer has.
    """

    products: tuple[FrozenProduct | Tensor | None, ...]
    first: int = 0


class Mix(NamedTuple):
    """What tells G labelings of one graph apart, for linear layers: ``matrix[g] @ table``.

    ``matrix`` is ``[G, R, K]``. The table ``[K, H]`` stacks, for each entry of ``bases``, rows of
    a weight from ``first`` on: all of them times a constant ``[k, D]``, or ``k`` as they are.
    """

    matrix: Tensor
    bases: tuple[tuple[int, Tensor | int], ...]  # number of the weight, what stands before it
    first: int = 0

    def table(self, weights: Sequence[Tensor]) -> Tensor:
        """The rows ``[K, H]`` with the weights that the layer has now."""
        parts = []
        for number, basis in self.bases:
            width = basis if isinstance(basis, int) else basis.size(1)
            rows = weights[number][self.first : self.first + width]
            parts.append(rows if isinstance(basis, int) else basis @ rows)
        return torch.cat(parts)


Branches = Sequence[tuple[RowView, Sequence[Prepared]]]
"""Several graphs, each with parts of its own."""


class Stack(NamedTuple):
    """Dense branches of linear layers, the R rows of each below those of the one before."""

    part: Prepared
    num_branches: int

    def some(self, which: slice) -> "Stack":
        """The branches ``which.start .. which.stop - 1``, as views."""
        size = len(self.part.products[0].x) // self.num_branches  # type: ignore[union-attr, arg-type]
        rows = slice(which.start * size, which.stop * size)
        products = (p.at(rows) for p in self.part.products)  # type: ignore[union-attr]
        return Stack(Prepared(tuple(products)), which.stop - which.start)


class LocalConv(nn.Module, ABC):
    """What graph layers that are trained by themselves share.

    Args:
        in_channels: width D of the input.
        out_channels: width H of the output.
        activation: whether a ReLU ends the layer.

    Shape:
        - features: ``[n, D]`` for n of the graph's N nodes
        - output: ``[R, H]``, the rows of the view
    """

    kinds: tuple[Propagation, ...]
    """The matrix that stands before the features for each weight."""

    linear = True
    """Whether the output before the ReLU is linear in the features."""

    def __init__(self, in_channels: int, out_channels: int, activation: bool = True) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.activation = activation
        self.bias = nn.Parameter(torch.empty(out_channels))

    @abstractmethod
    def weights(self) -> tuple[Tensor, ...]:
        """The weights ``[D, H]``, in the order of ``kinds``."""

    def activate(self, view: RowView, projected: Sequence[Tensor]) -> Tensor:
        """From the sums over all parts, one per weight ``[R, H]``, to the output ``[R, H]``."""
        return self._end(self._sum(projected))

    def _sum(self, projected: Sequence[Tensor]) -> Tensor:
        z = projected[0] + self.bias  # a new tensor: what follows may change it
        for term in projected[1:]:
            z += term
        return z

    def _end(self, z: Tensor) -> Tensor:
        """The ReLU, in place: ``z`` is nobody else's."""
        return z.relu_() if self.activation else z

    def prepare(
        self,
        view: RowView,
        x: Tensor | CSR,
        scale: Tensor | None = None,
        *,
        node: int = 0,
        first: int = 0,
        way: Way | None = None,
        row_block: int = 65536,
    ) -> Prepared:
        """What is constant about the features of some nodes.

        Args:
            view: the graph and the rows that are wanted.
            x: features ``[n, d]`` of the nodes ``node .. node + n - 1``.
            scale: a factor ``[n]`` for each of them, or None.
            node: the first of these nodes.
            first: the row of the weights that meets column 0 of ``x``.
            way: how to multiply, see :class:`~graphseq.graph.ops.frozen_product.FrozenProduct`.
            row_block: of the way "streamed".
        """
        end, dtype = node + x.shape[0], self.bias.dtype
        if isinstance(x, Tensor) and way != "streamed":
            x = x.to(dtype)
        products = (
            FrozenProduct(view.columns(kind, dtype, node, end), x, scale, way, row_block)
            for kind in self.kinds
        )
        return Prepared(tuple(products), first)

    def at(self, part: Prepared, rows: Tensor) -> Prepared:
        """Of a part that was prepared for all rows, some of them."""
        products = (
            p if p is None else p[rows] if isinstance(p, Tensor) else p.at(rows)
            for p in part.products
        )
        return Prepared(tuple(products), part.first)

    @torch.no_grad()
    def evaluated(self, part: Prepared) -> Prepared:
        """The part with its products computed, which holds for as long as the weights stay."""
        products = tuple(
            next(self._products([part], number), None) for number in range(len(self.kinds))
        )
        return Prepared(products, part.first)

    def branches(
        self, views: Sequence[RowView], parts: Sequence[Prepared], rows: Tensor
    ) -> Stack | Branches:
        """Several graphs with a dense part each, prepared for all rows, at some of the rows.

        Args:
            views: of the rows, one for each graph.
            parts: one for each graph.
            rows: int64 ``[R]``.
        """
        if not self.linear:
            own = zip(views, parts, strict=True)
            return [(view, [self.at(part, rows)]) for view, part in own]
        products = zip(*(part.products for part in parts), strict=True)
        stacks = (FrozenProduct.stacked(own, rows) for own in products)  # type: ignore[arg-type]
        return Stack(Prepared(tuple(stacks)), len(parts))

    def project(self, parts: Sequence[Prepared]) -> list[Tensor]:
        """The sums over parts, one per weight that meets any of them."""
        sums = []
        for number in range(len(self.kinds)):
            products = list(self._products(parts, number))
            if products:
                sums.append(sum(products[1:], start=products[0]))
        return sums

    def _products(self, parts: Sequence[Prepared], number: int) -> Iterator[Tensor]:
        weight = self.weights()[number]
        for part in parts:
            product = part.products[number]
            if isinstance(product, Tensor):
                yield product
            elif product is not None:
                yield product(weight[part.first : part.first + product.width])

    @torch.compiler.disable  # parts come and go with the layer: a compiler would start over
    def forward(
        self, view: RowView, parts: Sequence[Prepared], among: Mix | Stack | Branches | None = None
    ) -> Tensor:
        """The output ``[R, H]``; or, among G labelings, the goodness ``[G, R]`` of each.

        Goodness is the sum of the squares of a node's output.
        """
        projected = self.project(parts)
        if among is None:
            return self.activate(view, projected)
        if isinstance(among, Mix):
            base = self._sum(projected)  # [R, H]
            return shared_goodness(base, among.matrix, among.table(self.weights()))  # [G, R]
        if isinstance(among, Stack):
            base = self._sum(self.project([among.part]))  # [G R, H]
            nothing = base.new_empty(1, len(base), 0), base.new_empty(0, base.size(1))
            return shared_goodness(base, *nothing).view(among.num_branches, -1)  # [G, R]
        return torch.stack(
            [
                self.activate(own, self._joined(projected, self.project(more))).square().sum(1)
                for own, more in among
            ]
        )

    @staticmethod
    def _joined(left: list[Tensor], right: list[Tensor]) -> list[Tensor]:
        if not left or not right:
            return left or right
        return [a + b for a, b in zip(left, right, strict=True)]

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}"
