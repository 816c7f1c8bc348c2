"""``graphseq leaderboard``: killed during its seventh seed, it goes on there to the same sheet."""

import csv
import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from graphseq.cli import main

IDEA = '''
"""ncn_ddi, smaller and shorter; KILL_SEED ends the process at that seed's third step."""
import os
import signal
from dataclasses import replace
from functools import partial

from graphseq import Budget
from graphseq.graph.tasks import LinkPrediction
from graphseq.training.catalog import shipped

ddi = shipped()["ncn_ddi"]
model = partial(ddi.model.func, **{**ddi.model.keywords, "hidden_channels": 8})
budget = Budget(epochs=3, evaluate_every=3, checkpoint_seconds=0.0)
experiments = [replace(ddi, name="tiny_ddi", model=model, budget=budget)]

if "KILL_SEED" in os.environ:
    losses, steps = LinkPrediction.losses, []

    def counted(self, batch, stage):
        if self.seed == int(os.environ["KILL_SEED"]):
            steps.append(self.seed)
        if len(steps) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return losses(self, batch, stage)

    LinkPrediction.losses = counted
'''
TIMES = ("seconds", "seconds_per_epoch", "peak_memory_mb")
COMMAND = ["leaderboard", "tiny_ddi.py", "--out", "run"]

path = Path(__file__).parent / "graph" / "data" / "test_ogb_links.py"
spec = importlib.util.spec_from_file_location("ogb_writer", path)
assert spec is not None
assert spec.loader is not None
writer = importlib.util.module_from_spec(spec)
spec.loader.exec_module(writer)


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Two places to run in, with the same idea and the same small ogbl-ddi."""
    writer.Written(tmp_path / "data", "ogbl-ddi")
    monkeypatch.setenv("GRAPHSEQ_DATA", str(tmp_path / "data"))
    torch.set_num_threads(1)  # as in the child
    folders = {name: tmp_path / name for name in ("killed", "plain")}
    for folder in folders.values():
        folder.mkdir()
        (folder / "tiny_ddi.py").write_text(IDEA)
    return folders


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "run/runs.csv", newline="") as file:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]


def test_a_killed_run_goes_on_where_it_was(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    killed = subprocess.run(
        [sys.executable, "-m", "graphseq", *COMMAND],
        cwd=folders["killed"],
        env={**os.environ, "KILL_SEED": "6", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    begun = folders["killed"] / "run"
    assert [row["seed"] for row in rows(folders["killed"])] == list("012345")
    assert list((begun / "seed6").glob("checkpoint*.pt"))
    assert not (begun / "seed6/result.json").exists()
    assert not (begun / "seed7").exists()
    assert not (begun / "sheet.md").exists()

    said = {}
    for name, folder in folders.items():
        monkeypatch.chdir(folder)
        assert main(COMMAND) == 0
        said[name] = capsys.readouterr().out
    for seed in range(10):
        assert (f"tiny_ddi seed {seed}:" in said["killed"]) == (seed >= 6)
        assert f"tiny_ddi seed {seed}:" in said["plain"]
    assert rows(folders["killed"]) == rows(folders["plain"])
    sheets = [(folder / "run/sheet.md").read_text() for folder in folders.values()]
    assert sheets[0] == sheets[1]
    assert "| Seeds | 0 1 2 3 4 5 6 7 8 9 |" in sheets[0]
    assert "hits@20" in sheets[0]
