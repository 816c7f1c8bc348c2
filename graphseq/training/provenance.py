"""Where a result comes from: the code, the versions, the machine and the command."""

import functools
import os
import platform
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from graphseq.training.catalog import shipped_folder

PACKAGES = ("graphseq", "torch-geometric", "numpy", "numba", "ogb")


def versions() -> dict[str, str]:
    """Python, torch and the packages that a result may depend on, by name."""
    found = {"python": platform.python_version(), "torch": str(torch.__version__)}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # a source tree on the path, not installed
            found[package] = "not installed"
    return found


def hardware(device: str = "cpu") -> dict[str, Any]:
    """The processor, its cores that this process may use, torch's threads, memory, any GPU used."""
    found: dict[str, Any] = {
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gb": _memory_gb(),
    }
    if device != "cpu" and torch.cuda.is_available():
        gpu = torch.cuda.get_device_properties("cuda" if device == "auto" else device)
        found |= {"gpu": gpu.name, "gpu_memory_gb": round(gpu.total_memory / 2**30, 1)}
    return found


def hardware_line(found: dict[str, Any]) -> str:
    """:func:`hardware` for people: ``2 cores of AMD EPYC 7B13, 8 GB, 1 thread``."""
    threads = f"{found['threads']} thread" + ("" if found["threads"] == 1 else "s")
    line = f"{found['cores']} cores of {found['cpu']}, {found['memory_gb']:g} GB, {threads}"
    return line + (f"; {found['gpu']}, {found['gpu_memory_gb']:g} GB" if "gpu" in found else "")


def command() -> str:
    """The command line of this process, without the folder of its program."""
    program, *args = sys.argv or [""]
    if Path(program).name == "__main__.py":
        words = ["python", "-m", "graphseq"]
    elif program.endswith(".py"):
        words = ["python", program]
    else:
        words = [Path(program).name or "python"]
    return shlex.join([*words, *args])


@functools.cache
def commit() -> str | None:
    """The git commit of the package's code, with ``-dirty`` where that code was edited since.

    The shipped experiments count as such code where they lie in the same checkout; their results,
    which every run may add to, do not.

    None for an installed wheel and where git is absent: the version says it then.
    """
    folder = Path(__file__).resolve().parents[1]
    # A wheel inside a repository of somebody else's is not that repository's code.
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    head = _git(folder, "rev-parse", "HEAD")
    edited = _git(folder, "status", "--porcelain", "--", ".", *_experiments(folder))
    return head and head + ("-dirty" if edited else "")


def _experiments(folder: Path) -> list[str]:
    """Git's pattern for the files of the shipped experiments, if they are in the same checkout."""
    try:
        experiments = shipped_folder()
    except FileNotFoundError:
        return []
    top = ("rev-parse", "--show-toplevel")
    same = _git(experiments, *top) == _git(folder, *top)
    return [str(experiments / "*.py")] if same else []


def _git(folder: Path, *args: str) -> str | None:
    """The output of a git command; None if it fails."""
    call = ["git", "-C", str(folder), *args]
    try:
        answer = subprocess.run(call, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return " ".join(line.split(":", 1)[1].split())
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def _memory_gb() -> float:
    """Physical memory; 0.0 where the system does not tell."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, OSError, ValueError):
        return 0.0
