"""Learning curves and sweeps are drawn from what runs wrote."""

from pathlib import Path

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
