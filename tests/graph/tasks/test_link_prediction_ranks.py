"""Link prediction on two real processes: different pairs, the same hidden links, one result."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from link_ranks import CASES, train

SCRIPT = Path(__file__).parent / "link_ranks.py"


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("ranks")
    # Standalone: a rendezvous on this machine, on a port that is free.
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run(
        [*command, str(SCRIPT), str(folder)], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("name", CASES)
def test_two_ranks_train_as_one_process(ranks: list[dict[str, Any]], name: str) -> None:
    expected = train(name)
    for rank in ranks:
        assert rank[name]["metrics"] == pytest.approx(expected["metrics"], abs=1e-6)
        for key, weight in expected["weights"].items():
            torch.testing.assert_close(rank[name]["weights"][key], weight, rtol=0, atol=1e-6)
