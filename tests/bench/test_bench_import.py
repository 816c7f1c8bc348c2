"""The cost of an import is measured in fresh processes, and that of graphseq is small."""

import subprocess
from pathlib import Path

import pytest

from graphseq.bench import loop
from graphseq.bench.import_time import ROUNDS, import_row


@pytest.fixture
def burning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that computes for 100 ms and notes that it was imported; returns the notes."""
    notes = tmp_path / "notes"
    (tmp_path / "burning.py").write_text(
        "import time\nend = time.process_time() + 0.1\nwhile time.process_time() < end: pass\n"
        f"open({str(notes)!r}, 'a').write('x')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return notes


def test_import_is_measured_in_fresh_processes(burning: Path) -> None:
    row = import_row(0.0, module="burning", others="json")
    assert len(burning.read_text()) == ROUNDS + 1  # one to warm up
    assert 80 < row["overhead_ms"] < 200
    assert row["ours_ms"] > row["reference_ms"] > 0
    assert (row["op"], row["case"], row["reference"]) == ("import burning", "import", "import json")


def test_a_failing_import_is_no_time() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        import_row(0.0, module="nowhere", others="json")


def test_import_is_a_case_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "import_row", lambda seconds: {"case": "import"})
    monkeypatch.setattr(loop, "_case", lambda name, *_, **__: {"case": name})
    assert loop.rows("import") == [{"case": "import"}]
    assert [row["case"] for row in loop.rows()] == [*loop.CASES, "import"]


@pytest.mark.nightly
def test_graphseq_costs_little_on_top_of_torch_and_pyg() -> None:
    (row,) = loop.rows("import", seconds=0.0)
    assert row["overhead_ms"] < 300  # the promise is 200 on a machine that does nothing else
