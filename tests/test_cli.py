"""The command line: what scripts rely on, one-line errors, exit codes."""

import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import pytest

from graphseq import cli
from graphseq.cli import main
from graphseq.training.catalog import shipped

IDEA = Path(__file__).parent / "ideas" / "line.py"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GRAPHSEQ_DEBUG", raising=False)
    shutil.copy(IDEA, "my_idea.py")


def graphseq(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "graphseq", *words]
    return subprocess.run(call, capture_output=True, text=True, env={**os.environ, **env})


def summary(folder: str) -> dict[str, Any]:
    return json.loads(Path(folder, "summary.json").read_text())


def error_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line that the command fails with."""
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


def test_a_users_file_runs_end_to_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "./my_idea.py:line", "--seeds", "0", "1"]) == 0
    out = capsys.readouterr().out
    assert "line seed 0: " in out
    assert "line seed 1: " in out
    table = out[out.index("experiment  seeds") :].splitlines()
    row = table[2].split()
    mean, std = (summary("runs/line")["metrics"]["test/acc"][k] for k in ("mean", "std"))
    assert row == [
        *(
            "line",
            "2",
            "of",
            "3",
            "test/acc",
            f"{mean:.4f}",
            "±",
            f"{std:.4f}",
            "0.9000",
            "±",
            "0.0100",
        ),
        *(f"{summary('runs/line')['seconds_per_epoch']:.4f}", "21"),
    ]
    assert "graphseq eval runs/line " in out[out.index("next:") :]
    assert summary("runs/line")["command"] == "graphseq train ./my_idea.py:line --seeds 0 1"


def test_finished_run_is_reported_and_not_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    main(["train", "my_idea.py:line", "--seeds", "0"])
    first = {p: p.read_bytes() for p in Path("runs").rglob("*") if p.is_file()}
    capsys.readouterr()
    assert main(["train", "my_idea.py:line", "--seeds", "0"]) == 0
    out = capsys.readouterr().out
    assert "runs/line: 1 of 1 seeds were finished already" in out
    assert "test/acc" in out
    assert {p: p.read_bytes() for p in Path("runs").rglob("*") if p.is_file()} == first


def test_overrides_reach_the_run_and_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--model.hidden", "7", "--budget.epochs", "2", "--out", "x", "--seeds", "0"]
    assert main(["train", "my_idea.py:line", *words]) == 0
    found = summary("x")
    assert found["settings"]["model.hidden"] == 7
    assert found["epochs"] == [2]
    assert "line with model.hidden=7, budget.epochs=2\n" in capsys.readouterr().out
    message = error_of(capsys, "train", "my_idea.py:line", "--out", "x", "--seeds", "1")
    assert "model.hidden was 7 and is now 4; give another --out" in message


def test_several_experiments_share_a_table_and_not_a_folder(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["train", "my_idea.py", "--out", "all", "--seeds", "0"]) == 0
    table = capsys.readouterr().out.split("experiment  ")[1]
    assert "line" in table
    assert "line_fixed" in table
    assert summary("all/line")["experiment"] == "line"
    assert summary("all/line_fixed")["experiment"] == "line_fixed"
    message = error_of(capsys, "train", "my_idea.py", "--model.hidden", "3")
    assert "--model.hidden needs one experiment to override, got 2" in message


def test_options_reach_the_run() -> None:
    words = ["--precision", "64-true", "--tensorboard", "--resume", "--device", "cpu"]
    assert main(["train", "my_idea.py:line", "--seeds", "0", *words]) == 0
    assert summary("runs/line")["settings"]["precision"] == "64-true"
    assert list(Path("runs/line/seed0/tensorboard").iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "no command is called 'trian'; there are list, info, train, leaderboard"),
        (["train"], "train needs an experiment: graphseq list shows all"),
        (["train", "my_idea.py:lime"], "no experiment is called 'lime'; did you mean line"),
        (["train", "nothing.py"], "there is no file "),
        (["train", "my_idea.py:line", "--model.hiden", "3"], "Unrecognized options: --model.hiden"),
        (["train", "my_idea.py:line", "--model.slope", "x"], "--model.slope: could not convert"),
        (["train", "my_idea.py:line", "--model.slope", "nan"], "model.slope is nan; give a finite"),
        (["train", "my_idea.py:line", "--task.lr", "nan"], "task.lr is nan; give a finite number"),
        (["train", "my_idea.py:line", "--task.lr=-inf"], "task.lr is -inf; give a finite number"),
        (["train", "my_idea.py:line", "--seeds", "0", "0"], "seeds must be different"),
        (["train", "my_idea.py:line", "--device", "tpu9"], "device='tpu9' is unknown"),
        (["train", "my_idea.py:line", "--out", "my_idea.py/x"], "cannot write my_idea.py/x"),
        (["eval", "nothing"], "there is no folder nothing"),
        (["eval"], "eval needs one folder that train has written, got 0"),
        (["leaderboard", "my_idea.py"], "leaderboard needs one experiment, got 2"),
        (["info", "more"], "info does not know what to do with 'more'"),
        (["bench", "a", "b"], "bench does not know what to do with 'b'"),
        (["bench", "nothing"], "nothing"),
        (["list", "--typo"], "Unrecognized options: --typo; see graphseq list --help"),
    ],
)
def test_errors_are_one_line(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert message in error_of(capsys, *words)


def test_a_data_folder_that_is_not_there_is_named_with_its_variable(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPHSEQ_DATA", "/nowhere/data")
    for experiment in ("dagnn_cora", "ncn_ddi"):
        message = error_of(capsys, "train", experiment, "--seeds", "0")
        assert "GRAPHSEQ_DATA names /nowhere/data, which is no folder; let it name" in message


def test_unknown_experiment_suggests_shipped_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean dagnn_cora" in error_of(capsys, "train", "dagn_cora")


def test_unforeseen_errors_carry_their_class(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = Path("my_idea.py").read_text()
    line = "error = (self.model(noisy)[:, 0]"
    assert line in text
    Path("my_idea.py").write_text(text.replace(line, "error = (self.model(noisy[:, 1:])[:, 0]"))
    message = error_of(capsys, "train", "my_idea.py:line")
    assert message.startswith("error: RuntimeError: mat1 and mat2 shapes cannot be multiplied")
    assert "GRAPHSEQ_DEBUG=1 shows where" in message
    monkeypatch.setenv("GRAPHSEQ_DEBUG", "1")
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        main(["train", "my_idea.py:line", "--out", "debug"])


def test_a_missing_package_is_a_plain_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(names: list[str], words: list[str]) -> int:
        raise ImportError("scatter: needs torch-scatter; pip install it")

    monkeypatch.setitem(cli.COMMANDS, "list", (cli.COMMANDS["list"][0], missing))
    assert error_of(capsys, "list") == "error: scatter: needs torch-scatter; pip install it\n"


def test_a_users_file_that_exits_with_words(capsys: pytest.CaptureFixture[str]) -> None:
    Path("my_idea.py").write_text("import sys\n\nsys.exit('no data\\nhere')\n")
    assert error_of(capsys, "list", "my_idea.py") == "error: no data here\n"


def test_eval_repeats_the_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    main(["train", "my_idea.py:line", "--seeds", "0", "1", "--model.hidden", "5"])
    capsys.readouterr()
    message = error_of(capsys, "eval", "runs/line")
    assert "was made from" in message
    assert "--experiment" in message
    assert main(["eval", "runs/line", "--experiment", "my_idea.py"]) == 0
    assert "8 numbers scored again: all equal the record" in capsys.readouterr().out
    weights = Path("runs/line/seed1/best.safetensors")
    words = ["eval", "runs/line", "--experiment", "my_idea.py", "--split"]
    assert main([*words, "test"]) == 0
    assert "4 numbers scored again: all equal the record" in capsys.readouterr().out
    assert main([*words, "train"]) == 0
    out = capsys.readouterr().out
    assert "4 numbers of training rows, which have no record to compare with" in out
    assert "train/mse" in out
    assert "val/" not in out
    weights.write_bytes(Path("runs/line/seed0/best.safetensors").read_bytes())
    assert main(["eval", "runs/line", "--experiment", "my_idea.py:line"]) == 1
    assert "4 numbers scored again" not in (out := capsys.readouterr().out)
    assert "differ" in out
    assert "NO" in out


def test_leaderboard(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["leaderboard", "my_idea.py:line_fixed", "--out", "board"]) == 0
    out = capsys.readouterr().out
    assert "sheet: board/sheet.md" in out
    assert "`graphseq leaderboard my_idea.py:line_fixed --out board`" in out
    assert summary("board")["seeds"] == list(range(10))


def test_list_shows_data_model_and_claim(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "my_idea.py"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[2] == ["line", "points", "plane", "Plane", "test/acc", *"0.9000 ± 0.0100 3".split()]
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in shipped())
    assert "dagnn_cora " in out


def test_bench_passes_its_words_on(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr("graphseq.bench.run_bench", lambda *words: calls.append(words))
    assert main(["bench"]) == 0
    assert main(["bench", "spmm", "--case", "cora", "--json"]) == 0
    assert calls == [(None, None, False), ("spmm", "cora", True)]


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_help_names_every_command(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert main(words) == 0
    out = capsys.readouterr().out
    assert all(f"  {command} " in out for command in cli.COMMANDS)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_of_each_command(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert main([command, "--help"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"usage: graphseq {command}")
    assert err == ""
    description = cli.COMMANDS[command][0].__doc__
    assert description is not None
    assert description.split(",")[0][:40] in out


def test_help_of_an_experiment_lists_its_overrides(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "my_idea.py:line", "--help"]) == 0
    out = capsys.readouterr().out
    for option in (
        "--seeds",
        "--out",
        "--data.rows",
        "--model.hidden",
        "--task.lr",
        "--budget.stop.window",
    ):
        assert option in out
    assert "width of the hidden layer" in out
    assert not Path("runs").exists()


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"graphseq {importlib.metadata.version('graphseq')}\n"


def test_warnings_are_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def warn(names: list[str], words: list[str]) -> int:
        warnings.warn("the checkpoint\nis damaged", stacklevel=2)
        return 0

    monkeypatch.setitem(cli.COMMANDS, "list", (cli.COMMANDS["list"][0], warn))
    before = warnings.showwarning
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main(["list"]) == 0
    assert capsys.readouterr().err == "warning: the checkpoint is damaged\n"
    assert warnings.showwarning is before


def test_ctrl_c_says_how_to_continue(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(names: list[str], words: list[str]) -> int:
        raise KeyboardInterrupt

    for command in ("train", "leaderboard", "list"):
        monkeypatch.setitem(cli.COMMANDS, command, (cli.COMMANDS[command][0], interrupted))
    assert main(["train", "dagnn_cora", "--seeds", "0"]) == 130
    expected = "interrupted; continue with: graphseq train dagnn_cora --seeds 0 --resume\n"
    assert capsys.readouterr() == ("", expected)
    assert main(["train", "dagnn_cora", "--resume"]) == 130
    assert capsys.readouterr().err.endswith(": graphseq train dagnn_cora --resume\n")
    assert main(["leaderboard", "dagnn_arxiv"]) == 130
    assert capsys.readouterr().err.endswith(": graphseq leaderboard dagnn_arxiv\n")
    assert main(["list"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_terminated_run_says_how_to_continue(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def terminated(names: list[str], words: list[str]) -> int:
        raise SystemExit(143)  # what fit makes of SIGTERM once it has written a checkpoint

    monkeypatch.setitem(cli.COMMANDS, "train", (cli.COMMANDS["train"][0], terminated))
    assert main(["train", "dagnn_cora"]) == 143
    assert "continue with: graphseq train dagnn_cora --resume" in capsys.readouterr().err


def test_as_a_program() -> None:
    """Errors and signals of the real process: no traceback, and a run that goes on."""
    failed = graphseq("train", "my_idea.py:lime")
    assert (failed.returncode, failed.stdout) == (2, "")
    assert failed.stderr.startswith("error: no experiment is called 'lime'")
    assert failed.stderr.count("\n") == 1
    words = [sys.executable, "-m", "graphseq", "train", "my_idea.py:line", "--seeds", "0"]
    words += ["--budget.epochs", "1000000"]
    running = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    history = Path("runs/line/seed0/history.csv")
    deadline = time.monotonic() + 60
    while not (history.exists() and len(history.read_text().splitlines()) > 3):
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert (out, err.count("\n")) == ("", 1)
    assert "continue with: graphseq train my_idea.py:line --seeds 0" in err
    assert Path("runs/line/seed0/checkpoint.pt").exists()


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = f"{sys.executable} -m graphseq list | head -n 1"
    run = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert run.stderr == ""
    assert run.stdout.startswith("experiment")


def test_two_processes_write_one_set_of_files() -> None:
    call = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    call += ["-m", "graphseq", "train", "my_idea.py", "--seeds", "0", "1", "--out", "all"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(call, capture_output=True, text=True, env=env, timeout=300)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("line seed 0:") == 1
    assert run.stdout.count("experiment  ") == 1
    for name in ("line", "line_fixed"):
        names = {path.name for path in Path("all", name).iterdir()}
        assert names == {"seed0", "seed1", "runs.csv", "summary.json"}
        assert len(Path("all", name, "runs.csv").read_text().splitlines()) == 3
        assert len(Path("all", name, "seed0", "history.csv").read_text().splitlines()) >= 6
    command = "torchrun --nproc_per_node=2 -m graphseq train my_idea.py --seeds 0 1 --out all"
    assert summary("all/line")["command"] == command
    assert main(["eval", "all/line", "--experiment", "my_idea.py"]) == 0


def test_help_and_versions_wait_for_no_heavy_import() -> None:
    script = (
        "import sys; from graphseq.cli import main; main(['--help']); main(['--version']);"
        "from graphseq.training.provenance import versions; versions();"
        "heavy = ('tyro', 'lightning_fabric', 'ogb', 'sklearn', 'matplotlib');"
        "print([m for m in heavy if m in sys.modules], file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.stderr.strip() == "[]"
