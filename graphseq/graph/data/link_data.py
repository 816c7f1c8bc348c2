"""One graph with links to learn from and links to find, checked once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from graphseq.graph.adjacency import Adjacency
from graphseq.graph.checks import all_finite, check_tensor
from graphseq.graph.csr import CSR
from graphseq.graph.ops import LinkRemoval

_PIECE = 1 << 20  # numbers hashed at a time
_OFFICIAL = {"ogbl-ddi": 2, "ogbl-collab": 2, "ogbl-ppa": 2, "ogbl-citation2": 3}


@dataclass(frozen=True, eq=False)
class LinkData:
    """A link prediction problem on one undirected graph. Everything is checked at construction.

    Args:
        x: Node features, a float tensor or a sparse :class:`~graphseq.graph.csr.CSR`; or the row
            of an embedding table for each node, int64; or None: a row of its own for every node.
        num_nodes: Number of nodes N.
        train: Links to learn from, which are the known graph; each listed once, in any direction.
            Repeated links (papers by the same two authors in different years) stay, see
            ``multigraph``.
        val: Links that choose the epoch and the hyper-parameters.
        val_negative: Pairs that ``val`` is ranked against: one list for all, or K for each.
        test: Links that are only scored.
        test_negative: Pairs that ``test`` is ranked against, in the same forms.
        metric: What counts: ``"hits@K"``, ``"mrr"`` or ``"auc"``.
        name: Shown in tables and error messages.
        train_weight: Weight of each training link, or None.
        train_year: Year of each training link, or None.
        num_embeddings: Rows of the embedding table where ``x`` is not features; as many as needed
            where it is None.
        multigraph: Repeated training links are meant, each is an event of its own. Otherwise
            training warns of them, for hiding one copy leaves the others visible.
        train_negative: Fixed pairs to learn from as no links; None draws them anew every epoch.
        official: OGB's name of the dataset where all links and pairs are OGB's: its own evaluator
            then computes the final scores.

    Shape:
        - x: ``[N, F]`` or ``[N]``
        - train, val, test: ``[2, number of links]``, int64
        - val_negative, test_negative: ``[2, M]``, shared, or ``[2, P, K]``, entry p belonging to
          link p; int64, or int32 to save memory
        - train_negative: ``[2, number of pairs]``, int64
        - train_weight, train_year: ``[number of training links]``

    Raises:
        TypeError: An argument has the wrong type or dtype.
        ValueError: Shapes do not fit together, features are not finite, a node id is out of range,
            a part is empty, the metric is unknown, or the pairs are not the official ones.
    """

    x: Tensor | CSR | None
    num_nodes: int
    train: Tensor
    val: Tensor
    val_negative: Tensor
    test: Tensor
    test_negative: Tensor
    metric: str = "hits@100"
    name: str = "graph"
    train_weight: Tensor | None = None
    train_year: Tensor | None = None
    num_embeddings: int | None = None
    multigraph: bool = False
    train_negative: Tensor | None = None
    official: str | None = None

    def __post_init__(self) -> None:
        self._check_x()
        for part, pairs in self.parts.items():
            self._check_pairs(part, pairs)
        for part in ("val", "test"):
            self._check_negatives(part)
        for part in ("train_weight", "train_year"):
            values = getattr(self, part)
            if values is not None:
                check_tensor(self.name, part, values)
            if values is not None and values.shape != self.train.shape[1:]:
                raise ValueError(
                    f"{self.name}: {part} must be [{self.train.shape[1]}], one per training link, "
                    f"got shape {tuple(values.shape)}"
                )
        kind, _, k = self.metric.partition("@")
        if self.metric not in ("mrr", "auc") and not (kind == "hits" and k.isdecimal() and int(k)):
            raise ValueError(
                f"{self.name}: metric must be 'hits@K' such as 'hits@50', 'mrr' or 'auc', got "
                f"{self.metric!r}"
            )
        self._check_official()

    def _check_official(self) -> None:
        if self.official is None:
            return
        if self.official not in _OFFICIAL:
            raise ValueError(
                f"{self.name}: official must be one of {', '.join(_OFFICIAL)}, got "
                f"{self.official!r}; leave it out for other links"
            )
        dims = {self.val_negative.dim(), self.test_negative.dim()}
        if dims != {_OFFICIAL[self.official]}:
            raise ValueError(
                f"{self.name}: these are not the pairs that {self.official} is scored with; pass "
                "official=None"
            )

    def _check_x(self) -> None:
        x, rows = self.x, self.num_embeddings
        if x is not None and not isinstance(x, CSR):
            check_tensor(self.name, "x", x)
        if x is not None and x.shape[0] != self.num_nodes:
            raise ValueError(
                f"{self.name}: x has {x.shape[0]} rows but the graph has {self.num_nodes} nodes; "
                "give one row per node"
            )
        if isinstance(x, CSR) or (x is not None and x.is_floating_point()):
            values = x.value if isinstance(x, CSR) else x
            if len(x.shape) != 2:
                raise ValueError(f"{self.name}: x must be [N, F], got shape {tuple(x.shape)}")
            if values is not None and not all_finite(values):
                raise ValueError(f"{self.name}: x holds NaN or infinite features; fill them")
            if rows is not None:
                raise ValueError(f"{self.name}: num_embeddings is {rows}, but x holds features")
            return
        if x is not None and (x.dtype != torch.int64 or x.dim() != 1):
            raise TypeError(
                f"{self.name}: x must be floats [N, F] or int64 [N] (rows of an embedding table), "
                f"got {x.dtype} of shape {tuple(x.shape)}"
            )
        if x is not None and x.numel() and int(x.min()) < 0:
            raise ValueError(f"{self.name}: x holds the table row {int(x.min())}; count from 0")
        if rows is not None and rows < self._table_rows:
            raise ValueError(
                f"{self.name}: num_embeddings is {rows}, but {self._table_rows} rows are needed"
            )

    def _check_pairs(self, part: str, pairs: Tensor) -> None:
        check_tensor(self.name, part, pairs)
        negative = part in ("val_negative", "test_negative")
        dtypes = (torch.int64, torch.int32) if negative else (torch.int64,)
        if pairs.dtype not in dtypes:
            raise TypeError(f"{self.name}: {part} must be int64, got {pairs.dtype}; use .long()")
        shape, expected = tuple(pairs.shape), "[2, M] or [2, P, K]" if negative else "[2, E]"
        if pairs.dim() not in ((2, 3) if negative else (2,)) or shape[0] != 2:
            remedy = "; pass its transpose" if len(shape) == 2 and shape[1] == 2 else ""
            raise ValueError(f"{self.name}: {part} must be {expected}, got shape {shape}{remedy}")
        if pairs.numel() == 0:
            raise ValueError(f"{self.name}: {part} is empty; give it at least one pair")
        low, high = (int(bound) for bound in torch.aminmax(pairs))
        if low < 0 or high >= self.num_nodes:
            raise ValueError(
                f"{self.name}: {part} must hold node ids 0 .. {self.num_nodes - 1}, got {low} .. "
                f"{high}"
            )

    def _check_negatives(self, part: str) -> None:
        positive, negative = self.parts[part], self.parts[f"{part}_negative"]
        if negative.dim() == 3 and negative.shape[1] != positive.shape[1]:
            raise ValueError(
                f"{self.name}: {part}_negative has candidates for {negative.shape[1]} links, but "
                f"{part} has {positive.shape[1]}"
            )

    @property
    def parts(self) -> dict[str, Tensor]:
        """All lists of pairs by name; ``train_negative`` only where there are some."""
        fixed = () if self.train_negative is None else ("train_negative",)
        names = ("train", *fixed, "val", "val_negative", "test", "test_negative")
        return {name: getattr(self, name) for name in names}

    @property
    def _table_rows(self) -> int:
        return self.num_nodes if self.x is None else int(self.x.max()) + 1  # type: ignore[union-attr]

    @property
    def dims(self) -> dict[str, int | None]:
        """The sizes that a model's constructor needs; exactly one of the two is a number."""
        if self.x is not None and len(self.x.shape) == 2:
            return {"in_channels": int(self.x.shape[1]), "num_embeddings": None}
        return {"in_channels": None, "num_embeddings": self.num_embeddings or self._table_rows}

    @property
    def adjacency(self) -> Adjacency:
        """The training links as a simple undirected graph: no repetitions, no self loops."""
        return self.removal.adjacency

    @cached_property
    def removal(self) -> LinkRemoval:
        """That graph with what takes links out of it; built once for all seeds of a run."""
        return LinkRemoval(self.train, self.num_nodes)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over all pairs and sizes: equal for equal splits of equal-sized data."""
        digest = hashlib.sha256(repr((self.num_nodes, *self.dims.values())).encode())
        for part, pairs in self.parts.items():
            digest.update(f"{part} {tuple(pairs.shape)} ".encode())
            for piece in pairs.reshape(-1).split(_PIECE):
                digest.update(piece.cpu().numpy().astype("<i8").tobytes())
        return digest.hexdigest()

    def to(self, device: torch.device | str) -> LinkData:
        """The same data with every tensor on ``device``; itself where all is there already."""
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        moved: dict[str, Any] = {
            name: part.to(device) for name, part in parts.items() if isinstance(part, Tensor | CSR)
        }
        same = all(part is parts[name] for name, part in moved.items())
        return self if same else replace(self, **moved)

    def summary(self) -> dict[str, int | str | None]:
        """Name, sizes and fingerprint, for tables and for what is written beside a run."""
        return {
            "name": self.name,
            "num_nodes": self.num_nodes,
            "num_edges": self.adjacency.num_edges // 2,
            "num_features": self.dims["in_channels"],
            "metric": self.metric,
            **{part: pairs[0].numel() for part, pairs in self.parts.items()},
            "fingerprint": self.fingerprint,
        }
