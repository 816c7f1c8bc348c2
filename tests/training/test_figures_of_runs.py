"""Learning curves and sweeps are drawn from what runs wrote."""

from pathlib import Path
from typing import Any

import pytest

from graphseq.training import figures


def test_learning_curves_draw_the_column_and_skip_empty_cells(tmp_path: Path) -> None:
    history = tmp_path / "history.csv"
    history.write_text("stage,epoch,val/acc\ntrain,1,0.2\ntrain,2,\ntrain,3,0.6\n")
    assert figures._column(history, "val/acc") == ([1, 3], [0.2, 0.6])
    path = figures.learning_curves([history], "val/acc", tmp_path / "a" / "curves.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="no history has values of 'val/f1'"):
        figures.learning_curves([history], "val/f1", tmp_path / "b.png")


def test_sweep_draws_also_a_single_seed_and_refuses_nothing(tmp_path: Path) -> None:
    values = {1: [0.7], 10: [0.84, 0.85], 200: [0.8, 0.82]}
    path = figures.sweep(values, tmp_path / "s.svg", setting="hops", metric="test/acc")
    assert b"<svg" in path.read_bytes()
    with pytest.raises(ValueError, match="no values"):
        figures.sweep({}, tmp_path / "s.svg", setting="hops", metric="test/acc")


def test_sweeps_draw_a_line_for_each_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    save = figures.save_figure

    def watch(draw: figures.Draw, path: str | Path) -> Path:
        return save(lambda axes: (draw(axes), drawn.append(axes))[0], path)

    monkeypatch.setattr(figures, "save_figure", watch)
    series = {
        "local": {2: [10.0], 1: [8.0, 10.0], 32: [11.0]},
        "end to end": {1: [9.0], 32: [900.0]},
        "recomputed": {1: [9.0], 32: [90.0]},
        "a fourth": {1: [3.0]},
    }
    words = {"setting": "layers", "metric": "MB"}
    path = figures.sweeps(series, tmp_path / "s.png", **words, title="memory", log=True)
    assert path.read_bytes().startswith(b"\x89PNG")
    (axes,) = drawn
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(series)
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "2", "32"]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == ("layers", "MB", "memory")
    lines = [container.lines[0] for container in axes.containers]
    assert [line.get_xdata().tolist() for line in lines] == [[1, 2, 32], [1, 32], [1, 32], [1]]
    assert lines[0].get_ydata().tolist() == [9.0, 10.0, 11.0]
    styles = [(line.get_marker(), line.get_linestyle()) for line in lines]
    assert len(set(styles[:3])) == 3  # told apart without colours

    figures.sweeps({"one": {1: [2.0], 19: [3.0]}}, tmp_path / "t.png", **words)
    assert drawn[1].get_legend() is None
    assert (drawn[1].get_xscale(), drawn[1].get_yscale()) == ("linear", "linear")
    for empty in ({}, {"a": {}}, {"a": {1: [2.0]}, "b": {}}):
        with pytest.raises(ValueError, match="no values"):
            figures.sweeps(empty, tmp_path / "u.png", **words)
    assert not (tmp_path / "u.png").exists()
