"""The README's examples run, its commands exist, its links lead somewhere."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

from graphseq import cli
from graphseq.training.catalog import find_experiments, shipped
from graphseq.training.overrides import parse, parse_with_overrides

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


IDEA = next(block for block in blocks("python") if block.startswith("# my_idea.py\n"))
SNIPPETS = [block for block in blocks("python") if block != IDEA]


def commands(text: str) -> list[list[str]]:
    """The words of each command line, without comments and variables in front."""
    lines = [shlex.split(line, comments=True) for line in text.splitlines()]
    return [
        [w for i, w in enumerate(words) if i > 0 or not re.match(r"[A-Z_]+=", w)]
        for words in lines
        if words
    ]


COMMANDS = [words for block in blocks("console") for words in commands(block)]
OURS = [words[words.index("graphseq") + 1 :] for words in COMMANDS if "graphseq" in words]


@pytest.fixture
def idea(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that holds my_idea.py, which is also the current one."""
    (tmp_path / "my_idea.py").write_text(IDEA)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_library_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = executed(SNIPPETS[0])
    assert names["result"].metrics["test/acc"] > 0.85
    assert names["logits"].shape == (1797, 10)
    assert names["scores"].shape == (1797, 6)
    assert list(tmp_path.iterdir()) == []


def test_link_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = executed(SNIPPETS[1])
    assert names["result"].metrics["test/auc"] > 0.9
    near, far = names["probability"].tolist()
    assert near > 0.5 > far
    assert list(tmp_path.iterdir()) == []


def test_forward_learning_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = executed(SNIPPETS[2])
    assert names["result"].metrics["test/acc@depth3"] > 0.85
    assert names["classes"].shape == names["data"].test.shape
    right = names["classes"] == names["data"].y[names["data"].test]
    assert float(right.float().mean()) == pytest.approx(names["result"].metrics["test/acc"])
    assert list(tmp_path.iterdir()) == []


def test_sequence_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = executed(SNIPPETS[3])
    assert names["result"].metrics["test/acc"] > 0.8
    x = names["data"].x[names["data"].test[:1]]
    whole = names["model"](x)[0][0]
    torch.testing.assert_close(names["answers"][-1], whole, atol=1e-4, rtol=1e-4)
    assert list(tmp_path.iterdir()) == []


def executed(snippet: str) -> dict[str, Any]:
    """The names that an example leaves behind; it has at most ten lines."""
    assert len([line for line in snippet.splitlines() if line.strip()]) <= 10
    names: dict[str, Any] = {"__name__": "readme"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        exec(compile(snippet, "README.md", "exec"), names)
    return names


def test_one_file_idea_trains(idea: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "./my_idea.py", "--seeds", "0", "1", "--budget.epochs", "40"]) == 0
    assert "ask_friends" in capsys.readouterr().out
    (summary,) = idea.glob("runs/**/summary.json")
    accuracy = json.loads(summary.read_text())["metrics"]["test/acc"]
    assert len(accuracy["values"]) == 2
    assert accuracy["mean"] > 0.6  # three equal groups; the own answer alone gives about a half
    assert cli.main(["eval", str(summary.parent), "--experiment", "my_idea.py"]) == 0


@pytest.mark.parametrize("words", OURS, ids=" ".join)
def test_command_can_be_typed(words: list[str], idea: Path) -> None:
    """The command exists, what it names is there, and its options are understood."""
    kind, _ = cli.COMMANDS[words[0]]
    options = [w.startswith("-") for w in words]
    first = options.index(True) if any(options) else len(words)
    names, rest = words[1:first], words[first:]
    experiments = (
        [e for name in names for e in find_experiments(name)]
        if words[0] in ("train", "leaderboard", "list")
        else []
    )
    if rest == ["--help"]:
        assert cli.main(words) == 0
    elif words[0] == "train" and len(experiments) == 1:
        parse_with_overrides(kind, rest, "graphseq", experiments[0])
    else:
        parse(kind, rest, "graphseq")


def test_readme_shows_the_commands_that_matter() -> None:
    assert set(cli.COMMANDS) - {"results"} <= {words[0] for words in OURS}
    assert "graphseq results" in " ".join(README.split())
    assert {"make demo", "make test"} <= {" ".join(words) for words in COMMANDS}


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_exist(page: str) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    used = re.findall(r"\bmake (?:\w+=\S* )*([a-z][\w-]*)\b", code(page))
    assert set(used) <= targets


@pytest.mark.parametrize("page", PAGES)
def test_experiments_named_exist(page: str) -> None:
    pattern = r"\b(?:dagnn|mlp|gcn|gat|appnp|sgc|ncnc?|gae|cn|aa|ra)_[a-z_]+\b"
    assert set(re.findall(pattern, code(page))) <= set(shipped())


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text())
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (ROOT / target).exists()] == []


def code(page: str) -> str:
    """What stands in backticks or in a block: prose may say `make` and mean the verb."""
    text = (ROOT / page).read_text()
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    inline = re.findall(r"`([^`\n]+)`", text)
    return "\n".join([*fenced, *inline])
