"""The wheel holds everything and works anywhere; every dependency is accounted for."""

import ast
import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This checkout as a wheel, built without network."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    pip("wheel", *options, "--wheel-dir", str(folder), str(ROOT))
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty environment with the wheel, which borrows the other packages from this one.

    A plain path in a .pth file borrows the packages but not the .pth files beside them, so the
    editable install of this checkout stays out of sight.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    own = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    Path(own, "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip("--python", str(python), "install", "--no-deps", "--no-index", "--quiet", str(wheel))
    return folder / "bin"


def pip(*arguments: str) -> None:
    call = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(call, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def run(program: Path, *arguments: str, cwd: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "GRAPHSEQ_DATA")}
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, cwd=cwd, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_wheel_holds_the_package_and_its_experiments(wheel: Path) -> None:
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    package = {p.relative_to(ROOT).as_posix() for p in (ROOT / "graphseq").rglob("*.py")}
    shipped = {
        f"graphseq/_experiments/{p.relative_to(ROOT / 'experiments').as_posix()}"
        for pattern in ("*.py", "README.md", "results/*.csv")
        for p in (ROOT / "experiments").glob(pattern)
    }
    assert any(name.endswith(".py") for name in shipped)
    assert package | shipped | {"graphseq/py.typed"} <= held
    assert {name.split("/")[0] for name in held} == {"graphseq"}
    assert not [name for name in held if name.endswith((".pyc", ".nbi", ".nbc"))]


def test_installed_wheel_lists_and_trains(installed: Path, tmp_path: Path) -> None:
    script = "import graphseq, graphseq.cli as cli; print(graphseq.__file__); cli.main(['list'])"
    place, table = run(installed / "python", "-c", script, cwd=tmp_path).split("\n", 1)
    assert Path(place).is_relative_to(installed.parent)
    assert "dagnn_digits" in table
    # The smallest model: nothing is compiled yet beside the installed code, and DAGNN's loops would
    # cost more than all the rest.
    arguments = ["--seeds", "0", "--budget.epochs", "2", "--out", "out"]
    table = run(installed / "graphseq", "train", "mlp_digits", *arguments, cwd=tmp_path)
    assert "mlp_digits" in table
    (summary,) = tmp_path.glob("out/**/summary.json")
    assert json.loads(summary.read_text())["metrics"]["test/acc"]["mean"] > 0


def requirements() -> dict[str, Requirement]:
    """Canonical name -> requirement, of the package and of all its extras."""
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    found = (Requirement(text) for group in groups for text in group)
    return {canonicalize_name(r.name): r for r in found if r.name != "graphseq"}


def pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): Version(version) for name, version in pairs}


@pytest.mark.parametrize("name", requirements())
def test_dependency_is_pinned_and_justified(name: str) -> None:
    assert pins()[name] in requirements()[name].specifier
    assert re.search(rf"\b{re.escape(name)}\b", (ROOT / "CONTRIBUTING.md").read_text())


def test_every_package_that_gets_installed_is_pinned() -> None:
    """Otherwise `make test` would not be the same tomorrow."""
    reached: set[str] = set()
    waiting = [r for name, r in requirements().items() if name != "torch-scatter"]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in reached:
            continue
        reached.add(name)
        for text in metadata.requires(name) or []:
            deeper = Requirement(text)
            if deeper.marker is None or deeper.marker.evaluate({"extra": ""}):
                waiting.append(deeper)
    assert reached - set(pins()) == set()


def test_every_import_is_a_declared_dependency() -> None:
    owners = metadata.packages_distributions()
    declared = set(requirements())
    undeclared = set()
    for path in (ROOT / "graphseq").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            for name in {name.split(".")[0] for name in names} - sys.stdlib_module_names:
                distributions = {canonicalize_name(d) for d in owners.get(name, [name])}
                if name != "graphseq" and not distributions & declared:
                    undeclared.add(f"{path.relative_to(ROOT)}: {name}")
    assert undeclared == set()


def test_versions_agree() -> None:
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"version: {PROJECT['version']}\n" in citation
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text()
