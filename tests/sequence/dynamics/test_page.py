"""The page that walks from softmax attention to gated recurrences prints what it shows."""

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest
import torch

FOLDER = Path(__file__).parents[3] / "experiments"
PAGE = (FOLDER / "one_recurrence.md").read_text()
# A block, and what it prints: in a text block, or as it is where that is a table.
BLOCK = re.compile(
    r"^```python\n(?P<code>.*?)^```\n(?:\n```text\n(?P<text>.*?)^```\n|\n(?P<table>(?:\|[^\n]*\n)+))?",
    flags=re.DOTALL | re.MULTILINE,
)
BLOCKS = list(BLOCK.finditer(PAGE))
IMAGES = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", PAGE)


def test_blocks_are_short() -> None:
    assert len(BLOCKS) == PAGE.count("```python")
    assert max(block["code"].count("\n") for block in BLOCKS) <= 12


def test_blocks_print_what_the_page_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    with torch.random.fork_rng():
        for block in BLOCKS:
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(block["code"], names)
            assert printed.getvalue() == (block["text"] or block["table"] or ""), block["code"]
    assert all((tmp_path / image).stat().st_size > 0 for image in IMAGES)


def test_figures_are_there() -> None:
    assert IMAGES == ["results/dynamics_eigenvalues.png", "results/dynamics_memory.png"]
    assert all((FOLDER / image).is_file() for image in IMAGES)
