"""Experiments are Python values: what is trained, on what, how long, and what a paper claims."""

import difflib
import inspect
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from graphseq.training.stage import Budget
from graphseq.training.task import Task

SUPPLIED = {
    "data": ("seed",),
    "model": ("seed", "in_channels", "out_channels"),
    "task": ("seed", "model", "data"),
}
"""Part -> the arguments that a run supplies, unless the experiment fixes them itself."""


@runtime_checkable
class HasDims(Protocol):
    """What a run needs to know of a dataset: the arguments that it dictates to the model."""

    @property
    def dims(self) -> Mapping[str, Any]:
        """For example ``{"in_channels": 1433, "out_channels": 7}``."""
        ...


@dataclass(frozen=True)
class Claim:
    """A published number to compare with.

    Args:
        metric: for example ``test/acc``.
        value: the published mean, as a fraction for accuracies.
        std: the published standard deviation, in the same unit.
        source: paper and table.
        tolerance: a mean within this distance of ``value`` counts as repeating the claim.
    """

    metric: str
    value: float
    std: float | None = None
    source: str = field(kw_only=True)
    tolerance: float = field(kw_only=True)


@dataclass(frozen=True)
class Experiment:
    """One row of a paper's table, as a value.

    The three parts are :class:`functools.partial`, bound against the real signatures at once, so a
    misspelt argument is an error where it is written and not after the data have been loaded.

    Args:
        name: how the command line calls it; also the name of its folder under ``runs/``.
        data: returns the dataset, whose ``dims`` name what the model needs to know about it. Is
            called with the run's ``seed`` if it takes one.
        model: the module; called with the data's ``dims``.
        task: the :class:`~graphseq.training.task.Task`; called with ``model`` and ``data``.
        budget: how long to train; its fields replace those of the task's stages.
        seeds: the seeds that a run goes through when it is given no others.
        claim: the published number.
        notes: what a reader of the table should know.
        study: whether it is one row of many, which only the page of all results shows.
        grid: what to vary, see :mod:`graphseq.training.grid`: the experiment then stands for all
            combinations, one setting of each axis. Empty for a single experiment.
        file: the file that holds a user's experiment; filled in by the catalogue.

    Raises:
        TypeError: an argument of a part is misspelt or missing.
        ValueError: the name or the seeds cannot be used, or an argument is NaN or infinite.

    Example:
        >>> from graphseq import DAGNN
        >>> from graphseq.graph.data import digits
        >>> from graphseq.graph.tasks import NodeClassification
        >>> Experiment(
        ...     name="mine",
        ...     data=partial(digits),
        ...     model=partial(DAGNN, num_hop=5),
        ...     task=partial(NodeClassification, lr=0.01),
        ... )
        Traceback (most recent call last):
            ...
        TypeError: Experiment mine: model=DAGNN got an unexpected keyword argument 'num_hop'; \
did you mean num_hops?
    """

    name: str
    data: partial[Any]
    model: partial[Any]
    task: partial[Any]
    budget: Budget = field(default_factory=Budget)
    seeds: Sequence[int] = range(10)
    claim: Claim | None = None
    notes: str = ""
    study: bool = False
    grid: Sequence[Sequence[Mapping[str, Any]]] = ()
    file: Path | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not re.fullmatch(r"\w[\w.-]*", self.name):
            raise ValueError(
                f"Experiment: name must be a word that can name a folder, got {self.name!r}; "
                "use letters, digits, '_', '-' and '.'"
            )
        for part, supplied in SUPPLIED.items():
            _check_part(self.name, part, getattr(self, part), supplied)
        check_seeds(self.seeds, f"Experiment {self.name}")

    def load(self, seed: int) -> HasDims:
        """The dataset of one seed.

        Raises:
            TypeError: what ``data`` returns has no ``dims``.
        """
        data = self.data(seed=seed) if self.data_follows_seed else self.data()
        if not isinstance(data, HasDims):
            raise TypeError(
                f"Experiment {self.name}: data={name_of(self.data)} returned a "
                f"{type(data).__name__} without dims; give it a dict attribute dims with the "
                "arguments that the model needs, such as in_channels"
            )
        return data

    @property
    def data_follows_seed(self) -> bool:
        """Whether every seed has data of its own, a random split for example."""
        return takes(self.data, "seed")

    def build(self, data: HasDims, seed: int) -> Task:
        """The task of one seed, with a freshly initialised model.

        Raises:
            TypeError: the model does not take what the data supply, or needs more.
        """
        # A model without arguments, a heuristic, has nothing that could be sized; and not every
        # model has a word for what these data lack, such as the rows of an embedding table.
        known = parameters(self.model)
        dims = {k: v for k, v in data.dims.items() if known and (v is not None or k in known)}
        model = self._call("model", {**dims, **self._seed("model", seed)})
        return self._call("task", {"model": model, "data": data, **self._seed("task", seed)})

    def _seed(self, part: str, seed: int) -> dict[str, int]:
        return {"seed": seed} if takes(getattr(self, part), "seed") else {}

    def _call(self, part: str, supplied: Mapping[str, Any]) -> Any:
        """Calls a part with what the run supplies, except what the experiment has fixed."""
        function: partial[Any] = getattr(self, part)
        supplied = {k: v for k, v in supplied.items() if k not in function.keywords}
        try:
            inspect.signature(function).bind(**supplied)
        except TypeError as error:
            raise TypeError(
                f"Experiment {self.name}: {part}={name_of(function)}: {error}; the run supplies "
                f"{', '.join(supplied)}"
            ) from None
        return function(**supplied)


def takes(function: partial[Any], argument: str) -> bool:
    """Whether a partial has this argument by name and has not fixed it yet."""
    return argument in parameters(function) and argument not in function.keywords


def parameters(function: partial[Any]) -> dict[str, inspect.Parameter]:
    """The named parameters of the function or class that a partial wraps."""
    signature = inspect.signature(function.func)
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {k: p for k, p in signature.parameters.items() if p.kind not in variadic}


def name_of(value: object) -> str:
    """The readable name of a function, a class, a partial of either, or an instance's class."""
    if isinstance(value, partial):
        value = value.func
    return (
        value.__qualname__
        if inspect.isroutine(value) or isinstance(value, type)
        else (type(value).__qualname__)
    )


def check_seeds(seeds: Sequence[int], owner: str) -> list[int]:
    """The seeds as a list.

    Raises:
        ValueError: there is none, one comes twice, or one is not a whole number in [0, 2^63).
    """
    numbers = list(seeds)
    right = all(type(seed) is int and 0 <= seed < 2**63 for seed in numbers)
    if not numbers or not right or len(set(numbers)) != len(numbers):
        raise ValueError(
            f"{owner}: seeds must be different whole numbers >= 0, at least one; got {numbers}"
        )
    return numbers


def _check_part(experiment: str, part: str, function: object, supplied: Sequence[str]) -> None:
    """Binds one partial, and the partials among its arguments, against the real signature."""
    where = f"Experiment {experiment}: {part}"
    if not isinstance(function, partial):
        name = getattr(function, "__name__", repr(function))
        raise TypeError(f"{where} must be a functools.partial, got {name}; write partial({name})")
    where = f"{where}={name_of(function)}"
    if function.args:
        raise TypeError(f"{where}: give the arguments by name, got {function.args} by position")
    for name in ("model", "data"):
        if part == "task" and name in function.keywords:
            raise TypeError(f"{where}: {name} is supplied by the run; remove it")
    try:
        inspect.signature(function.func).bind_partial(**function.keywords)
    except TypeError as error:
        wrong = [k for k in function.keywords if k not in parameters(function)]
        close = difflib.get_close_matches(wrong[0], parameters(function)) if wrong else []
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise TypeError(f"{where} {error}{hint}") from None
    missing = [
        name
        for name, parameter in parameters(function).items()
        if parameter.default is parameter.empty
        and name not in function.keywords
        and name not in supplied
    ]
    # What a model lacks, the data may supply, which build() checks; and what an argument lacks,
    # such as a mixer its width, whoever calls it.
    if missing and part != "model" and "." not in part:
        raise TypeError(f"{where} lacks {', '.join(missing)}; add it to the partial")
    for name, value in function.keywords.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(
                f"Experiment {experiment}: {part}.{name} is {value}; give a finite number"
            )
        if isinstance(value, partial):
            _check_part(experiment, f"{part}.{name}", value, ())
