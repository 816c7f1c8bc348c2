"""The peak is that of one run, not of everything that the process did before."""

import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from toys import Regression

from graphseq.training import Budget, Loss, Stage, fit, memory
from graphseq.training.memory import peak_memory_mb, reset_peak_memory

BALLAST_MB = 256
CPU = torch.device("cpu")


class Hungry(Regression):
    """Holds a lot for a moment."""

    def losses(self, batch: Any, stage: Stage) -> Iterator[Loss]:
        torch.ones(BALLAST_MB * 2**18)
        yield from super().losses(batch, stage)


def can_reset() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


needs_reset = pytest.mark.skipif(
    not can_reset(), reason="the system lets no process reset its peak"
)


@needs_reset
def test_a_run_does_not_carry_the_peak_of_the_one_before() -> None:
    hungry = fit(Hungry(), Budget(epochs=1)).peak_memory_mb
    plain = fit(Regression(), Budget(epochs=1)).peak_memory_mb
    assert plain < hungry - BALLAST_MB / 2


@needs_reset
def test_the_peak_is_kept_when_memory_is_freed() -> None:
    reset_peak_memory(CPU)
    before = peak_memory_mb(CPU)
    torch.ones(BALLAST_MB * 2**18)
    assert peak_memory_mb(CPU) > before + BALLAST_MB / 2


@pytest.mark.skipif(sys.platform != "linux", reason="the unit of ru_maxrss is the system's own")
def test_without_proc_it_is_the_peak_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_PROCESS", tmp_path / "nothing")
    reset_peak_memory(CPU)
    peak = peak_memory_mb(CPU)
    assert peak == pytest.approx(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)
    # A status without the line, as some sandboxes have it.
    (tmp_path / "nothing").mkdir()
    (tmp_path / "nothing" / "status").write_text("Name:\tpython\n")
    assert peak_memory_mb(CPU) == pytest.approx(peak)
