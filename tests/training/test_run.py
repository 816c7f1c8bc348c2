"""Many seeds: each kept as it lands, skipped when finished, resumed when not; and scored again."""

import csv
import dataclasses
import gc
import json
import random
import statistics
import sys
import weakref
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from graphseq.training import run_folder, scoring
from graphseq.training.catalog import load_file
from graphseq.training.experiment import Experiment
from graphseq.training.replay import replay
from graphseq.training.run import run
from graphseq.training.settings import with_leaves
from graphseq.training.weights import read_weights

IDEA = Path(__file__).parents[1] / "ideas" / "line.py"
SUMMARY = {
    *("experiment", "seeds", "metrics", "num_parameters", "epochs", "seconds"),
    *("seconds_per_epoch", "peak_memory_mb", "claim", "notes", "settings", "versions", "hardware"),
    *("commit", "command", "split_fingerprints", "num_declared_seeds"),
}


@pytest.fixture
def line() -> Experiment:
    return load_file(IDEA)["line"]


def loaded(experiment: Experiment) -> list[int | None]:
    """What data the idea's file has made since it was loaded."""
    return sys.modules[experiment.model.func.__module__].LOADED


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def scores(summary: dict[str, Any]) -> dict[str, list[float]]:
    return {name: entry["values"] for name, entry in summary["metrics"].items()}


def test_files_and_summary(line: Experiment, tmp_path: Path) -> None:
    summary = run(line, out=tmp_path, command="the command")
    assert set(summary) == SUMMARY
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"seed0", "seed1", "seed2", "runs.csv", "summary.json"}
    for seed in range(3):
        kept = {path.name for path in (tmp_path / f"seed{seed}").iterdir()}
        assert {"provenance.json", "result.json", "best.safetensors", "history.csv"} <= kept
        assert not any("checkpoint" in name for name in kept)  # nothing left to resume
    rows = list(csv.DictReader((tmp_path / "runs.csv").read_text().splitlines()))
    assert [row["seed"] for row in rows] == ["0", "1", "2"]
    assert [float(row["test/acc"]) for row in rows] == summary["metrics"]["test/acc"]["values"]
    for column in ("epochs", "seconds", "peak_memory_mb", "commit", "versions", "hardware"):
        assert rows[0][column]
    assert len({row["split_fingerprint"] for row in rows}) == 3
    assert summary["seeds"] == [0, 1, 2]
    assert summary["epochs"] == [5, 5, 5]
    assert summary["command"] == "the command"
    assert summary["num_parameters"] == 3 * 4 + 4 + 4 + 1
    assert summary["claim"]["value"] == 0.9


def test_std_is_unbiased(line: Experiment) -> None:
    found = run(line)["metrics"]["test/mse"]
    assert len(set(found["values"])) == 3
    assert found["std"] == statistics.stdev(found["values"])
    assert found["mean"] == pytest.approx(sum(found["values"]) / 3)


def test_one_seed_has_no_std(line: Experiment, tmp_path: Path) -> None:
    assert run(line, [4], out=tmp_path)["metrics"]["test/mse"]["std"] is None
    assert '"std": null' in (tmp_path / "summary.json").read_text()


def test_metric_that_is_not_a_number_is_null(
    line: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = line.task.func.metrics  # type: ignore[attr-defined]
    monkeypatch.setattr(line.task.func, "metrics", lambda *a: {**known(*a), "odd": float("nan")})
    summary = run(line, [0, 1], out=tmp_path)
    assert summary["metrics"]["test/odd"] == {"mean": None, "std": None, "values": [None, None]}
    assert "NaN" not in (tmp_path / "summary.json").read_text()
    assert run(line, [0, 1], out=tmp_path) == summary  # read back from the files


def test_nothing_is_written_without_out(
    line: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run(line, [0])
    assert contents(tmp_path) == {}


def test_same_seed_same_numbers_whatever_ran_before(line: Experiment) -> None:
    both = scores(run(line, [0, 1]))
    alone = scores(run(line, [1]))
    assert {name: values[1:] for name, values in both.items()} == alone
    assert scores(run(line, [2])) != alone


def test_callers_generators_go_on_undisturbed(line: Experiment) -> None:
    def draw() -> tuple[float, float, float]:
        return random.random(), np.random.rand(), float(torch.rand(()))  # noqa: NPY002

    def seed_all() -> None:
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002
        torch.manual_seed(1)

    seed_all()
    expected = draw()
    seed_all()
    run(line, [0])
    assert draw() == expected


def test_data_that_ignore_the_seed_are_loaded_once(line: Experiment) -> None:
    fixed = load_file(IDEA)["line_fixed"]
    run(fixed, [0, 1, 2])
    assert loaded(fixed).count(None) == 1
    line = load_file(IDEA)["line"]
    run(line, [4, 5])
    assert loaded(line) == [4, 5]


@pytest.mark.parametrize("name", ["line", "line_fixed"])
def test_nothing_of_a_seed_is_left_when_the_next_one_begins(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = load_file(IDEA)[name]
    follows = experiment.data_follows_seed
    data: list[Any] = []
    tasks: list[Any] = []
    load, build = Experiment.load, Experiment.build

    def load_alone(self: Experiment, seed: int) -> Any:
        assert [ref() for ref in (*data, *tasks)] == [None] * len((*data, *tasks))
        loaded = load(self, seed)
        data.append(weakref.ref(loaded))
        return loaded

    def build_alone(self: Experiment, loaded: Any, seed: int) -> Any:
        assert [ref() for ref in tasks] == [None] * len(tasks)
        task = build(self, loaded, seed)
        vars(task)["myself"] = task.forward  # a cycle, as a user's task may have one
        tasks.append(weakref.ref(task))
        return task

    monkeypatch.setattr(Experiment, "load", load_alone)
    monkeypatch.setattr(Experiment, "build", build_alone)
    gc.collect()
    gc.disable()
    try:
        run(experiment, [0, 1, 2])
    finally:
        gc.enable()
    assert (len(data), len(tasks)) == (3 if follows else 1, 3)


def test_rerun_skips_finished_seeds(line: Experiment, tmp_path: Path) -> None:
    first = run(line, [0, 1], out=tmp_path)
    before = contents(tmp_path)
    trained: list[Any] = []
    assert run(line, [0, 1], out=tmp_path, on_seed=trained.append) == first
    assert trained == []
    assert contents(tmp_path) == before
    assert loaded(line) == [0, 1]  # not even the data are loaded again
    more = run(line, [1, 2], out=tmp_path, on_seed=trained.append)
    assert [result["seed"] for result in trained] == [2]
    assert more["seeds"] == [0, 1, 2]  # the summary is that of the folder
    assert scores(more) == scores(run(line, [0, 1, 2]))


def test_a_finished_run_may_be_read_only(
    line: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(line, [0], out=tmp_path)

    def refuse(*args: Any) -> None:
        raise OSError("read-only")

    monkeypatch.setattr("graphseq.training.run_folder.atomic_write_text", refuse)
    assert run(line, [0], out=tmp_path) == first


def test_interrupted_run_continues_with_the_seeds_that_are_left(
    line: Experiment, tmp_path: Path
) -> None:
    def stop(result: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(line, out=tmp_path, on_seed=stop)
    assert json.loads((tmp_path / "summary.json").read_text())["seeds"] == [0]  # kept as it landed
    trained: list[Any] = []
    summary = run(line, out=tmp_path, resume=True, on_seed=trained.append)
    assert [result["seed"] for result in trained] == [1, 2]
    assert scores(summary) == scores(run(line))


def test_crash_inside_a_seed_resumes_to_the_same_weights(
    line: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = with_leaves(line, {"budget.checkpoint_seconds": 0.0})
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run(line, [3], out=whole)
    known, epochs = line.task.func.losses, []  # type: ignore[attr-defined]

    def losses(self: Any, *args: Any) -> Any:
        epochs.append(1)
        if len(epochs) == 4:
            raise RuntimeError("the machine stops here")
        yield from known(self, *args)

    monkeypatch.setattr(line.task.func, "losses", losses)
    with pytest.raises(RuntimeError, match="stops here"):
        run(line, [3], out=broken)
    assert (broken / "seed3" / "checkpoint.pt").exists()
    assert not (broken / "seed3" / "result.json").exists()
    run(line, [3], out=broken, resume=True)
    assert len(epochs) == 4 + 2  # epochs 4 and 5; the first three were kept
    for name in ("best.safetensors", "task.safetensors"):
        assert (broken / "seed3" / name).read_bytes() == (whole / "seed3" / name).read_bytes()


def test_unfinished_seeds_are_not_trained_again_unasked(
    line: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(self: Any, predictions: Any, split: str, stage: Any) -> dict[str, float]:
        raise KeyboardInterrupt

    line = with_leaves(line, {"budget.checkpoint_seconds": 0.0})
    with monkeypatch.context() as patch:
        patch.setattr(line.task.func, "metrics", stop)
        with pytest.raises(KeyboardInterrupt):
            run(line, [2], out=tmp_path)
    before = contents(tmp_path)
    with pytest.raises(
        ValueError, match=r"run: .*seed2 holds the checkpoint .*--resume .*another --out"
    ):
        run(line, [1, 2], out=tmp_path)
    assert contents(tmp_path) == before  # seed 1, which nothing forbids, was not begun either
    assert run(line, [1], out=tmp_path)["seeds"] == [1]
    assert run(line, [1, 2], out=tmp_path, resume=True)["seeds"] == [1, 2]


def test_what_a_kill_left_half_written_is_swept_away(line: Experiment, tmp_path: Path) -> None:
    folder = tmp_path / "seed0"
    folder.mkdir()
    (folder / ".best.safetensors.0badcafe.tmp").write_bytes(b"half")
    (folder / "notes.tmp").write_bytes(b"mine")
    run(line, [0], out=tmp_path)
    assert [path.name for path in folder.glob("*.tmp")] == ["notes.tmp"]
    assert not list(folder.glob(".*"))


def test_kill_between_the_last_epoch_and_the_result(
    line: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = scores(run(line, [3]))
    write = run_folder.atomic_write_json

    def killed(path: Path, content: Any) -> None:
        if path.name == "result.json":
            raise KeyboardInterrupt
        write(path, content)

    monkeypatch.setattr(run_folder, "atomic_write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        run(line, [3], out=tmp_path)
    monkeypatch.setattr(run_folder, "atomic_write_json", write)
    monkeypatch.setattr(line.task.func, "losses", lambda *args: pytest.fail("trains again"))
    assert scores(run(line, [3], out=tmp_path, resume=True)) == expected


def test_checkpoints_of_a_finished_seed_are_swept_away(line: Experiment, tmp_path: Path) -> None:
    """A kill can come between the result and the removal of what led to it."""
    run(line, [0], out=tmp_path)
    for name in ("checkpoint.pt", "checkpoint.prev.pt"):
        (tmp_path / "seed0" / name).write_bytes(b"left over")
    run(line, [0], out=tmp_path)
    assert not list(tmp_path.glob("seed0/checkpoint*"))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("model.hidden", 5, "model.hidden was 4 and is now 5"),
        ("budget.stop.window", 3, "budget.stop.window was 10 and is now 3"),
    ],
)
def test_other_settings_are_refused(
    line: Experiment, tmp_path: Path, path: str, value: Any, message: str
) -> None:
    run(line, [0], out=tmp_path)
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=f"seed0 was made with other settings: {message}; give"):
        run(with_leaves(line, {path: value}), [0, 1], out=tmp_path)
    with pytest.raises(ValueError, match="precision was '32-true' and is now '64-true'"):
        run(line, [0, 1], out=tmp_path, precision="64-true")
    with pytest.raises(ValueError, match="experiment was 'line' and is now 'other'"):
        run(dataclasses.replace(line, name="other"), [0], out=tmp_path)
    assert contents(tmp_path) == before


def test_a_seed_that_made_nothing_does_not_bind_the_folder(
    line: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="precision='8' is unknown"):
        run(line, [0], out=tmp_path, precision="8")
    assert run(line, [0], out=tmp_path)["seeds"] == [0]


def test_folder_that_cannot_be_written(line: Experiment, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=r"cannot write .*file"):
        run(line, [0], out=tmp_path / "file" / "run")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"seed": 0}'])
@pytest.mark.parametrize("name", ["provenance.json", "result.json"])
def test_damaged_record_names_file_and_remedy(
    line: Experiment, tmp_path: Path, name: str, text: str
) -> None:
    run(line, [0], out=tmp_path)
    (tmp_path / "seed0" / name).write_text(text)
    with pytest.raises(ValueError, match=rf"seed0/{name} .*remove .*seed0"):
        run(line, [0], out=tmp_path)


def test_seeds_are_checked(line: Experiment) -> None:
    with pytest.raises(ValueError, match="run: seeds must be different"):
        run(line, [1, 1])


def test_state_that_needs_a_restart_only_stays_out_of_the_weights(
    line: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = line.model.func
    monkeypatch.setattr(model, "get_extra_state", lambda self: {"step": 3}, raising=False)
    monkeypatch.setattr(model, "set_extra_state", lambda self, state: None, raising=False)
    run(line, [0], out=tmp_path)
    names = read_weights(tmp_path / "seed0" / "best.safetensors")
    assert set(names) == {"input.weight", "input.bias", "output.weight", "output.bias"}
    assert all(answer.equal for answer in replay(tmp_path, line))


@pytest.mark.parametrize("precision", ["32-true", "64-true"])
def test_replay_repeats_every_number(line: Experiment, tmp_path: Path, precision: str) -> None:
    summary = run(line, [0, 2], out=tmp_path, precision=precision)
    torch.rand(3)  # whatever was drawn meanwhile does not matter
    answers = replay(tmp_path, line)
    assert {(a.seed, a.metric) for a in answers} == {
        (s, m) for s in (0, 2) for m in scores(summary)
    }
    assert all(a.recorded == a.repeated for a in answers)


def test_replay_loads_data_and_sets_up_no_more_than_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixed = load_file(IDEA)["line_fixed"]
    run(fixed, [0, 1, 2], out=tmp_path / "fixed")
    loaded(fixed).clear()
    devices: list[str] = []
    known = scoring.make_fabric

    def counted(device: str, precision: str) -> Any:
        devices.append(device)
        return known(device, precision)

    monkeypatch.setattr(scoring, "make_fabric", counted)
    answers = replay(tmp_path / "fixed", fixed)
    assert {answer.seed for answer in answers} == {0, 1, 2}
    assert all(answer.equal for answer in answers)
    assert loaded(fixed).count(None) == 1
    assert len(devices) == 3
    line = load_file(IDEA)["line"]
    run(line, [4, 5], out=tmp_path / "line")
    loaded(line).clear()
    replay(tmp_path / "line", line)
    assert loaded(line) == [4, 5]


def test_replay_applies_the_recorded_settings(line: Experiment, tmp_path: Path) -> None:
    changed = with_leaves(line, {"model.hidden": 7, "data.rows": 30, "model.slope": 0.3})
    run(changed, [1], out=tmp_path)
    assert all(answer.equal for answer in replay(tmp_path, line))


def test_replay_notices_other_weights_and_other_data(line: Experiment, tmp_path: Path) -> None:
    run(line, [0, 1], out=tmp_path)
    weights = tmp_path / "seed0" / "best.safetensors"
    own = weights.read_bytes()
    weights.write_bytes((tmp_path / "seed1" / "best.safetensors").read_bytes())
    assert {a.seed for a in replay(tmp_path, line) if not a.equal} == {0}
    weights.write_bytes(own[:-8])
    with pytest.raises(ValueError, match=r"seed0/best\.safetensors is damaged"):
        replay(tmp_path, line)
    weights.unlink()
    with pytest.raises(FileNotFoundError, match=r"no weights at .*seed0/best\.safetensors"):
        replay(tmp_path, line)
    weights.write_bytes(own)
    module = sys.modules[line.model.func.__module__]

    def points(rows: int = 60, noise: float = 0.1, name: str = "plane", seed: int = 0) -> Any:
        return module.points(rows, noise, name, seed + 1)

    points.__qualname__ = "points"
    with pytest.raises(ValueError, match="seed 0 was trained on other data or splits"):
        replay(tmp_path, dataclasses.replace(line, data=partial(points, rows=40)))


def test_replay_refuses_another_experiment_and_an_empty_folder(
    line: Experiment, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError, match="holds no finished seed"):
        replay(tmp_path, line)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        replay(tmp_path / "nothing", line)
    run(line, [0], out=tmp_path)
    with pytest.raises(ValueError, match="the run was made from line, not from other"):
        replay(tmp_path, dataclasses.replace(line, name="other"))
