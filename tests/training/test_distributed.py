"""Two processes with different rows are one process on their union."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import CASES, Signalled, run
from torch import Tensor

from graphseq.training import Budget, Shard, evaluate, fit

SCRIPT = Path(__file__).parent / "ranks.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two ranks have left their results."""
    folder = tmp_path_factory.mktemp("ranks")
    # Standalone: a rendezvous on this machine, on a port that is free.
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run(
        [*command, str(SCRIPT), str(folder)], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@pytest.fixture(scope="module")
def ranks(folder: Path) -> list[dict[str, Any]]:
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(2)]


def assert_close(ours: dict[str, Any], expected: dict[str, Any], tolerance: float) -> None:
    assert ours.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, Tensor):
            torch.testing.assert_close(ours[name], value, rtol=0, atol=tolerance)
        elif isinstance(value, float):
            assert ours[name] == pytest.approx(value, abs=tolerance), name
        else:
            assert ours[name] == value, name


@pytest.mark.parametrize("name", CASES)
def test_two_ranks_train_as_one_process(ranks: list[dict[str, Any]], name: str) -> None:
    expected = run(CASES[name])
    for rank in ranks:
        ours = rank[name]
        assert_close(ours["weights"], expected["weights"], 1e-6)
        assert_close(ours["metrics"], expected["metrics"], 1e-6)
        assert ours["stopped"] == expected["stopped"]
        for row, plain in zip(ours["history"], expected["history"], strict=True):
            assert_close(row, plain, 1e-6)


@pytest.mark.parametrize("name", CASES)
def test_ranks_see_different_rows_which_are_the_batches(
    ranks: list[dict[str, Any]], name: str
) -> None:
    for first, second, whole in zip(
        *(rank[name]["seen"] for rank in ranks), run(CASES[name])["seen"], strict=True
    ):
        assert first + second == whole
        assert len(second) < len(whole)


@pytest.mark.parametrize("name", [*CASES, "normed"])
def test_ranks_end_identical(ranks: list[dict[str, Any]], name: str) -> None:
    first, second = (rank[name] for rank in ranks)
    assert_close(first["weights"], second["weights"], 0.0)
    assert first["metrics"] == second["metrics"]
    assert first["history"] == second["history"]


def test_evaluation_gathers_all_rows(ranks: list[dict[str, Any]]) -> None:
    expected = evaluate(CASES["one unit"](), "val")
    for rank in ranks:
        assert_close(rank["evaluated"], expected, 1e-12)


def test_without_wrapping_each_unit_ranks_differ_silently(ranks: list[dict[str, Any]]) -> None:
    first, second = (rank["whole, unchecked"] for rank in ranks)
    assert not all(torch.equal(p, q) for p, q in zip(first, second, strict=True))


def test_without_wrapping_each_unit_fit_says_so(ranks: list[dict[str, Any]]) -> None:
    for rank in ranks:
        assert "ranks hold different weights in unit 'model.layers.0'" in rank["whole, checked"]


def test_a_unit_whose_parts_are_called_is_found_out(ranks: list[dict[str, Any]]) -> None:
    for rank in ranks:
        assert "ranks hold different weights in unit 'model'" in rank["bypassing"]


def test_a_signal_to_one_rank_ends_all_and_resuming_is_bit_identical(
    ranks: list[dict[str, Any]],
) -> None:
    for rank in ranks:
        found = rank["signal"]
        assert found["ended"] == "SystemExit: 143"
        resumed, plain = found["resumed"], found["plain"]
        assert 0 < len(resumed["seen"]) < len(plain["seen"])
        resumed.pop("seen")
        plain.pop("seen")
        assert_close(resumed["weights"], plain["weights"], 0.0)
        assert resumed == plain | {"weights": resumed["weights"]}


def test_one_rank_writes(folder: Path) -> None:
    names = {path.name for path in (folder / "resumed").iterdir()}
    assert names == {"checkpoint.pt", "checkpoint.prev.pt", "history.csv"}
    lines = (folder / "resumed" / "history.csv").read_text().splitlines()
    assert len(lines) == 1 + 4


def test_a_checkpoint_of_two_processes_is_not_one_of_one(folder: Path) -> None:
    with pytest.raises(ValueError, match="processes was 2, is 1"):
        fit(Signalled(), Budget(epochs=4), out=folder / "resumed", seed=2, resume=True)


def test_fit_leaves_the_task_with_the_whole_batch() -> None:
    task = CASES["one unit"]()
    task.shard = Shard(1, 2)
    fit(task)
    assert task.shard == Shard()
