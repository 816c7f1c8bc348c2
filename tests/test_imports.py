"""Imports run one way, and importing the package stays cheap.

The table below is the architecture: which room may import which. A module that no line names has
no place in the house, and the test says so.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

SHARED = ("kernels", "files")
GRAPH = ("graph.adjacency", "graph.csr", "graph.checks", "graph.sorting")
EVERYTHING = ("",)

MAY_IMPORT: dict[str, tuple[str, ...]] = {
    # the rooms that both wings and the hall share
    "kernels": (),
    "files": (),
    # the hall knows neither wing
    "training": SHARED,
    # the graph wing: ops <- nn <- models
    "graph.checks": SHARED,
    "graph.sorting": SHARED,
    "graph.csr": (*SHARED, "graph.checks", "graph.sorting"),
    "graph.adjacency": (*SHARED, "graph.csr", "graph.checks"),
    "graph.ops": (*SHARED, *GRAPH),
    "graph.nn": (*SHARED, *GRAPH, "graph.ops"),
    "graph.models": (*SHARED, *GRAPH, "graph.ops", "graph.nn"),
    "graph.data": (*SHARED, *GRAPH, "graph.ops"),
    "graph.metrics": (*SHARED, *GRAPH, "graph.ops"),
    "graph.tasks": (*SHARED, *GRAPH, "graph.ops", "graph.data", "graph.metrics", "training"),
    "graph.figures": (*SHARED, *GRAPH, "training"),
    "graph": ("graph",),  # the namespace itself
    # the sequence wing
    "sequence.ops": SHARED,
    "sequence.nn": (*SHARED, "sequence.ops"),
    "sequence.models": (*SHARED, "sequence.ops", "sequence.nn"),
    "sequence.dynamics": (*SHARED, "sequence.ops", "sequence.nn", "sequence.models"),
    "sequence.dynamics.figures": (
        *(*SHARED, "sequence.dynamics", "sequence.ops", "sequence.nn", "sequence.models"),
        "training",
    ),
    "sequence.solvers": SHARED,
    "sequence.data": (*SHARED, "sequence.solvers"),
    "sequence.metrics": (*SHARED, "sequence.ops"),
    "sequence.tasks": (
        *(*SHARED, "sequence.ops", "sequence.solvers", "sequence.data", "sequence.metrics"),
        "training",
    ),
    "sequence": ("sequence",),
    # on top
    "": ("graph", "sequence", "training"),  # graphseq/__init__.py: the public names
    "info": EVERYTHING,
    "bench": EVERYTHING,
    "demo": EVERYTHING,
    "cli": EVERYTHING,
    "__main__": EVERYTHING,
    "experiments": EVERYTHING,
}
TOP = ("cli", "__main__", "info", "bench", "demo", "experiments")  # nothing below may import these


def is_in(module: str, room: str) -> bool:
    return room == "" or module == room or module.startswith(room + ".")


def room_of(module: str) -> str | None:
    """The narrowest room that the module lies in; a wing's own room is its ``__init__`` alone."""
    exact = ("", "graph", "sequence")
    rooms = [r for r in MAY_IMPORT if module == r or (r not in exact and is_in(module, r))]
    return max(rooms, key=len, default=None)


def modules() -> dict[str, Path]:
    """Module name without ``graphseq.`` -> file; experiments as ``experiments.NAME``."""
    found = {}
    for path in sorted((ROOT / "graphseq").rglob("*.py")):
        parts = path.relative_to(ROOT / "graphseq").with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    for path in sorted((ROOT / "experiments").glob("*.py")):
        found[f"experiments.{path.stem}"] = path
    return found


MODULES = modules()


def imports(name: str, source: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """Line and target of each import of graphseq, those inside functions included."""
    package = (f"graphseq.{name}".rstrip(".") if is_package else f"graphseq.{name}").split(".")
    package = package if is_package else package[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if is_in(alias.name, "graphseq"):
                    yield node.lineno, alias.name.partition(".")[2]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*above, *(node.module or "").split(".")]).strip(".")
            if not is_in(module, "graphseq"):
                continue
            inner = module.partition(".")[2]
            for alias in node.names:  # `from graphseq.graph import nn` imports graph.nn
                longer = f"{inner}.{alias.name}".strip(".")
                yield node.lineno, longer if longer in MODULES else inner


def offences(name: str, source: str, is_package: bool) -> list[str]:
    room = room_of(name)
    if room is None:
        return [f"graphseq.{name} has no place in the table of imports"]
    allowed = MAY_IMPORT[room]
    wrong = []
    for line, target in imports(name, source, is_package):
        if room not in TOP and any(is_in(target, top) for top in TOP):
            wrong.append(f"line {line}: {room} imports {target}, which lies on top")
        elif allowed == EVERYTHING:
            continue
        elif target == "" and room != "":
            wrong.append(f"line {line}: {room} imports graphseq itself, and so both wings")
        elif not any(target != "" and is_in(target, a) for a in (*allowed, room) if a):
            wrong.append(f"line {line}: {room} imports {target}")
    return wrong


@pytest.mark.parametrize("name", MODULES)
def test_imports_run_one_way(name: str) -> None:
    path = MODULES[name]
    assert offences(name, path.read_text(), path.name == "__init__.py") == []


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("graph.ops.spmm", "import graphseq.sequence.ops"),
        ("sequence.ops.scan", "from graphseq.graph.ops import spmm"),
        ("sequence.ops.scan", "from graphseq import graph"),
        ("training.loop", "from graphseq.graph import models"),
        ("training.loop", "def f():\n    import graphseq"),
        ("training.loop", "from .. import cli"),
        ("graph.ops.spmm", "from graphseq.graph.nn import FeatureLinear"),
        ("graph.nn.propagation", "from graphseq.graph.models import DAGNN"),
        ("graph.models.dagnn", "from graphseq.graph.data import NodeData"),
        ("graph.models.dagnn", "from graphseq.training import Task"),
        ("graph.data.planetoid", "from graphseq.graph.tasks import NodeClassification"),
        ("graph.tasks.node_classification", "from graphseq.graph.models import DAGNN"),
        ("graph.tasks.node_classification", "from ..models.dagnn import DAGNN"),
        ("kernels", "from graphseq.graph.csr import CSR"),
        ("files", "from graphseq import training"),
        ("utils", ""),
        ("graph.common", ""),
    ],
)
def test_the_table_refuses(name: str, source: str) -> None:
    assert offences(name, source, is_package=False)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        (
            "graph.ops.spmm",
            "from graphseq.graph.csr import CSR\nfrom graphseq.kernels import kernel",
        ),
        ("graph.tasks.node_classification", "from graphseq.training import Task\nimport torch"),
        ("training.loop", "from .task import Task"),
        ("cli", "import graphseq\nfrom graphseq.bench import run_bench"),
        ("experiments.mine", "from graphseq import DAGNN, Experiment"),
    ],
)
def test_the_table_allows(name: str, source: str) -> None:
    assert offences(name, source, is_package=False) == []


LAZY = (
    *("lightning_fabric", "ogb", "matplotlib", "sklearn", "networkx", "tyro", "scipy.spatial"),
    *("scipy.optimize", "numba", "torch_scatter", "tensorboard", "tqdm", "safetensors"),
)


def test_import_adds_no_heavy_module() -> None:
    """Beyond what PyG loads by itself; in a fresh process, where nothing is loaded yet."""
    script = (
        "import sys, torch, torch_geometric; before = set(sys.modules); import graphseq\n"
        "print(*sorted(set(sys.modules) - before), sep='\\n')"
    )
    run = [sys.executable, "-c", script]
    added = subprocess.run(run, capture_output=True, text=True, check=True, cwd=ROOT).stdout.split()
    assert "graphseq" in added
    assert [module for module in added if any(is_in(module, lazy) for lazy in LAZY)] == []
