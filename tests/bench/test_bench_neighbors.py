from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from graphseq.bench import neighbors
from graphseq.graph.adjacency import Adjacency
from graphseq.graph.csr import CSR


@pytest.mark.parametrize("case", neighbors.CASES)
def test_rows(case: str) -> None:
    rows = neighbors.rows(case, seconds=0.0, shrink=50)
    keys = {"op", "case", "ours_ms", "reference", "reference_ms", "ratio", "max_error"}
    assert all(set(row) == keys for row in rows)
    assert [(row["op"], row["reference"]) for row in rows] == [
        ("pool_common forward + backward", "straightforward"),
        ("LinkRemoval.without", "rebuild"),
        ("sample_non_edges", "PyG"),
    ]


def test_the_random_graph_has_the_size_it_should() -> None:
    links = neighbors.random_links(4_000, 20_000, 2.0)
    assert links.shape == (2, 20_000)
    assert bool((links[0] < links[1]).all())
    assert links.unique(dim=1).shape == links.shape


@pytest.mark.parametrize("wrong", ["value", "gradient", "graph", "negative"])
def test_no_speed_is_reported_for_another_result(
    wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool: Callable[..., Tensor] = neighbors.pool_common

    def pool_common(graph: CSR, x: Tensor, pairs: Tensor) -> Tensor:
        out = pool(graph, x, pairs)
        return out * 1.01 if wrong == "value" else out.detach() + 0 * x.sum()

    if wrong in ("value", "gradient"):
        monkeypatch.setattr(neighbors, "pool_common", pool_common)
    elif wrong == "graph":
        monkeypatch.setattr(
            neighbors.LinkRemoval, "without", lambda self, index: Adjacency(self.adjacency.csr)
        )
    else:
        edge = torch.zeros(2, 5, dtype=torch.int64)
        monkeypatch.setattr(neighbors, "sample_non_edges", lambda *arguments: edge)
    with pytest.raises(ValueError, match="no speed is reported"):
        neighbors.rows("power_law", seconds=0.0, shrink=50)
