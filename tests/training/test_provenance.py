"""What a result says about its origin."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from graphseq.training import provenance
from graphseq.training.provenance import command, commit, hardware, hardware_line, versions


def test_versions_name_what_results_depend_on() -> None:
    found = versions()
    assert found["torch"] == torch.__version__
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"graphseq", "torch-geometric", "numpy", "numba", "ogb"} <= set(found)
    assert all(found.values())


def test_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "PACKAGES", ("no-such-package",))
    assert versions()["no-such-package"] == "not installed"


def test_hardware() -> None:
    found = hardware("cpu")
    assert found["cpu"]
    assert found["cores"] >= 1
    assert found["memory_gb"] > 0
    assert "gpu" not in found
    assert hardware_line({**found, "gpu": "H", "gpu_memory_gb": 80.0}).endswith("; H, 80 GB")
    assert hardware_line(found).startswith(f"{found['cores']} cores of {found['cpu']}, ")
    assert hardware_line({**found, "threads": 1}).endswith(" GB, 1 thread")
    assert hardware_line({**found, "threads": 3}).endswith(" GB, 3 threads")


def test_the_number_of_threads_is_that_of_torch() -> None:
    for threads in (1, 2):  # put back by conftest
        torch.set_num_threads(threads)
        assert hardware()["threads"] == threads


@pytest.fixture
def fresh() -> None:
    commit.cache_clear()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a package in it that believes to be graphseq."""
    package = tmp_path / "repository" / "graphseq"
    (package / "training").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    monkeypatch.setattr(provenance, "__file__", str(package / "training" / "provenance.py"))
    for name in (
        "GIT_AUTHOR_NAME",
        "GIT_COMMITTER_NAME",
        "GIT_AUTHOR_EMAIL",
        "GIT_COMMITTER_EMAIL",
    ):
        monkeypatch.setenv(name, "someone@localhost")
    git(package.parent, "init", "-q")
    commit.cache_clear()
    return package


def git(folder: Path, *args: str) -> str:
    call = ["git", "-C", str(folder), *args]
    return subprocess.run(call, check=True, capture_output=True, text=True).stdout.strip()


def test_commit_and_dirty_flag(repository: Path) -> None:
    assert commit() is None  # a wheel inside a repository of somebody else's
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "first")
    head = git(repository, "rev-parse", "HEAD")
    commit.cache_clear()
    assert commit() == head
    (repository.parent / "notes.txt").write_text("outside of the package")
    commit.cache_clear()
    assert commit() == head
    (repository / "__init__.py").write_text("edited = True\n")
    commit.cache_clear()
    assert commit() == f"{head}-dirty"
    commit.cache_clear()


def test_edited_experiments_are_dirty_too(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiments = repository.parent / "experiments"
    (experiments / "results").mkdir(parents=True)
    (experiments / "mine.py").write_text("experiments = []\n")
    monkeypatch.setattr(provenance, "shipped_folder", lambda: experiments)
    git(repository.parent, "add", ".")
    git(repository, "commit", "-q", "-m", "first")
    head = git(repository, "rev-parse", "HEAD")
    (experiments / "results" / "mine.csv").write_text("a result is no code")
    commit.cache_clear()
    assert commit() == head
    (experiments / "mine.py").write_text("experiments = [1]\n")
    commit.cache_clear()
    assert commit() == f"{head}-dirty"
    git(repository.parent, "checkout", "-q", "--", "experiments")
    (experiments / "new.py").write_text("")
    commit.cache_clear()
    assert commit() == f"{head}-dirty"
    commit.cache_clear()


def test_experiments_that_lie_elsewhere_do_not_count(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere() -> Path:
        raise FileNotFoundError

    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "first")
    head = git(repository, "rev-parse", "HEAD")
    for folder in (lambda: tmp_path, nowhere):
        monkeypatch.setattr(provenance, "shipped_folder", folder)
        commit.cache_clear()
        assert commit() == head
        (repository / "__init__.py").write_text("edited = True\n")
        commit.cache_clear()
        assert commit() == f"{head}-dirty"
        git(repository, "checkout", "-q", "--", ".")
    commit.cache_clear()


@pytest.mark.usefixtures("fresh")
def test_without_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    assert commit() is None
    commit.cache_clear()


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["/usr/bin/graphseq", "train", "a b"], "graphseq train 'a b'"),
        (["/x/graphseq/__main__.py", "train"], "python -m graphseq train"),
        (["scripts/mine.py", "3"], "python scripts/mine.py 3"),
        ([""], "python"),
        ([], "python"),
    ],
)
def test_command(monkeypatch: pytest.MonkeyPatch, argv: list[str], expected: str) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    assert command() == expected
