"""kill -9 at any moment loses at most the work since the last checkpoint."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from toys import TOYS

SCRIPT = Path(__file__).parent / "killed.py"


def kill_and_resume(folder: Path, task: str, seconds: float, trials: int) -> dict[str, Any]:
    arguments = [str(folder), task, str(seconds), str(trials), "1"]
    done = subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


def check(counts: dict[str, Any]) -> None:
    assert counts["different"] == 0
    # The test would be empty if runs were over before they were killed, or always began anew.
    assert counts["killed"] >= counts["trials"]
    assert counts["continued"] >= counts["trials"] / 2


def test_a_killed_run_that_saves_all_the_time_resumes_bit_identical(tmp_path: Path) -> None:
    check(kill_and_resume(tmp_path, "carried state", 0.0, trials=12))


def test_a_killed_run_that_saves_now_and_then_resumes_bit_identical(tmp_path: Path) -> None:
    check(kill_and_resume(tmp_path, "two stages", 0.01, trials=6))


def test_a_killed_run_of_three_seeds_ends_in_the_same_files(tmp_path: Path) -> None:
    check(kill_and_resume(tmp_path, "run", 0.0, trials=4))


@pytest.mark.nightly
@pytest.mark.parametrize("seconds", [0.0, 0.01])
def test_hundreds_of_kills_of_three_seeds(tmp_path: Path, seconds: float) -> None:
    check(kill_and_resume(tmp_path, "run", seconds, trials=40))


@pytest.mark.nightly
@pytest.mark.parametrize("seconds", [0.0, 0.01])
@pytest.mark.parametrize("task", TOYS)
def test_hundreds_of_kills(tmp_path: Path, task: str, seconds: float) -> None:
    check(kill_and_resume(tmp_path, task, seconds, trials=40))
