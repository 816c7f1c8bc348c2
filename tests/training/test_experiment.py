"""Experiments refuse what does not fit where it is written; files of experiments are found."""

import dataclasses
import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from graphseq.training import Budget, catalog
from graphseq.training.catalog import find_experiments, load_file, pick, shipped
from graphseq.training.experiment import Claim, Experiment
from graphseq.training.settings import differences, leaves, with_leaves

IDEA = Path(__file__).parents[1] / "ideas" / "line.py"


@pytest.fixture(scope="module")
def line() -> Experiment:
    return load_file(IDEA)["line"]


def idea_module(experiment: Experiment) -> ModuleType:
    return sys.modules[experiment.model.func.__module__]


def test_misspelt_argument_names_experiment_part_and_remedy(line: Experiment) -> None:
    with pytest.raises(TypeError, match=r"line: model=Plane .*'hiden'; did you mean hidden\?"):
        dataclasses.replace(line, model=partial(line.model.func, hiden=3))
    with pytest.raises(TypeError, match=r"line: data=points .*'row'; did you mean rows"):
        dataclasses.replace(line, data=partial(line.data.func, row=3))
    with pytest.raises(TypeError, match=r"line: task=Regression .*'lrr'"):
        dataclasses.replace(line, task=partial(line.task.func, lrr=3))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_named(line: Experiment, value: float) -> None:
    with pytest.raises(ValueError, match=rf"line: task\.lr is {value}; give a finite number"):
        dataclasses.replace(line, task=partial(line.task.func, lr=value))
    with pytest.raises(
        ValueError, match=rf"checkpoint_seconds must be finite and >= 0, got {value}"
    ):
        Budget(checkpoint_seconds=value)


def test_misspelt_argument_of_a_nested_partial(line: Experiment) -> None:
    def wrapping(in_channels: int, out_channels: int, inner: Any) -> None: ...

    with pytest.raises(TypeError, match=r"model.inner=Plane .*'hiden'"):
        dataclasses.replace(line, model=partial(wrapping, inner=partial(line.model.func, hiden=3)))


def test_missing_argument_is_found_at_construction(line: Experiment) -> None:
    def needs_a_file(path: str, seed: int) -> None: ...

    with pytest.raises(TypeError, match=r"data=.*needs_a_file lacks path"):
        dataclasses.replace(line, data=partial(needs_a_file))
    assert dataclasses.replace(line, data=partial(needs_a_file, path="x")).data_follows_seed


@pytest.mark.parametrize("name", ["", "a b", "../x", "x/y", ".x", 3])
def test_name_must_do_as_a_folder(line: Experiment, name: Any) -> None:
    with pytest.raises(ValueError, match="name must be a word"):
        dataclasses.replace(line, name=name)


@pytest.mark.parametrize("seeds", [(), (1, 1), (-1,), (1.0,), (True,), (2**63,)])
def test_seeds_must_be_different_whole_numbers(line: Experiment, seeds: Any) -> None:
    with pytest.raises(ValueError, match="seeds must be different whole numbers"):
        dataclasses.replace(line, seeds=seeds)


def test_parts_must_be_partials_with_named_arguments(line: Experiment) -> None:
    with pytest.raises(TypeError, match=r"write partial\(points\)"):
        dataclasses.replace(line, data=line.data.func)
    with pytest.raises(TypeError, match="by name, got"):
        dataclasses.replace(line, data=partial(line.data.func, 10))
    with pytest.raises(TypeError, match="model is supplied by the run"):
        dataclasses.replace(line, task=partial(line.task.func, model=None))


def test_build_supplies_dims_but_not_what_is_fixed(line: Experiment) -> None:
    task = line.build(line.load(0), 0)
    assert task.model.input.weight.shape == (4, 3)
    fixed = dataclasses.replace(line, model=partial(line.model.func, out_channels=5))
    assert fixed.build(fixed.load(0), 0).model.output.weight.shape == (5, 3)


def test_build_says_what_the_model_does_not_take(line: Experiment) -> None:
    def narrow(in_channels: int) -> torch.nn.Module:
        return torch.nn.Linear(in_channels, 1)

    experiment = dataclasses.replace(line, model=partial(narrow))
    with pytest.raises(TypeError, match=r"'out_channels'; the run supplies in_channels, out_"):
        experiment.build(experiment.load(0), 0)


def test_data_without_dims(line: Experiment) -> None:
    def bare(seed: int) -> list[int]:
        return [seed]

    with pytest.raises(TypeError, match="returned a list without dims"):
        dataclasses.replace(line, data=partial(bare)).load(0)


def test_seed_reaches_data_unless_fixed(line: Experiment) -> None:
    assert line.load(1).fingerprint != line.load(2).fingerprint  # type: ignore[attr-defined]
    fixed = dataclasses.replace(line, data=partial(line.data.func, seed=7))
    assert not fixed.data_follows_seed
    assert fixed.load(1).fingerprint == fixed.load(2).fingerprint  # type: ignore[attr-defined]


def test_claim_needs_a_source() -> None:
    with pytest.raises(TypeError, match="source"):
        Claim("test/acc", 0.8)  # type: ignore[call-arg]


def test_leaves_hold_defaults_and_leave_out_what_a_run_supplies(line: Experiment) -> None:
    flat = leaves(line)
    assert flat["data"] == "points"
    assert flat["data.rows"] == 40
    assert flat["data.noise"] == 0.1
    assert flat["task.betas"] == [0.9]
    assert flat["budget.stop"] == "Window"
    assert flat["budget.stop.window"] == 10
    supplied = {"data.seed", "model.in_channels", "model.out_channels", "task.model", "task.data"}
    assert not supplied & set(flat)


def test_with_leaves_inverts_leaves(line: Experiment) -> None:
    changes = {
        "data.rows": 20,
        "model.hidden": None,
        "task.betas": [0.1, 0.2],
        "budget.stop.window": 3,
        "budget.epochs": None,
    }
    changed = with_leaves(line, changes)
    assert leaves(changed) == leaves(line) | changes
    assert changed.task.keywords["betas"] == (0.1, 0.2)
    assert changed.data.keywords == {"rows": 20}
    same = with_leaves(line, leaves(line))
    assert (same.data, same.model, same.task) == (line.data, line.model, line.task)
    assert leaves(with_leaves(line, leaves(changed))) == leaves(changed)
    assert leaves(with_leaves(changed, leaves(line))) == leaves(line)


def test_with_leaves_never_replaces_code(line: Experiment) -> None:
    with pytest.raises(ValueError, match=r"setting model is Plane, which 'os\.system' cannot"):
        with_leaves(line, {"model": "os.system"})
    with pytest.raises(ValueError, match=r"budget.stop is Window, which None cannot replace"):
        with_leaves(line, {"budget.stop": None})
    with pytest.raises(ValueError, match=r"no setting model\.depth"):
        with_leaves(line, {"model.depth": 3})


def test_arrays_are_settings_by_their_content(line: Experiment) -> None:
    def from_arrays(x: torch.Tensor) -> None: ...

    def described(value: torch.Tensor) -> dict[str, Any]:
        return leaves(dataclasses.replace(line, data=partial(from_arrays, x=value)))

    zeros, ones = described(torch.zeros(3)), described(torch.ones(3))
    assert described(torch.zeros(3)) == zeros
    assert len(differences(zeros, ones)) == 1
    assert "data.x was 'Tensor float32 [3] sha256" in differences(zeros, ones)[0]


def test_differences_ignore_where_data_lie() -> None:
    old, new = {"data.root": None, "model.k": 1}, {"data.root": "/x", "model.k": 1, "task.lr": 2}
    assert differences(old, new) == ["task.lr was 'absent' and is now 2"]


def test_an_argument_that_came_later_and_is_not_given_is_no_difference() -> None:
    old, new = {"task.lr": 1}, {"task.lr": 1, "task.later": None}
    assert differences(old, new) == differences(new, old) == []
    assert differences(old, {**new, "task.later": 3}) == ["task.later was 'absent' and is now 3"]


def test_find_experiments_by_file_and_name() -> None:
    assert [e.name for e in find_experiments(str(IDEA))] == ["line", "line_fixed"]
    (one,) = find_experiments(f"{IDEA}:line_fixed")
    assert one.name == "line_fixed"
    assert one.file == IDEA
    assert idea_module(one).__file__ == str(IDEA)  # so that its classes can be pickled


def test_unknown_names_suggest_close_ones(line: Experiment) -> None:
    with pytest.raises(ValueError, match="no experiment is called 'lin'; did you mean line"):
        pick({"line": line}, "lin")
    with pytest.raises(ValueError, match="graphseq list shows all"):
        pick({"line": line}, "zzz")
    with pytest.raises(ValueError, match="did you mean line"):
        find_experiments(f"{IDEA}:lime")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", r"bad\.py: defines no experiments; add"),
        ("experiments = [1]\n", r"bad\.py: experiments holds a int, not an Experiment"),
        ("def f(:\n", r"bad\.py, line 1: .*syntax"),
        ("x = 1\nprint(y)\n", r"bad\.py, line 2: NameError: name 'y' is not defined"),
        ("import no_such_package\n", r"bad\.py, line 1: ModuleNotFoundError: .*no_such_package"),
    ],
)
def test_files_that_do_not_work(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.py").write_text(text)
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        load_file(tmp_path / "bad.py")
    assert "\n" not in str(caught.value)
    assert not [name for name in sys.modules if name.startswith("bad_")]


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file .*nothing\.py"):
        find_experiments(str(tmp_path / "nothing.py"))


def test_a_file_may_import_its_neighbour_and_files_do_not_share_a_module(tmp_path: Path) -> None:
    text = IDEA.read_text()
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / f"neighbour_{name}.py").write_text("ROWS = 12\n")
        (folder / "idea.py").write_text(f"{text}\nfrom neighbour_{name} import ROWS\n")
    path = list(sys.path)
    first, second = (load_file(tmp_path / n / "idea.py")["line"] for n in ("first", "second"))
    assert idea_module(first) is not idea_module(second)
    assert sys.path == path


def test_names_are_unique_in_a_file_and_over_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = IDEA.read_text()
    (tmp_path / "twice.py").write_text(f"{text}\nexperiments = experiments + experiments\n")
    with pytest.raises(ValueError, match=r"twice\.py: defines the experiment line twice"):
        load_file(tmp_path / "twice.py")
    (tmp_path / "twice.py").write_text(text)
    (tmp_path / "again.py").write_text(text)
    monkeypatch.setattr(catalog, "shipped_folder", lambda: tmp_path)
    shipped.cache_clear()
    try:
        with pytest.raises(ValueError, match=r"line is in both again\.py and twice\.py"):
            shipped()
    finally:
        shipped.cache_clear()
