"""Signatures become command-line options: ``--model.num-hops 20 --budget.patience None``.

The arguments of an experiment's partials, with their annotations, defaults and docstrings, are
laid out as nested dataclasses; tyro parses those, so every option is typed and has help. What a
terminal cannot type (functions, arrays, modules) and what a run supplies is left out.
"""

import contextlib
import dataclasses
import inspect
import io
import re
import types
import typing
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union

from graphseq.training.experiment import Experiment
from graphseq.training.settings import children, is_plain, with_leaves

Options = TypeVar("Options")

PARTS = ("data", "model", "task", "budget")


def parse(options: type[Options], args: Sequence[str], prog: str) -> Options:
    """Parses arguments into a dataclass.

    Args:
        options: a frozen dataclass; its annotations, defaults and docstring make the options.
        args: the arguments after the command's name.
        prog: what the help calls the command.

    Raises:
        ValueError: the arguments do not fit, told in one line.
        SystemExit: help was asked for and has been printed.
    """
    import tyro

    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(options, args=list(args), prog=prog)
    except SystemExit as stop:
        if not stop.code:
            raise
        raise ValueError(f"{_one_line(complaint.getvalue())}; see {prog} --help") from None


def overridden(words: Sequence[str]) -> list[str]:
    """The options among the words that belong to an experiment and not to a command."""
    return [word for word in words if word.startswith(tuple(f"--{part}." for part in PARTS))]


def parse_with_overrides(
    options: type[Options], args: Sequence[str], prog: str, experiment: Experiment
) -> tuple[Options, Experiment, dict[str, Any]]:
    """Parses a command's own options together with those of an experiment.

    Returns:
        The options, the experiment with the overrides applied, and the overrides by dotted path.

    Raises:
        ValueError: see :func:`parse`.
    """
    groups = {part: _group(part, getattr(experiment, part)) for part in PARTS}
    fields = [
        (part, group, dataclasses.field(default_factory=group))
        for part, group in groups.items()
        if group is not None
    ]
    both = dataclasses.make_dataclass(options.__name__, fields, bases=(options,), frozen=True)
    both.__doc__ = options.__doc__
    parsed: Any = parse(both, args, prog)
    given: dict[str, Any] = {}
    for part, group, _ in fields:
        given |= _changed(part, getattr(parsed, part), group())
    return parsed, with_leaves(experiment, given), given


def _changed(path: str, value: Any, default: Any) -> dict[str, Any]:
    if not dataclasses.is_dataclass(value):
        return {} if value == default and type(value) is type(default) else {path: value}
    given: dict[str, Any] = {}
    for field in dataclasses.fields(value):
        here, there = getattr(value, field.name), getattr(default, field.name)
        given |= _changed(f"{path}.{field.name}", here, there)
    return given


def _group(path: str, value: Any) -> type | None:
    """A dataclass with one field for each argument that a terminal can type; None without any."""
    held = children(path, value)
    if not held:
        return None
    owner = value.func if isinstance(value, partial) else type(value)
    hints, helps = _hints(owner), _helps(owner)
    fields: list[tuple[str, Any, Any]] = []
    for name, child in held.items():
        if children(f"{path}.{name}", child) is not None:
            group = _group(f"{path}.{name}", child)
            if group is not None:
                fields.append((name, group, dataclasses.field(default_factory=group)))
            continue
        hint = _typeable(hints.get(name, type(child))) if is_plain(child) else None
        if hint is not None:
            fields.append((name, *_field(hint, child, helps.get(name))))
    group = dataclasses.make_dataclass(owner.__name__, fields, frozen=True)
    # Without this tyro would print the signature of the made class as the group's description.
    group.__doc__ = ""
    return group if fields else None


def _field(hint: Any, default: Any, text: str | None) -> tuple[Any, Any]:
    import tyro

    default = tuple(default) if isinstance(default, list) else default
    hint = Annotated[hint, tyro.conf.arg(help=text)] if text else hint
    return hint, dataclasses.field(default=default)


def _typeable(hint: Any) -> Any:
    """The part of an annotation that a terminal can type; None where there is none."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _typeable(args[0])
    if origin is Literal or hint in (bool, int, float, str, Path):
        return hint
    if origin in (Union, types.UnionType):
        kept = [_typeable(arg) for arg in args if arg is not type(None)]
        kept = [arg for arg in kept if arg is not None]
        if not kept:
            return None
        return Union[tuple(kept) + ((type(None),) if type(None) in args else ())]  # noqa: UP007
    if origin in (tuple, list, Sequence):
        items = [arg if arg is Ellipsis else _typeable(arg) for arg in args]
        if None in items:
            return None
        # Called by name: a type that is only known now is nothing that a checker can read.
        return tuple.__class_getitem__(tuple(items) if origin is tuple else (items[0], ...))
    return None


def _hints(owner: Any) -> dict[str, Any]:
    """Annotations by argument; empty where a name in them cannot be resolved at run time."""
    try:
        if isinstance(owner, type) and not dataclasses.is_dataclass(owner):
            return typing.get_type_hints(inspect.getattr_static(owner, "__init__"))
        return typing.get_type_hints(owner)
    except NameError:
        return {}


def _helps(owner: Any) -> dict[str, str]:
    """The Args section of a docstring."""
    from docstring_parser import parse as parse_docstring

    texts = [inspect.getdoc(owner) or ""]
    if isinstance(owner, type):
        texts.append(inspect.getdoc(inspect.getattr_static(owner, "__init__")) or "")
    return {
        argument.arg_name: _without_markup(argument.description or "")
        for text in texts
        for argument in parse_docstring(text).params
    }


def _without_markup(text: str) -> str:
    """A terminal shows no roles: ``:class:`~a.b.C``` becomes C."""
    text = re.sub(r":\w+:`~[\w.]*?(\w+)`", r"\1", text)
    return " ".join(re.sub(r":\w+:`([^`]*)`", r"\1", text).replace("``", "").split())


def _one_line(box: str) -> str:
    """The sentence inside the box that tyro prints: what stands above its first rule.

    In UTF-8 the title is part of the border, otherwise it has a line and a rule below it.
    """
    lines = [line.strip() for line in re.sub(r"\x1b\[[0-9;]*m", "", box).splitlines()]
    framed = bool(lines) and lines[0].startswith("╭")
    body = []
    for line in lines[1 if framed else 2 :]:
        text = line.strip("│| ")
        if text.startswith(("---", "───", "╰", "Got errors:")):
            break
        body.append(text)
    return " ".join(" ".join(body).split()).rstrip(".") or "cannot read the arguments"
