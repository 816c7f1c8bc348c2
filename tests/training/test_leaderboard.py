"""OGB's sheet: ten seeds exactly, its numbers, and every field of the form."""

import csv
import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from graphseq.training.catalog import load_file
from graphseq.training.experiment import Experiment
from graphseq.training.leaderboard import leaderboard, sheet
from graphseq.training.run import run

IDEA = Path(__file__).parents[1] / "ideas" / "line.py"
FIELDS = (
    *("OGB version", "Method name", "External data", "Dataset", "Metric", "Test performance"),
    *("Validation performance", "Seeds", "Contact", "Code", "Command", "Paper", "#Params"),
    *("Hardware", "Validation labels or edges used for training", "Versions", "Commit"),
)


@pytest.fixture
def line() -> Experiment:
    return dataclasses.replace(load_file(IDEA)["line"], seeds=range(100, 103))


def fields_of(text: str) -> dict[str, str]:
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return dict(rows[1:])  # type: ignore[arg-type]


def test_sheet_and_runs(line: Experiment, tmp_path: Path) -> None:
    summary = leaderboard(line, out=tmp_path, command="graphseq leaderboard line")
    fields = fields_of((tmp_path / "sheet.md").read_text())
    assert tuple(fields) == FIELDS
    rows = list(csv.DictReader((tmp_path / "runs.csv").read_text().splitlines()))
    assert [row["seed"] for row in rows] == [str(seed) for seed in range(10)]
    for split, field in (("test", "Test performance"), ("val", "Validation performance")):
        percent = 100 * torch.tensor([float(row[f"{split}/acc"]) for row in rows]).double()
        assert fields[field] == f"{percent.mean():.2f} ± {percent.std(unbiased=True):.2f} %"
    assert fields["Metric"] == "acc"
    assert fields["Seeds"] == "0 1 2 3 4 5 6 7 8 9"
    assert fields["Command"] == "`graphseq leaderboard line`"
    assert fields["#Params"] == str(summary["num_parameters"])
    assert fields["OGB version"] == summary["versions"]["ogb"]
    assert fields["Method name"] == "Plane"
    assert fields["Dataset"] == "points plane"
    assert fields["Paper"] == "nobody"
    assert fields["Validation labels or edges used for training"] == "no"


def test_continues_where_it_stopped(line: Experiment, tmp_path: Path) -> None:
    def stop(result: Any) -> None:
        if result["seed"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        leaderboard(line, out=tmp_path, on_seed=stop)
    assert not (tmp_path / "sheet.md").exists()
    trained: list[Any] = []
    leaderboard(line, out=tmp_path, on_seed=lambda result: trained.append(result["seed"]))
    assert trained == list(range(3, 10))
    assert (tmp_path / "sheet.md").exists()


def test_other_seeds_are_refused(line: Experiment, tmp_path: Path) -> None:
    run(line, [12], out=tmp_path)
    with pytest.raises(ValueError, match="holds seed 12, and OGB asks for 0 to 9 exactly"):
        leaderboard(line, out=tmp_path)
    assert not (tmp_path / "sheet.md").exists()


def test_use_of_validation_labels_is_told(line: Experiment) -> None:
    def build(model: Any, data: Any, use_val_labels: bool = False) -> Any:
        return line.task.func(model, data)

    for use, told in ((False, "no"), (True, "yes (task.use_val_labels)")):
        experiment = dataclasses.replace(line, task=partial(build, use_val_labels=use))
        fields = fields_of(sheet(experiment, run(experiment, [0, 1])))
        assert fields["Validation labels or edges used for training"] == told


def test_without_a_claim_the_first_score_counts(line: Experiment) -> None:
    experiment = dataclasses.replace(line, claim=None)
    fields = fields_of(sheet(experiment, run(experiment, [0, 1])))
    assert fields["Metric"] == "mse"
    assert fields["Paper"] == "(to be filled in)"


def test_nothing_to_report(line: Experiment) -> None:
    summary = run(line, [0, 1])
    summary["metrics"] = {"test/loss": summary["metrics"]["test/mse"]}
    with pytest.raises(ValueError, match="no score on both validation and test"):
        sheet(line, summary)
