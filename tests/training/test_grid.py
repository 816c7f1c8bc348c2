"""A grid is all combinations, each an ordinary experiment with a name of its own."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from graphseq.training import Experiment, results
from graphseq.training.catalog import find_experiments, pick
from graphseq.training.grid import cell, cells
from graphseq.training.settings import leaves


def data(length: int = 1, pairs: int = 1) -> None:
    raise AssertionError("a grid needs no data")


def task(model: nn.Module, data: object, lr: float = 0.1) -> None:
    raise AssertionError("a grid needs no task")


def experiment(grid: Any = None) -> Experiment:
    axes = (
        ({"data.length": 8, "data.pairs": 2}, {"data.length": 16, "data.pairs": 4}),
        ({"task.lr": 1e-4}, {"task.lr": 0.01}, {"task.lr": 1.0}),
    )
    return Experiment(
        name="line",
        data=partial(data),
        model=partial(nn.Linear, in_features=3, out_features=1),
        task=partial(task),
        seeds=range(2),
        grid=axes if grid is None else grid,
    )


def test_cells_are_all_combinations() -> None:
    found = cells(experiment())
    assert [one.name for one in found] == [
        *("line-length8-lr0.0001", "line-length8-lr0.01", "line-length8-lr1"),
        *("line-length16-lr0.0001", "line-length16-lr0.01", "line-length16-lr1"),
    ]
    settings = [leaves(one) for one in found]
    assert [(s["data.length"], s["data.pairs"]) for s in settings] == [(8, 2)] * 3 + [(16, 4)] * 3
    assert [s["task.lr"] for s in settings] == [1e-4, 0.01, 1.0] * 2
    assert all(one.grid == () and one.seeds == range(2) for one in found)


def test_without_a_grid_an_experiment_is_itself() -> None:
    one = experiment(grid=())
    assert cells(one) == [one]


def test_cells_are_found_by_name() -> None:
    whole = experiment()
    for one in cells(whole):
        for found in (cell(whole, one.name), pick({"line": whole}, one.name)):
            assert (found.name, leaves(found)) == (one.name, leaves(one))
    assert pick({"line": whole}, "line") is whole
    with pytest.raises(ValueError, match=r"line has 6 cells, such as line-length8-lr0\.0001"):
        pick({"line": whole}, "line-length9")


@pytest.mark.parametrize("grid", [((),), (({},),)])
def test_an_axis_without_settings_is_refused(grid: Any) -> None:
    with pytest.raises(ValueError, match="grid has an axis without settings"):
        cells(experiment(grid))


def test_settings_must_exist() -> None:
    with pytest.raises(ValueError, match=r"has no setting task\.rate"):
        cells(experiment(grid=(({"task.rate": 1},),)))


def test_results_of_cells_stand_in_the_table(tmp_path: Path) -> None:
    whole = experiment()
    assert "- Linear: `line`" in results.markdown({"line": whole}, tmp_path)
    (tmp_path / "line-length16-lr1.csv").write_text("seed,test/ppl,seconds\n0,151.25,1.0\n")
    table = results.markdown({"line": whole}, tmp_path)
    assert "| `line-length16-lr1` (Linear) | test/ppl | 151.25 | 1 of 2 |" in table
    assert "without results" not in table


def test_the_command_line_reaches_all_cells() -> None:
    assert len(find_experiments("mqar_grid_ssd")) == 4 * 4 * 4 * 4
    assert len(find_experiments("mqar_grid_qlstm")) == 4 * 4 * 4
    name = "mqar_grid_ssd-length512-hidden_channels128-state_size32-lr0.01"
    (one,) = find_experiments(name)
    settings = leaves(one)
    assert (one.name, settings["data.num_pairs"], settings["model.mixer.state_size"]) == (
        *(name, 64, 32),
    )
    assert dataclasses.replace(one, name="x") != one
