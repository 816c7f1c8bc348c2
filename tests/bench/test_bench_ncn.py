"""The benchmark of NCN on small graphs: both sides agree, and it refuses where they do not."""

import pytest
import torch

from graphseq.bench import link_graphs, ncn, ncn_memory
from graphseq.graph.csr import CSR
from graphseq.graph.data import LinkData, links_from_arrays


def tiny(name: str) -> LinkData:
    """Eighty nodes; features as Cora has them, or none as ogbl-ddi."""
    generator = torch.Generator().manual_seed(0)
    source = torch.randint(80, (600,), generator=generator)
    target = (source + torch.randint(1, 9, (600,), generator=generator)) % 80
    x = (torch.rand(80, 12, generator=generator) < 0.3).float()
    return links_from_arrays(
        torch.stack([source, target]),
        x if name == "cora" else None,
        sparse=name == "cora",
        num_negatives=200,
        name=name,
    )


@pytest.mark.parametrize(("case", "ops"), [("cora", 6), ("ddi", 4)])
def test_rows(case: str, ops: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ncn, "links", tiny)
    rows = ncn.rows(case, seconds=0.0)
    keys = {"op", "case", "ours_ms", "reference", "reference_ms", "ratio", "max_error"}
    assert all(set(row) == keys for row in rows)
    assert len(rows) == ops
    assert all(row["max_error"] < (0.1 if "bf16" in row["op"] else 1e-4) for row in rows)


def test_no_speed_is_reported_for_another_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ncn, "links", tiny)
    score = ncn.ReferenceNCN.score
    monkeypatch.setattr(
        ncn.ReferenceNCN, "score", lambda self, *args, **kw: 1.01 * score(self, *args, **kw)
    )
    with pytest.raises(ValueError, match="no speed is reported"):
        ncn.rows("ddi", seconds=0.0)
    with pytest.raises(ValueError, match="no case 'nothing'"):
        ncn.rows("nothing")


@pytest.mark.parametrize(("name", "size"), [("cora", 2_708), ("ddi", 4_267)])
def test_stand_ins_have_the_shape_of_what_they_replace(name: str, size: int) -> None:
    data = link_graphs._random(name)
    assert data.num_nodes == size
    assert isinstance(data.x, CSR) is (name == "cora")
    assert "random" in data.name


@pytest.mark.parametrize("case", ["ppa", "citation2"])
def test_memory_of_large_shapes(case: str) -> None:
    (row,) = ncn_memory.rows(case, shrink=500)
    assert row["case"] == f"random {case} shape"
    assert 0 < row["ours_mb"] < row["reference_mb"]
    assert row["ratio"] == pytest.approx(row["reference_mb"] / row["ours_mb"])
