"""An experiment as flat settings, and back.

``leaves`` writes ``{"data": "planetoid", "data.name": "Cora", "model": "DAGNN", "model.num_hops":
10, ...}``: every argument that can change a result, also those left at their defaults, in values
that JSON keeps. ``with_leaves`` puts such values into an experiment. What is not plain data, a
function or an array, is recorded by a description and stays what the experiment holds: nothing in
a file can name code to run.
"""

import dataclasses
import hashlib
import inspect
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from graphseq.training.experiment import SUPPLIED, Experiment, name_of, parameters

ELSEWHERE = frozenset({"data.root", "data.download", "budget.checkpoint_seconds"})
"""Settings that say where files lie or how often they are written, and change no result."""


def leaves(experiment: Experiment) -> dict[str, Any]:
    """All settings of an experiment by their dotted path, as JSON values."""
    flat: dict[str, Any] = {}
    for part in SUPPLIED:
        flat |= _flatten(part, getattr(experiment, part))
    budget = _flatten("budget", experiment.budget)
    del budget["budget"]  # always the same class
    return flat | budget


def with_leaves(experiment: Experiment, values: Mapping[str, Any]) -> Experiment:
    """The experiment with some settings replaced.

    Args:
        experiment: gives all settings that ``values`` leaves out.
        values: dotted path -> plain value.

    Raises:
        ValueError: a path does not exist in this experiment, or names code or data that a plain
            value cannot replace.
    """
    known = leaves(experiment)
    for path in values:
        if path not in known:
            raise ValueError(f"experiment {experiment.name} has no setting {path}")
    parts = {name: _rebuild(name, getattr(experiment, name), values) for name in SUPPLIED}
    budget = _rebuild("budget", experiment.budget, values)
    return dataclasses.replace(experiment, budget=budget, **parts)


def differences(recorded: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """One phrase for each setting that differs and that can change a result.

    An argument that came later and is left at None means what it was before there was one.
    """
    absent = "absent"
    return [
        f"{path} was {recorded.get(path, absent)!r} and is now {current.get(path, absent)!r}"
        for path in dict.fromkeys([*recorded, *current])
        if path not in ELSEWHERE and recorded.get(path) != current.get(path)
    ]


def dataset_of(settings: Mapping[str, Any]) -> str:
    """The data function, and the data set's name and split where it has several."""
    words = [settings["data"], *(settings.get(f"data.{key}") for key in ("name", "split"))]
    return " ".join(str(word) for word in words if word)


def children(path: str, value: object) -> dict[str, Any] | None:
    """The arguments that a partial or a dataclass instance holds; None for any other value.

    An experiment's own parts leave out what the run supplies.
    """
    if isinstance(value, partial):
        supplied = SUPPLIED.get(path, ())
        return {
            name: value.keywords.get(name, parameter.default)
            for name, parameter in parameters(value).items()
            if name in value.keywords
            or (parameter.default is not parameter.empty and name not in supplied)
        } | dict(value.keywords)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
    return None


def is_plain(value: object) -> bool:
    """Whether JSON keeps this value, up to tuples and paths."""
    if isinstance(value, tuple | list):
        return all(is_plain(item) for item in value)
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(item) for key, item in value.items())
    return value is None or isinstance(value, bool | int | float | str | Path)


def _flatten(path: str, value: object) -> dict[str, Any]:
    held = children(path, value)
    if held is None:
        return {path: _jsonable(value) if is_plain(value) else _describe(value)}
    flat: dict[str, Any] = {path: name_of(value)}
    for name, child in held.items():
        flat |= _flatten(f"{path}.{name}", child)
    return flat


def _rebuild(path: str, value: Any, values: Mapping[str, Any]) -> Any:
    held = children(path, value)
    if held is None and is_plain(value):
        same = values.get(path, _jsonable(value)) == _jsonable(value)
        return value if same else _like(value, values[path])
    described = name_of(value) if held is not None else _describe(value)
    if values.get(path, described) != described:
        raise ValueError(
            f"setting {path} is {described}, which {values[path]!r} cannot replace; "
            "change the experiment's file"
        )
    if held is None:
        return value
    new = {name: _rebuild(f"{path}.{name}", child, values) for name, child in held.items()}
    changed = {name: child for name, child in new.items() if child is not held[name]}
    if not changed:
        return value
    if isinstance(value, partial):
        return partial(value.func, **{**value.keywords, **changed})
    return dataclasses.replace(value, **changed)


def _like(old: object, new: object) -> object:
    """JSON knows neither tuples nor paths."""
    if isinstance(new, list | tuple):
        return list(new) if isinstance(old, list) else tuple(new)
    return Path(new) if isinstance(old, Path) and isinstance(new, str) else new


def _jsonable(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_jsonable(item) for item in value]
    if isinstance(value, dict):
        return {key: _jsonable(item) for key, item in value.items()}
    return str(value) if isinstance(value, Path) else value


def _describe(value: object) -> str:
    """A text that differs where the value does, as far as can be told without running code."""
    if isinstance(value, np.ndarray | torch.Tensor):
        array = np.ascontiguousarray(torch.as_tensor(value).detach().cpu().numpy())
        digest = hashlib.sha256(array.tobytes()).hexdigest()[:16]
        return f"{type(value).__name__} {array.dtype} {list(array.shape)} sha256 {digest}"
    if inspect.isroutine(value) or isinstance(value, type):
        return name_of(value)
    return f"{name_of(value)} object"
