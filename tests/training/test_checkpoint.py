import csv
import errno
import os
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from toys import TOYS, Carried, LayerLocal, Regression, TwoStage, network, weights, without_seconds

from graphseq.training import Budget, FitResult, Loss, Stage, Task, checkpoint, fit

EACH_BATCH = Budget(checkpoint_seconds=0)


class Stop(Exception):
    """Ends a run from inside."""


def die() -> None:
    raise Stop


def stop_after(task: Regression, batches: int, by: Callable[[], None] = die) -> Regression:
    """``task``, but it dies when its losses have been asked for so many times."""
    inner, left = task.losses, [batches]

    def losses(batch: Any, stage: Stage) -> Iterator[Loss]:
        if left[0] == 0:
            by()
        left[0] -= 1
        yield from inner(batch, stage)

    task.losses = losses  # type: ignore[method-assign]
    return task


def stop_before_evaluation(task: Regression) -> Regression:
    """``task``, but it dies in its first evaluation, when all batches of the epoch are done."""

    def predict(batch: Any, split: str, stage: Stage, final: bool) -> Any:
        raise Stop

    task.predict = predict  # type: ignore[method-assign]
    return task


def csv_rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "history.csv", newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def assert_same(task: Task, result: FitResult, plain: Task, expected: FitResult) -> None:
    ours, theirs = weights(task), weights(plain)
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(ours[name], value), name
        else:
            assert ours[name] == value, name
    timed = ("history", "seconds", "seconds_per_epoch", "peak_memory_mb")
    first, second = (
        {k: v for k, v in asdict(r).items() if k not in timed} for r in (result, expected)
    )
    assert first == second
    assert without_seconds(result.history) == without_seconds(expected.history)


@pytest.mark.parametrize("name", TOYS)
def test_resuming_after_any_batch_ends_bit_identical(name: str, tmp_path: Path) -> None:
    make = TOYS[name]
    budget = Budget(epochs=3, checkpoint_seconds=0)
    plain = make()
    expected = fit(plain, budget, out=tmp_path / "plain", seed=9)
    done = 0
    while True:  # each session does one batch and dies in the next one
        task = stop_after(make(), 1)
        try:
            result = fit(task, budget, out=tmp_path / "cut", seed=9, resume=True)
        except Stop:
            done += 1
            continue
        break
    assert done >= 8
    assert_same(task, result, plain, expected)
    assert csv_rows(tmp_path / "cut") == csv_rows(tmp_path / "plain")


@pytest.mark.parametrize("name", ["carried state", "accumulating", "two stages"])
def test_resuming_from_an_older_checkpoint_cuts_the_history(name: str, tmp_path: Path) -> None:
    make = TOYS[name]
    plain = make()
    expected = fit(plain, out=tmp_path / "plain")
    with pytest.raises(Stop):
        fit(stop_after(make(), 5), EACH_BATCH, out=tmp_path / "cut")
    saved = {p.name: p.read_bytes() for p in (tmp_path / "cut").glob("checkpoint*")}
    with pytest.raises(Stop):
        fit(stop_after(make(), 5), EACH_BATCH, out=tmp_path / "cut", resume=True)
    assert len(csv_rows(tmp_path / "cut")) == 3
    for file, content in saved.items():  # as if the later checkpoints had never been written
        (tmp_path / "cut" / file).write_bytes(content)
    task = make()
    result = fit(task, EACH_BATCH, out=tmp_path / "cut", resume=True)
    assert_same(task, result, plain, expected)
    assert csv_rows(tmp_path / "cut") == csv_rows(tmp_path / "plain")


@pytest.mark.parametrize("name", TOYS)
def test_resuming_between_the_last_batch_and_the_evaluation(name: str, tmp_path: Path) -> None:
    make = TOYS[name]
    plain = make()
    expected = fit(plain)
    with pytest.raises(Stop):
        fit(stop_before_evaluation(make()), EACH_BATCH, out=tmp_path)
    task = make()
    assert_same(task, fit(task, out=tmp_path, resume=True), plain, expected)


def test_checkpoints_load_with_weights_only_and_none_are_left_over(tmp_path: Path) -> None:
    fit(Carried(), EACH_BATCH, out=tmp_path)
    for file in ("checkpoint.pt", "checkpoint.prev.pt"):
        payload = torch.load(tmp_path / file, weights_only=True)
        assert {"identity", "progress", "parameters", "units", "ranks"} <= set(payload)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"checkpoint.pt", "checkpoint.prev.pt", "history.csv"}


def test_resuming_a_finished_run_returns_its_result_without_training(tmp_path: Path) -> None:
    task = TwoStage(p=0.3)
    expected = fit(task, out=tmp_path)
    again = TwoStage(p=0.3)
    result = fit(again, out=tmp_path, resume=True)
    assert not again.seen
    assert_same(again, result, task, expected)
    assert result.seconds < 3 * expected.seconds + 5


def test_resuming_with_more_epochs_goes_on_where_training_stopped(tmp_path: Path) -> None:
    # The best weights are not the last ones: what goes on must be the last ones.
    stage = Stage(epochs=8, monitors=("val/mse", "val/gap"))
    long, short = Regression(p=0.5, stage=stage), Regression(p=0.5, stage=stage)
    expected = fit(long, Budget(epochs=8))
    fit(short, Budget(epochs=5), out=tmp_path)
    result = fit(short, Budget(epochs=8), out=tmp_path, resume=True)
    assert_same(short, result, long, expected)


def test_more_patience_goes_on_and_the_same_patience_stays_stopped(tmp_path: Path) -> None:
    stage = Stage(epochs=30, monitors=("val/gap",), patience=2)
    task = Regression(p=0.5, stage=stage)
    first = fit(task, out=tmp_path)
    assert first.stopped == "patience"
    assert fit(task, out=tmp_path, resume=True).epochs_run == first.epochs_run
    longer = fit(task, Budget(epochs=40), out=tmp_path, resume=True)
    assert (longer.stopped, longer.epochs_run) == ("patience", first.epochs_run)
    patient = fit(task, Budget(patience=4), out=tmp_path, resume=True)
    assert patient.epochs_run > first.epochs_run
    expected = fit(Regression(p=0.5, stage=stage), Budget(patience=4))
    assert without_seconds(patient.history) == without_seconds(expected.history)


def test_a_run_without_a_checkpoint_starts(tmp_path: Path) -> None:
    assert fit(Regression(), out=tmp_path / "new" / "folder", resume=True).epochs_run == 4


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_starting_again_over_checkpoints_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Stop):
        fit(stop_after(Regression(), 5), EACH_BATCH, out=tmp_path)
    before = contents(tmp_path)
    task = Regression()
    with pytest.raises(
        ValueError,
        match=r"fit: .* holds the checkpoint of an earlier run; .*resume=True.*another --out",
    ) as caught:
        fit(task, out=tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert contents(tmp_path) == before
    assert task.seen == []
    # One that a kill between two renames left alone is as good.
    (tmp_path / "checkpoint.pt").unlink()
    with pytest.raises(ValueError, match="holds the checkpoint of an earlier run"):
        fit(task, out=tmp_path)


@pytest.mark.parametrize("number", [0, checkpoint.FORMAT + 1])
def test_a_checkpoint_of_another_format_is_no_damage(number: int, tmp_path: Path) -> None:
    fit(Regression(), EACH_BATCH, out=tmp_path)
    content = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert content["format"] == checkpoint.FORMAT
    content["progress"]["of_another_version"] = 1
    torch.save({**content, "format": number}, tmp_path / "checkpoint.pt")
    before = contents(tmp_path)
    match = (
        rf"checkpoint\.pt has checkpoint format {number}, .* reads format {checkpoint.FORMAT}; "
        r"finish the run with the version that wrote it, or start again in another --out"
    )
    with pytest.raises(ValueError, match=match) as caught:
        fit(Regression(), out=tmp_path, resume=True)
    assert "\n" not in str(caught.value)
    assert contents(tmp_path) == before


def test_checkpoints_come_when_their_time_has_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    places = []
    write = checkpoint.write

    def recorded(folder: Path, payload: dict[str, Any]) -> None:
        progress = payload["progress"]
        places.append((progress["epoch"], progress["batch"]))
        write(folder, payload)

    class Slow(Regression):
        def losses(self, batch: Any, stage: Stage) -> Iterator[Loss]:
            clock[0] += 1.0
            yield from super().losses(batch, stage)

    monkeypatch.setattr("graphseq.training.keeper.time.monotonic", lambda: clock[0])
    monkeypatch.setattr(checkpoint, "write", recorded)
    fit(Slow(), Budget(epochs=3, checkpoint_seconds=4), out=tmp_path)
    assert places == [(1, 1), (2, 2), (3, 0)]


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "truncated":
        content = content[: len(content) // 2]
    elif how == "empty":
        content = bytearray()
    elif how == "text":
        content = bytearray(b"not a checkpoint")
    else:
        start = content.index(
            torch.load(path, weights_only=True)["parameters"]["model.0.weight"].numpy().tobytes()
        )
        content[start + 5] ^= 4  # one bit of a weight
    path.write_bytes(content)


@pytest.mark.parametrize("how", ["truncated", "empty", "text", "one bit"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(how: str, tmp_path: Path) -> None:
    plain = Regression(p=0.3)
    expected = fit(plain)
    with pytest.raises(Stop):
        fit(stop_after(Regression(p=0.3), 5), EACH_BATCH, out=tmp_path)
    damage(tmp_path / "checkpoint.pt", how)
    task = Regression(p=0.3)
    with pytest.warns(UserWarning, match=r"checkpoint\.pt is damaged"):
        result = fit(task, out=tmp_path, resume=True)
    assert_same(task, result, plain, expected)


def test_with_every_checkpoint_damaged_there_is_an_error(tmp_path: Path) -> None:
    fit(Regression(), EACH_BATCH, out=tmp_path)
    for name in ("checkpoint.pt", "checkpoint.prev.pt"):
        damage(tmp_path / name, "truncated")
    with (
        pytest.warns(UserWarning, match="is damaged"),
        pytest.raises(ValueError, match=r"no readable checkpoint in .*delete them to start again"),
    ):
        fit(Regression(), out=tmp_path, resume=True)


def test_a_kill_between_the_two_renames_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Stop):
        fit(stop_after(Regression(), 3), EACH_BATCH, out=tmp_path)
    (tmp_path / "checkpoint.pt").rename(tmp_path / "checkpoint.next.pt")
    task = Regression()
    result = fit(task, out=tmp_path, resume=True)
    assert len(task.seen) == 12 - 3
    plain = Regression()
    assert_same(task, result, plain, fit(plain))


def test_half_written_files_of_a_killed_run_are_swept_away(tmp_path: Path) -> None:
    (tmp_path / ".checkpoint.next.pt.0badcafe.tmp").write_bytes(b"half")
    (tmp_path / "mine.tmp").write_bytes(b"keep")
    fit(Regression(), out=tmp_path, resume=True)
    assert {p.name for p in tmp_path.glob("*.tmp")} == {"mine.tmp"}
    assert not list(tmp_path.glob(".*.tmp"))


class Renamed(Regression):
    """The same thing by another name."""


@pytest.mark.parametrize(
    ("make", "budget", "options", "match"),
    [
        (Renamed, Budget(), {}, "task was Regression, is Renamed"),
        (Regression, Budget(), {"seed": 1}, "seed was 0, is 1"),
        (Regression, Budget(evaluate_every=2), {}, "evaluate_every was 1, is 2"),
        (Regression, Budget(max_steps=2), {}, "max_steps was None, is 2"),
        (Regression, Budget(), {"precision": "bf16-mixed"}, "precision was 32-true"),
        (lambda: Regression(lr=0.1), Budget(), {}, r"optimizers.model was .*'lr': 0.05"),
        (
            lambda: Regression(network((3, 6, 2))),
            Budget(),
            {},
            r"parameters.model.0.weight was \[5, 3\] torch.float32, is \[6, 3\]",
        ),
        (
            lambda: Regression(stage=Stage(epochs=4, monitors=("val/gap",))),
            Budget(),
            {},
            r"monitors was \['val/mse'\], is \['val/gap'\]",
        ),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(
    make: Callable[[], Task], budget: Budget, options: dict[str, Any], match: str, tmp_path: Path
) -> None:
    fit(Regression(), out=tmp_path)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(ValueError, match=f"is of another run: .*{match}.*; choose another out"):
        fit(make(), budget, out=tmp_path, resume=True, **options)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_fewer_epochs_than_were_done_is_refused(tmp_path: Path) -> None:
    fit(Regression(), out=tmp_path)
    with pytest.raises(ValueError, match=r"in epoch 4 of stage 'train', beyond the budget of 3"):
        fit(Regression(), Budget(epochs=3), out=tmp_path, resume=True)


def test_unsafe_extra_state_is_refused_at_the_first_checkpoint(tmp_path: Path) -> None:
    class Unsafe(Regression):
        def get_extra_state(self) -> Any:
            return {"path": Path("here")}

        def set_extra_state(self, state: Any) -> None:
            pass

    with pytest.raises(TypeError, match="get_extra_state returns what a safe loader refuses"):
        fit(Unsafe(), out=tmp_path)


def test_a_non_finite_loss_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    class Exploding(Regression):
        broken = True

        def losses(self, batch: Any, stage: Stage) -> Iterator[Loss]:
            for loss in super().losses(batch, stage):
                yield Loss(
                    loss.value * (float("nan") if self.broken and len(self.seen) == 6 else 1)
                )

    with pytest.raises(FloatingPointError, match="epoch 2, batch 3"):
        fit(Exploding(), EACH_BATCH, out=tmp_path)
    task, plain = Exploding(), Exploding()
    task.broken = plain.broken = False
    result = fit(task, out=tmp_path, resume=True)
    assert len(task.seen) == 12 - 5
    assert_same(task, result, plain, fit(plain))


def test_weights_that_are_not_finite_are_never_kept(tmp_path: Path) -> None:
    class Root(Regression):
        """A finite loss with an infinite gradient, in the third batch."""

        def losses(self, batch: Any, stage: Stage) -> Iterator[Loss]:
            for loss in super().losses(batch, stage):
                zero = next(self.model.parameters()).sum() * 0
                yield Loss(loss.value + (zero.sqrt() if len(self.seen) == 3 else zero))

    with pytest.raises(FloatingPointError, match=r"a weight is not finite after .* batch 3"):
        fit(Root(), EACH_BATCH, out=tmp_path)
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert saved["progress"]["batch"] == 2
    assert all(p.isfinite().all() for p in saved["parameters"].values())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_the_run_and_then_ends_it(number: int, tmp_path: Path) -> None:
    task = stop_after(Regression(p=0.3), 4, by=lambda: signal.raise_signal(number))
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    error = KeyboardInterrupt if number == signal.SIGINT else SystemExit
    with pytest.raises(error) as caught:
        fit(task, out=tmp_path)
    if number == signal.SIGTERM:
        assert caught.value.code == 128 + number  # type: ignore[attr-defined]
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers
    task, plain = Regression(p=0.3), Regression(p=0.3)
    result = fit(task, out=tmp_path, resume=True)
    assert len(task.seen) == 12 - 5
    assert_same(task, result, plain, fit(plain))


def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    class Stuck(Regression):
        def losses(self, batch: Any, stage: Stage) -> Iterator[Loss]:
            signal.raise_signal(signal.SIGINT)
            self.noted = True
            signal.raise_signal(signal.SIGINT)
            raise AssertionError("still here")

    task = Stuck()
    with pytest.raises(KeyboardInterrupt):
        fit(task, out=tmp_path)
    assert task.noted
    assert not (tmp_path / "checkpoint.pt").exists()


def test_a_signal_after_the_last_batch_is_not_lost(tmp_path: Path) -> None:
    task = Regression(stage=Stage(epochs=0, monitors=("val/mse",)))  # has no batches
    inner = task.metrics

    def metrics(*arguments: Any) -> dict[str, float]:
        signal.raise_signal(signal.SIGINT)
        return inner(*arguments)

    task.metrics = metrics  # type: ignore[method-assign, assignment]
    with pytest.raises(KeyboardInterrupt):
        fit(task, out=tmp_path)
    assert (tmp_path / "checkpoint.pt").exists()


@pytest.fixture
def _python_hears_ctrl_c() -> Iterator[None]:
    """Python's own handler, also where the suite runs in the background of a shell: that ignores
    SIGINT for its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_python_hears_ctrl_c")
def test_without_a_folder_signals_are_left_alone() -> None:
    class Signalled(Regression):
        def losses(self, batch: Any, stage: Stage) -> Iterator[Loss]:
            signal.raise_signal(signal.SIGINT)
            raise AssertionError("still here")

    with pytest.raises(KeyboardInterrupt):
        fit(Signalled())


def test_fit_runs_in_a_thread(tmp_path: Path) -> None:
    results = []
    thread = threading.Thread(target=lambda: results.append(fit(Regression(), out=tmp_path)))
    thread.start()
    thread.join()
    assert results[0].epochs_run == 4


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=r"cannot write .*file.*; .*choose another folder") as caught:
        fit(Regression(), out=tmp_path / "file" / "run")
    assert "\n" not in str(caught.value)


def test_a_full_disk_keeps_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync
    room = [4]

    def fsync(descriptor: int) -> None:
        if room[0] == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        room[0] -= 1
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(
            OSError, match=r"cannot write .*No space left.*free some space"
        ) as error:
            fit(Regression(p=0.3), EACH_BATCH, out=tmp_path)
    assert "\n" not in str(error.value)
    assert str(tmp_path) in str(error.value)
    assert not list(tmp_path.glob(".*.tmp"))
    task, plain = Regression(p=0.3), Regression(p=0.3)
    result = fit(task, out=tmp_path, resume=True)
    assert 0 < len(task.seen) < 12
    assert_same(task, result, plain, fit(plain))


def test_a_file_limit_of_the_system_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(Stop):
        fit(stop_after(Regression(p=0.3), 5), EACH_BATCH, out=tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OSError, match=r"cannot write .*checkpoint.*File too large"):
            fit(Regression(p=0.3), EACH_BATCH, out=tmp_path, resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    task, plain = Regression(p=0.3), Regression(p=0.3)
    result = fit(task, out=tmp_path, resume=True)
    assert len(task.seen) == 12 - 5
    assert_same(task, result, plain, fit(plain))


def test_mixed_precision_resumes_bit_identical(tmp_path: Path) -> None:
    budget = Budget(epochs=3, checkpoint_seconds=0)
    for precision in ("bf16-mixed", "16-mixed"):
        out = tmp_path / precision
        plain = LayerLocal()
        expected = fit(plain, budget, precision=precision)
        with pytest.raises(Stop):
            fit(stop_after(LayerLocal(), 4), budget, out=out, precision=precision)
        task = LayerLocal()
        result = fit(task, budget, out=out, precision=precision, resume=True)
        assert_same(task, result, plain, expected)
