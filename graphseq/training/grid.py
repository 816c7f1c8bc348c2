"""Experiments that stand for a grid of others: all combinations of some settings.

A grid is a sequence of axes, an axis a sequence of what it can be set to, and each of those maps
dotted settings to values. Settings that belong together, such as a length and its batch size, are
one axis::

    grid=(
        ({"data.length": 64, "task.batch_size": 512}, {"data.length": 128, "task.batch_size": 256}),
        ({"task.lr": 1e-3}, {"task.lr": 1e-2}),
    )

A cell is an ordinary experiment with those settings. Its name ends with the first setting of each
axis, ``NAME-length64-lr0.001``.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from graphseq.training.experiment import Experiment
from graphseq.training.settings import with_leaves


def cells(experiment: Experiment) -> list[Experiment]:
    """The experiments that this one stands for: itself where it has no grid.

    Raises:
        ValueError: an axis is empty, or names a setting that the experiment does not have.
    """
    if not experiment.grid:
        return [experiment]
    for axis in experiment.grid:
        if not axis or not all(axis):
            raise ValueError(
                f"Experiment {experiment.name}: grid has an axis without settings; "
                "give each at least one, such as {'task.lr': 0.01}"
            )
    return [_cell(experiment, chosen) for chosen in itertools.product(*experiment.grid)]


def cell(experiment: Experiment, name: str) -> Experiment:
    """The cell of that name.

    Raises:
        ValueError: the grid has none; the message shows one that it has.
    """
    found = {_name(experiment, chosen): chosen for chosen in itertools.product(*experiment.grid)}
    if name not in found:
        raise ValueError(
            f"no experiment is called {name!r}; {experiment.name} has {len(found)} cells, "
            f"such as {next(iter(found))}"
        )
    return _cell(experiment, found[name])


def _cell(experiment: Experiment, chosen: Sequence[Mapping[str, Any]]) -> Experiment:
    values = {path: value for settings in chosen for path, value in settings.items()}
    changed = with_leaves(experiment, values)
    return dataclasses.replace(changed, name=_name(experiment, chosen), grid=())


def _name(experiment: Experiment, chosen: Sequence[Mapping[str, Any]]) -> str:
    first = [next(iter(settings.items())) for settings in chosen]
    return "-".join([experiment.name, *(f"{p.rpartition('.')[2]}{v:g}" for p, v in first)])
