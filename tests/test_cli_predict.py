"""``graphseq predict``: from an edge list, or a run, to scored pairs."""

import csv
from pathlib import Path

import pytest
import torch

from graphseq.cli import main
from graphseq.graph.ops import LinkRemoval
from graphseq.training.catalog import shipped
from graphseq.training.replay import restore


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ring of 90 nodes, each joined with the next three, as an edge list; and four pairs."""
    monkeypatch.chdir(tmp_path)
    edges = [(i, (i + step) % 90) for i in range(90) for step in (1, 2, 3)]
    Path("ring.csv").write_text("source,target\n" + "\n".join(f"{i},{j}" for i, j in edges) + "\n")
    Path("pairs.csv").write_text("0,1\n0,45\n7,5\n3,3\n")
    return tmp_path


def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two epochs are enough to see that the pieces fit together."""
    import dataclasses
    from functools import partial

    own = shipped()["ncn_own"]
    task = partial(own.task.func, **{**own.task.keywords, "epochs": 2})
    monkeypatch.setattr(
        "graphseq.training.catalog.shipped",
        lambda: {"ncn_own": dataclasses.replace(own, task=task)},
    )


def scores(path: str) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_an_edge_list_is_trained_on_once_and_pairs_are_scored(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    short(monkeypatch)
    assert main(["predict", "ring.csv", "--pairs", "pairs.csv", "--out", "out.csv"]) == 0
    assert "wrote out.csv" in capsys.readouterr().out
    rows = scores("out.csv")
    assert [(row["source"], row["target"]) for row in rows] == [
        *(("0", "1"), ("0", "45"), ("7", "5"), ("3", "3"))
    ]
    assert [row["known"] for row in rows] == ["1", "0", "1", "0"]
    result = Path("runs/ring/seed0/result.json").stat().st_mtime_ns

    # The finished run is asked again, by either name, and the model's own answer is what is told.
    for source in ("ring.csv", "runs/ring"):
        assert main(["predict", source, "--pairs", "pairs.csv", "--out", "again.csv"]) == 0
        assert scores("again.csv") == rows
    assert Path("runs/ring/seed0/result.json").stat().st_mtime_ns == result
    from graphseq.training import catalog

    task = restore("runs/ring", catalog.shipped()["ncn_own"], 0).eval()
    data = task.data
    links = torch.cat([data.train, data.val, data.test], dim=1)
    graph = LinkRemoval(links, data.num_nodes).adjacency
    with torch.no_grad():
        logits = task.model(data.x, graph, torch.tensor([[0, 0, 7, 3], [1, 45, 5, 3]]))
    found = torch.tensor([float(row["probability"]) for row in rows])
    torch.testing.assert_close(found, logits.sigmoid(), rtol=1e-4, atol=1e-6)


def test_the_table_is_written_some_rows_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from graphseq.cli import predict

    pairs = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])
    columns = pairs, torch.tensor([0.5, 0.25, 1.0, 1e-7, 0.1]), torch.arange(5) % 2 == 0
    texts = []
    for rows in (2, 100):
        monkeypatch.setattr(predict, "ROWS", rows)
        predict._write(tmp_path / "out.csv", *columns)
        texts.append((tmp_path / "out.csv").read_text())
    assert texts[0] == texts[1]
    assert texts[0].splitlines()[::4] == ["source,target,probability,known", "1,5,1e-07,0"]
    assert len(texts[0].splitlines()) == 6


def test_errors_are_one_line_and_name_the_remedy(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    short(monkeypatch)
    Path("far.csv").write_text("source,target\n0,1\n5,90\n")
    assert main(["predict", "ring.csv", "--pairs", "none.csv"]) == 2
    assert main(["predict", "ring.csv", "--pairs", "far.csv"]) == 2
    assert main(["predict", "nowhere", "--pairs", "pairs.csv"]) == 2
    assert main(["predict", "--pairs", "pairs.csv"]) == 2
    assert main(["predict", "ring.csv"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 5
    assert all(line.startswith("error: ") for line in errors)
    assert "none.csv, which is no file" in errors[0]
    assert "far.csv, line 3: pair 5, 90, but the graph has nodes 0 to 89" in errors[1]
    assert "pairs" in errors[4]


def test_a_run_that_predicts_no_links_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = ["train", "mlp_digits", "--seeds", "0", "--budget.epochs", "1", "--out", "runs/mlp"]
    assert main(train) == 0
    assert main(["predict", "runs/mlp", "--pairs", "pairs.csv"]) == 2
    assert "is a run of NodeClassification" in capsys.readouterr().err
