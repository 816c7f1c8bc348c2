"""Forward learning on two real processes: each loses on its own rows, and both end as one."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from forward_cases import every_case
from forward_ranks import train

SCRIPT = Path(__file__).parent / "forward_ranks.py"


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


@every_case
def test_two_ranks_train_as_one_process(ranks: list[dict[str, Any]], kind: str, name: str) -> None:
    expected = train(kind, name)
    for rank in ranks:
        found = rank[f"{kind} {name}"]
        assert found["metrics"] == pytest.approx(expected["metrics"], abs=1e-6)
        for row, plain in zip(found["history"], expected["history"], strict=True):
            assert row == pytest.approx(plain, abs=1e-6)
        for key, weight in expected["weights"].items():
            torch.testing.assert_close(found["weights"][key], weight, rtol=0, atol=1e-6)
