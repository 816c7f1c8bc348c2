"""Every argument of an experiment is a typed option."""

import dataclasses
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest

from graphseq.training.catalog import load_file
from graphseq.training.experiment import Experiment
from graphseq.training.overrides import overridden, parse, parse_with_overrides
from graphseq.training.settings import leaves

IDEA = Path(__file__).parents[1] / "ideas" / "line.py"


@dataclass(frozen=True)
class Options:
    """What a command would have."""

    out: Path | None = None
    """Where to."""


@dataclass(frozen=True)
class Encoder:
    """Nested in the arguments of a model.

    Args:
        width: how wide it is.
    """

    width: int = 3


def data(
    name: Literal["Cora", "PubMed"] = "Cora",
    sizes: tuple[int, ...] = (1, 2),
    ratios: list[float] = [0.5],  # noqa: B006  (never changed)
    root: str | None = None,
    table: dict[str, int] | None = None,
    score: Any = len,
    seed: int = 0,
) -> None:
    """Takes one argument of every kind.

    Args:
        name: which of the graphs.
        root: where it lies, see :func:`~graphseq.files.roots.find` and ``GRAPHSEQ_DATA``.
    """


def inner(depth: int = 2, rate: float = 1) -> None: ...


def model(
    in_channels: int,
    out_channels: int,
    *,
    norm: bool = True,
    slope: float = 0.5,
    encoder: Encoder | None = None,
    block: Any = None,
    untyped=4,  # type: ignore[no-untyped-def]
) -> None: ...


@pytest.fixture(scope="module")
def everything() -> Experiment:
    line = load_file(IDEA)["line"]
    return dataclasses.replace(
        line,
        data=partial(data),
        model=partial(model, encoder=Encoder(), block=partial(inner, depth=5)),
    )


def given(experiment: Experiment, words: str) -> dict[str, Any]:
    """The overrides that the words make, checked against the settings that result."""
    _, changed, overrides = parse_with_overrides(Options, words.split(), "prog", experiment)
    before, after = leaves(experiment), leaves(changed)
    assert {k for k in after if after[k] != before[k]} == set(overrides)
    return {path: after[path] for path in overrides}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", {}),
        ("--data.name PubMed", {"data.name": "PubMed"}),
        ("--data.sizes 3 4 5", {"data.sizes": [3, 4, 5]}),
        ("--data.ratios 0.25 1", {"data.ratios": [0.25, 1.0]}),
        ("--data.root /data", {"data.root": "/data"}),
        ("--model.no-norm", {"model.norm": False}),
        ("--model.slope 1", {"model.slope": 1.0}),
        ("--model.untyped 6", {"model.untyped": 6}),
        ("--model.encoder.width 9", {"model.encoder.width": 9}),
        (
            "--model.block.depth 7 --model.block.rate 2",
            {"model.block.depth": 7, "model.block.rate": 2.0},
        ),
        ("--task.lr 0.02", {"task.lr": 0.02}),
        ("--task.lr 2e-2 --task.betas 1 2", {"task.lr": 0.02, "task.betas": [1.0, 2.0]}),
        ("--budget.epochs 50 --budget.patience 3", {"budget.epochs": 50, "budget.patience": 3}),
        ("--budget.epochs None", {"budget.epochs": None}),
        ("--budget.stop.window 50", {"budget.stop.window": 50}),
        ("--budget.stop.after=2", {"budget.stop.after": 2}),
        ("--budget.max_steps 2", {"budget.max_steps": 2}),  # underscores do as well
        ("--model.slope 0.5", {}),  # the default again is no override
    ],
)
def test_every_kind_of_override(
    everything: Experiment, words: str, expected: dict[str, Any]
) -> None:
    found = given(everything, words)
    assert found == expected
    assert {k: type(v) for k, v in found.items()} == {k: type(v) for k, v in expected.items()}


def test_overrides_keep_the_kind_of_sequence_and_the_nested_values(everything: Experiment) -> None:
    words = "--data.ratios 1 2 --model.encoder.width 9 --model.block.rate 3".split()
    _, changed, _ = parse_with_overrides(Options, words, "prog", everything)
    assert changed.data.keywords == {"ratios": [1.0, 2.0]}
    assert changed.model.keywords["encoder"] == Encoder(9)
    assert changed.model.keywords["block"].keywords == {"depth": 5, "rate": 3.0}
    assert everything.model.keywords["encoder"] == Encoder()  # the original is untouched


def test_own_options_are_parsed_beside(everything: Experiment) -> None:
    words = ["--model.slope", "2", "--out", "x"]
    options, _, overrides = parse_with_overrides(Options, words, "prog", everything)
    assert (options.out, overrides) == (Path("x"), {"model.slope": 2.0})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--model.slope much", r"--model\.slope: could not convert .*'much'"),
        ("--budget.epochs 1.5", r"--budget\.epochs: .*\['1\.5'\]"),
        ("--model.typo 3", r"Unrecognized options: --model\.typo"),
        ("--data.name Coral", r"invalid choice 'Coral' .*'Cora', 'PubMed'"),
        ("--model.slope", r"Missing value for argument '--model\.slope'"),
        ("--data.seed 3", r"Unrecognized options: --data\.seed"),
        ("--model.in-channels 3", r"Unrecognized options: --model\.in-channels"),
        ("--task.model x", r"Unrecognized options: --task\.model"),
        ("--data.score x", r"Unrecognized options: --data\.score"),
        ("--data.table x", r"Unrecognized options: --data\.table"),
    ],
)
def test_refused_in_one_line(
    everything: Experiment, capsys: pytest.CaptureFixture[str], words: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        parse_with_overrides(Options, words.split(), "graphseq train x", everything)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("; see graphseq train x --help")
    assert capsys.readouterr() == ("", "")


def test_values_out_of_range_are_refused_by_their_owner(everything: Experiment) -> None:
    with pytest.raises(ValueError, match=r"patience must be .*>= 1, got -1"):
        parse_with_overrides(Options, ["--budget.patience", "-1"], "prog", everything)


def test_help_explains_each_option(
    everything: Experiment, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        parse_with_overrides(Options, ["--help"], "graphseq train x", everything)
    assert not stop.value.code
    text = " ".join(capsys.readouterr().out.replace("│", "").split())
    for part in (
        "--data.name",
        "which of the graphs",
        "see find and GRAPHSEQ_DATA.",
        "--model.encoder.width",
        "how wide it is",
        "--budget.patience",
        "--out",
        "Where to",
    ):
        assert part in text


def test_parse_alone_and_overridden() -> None:
    assert parse(Options, ["--out", "x"], "prog") == Options(Path("x"))
    assert overridden(["--out", "x", "--model.k", "3"]) == ["--model.k"]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_errors_name_the_option_in_every_encoding(encoding: str) -> None:
    """tyro draws its box by what the terminal can show, which pytest's own capture hides."""
    import os
    import subprocess
    import sys

    command = [sys.executable, "-m", "graphseq", "list", "--nosuch"]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(command, capture_output=True, env=environment)
    message = done.stderr.decode(encoding)
    assert done.returncode == 2
    assert message.count("\n") == 1
    assert "--nosuch" in message
    assert not set("─│╭╰") & set(message)
