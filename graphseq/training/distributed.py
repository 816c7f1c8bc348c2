"""The processes that train together: decisions, buffers and predictions of all ranks."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor

from graphseq.training.task import Shard

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Predictions = Tensor | dict[str, Tensor]


class World:
    """The processes that train together: one, or those of a ``torchrun``."""

    def __init__(self, fabric: "Fabric") -> None:
        self.fabric = fabric
        self.shard = Shard(fabric.global_rank, fabric.world_size)
        self.alone = fabric.world_size == 1
        self.writes = fabric.global_rank == 0

    def gather_objects(self, mine: Any) -> list[Any]:
        """``mine`` of every rank, in the order of ranks."""
        if self.alone:
            return [mine]
        gathered: list[Any] = [None] * self.shard.size
        dist.all_gather_object(gathered, mine)
        return gathered

    def from_first(self, value: Any) -> Any:
        """The first rank's ``value``, on every rank."""
        return value if self.alone else self.fabric.broadcast(value)

    def mean(self, row: dict[str, float]) -> dict[str, float]:
        """Mean of each value over ranks."""
        if self.alone:
            return row
        rows = self.gather_objects(row)
        return {key: sum(other[key] for other in rows) / len(rows) for key in row}

    def agree(self, due: bool, signal: int) -> tuple[bool, int]:
        """One decision for all ranks: the first rank's clock, and a signal to any rank."""
        if self.alone:
            return due, signal
        votes = torch.tensor([due and self.writes, signal], device=self.fabric.device)
        dist.all_reduce(votes, dist.ReduceOp.MAX)
        first, second = votes.tolist()
        return bool(first), second

    def level(self, buffers: Iterable[Tensor]) -> None:
        """Give every rank the first rank's values of ``buffers``."""
        if not self.alone:
            for buffer in buffers:
                dist.broadcast(buffer, 0)

    def require_equal(self, parameters: Mapping[str, Sequence[Tensor]]) -> None:
        """Check that ranks hold the same weights.

        A unit whose submodules were called directly never meets the other ranks: its gradients are
        not averaged, and nothing but the weights tells.

        Args:
            parameters: Unit path -> its parameters.

        Raises:
            ValueError: Names the first unit in which ranks differ.
        """
        if self.alone:
            return
        sums = {path: _checksum(tensors) for path, tensors in parameters.items()}
        others = self.gather_objects(sums)
        for path in sums:
            if any(other[path] != others[0][path] for other in others):
                raise ValueError(
                    f"fit: ranks hold different weights in unit {path!r}; call the unit itself "
                    f"(its forward), not its parts, and yield the same losses on every rank"
                )

    def join(self, parts: Sequence[Predictions]) -> Predictions:
        """Concatenate predictions over batches and ranks, in the order of one process.

        Batch ``b`` of the whole is batch ``b`` of rank 0, then of rank 1, and so on; ranks may
        hold different numbers of rows and of batches.

        Args:
            parts: One entry per batch of this rank: a tensor, or a dictionary of tensors, rows
                first.

        Raises:
            TypeError: If a part is neither.
            ValueError: If no rank has a part.
        """
        batches = [_as_columns(part) for part in parts]
        sizes = self.gather_objects([{k: len(v) for k, v in b.items()} for b in batches])
        forms = self.gather_objects(
            {k: (v.dtype, v.shape[1:]) for k, v in batches[0].items()} if batches else None
        )
        form = next((form for form in forms if form is not None), None)
        if form is None:
            raise ValueError("fit: no rank has a batch to predict")
        whole = {}
        for key, (dtype, shape) in form.items():
            columns = [batch[key] for batch in batches]
            counts = [[batch[key] for batch in rank] for rank in sizes]
            whole[key] = self._join_column(columns, counts, dtype, shape)
        return whole[""] if list(whole) == [""] else whole

    def _join_column(
        self, mine: list[Tensor], counts: list[list[int]], dtype: torch.dtype, shape: torch.Size
    ) -> Tensor:
        if self.alone:
            return mine[0] if len(mine) == 1 else torch.cat(mine)
        most = max(sum(rank) for rank in counts)
        padded = torch.zeros((most, *shape), dtype=dtype, device=self.fabric.device)
        if mine:
            own = torch.cat(mine)
            padded[: len(own)] = own
        ranks = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(ranks, padded)
        split = [
            rows[: sum(n)].split(n) if n else () for rows, n in zip(ranks, counts, strict=True)
        ]
        longest = max(len(rank) for rank in split)
        return torch.cat([rank[b] for b in range(longest) for rank in split if b < len(rank)])


def _as_columns(part: Predictions) -> dict[str, Tensor]:
    columns = part if isinstance(part, dict) else {"": part}
    for name, column in columns.items():
        if not isinstance(column, Tensor) or column.dim() == 0:
            got = type(column).__name__ if not isinstance(column, Tensor) else "a scalar tensor"
            raise TypeError(
                f"Task.predict: need a tensor or a dict of tensors with rows first, got {got}"
                + (f" for {name!r}" if name else "")
            )
    return columns


def _checksum(tensors: Sequence[Tensor]) -> str:
    # As text, because a sum that is nan is still equal to itself on another rank.
    return repr([float(t.detach().double().sum()) for t in tensors])
