"""The retainment figure is drawn from the scores given, and wrong input is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from graphseq.graph import figures


def test_retainment_draws_the_mean_and_the_middle_half_of_the_nodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []

    def save(draw: Callable[[Axes], None], path: Path) -> Path:
        axes = Figure().subplots()
        draw(axes)
        drawn.append(axes)
        return path

    monkeypatch.setattr(figures, "save_figure", save)
    # Five nodes and three hops: the quartiles of five values are the second and the fourth.
    scores = torch.tensor([[0.0, 0.9, 0.5], [0.1, 0.1, 0.5], [0.2, 0.3, 0.5], [0.3, 0.5, 0.5]])
    scores = torch.cat([scores, torch.tensor([[0.9, 0.7, 0.5]])])
    figures.retainment(scores.requires_grad_(), tmp_path / "a.png", "title")
    (axes,) = drawn
    (mean,) = axes.lines
    assert list(mean.get_xdata()) == [0, 1, 2]
    assert list(mean.get_ydata()) == pytest.approx([0.3, 0.5, 0.5])
    (band,) = axes.collections
    (outline,) = band.get_paths()
    edges = {(int(x), round(float(y), 6)) for x, y in outline.vertices}
    assert edges == {(0, 0.1), (0, 0.3), (1, 0.3), (1, 0.7), (2, 0.5)}
    assert axes.get_ylim() == (0, 1)
    assert axes.get_title() == "title"


def test_retainment_writes_an_image(tmp_path: Path) -> None:
    scores = torch.linspace(0, 1, 550).view(50, 11)
    path = figures.retainment(scores, tmp_path / "deep" / "a.png")
    assert path == tmp_path / "deep" / "a.png"
    assert path.read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"scores must be \[N, K \+ 1\]"):
        figures.retainment(torch.rand(5), tmp_path / "a.png")
