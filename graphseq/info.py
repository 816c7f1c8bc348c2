"""What ``graphseq info`` tells: versions, devices, what is installed and live, where files lie."""

import importlib
import importlib.util
import os
from importlib import metadata
from typing import Any

import torch

from graphseq.files import cache_root, data_roots
from graphseq.training.provenance import commit, hardware, versions

EXTRAS = {"scatter": "torch_scatter", "plot": "matplotlib", "log": "tensorboard"}


def collect() -> dict[str, Any]:
    """Everything that matters for a bug report, by section."""
    return {
        "versions": {**versions(), "commit": commit() or "release"},
        "machine": hardware("cuda" if torch.cuda.is_available() else "cpu"),
        "devices": _devices(),
        "backends": _backends(),
        "extras": {extra: _state(module) for extra, module in EXTRAS.items()},
        "folders": _folders(),
    }


def as_text(found: dict[str, Any]) -> str:
    """:func:`collect` for people."""
    width = max(len(name) for section in found.values() for name in section)
    blocks = []
    for title, section in found.items():
        lines = [f"  {name.ljust(width)}  {value}" for name, value in section.items()]
        blocks.append("\n".join([title, *lines]))
    return "\n".join(blocks)


def _devices() -> dict[str, str]:
    found = {"cpu": f"{torch.get_num_threads()} threads"}
    for index in range(torch.cuda.device_count()):
        found[f"cuda:{index}"] = torch.cuda.get_device_name(index)
    if torch.backends.mps.is_available():
        found["mps"] = "available"
    return found


def _backends() -> dict[str, str]:
    """What the ops can run on without extras."""
    return {"torch": "live", "numba": _state("numba")}


def _state(module: str) -> str:
    """Whether a package is there and loads: one built for another torch is there and does not."""
    if importlib.util.find_spec(module) is None:
        return "not installed"
    try:
        importlib.import_module(module)
    except (ImportError, OSError) as error:
        return f"installed, but does not load: {' '.join(str(error).split())}"
    return f"live, {metadata.version(module)}"


def _folders() -> dict[str, str]:
    found = {}
    for index, root in enumerate(data_roots()):
        name = "GRAPHSEQ_DATA" if index == 0 and os.environ.get("GRAPHSEQ_DATA") else "data"
        found[name] = f"{root}{'' if root.is_dir() else ' (not there)'}"
    cache = cache_root()
    found["cache"] = f"{cache}{'' if cache.is_dir() else ' (not there yet)'}"
    return found
