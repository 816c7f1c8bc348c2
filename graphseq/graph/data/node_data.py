"""One graph with node features, node labels and splits, checked once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from graphseq.graph.adjacency import Adjacency
from graphseq.graph.checks import all_finite
from graphseq.graph.csr import CSR


@dataclass(frozen=True, eq=False)
class NodeData:
    """A node classification problem on one graph. Everything is checked at construction.

    Args:
        x: Node features, a float tensor or a sparse :class:`~graphseq.graph.csr.CSR`.
        adjacency: The graph over the same nodes.
        y: Class of each node, in ``0 .. num_classes - 1``; -1 where it is not known, which is
            allowed only outside of the splits.
        train: Nodes whose labels are learnt from.
        val: Nodes whose labels choose the epoch and the hyper-parameters.
        test: Nodes whose labels are only scored.
        num_classes: Number of classes C.
        name: Shown in tables and error messages.
        official: OGB's name of the dataset where the splits are OGB's, "ogbn-arxiv": its own
            evaluator then computes the final accuracy.

    Shape:
        - x: ``[N, F]``
        - y: ``[N]``, int64
        - train, val, test: ``[number of nodes in the split]``, int64, without repetitions and
          without common nodes

    Raises:
        TypeError: An argument has the wrong type or dtype.
        ValueError: Shapes do not fit together, features are not finite, a label or an index is
            out of range, a split is empty, repeats nodes or shares some with another, or the
            official name is unknown.
    """

    x: Tensor | CSR
    adjacency: Adjacency
    y: Tensor
    train: Tensor
    val: Tensor
    test: Tensor
    num_classes: int
    name: str = "graph"
    official: str | None = None

    def __post_init__(self) -> None:
        self._check_features()
        self._check_labels()
        self._check_splits()
        if self.official not in (None, "ogbn-arxiv"):
            raise ValueError(
                f"{self.name}: official must be ogbn-arxiv, got {self.official!r}; leave it out "
                "for other data"
            )

    def _check_features(self) -> None:
        values = self.x.value if isinstance(self.x, CSR) else self.x
        if len(self.x.shape) != 2:
            raise ValueError(f"{self.name}: x must be [N, F], got shape {tuple(self.x.shape)}")
        if values is not None and not values.is_floating_point():
            raise TypeError(
                f"{self.name}: x must be floating point, got {values.dtype}; convert it"
            )
        if self.adjacency.num_nodes != self.x.shape[0]:
            raise ValueError(
                f"{self.name}: x has {self.x.shape[0]} rows but the graph has "
                f"{self.adjacency.num_nodes} nodes; give one row per node"
            )
        if values is not None and not all_finite(values):
            raise ValueError(f"{self.name}: x holds NaN or infinite features; remove or fill them")

    def _check_labels(self) -> None:
        if self.y.dtype != torch.int64:
            raise TypeError(f"{self.name}: y must be int64, got {self.y.dtype}; use y.long()")
        if self.y.shape != (self.num_nodes,):
            raise ValueError(
                f"{self.name}: y must be [{self.num_nodes}], one class per node, got shape "
                f"{tuple(self.y.shape)}"
            )
        low, high = (int(self.y.min()), int(self.y.max())) if self.num_nodes else (0, -1)
        if low < -1 or high >= self.num_classes:
            raise ValueError(
                f"{self.name}: y must lie in 0 .. {self.num_classes - 1} (-1: unknown), got values "
                f"{low} .. {high}"
            )

    def _check_splits(self) -> None:
        seen = torch.zeros(self.num_nodes, dtype=torch.bool, device=self.y.device)
        for split, nodes in self.splits.items():
            if nodes.dtype != torch.int64 or nodes.ndim != 1:
                raise TypeError(
                    f"{self.name}: {split} must be a vector of int64 node ids, got {nodes.dtype} "
                    f"of shape {tuple(nodes.shape)}; turn a mask into ids with mask.nonzero()[:, 0]"
                )
            if nodes.numel() == 0:
                raise ValueError(f"{self.name}: {split} is empty; give it at least one node")
            if int(nodes.min()) < 0 or int(nodes.max()) >= self.num_nodes:
                raise ValueError(
                    f"{self.name}: {split} must hold node ids 0 .. {self.num_nodes - 1}, got "
                    f"{int(nodes.min())} .. {int(nodes.max())}"
                )
            if bool(seen[nodes].any()) or nodes.unique().numel() != nodes.numel():
                raise ValueError(
                    f"{self.name}: {split} repeats a node or shares one with another split; "
                    "each node may be in one split once"
                )
            if bool((self.y[nodes] < 0).any()):
                raise ValueError(f"{self.name}: {split} holds nodes whose label is unknown (-1)")
            seen[nodes] = True

    @property
    def splits(self) -> dict[str, Tensor]:
        """The three splits by name."""
        return {"train": self.train, "val": self.val, "test": self.test}

    @property
    def num_nodes(self) -> int:
        """Number of nodes N."""
        return int(self.x.shape[0])

    @property
    def dims(self) -> dict[str, int]:
        """The sizes that a model's constructor needs."""
        return {"in_channels": int(self.x.shape[1]), "out_channels": self.num_classes}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the splits and all sizes: equal for equal splits of equal-sized data."""
        sizes = (self.num_nodes, self.adjacency.num_edges, *self.dims.values())
        digest = hashlib.sha256(repr(sizes).encode())
        for split, nodes in self.splits.items():
            digest.update(f"{split} {nodes.numel()} ".encode())
            digest.update(nodes.cpu().numpy().astype("<i8").tobytes())
        return digest.hexdigest()

    def to(self, device: torch.device | str) -> NodeData:
        """The same data with every tensor on ``device``."""
        return replace(
            self,
            x=self.x.to(device),
            adjacency=self.adjacency.to(device),
            y=self.y.to(device),
            train=self.train.to(device),
            val=self.val.to(device),
            test=self.test.to(device),
        )

    def summary(self) -> dict[str, int | str]:
        """Name, sizes and fingerprint, for tables and for what is written beside a run."""
        return {
            "name": self.name,
            "num_nodes": self.num_nodes,
            "num_edges": self.adjacency.num_edges,
            "num_features": int(self.x.shape[1]),
            "num_classes": self.num_classes,
            **{split: nodes.numel() for split, nodes in self.splits.items()},
            "fingerprint": self.fingerprint,
        }

    def to_pyg(self) -> Any:
        """The same problem as a ``torch_geometric.data.Data`` with dense features and masks."""
        from torch_geometric.data import Data

        masks = {}
        for split, nodes in self.splits.items():
            mask = torch.zeros(self.num_nodes, dtype=torch.bool, device=self.y.device)
            mask[nodes] = True
            masks[f"{split}_mask"] = mask
        x = self.x.to_dense() if isinstance(self.x, CSR) else self.x
        return Data(x=x, edge_index=self.adjacency.edge_index, y=self.y, **masks)

    @staticmethod
    def from_pyg(data: Any, *, name: str = "graph", num_classes: int | None = None) -> NodeData:
        """Take over a ``torch_geometric.data.Data`` with features, labels and three masks.

        Args:
            data: Holds ``x``, ``edge_index``, ``y`` and ``train_mask``, ``val_mask``,
                ``test_mask``. Edges are taken as they are: nothing is symmetrised.
            name: The new data's name.
            num_classes: Number of classes; the largest label plus one where it is None.

        Raises:
            ValueError: A part is missing, or the parts do not fit together.
        """
        masks = [f"{split}_mask" for split in ("train", "val", "test")]
        missing = [key for key in ("x", "edge_index", "y", *masks) if data.get(key) is None]
        if missing:
            raise ValueError(f"{name}: the PyG data has no {missing[0]}; set it first")
        for key in masks:
            if data[key].dtype != torch.bool or data[key].ndim != 1:
                raise ValueError(
                    f"{name}: {key} must be one boolean column, got {data[key].dtype} of shape "
                    f"{tuple(data[key].shape)}; choose one split, such as {key}[:, 0]"
                )
        y = data.y.reshape(-1) if data.y.ndim == 2 and data.y.shape[1] == 1 else data.y
        return NodeData(
            x=data.x,
            adjacency=Adjacency.from_edge_index(data.edge_index, num_nodes=data.x.shape[0]),
            y=y,
            **{key.removesuffix("_mask"): data[key].nonzero()[:, 0] for key in masks},
            num_classes=int(y.max()) + 1 if num_classes is None else num_classes,
            name=name,
        )
