"""Committed results: only finished runs with the shipped settings, and a table that adds up."""

import dataclasses
import json
from functools import partial
from pathlib import Path

import pytest
from torch import nn

from graphseq.training import Budget, Claim, Experiment, results
from graphseq.training.settings import leaves


def data(size: int = 3) -> None:
    raise AssertionError("a table needs no data")


def task(model: nn.Module, data: object) -> None:
    raise AssertionError("a table needs no task")


def experiment(size: int = 3, tolerance: float = 0.05) -> Experiment:
    return Experiment(
        name="line",
        data=partial(data, size=size),
        model=partial(nn.Identity),
        task=partial(task),
        budget=Budget(epochs=2),
        seeds=range(2),
        claim=Claim("test/acc", 0.8, 0.01, source="nowhere", tolerance=tolerance),
    )


def finished(folder: Path, settings: dict[str, object]) -> Path:
    folder.mkdir()
    summary = {"experiment": "line", "settings": json.loads(json.dumps(settings))}
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "runs.csv").write_text("seed,test/acc,seconds\n0,0.81,3.0\n1,0.83,5.0\n")
    return folder


def test_a_finished_run_is_kept_and_stands_in_the_table(tmp_path: Path) -> None:
    line = experiment()
    results.keep(finished(tmp_path / "run", leaves(line)), {"line": line}, tmp_path)
    table = results.markdown({"line": line}, tmp_path)
    assert "| 82.00 ± 1.41 | 2 | 80.0 ± 1.0 | +2.00 (within 5.0) | 4.0 |" in table
    assert "without results" not in table
    strict = results.markdown({"line": experiment(tolerance=0.01)}, tmp_path)
    assert "+2.00 (outside 1.0)" in strict


def test_without_a_claim_the_first_score_is_shown(tmp_path: Path) -> None:
    line = dataclasses.replace(experiment(), claim=None)
    text = "seed,val/auc,test/loss,test/auc,test/auc_too,seconds\n0,0.1,0.2,0.9,0.3,1.0\n"
    (tmp_path / "line.csv").write_text(text)
    table = results.markdown({"line": line}, tmp_path)
    assert "| test/auc | 90.00 | 1 of 2 | - | - | 1.0 |" in table
    study = dataclasses.replace(line, study=True)
    assert "90.00" in results.markdown({"line": study}, tmp_path)
    assert "90.00" not in results.markdown({"line": study}, tmp_path, complete=False)


def test_a_row_that_lacks_seeds_says_so_and_gives_no_verdict(tmp_path: Path) -> None:
    line = dataclasses.replace(experiment(), seeds=range(3))
    results.keep(finished(tmp_path / "run", leaves(line)), {"line": line}, tmp_path)
    table = results.markdown({"line": line}, tmp_path)
    assert "| 82.00 ± 1.41 | 2 of 3 | 80.0 ± 1.0 | +2.00 (partial) | 4.0 |" in table
    assert "within" not in table


def test_seeds_of_another_folder_join_those_that_are_there(tmp_path: Path) -> None:
    line = experiment()
    results.keep(finished(tmp_path / "run", leaves(line)), {"line": line}, tmp_path)
    second = finished(tmp_path / "more", leaves(line))
    (second / "runs.csv").write_text("seed,test/acc,seconds,note\n2,0.9,1.0,new\n1,0.7,9.0,again\n")
    path = results.keep(second, {"line": line}, tmp_path)
    assert path.read_text().splitlines() == [
        *("seed,test/acc,seconds,note", "0,0.81,3.0,", "1,0.7,9.0,again", "2,0.9,1.0,new"),
    ]


def test_what_has_no_results_is_listed_by_model(tmp_path: Path) -> None:
    names = ("line", "mlp", "curve")
    models = (nn.Identity, nn.Linear, nn.Identity)
    experiments = {
        name: dataclasses.replace(experiment(), name=name, model=partial(model))
        for name, model in zip(names, models, strict=True)
    }
    table = results.markdown(experiments, tmp_path)
    assert table.endswith(
        "\n\nDeclared, but without results so far:\n\n- Identity: `line`, `curve`\n- Linear: `mlp`"
    )
    assert "Declared" not in results.markdown(experiments, tmp_path, complete=False)


def test_a_run_with_overrides_is_refused(tmp_path: Path) -> None:
    folder = finished(tmp_path / "run", leaves(experiment(size=4)))
    with pytest.raises(ValueError, match=r"data\.size was 4, the experiment line says 3"):
        results.keep(folder, {"line": experiment()}, tmp_path)
    with pytest.raises(ValueError, match="no shipped experiment"):
        results.keep(folder, {}, tmp_path)
    with pytest.raises(FileNotFoundError, match="finish the run first"):
        results.keep(tmp_path, {"line": experiment()}, tmp_path)


def test_the_table_goes_between_its_markers(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text(f"before\n{results.START}\nold\n{results.END}\nafter\n")
    results.insert(page, "new")
    assert page.read_text() == f"before\n{results.START}\nnew\n{results.END}\nafter\n"
    page.write_text("no markers")
    with pytest.raises(ValueError, match="no place for the table"):
        results.insert(page, "new")
