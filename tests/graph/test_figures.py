"""Figures are drawn from the values given, and wrong input is refused."""

from pathlib import Path

import pytest
import torch

from graphseq.graph import figures

PNG = b"\x89PNG"


def test_retainment_writes_an_image_that_depends_on_the_scores(tmp_path: Path) -> None:
    scores = torch.rand(50, 11)
    first = figures.retainment(scores, tmp_path / "deep" / "a.png").read_bytes()
    second = figures.retainment(scores.flip(1), tmp_path / "b.png").read_bytes()
    assert first.startswith(PNG)
    assert first != second


def test_depth_writes_an_image_also_for_a_single_seed(tmp_path: Path) -> None:
    path = figures.depth({1: [0.7], 10: [0.84, 0.85], 200: [0.8, 0.82]}, tmp_path / "depth.png")
    assert path.read_bytes().startswith(PNG)


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"scores must be \[N, K \+ 1\]"):
        figures.retainment(torch.rand(5), tmp_path / "a.png")
    with pytest.raises(ValueError, match="accuracy is empty"):
        figures.depth({}, tmp_path / "a.png")
