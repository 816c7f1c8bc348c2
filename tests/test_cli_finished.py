"""``graphseq plot`` and ``graphseq results`` on runs that were really made."""

import os
from pathlib import Path

import pytest

from graphseq.cli import main
from graphseq.training.results import END, START


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two short DAGNN runs with different numbers of hops, and one with shipped settings."""
    monkeypatch.chdir(tmp_path)
    common = ["--seeds", "0", "--budget.epochs", "2"]
    for hops in ("1", "3"):
        train = ["train", "dagnn_digits", *common, "--model.num-hops", hops]
        assert main([*train, "--out", f"runs/{hops}"]) == 0
    return tmp_path / "runs"


def test_plot_draws_curves_scores_and_a_sweep(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plot", str(runs / "1")]) == 0
    assert main(["plot", str(runs / "1"), str(runs / "3"), "--against", "model.num_hops"]) == 0
    said = capsys.readouterr().out
    for image in (runs / "1" / "curves.png", runs / "1" / "retainment.png", Path("sweep.png")):
        assert image.read_bytes().startswith(b"\x89PNG")
        assert f"wrote {image}\n" in said
    assert main(["plot", str(runs / "1"), "--against", "model.nothing"]) == 2
    assert main(["plot", str(runs / "1"), "--against", "data"]) == 2
    assert main(["plot", os.devnull]) == 2
    assert main(["plot", str(runs / "1"), "--out", "elsewhere.png"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith("error: ") for line in lines] == [True] * 4
    assert "has no setting model.nothing" in lines[0]
    assert "not a number" in lines[1]


def test_results_refuse_overrides_and_write_the_table(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = Path("experiments/README.md")
    page.parent.mkdir()
    page.write_text(f"{START}\n{END}\n")
    front = Path("README.md")
    front.write_text(f"above\n{START}\n{END}\n")
    assert main(["results", str(runs / "1")]) == 2
    assert "only runs without overrides are kept" in capsys.readouterr().err
    assert not Path("experiments/results").exists()
    assert main(["results"]) == 0
    assert "\n- DAGNN: " in page.read_text()
    assert "`dagnn_digits`" in page.read_text()
    assert "| experiment |" in front.read_text()
    assert "Declared" not in front.read_text()


def test_a_curve_is_drawn_of_what_links_are_ranked_by(tmp_path: Path) -> None:
    words = ["cn_digits", "--out", str(tmp_path)]
    assert main(["train", *words]) == 0
    assert main(["plot", str(tmp_path), "--metric", "val/acc"]) == 2
    assert main(["plot", str(tmp_path)]) == 0
    assert (tmp_path / "curves.png").stat().st_size > 1000
