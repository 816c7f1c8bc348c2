"""The retainment figure is drawn from the scores given, and wrong input is refused."""

from pathlib import Path

import pytest
import torch

from graphseq.graph import figures


def test_retainment_writes_an_image_that_depends_on_the_scores(tmp_path: Path) -> None:
    scores = torch.linspace(0, 1, 550).view(50, 11)
    first = figures.retainment(scores, tmp_path / "deep" / "a.png").read_bytes()
    second = figures.retainment(scores.square(), tmp_path / "b.png").read_bytes()
    assert first.startswith(b"\x89PNG")
    assert first != second


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"scores must be \[N, K \+ 1\]"):
        figures.retainment(torch.rand(5), tmp_path / "a.png")
