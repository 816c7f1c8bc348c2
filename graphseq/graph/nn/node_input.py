"""What a node brings along: features, or a row of an embedding table."""

import torch
from torch import Tensor, nn

from graphseq.graph.checks import all_finite, check_index, check_tensor
from graphseq.graph.csr import CSR


class NodeEmbedding(nn.Module):
    """A table with a trainable row per node, or per kind of node; it starts orthogonal.

    Args:
        num_embeddings: rows of the table.
        channels: width H.

    Shape:
        - x: int64 ``[N]``, rows of the table; or None: node i has row i
        - output: ``[N, H]``
    """

    def __init__(self, num_embeddings: int, channels: int) -> None:
        super().__init__()
        if num_embeddings < 1:
            raise ValueError(f"NodeEmbedding: num_embeddings is {num_embeddings}; pass 1 or more")
        self.num_embeddings = num_embeddings
        self.channels = channels
        self.weight = nn.Parameter(torch.empty(num_embeddings, channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the table anew."""
        nn.init.orthogonal_(self.weight)

    def forward(self, x: Tensor | None, num_nodes: int) -> Tensor:
        if x is not None:
            check_index("NodeEmbedding", "x", x, self.num_embeddings)
            return self.weight[x.long()]
        if num_nodes > self.num_embeddings:
            raise ValueError(
                f"NodeEmbedding: the graph has {num_nodes} nodes, the table "
                f"{self.num_embeddings} rows; pass num_embeddings={num_nodes} to the model"
            )
        return self.weight[:num_nodes]

    def extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.channels}"


def check_features(where: str, x: Tensor | CSR | None, in_channels: int | None) -> None:
    """Refuses what does not fit: a model has features or a table, and says which.

    Raises:
        TypeError: if x is no tensor, or features are asked for and others are given, or the other
            way round.
        ValueError: if they have another width.
    """
    if x is not None and not isinstance(x, CSR):
        check_tensor(where, "x", x)
    given = isinstance(x, CSR) or (x is not None and x.is_floating_point())
    if in_channels is None:
        if given:
            raise TypeError(
                f"{where}: x holds features, but the model was built with num_embeddings; pass "
                "x=None or int64 rows of the table, or build it with in_channels"
            )
        return
    if not given:
        kind = "None" if x is None else str(x.dtype)
        raise TypeError(
            f"{where}: x is {kind}, but the model was built with in_channels={in_channels}; pass "
            "floats [N, F], or build it with num_embeddings"
        )
    if len(x.shape) != 2 or x.shape[1] != in_channels:  # type: ignore[union-attr]
        raise ValueError(
            f"{where}: x has shape {tuple(x.shape)}, expected [N, {in_channels}]; "  # type: ignore[union-attr]
            "pass in_channels=x.shape[1] to the model"
        )


def check_finite(where: str, x: Tensor | CSR | None) -> None:
    """Refuses dense features that hold NaN or infinity; sparse ones are checked when made.

    Raises:
        ValueError: saying so.
    """
    if isinstance(x, Tensor) and x.is_floating_point() and not all_finite(x):
        raise ValueError(f"{where}: x holds NaN or infinite features; fill them")
