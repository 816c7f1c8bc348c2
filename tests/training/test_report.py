import csv
import sys
from pathlib import Path
from typing import Any

import pytest
from toys import Regression, TwoStage

from graphseq.training import Budget, Stage, fit
from graphseq.training.report import CsvLog, Report


def read(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_csv_holds_the_history(tmp_path: Path) -> None:
    result = fit(TwoStage(), out=tmp_path)
    rows = read(tmp_path / "history.csv")
    assert len(rows) == len(result.history) == 6
    assert list(rows[0]) == ["stage", "epoch", "train/loss", "val/mse", "val/gap", "seconds"]
    for row, expected in zip(rows, result.history, strict=True):
        assert row["stage"] == expected["stage"]
        for name in ("epoch", "train/loss", "val/mse", "val/gap", "seconds"):
            assert float(row[name]) == expected[name]  # exact: written as Python reads it back


def test_csv_grows_columns_and_leaves_cells_empty(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    log = CsvLog(path, [])
    log.append({"stage": "a", "epoch": 1, "train/loss": 0.5, "seconds": 1.0})
    assert read(path)[0]["train/loss"] == "0.5"  # there while the run goes on
    log.append({"stage": "a, b", "epoch": 2, "train/loss": 0.25, "val/acc": 0.1, "seconds": 2.0})
    log.append({"stage": "c", "epoch": 1, "seconds": 3.0})
    log.close()
    rows = read(path)
    assert [row["val/acc"] for row in rows] == ["", "0.1", ""]
    assert [row["stage"] for row in rows] == ["a", "a, b", "c"]
    assert rows[2]["train/loss"] == ""


def test_the_bar_shows_on_request_and_on_terminals_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(Regression())
    assert capsys.readouterr().err == ""
    fit(Regression(stage=Stage("fine-tuning", epochs=3, monitors=("val/mse",))), progress=True)
    shown = capsys.readouterr().err
    assert "fine-tuning: 100%" in shown
    assert "val/mse=" in shown
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    fit(Regression(), progress=False)
    assert capsys.readouterr().err == ""
    fit(Regression())
    assert "4/4" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of tensorboard's own dependencies
def test_tensorboard_gets_every_metric_of_every_epoch(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = fit(TwoStage(), out=tmp_path, tensorboard=True)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    points = events.Scalars("val/mse")
    assert [point.step for point in points] == [1, 2, 3, 4, 5, 6]
    for point, row in zip(points, result.history, strict=True):
        assert point.value == pytest.approx(row["val/mse"], rel=1e-6)


def test_tensorboard_that_is_missing_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ValueError, match=r"pip install 'graphseq\[log\]'"):
        fit(Regression(), out=tmp_path, tensorboard=True)
    with pytest.raises(ValueError, match="need a folder; pass out="):
        fit(Regression(), tensorboard=True)


def test_a_report_closes_after_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []
    close = Report.close

    def noted(self: Report) -> None:
        closed.append(True)
        close(self)

    monkeypatch.setattr(Report, "close", noted)
    task = Regression()
    task.metrics = lambda *_: {"acc": 1.0}  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="no monitor"):
        fit(task, Budget(epochs=2), out=tmp_path)
    assert closed == [True]


def test_a_full_disk_under_the_csv_file_is_one_line(tmp_path: Path) -> None:
    log = CsvLog(tmp_path / "history.csv", [])
    row: dict[str, Any] = {"stage": "a", "epoch": 1, "seconds": 1.0}
    log._file.close()
    log._file = open("/dev/full", "a")
    with pytest.raises(OSError, match=r"cannot write .*history.csv: No space left.*; free some"):
        log.append(row)
    log.close()
