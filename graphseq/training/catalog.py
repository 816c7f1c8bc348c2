"""Where experiments are found: the shipped files by name, a user's file by path."""

import dataclasses
import difflib
import functools
import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from graphseq.training.experiment import Experiment
from graphseq.training.grid import cell, cells


def find_experiments(spec: str) -> list[Experiment]:
    """The experiments that a word on the command line stands for.

    One with a grid stands for all its cells, which also have names of their own.

    Args:
        spec: the name of a shipped experiment; a Python file, which stands for all experiments in
            it; or ``FILE.py:NAME`` for one of them.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: there is no experiment of that name; the message lists those that come close.
        TypeError: an experiment of the file is not right.
    """
    path, _, name = spec.partition(":")
    if not path.endswith(".py"):
        return cells(pick(shipped(), spec))
    found = load_file(Path(path))
    chosen = [pick(found, name)] if name else list(found.values())
    return [one for experiment in chosen for one in cells(experiment)]


def pick(experiments: dict[str, Experiment], name: str) -> Experiment:
    """The experiment of that name, or the cell of a grid.

    Raises:
        ValueError: there is none.
    """
    if name in experiments:
        return experiments[name]
    for experiment in experiments.values():
        if experiment.grid and name.startswith(f"{experiment.name}-"):
            return cell(experiment, name)
    close = difflib.get_close_matches(name, experiments, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else "graphseq list shows all"
    raise ValueError(f"no experiment is called {name!r}; {hint}")


@functools.cache
def shipped() -> dict[str, Experiment]:
    """The package's own experiments by name.

    Raises:
        FileNotFoundError: the package was installed without its experiments.
        ValueError: two files define the same name.
    """
    found: dict[str, Experiment] = {}
    owner: dict[str, str] = {}
    for path in sorted(shipped_folder().glob("*.py")):
        if path.stem == "__init__":
            continue
        for name, experiment in load_file(path).items():
            if name in owner:
                raise ValueError(f"experiment {name} is in both {owner[name]} and {path.name}")
            found[name] = dataclasses.replace(experiment, file=None)
            owner[name] = path.name
    return found


def shipped_folder() -> Path:
    """``graphseq/_experiments`` of a wheel, or ``experiments`` of a checkout.

    Raises:
        FileNotFoundError: there is neither.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_experiments", package.parent / "experiments"):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f"graphseq's experiments are not beside {package}; install the package again"
    )


def load_file(path: Path) -> dict[str, Experiment]:
    """Runs a Python file and returns its ``experiments`` by name.

    Args:
        path: the file. It runs as a module of its own, known to ``sys.modules`` so that its
            classes can be pickled, and is run anew by each call.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file does not run, defines no experiments, or defines a name twice.
        TypeError: what it defines are no experiments.
    """
    path = path.expanduser().resolve()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    # Two files of the same name must not share a module.
    module_name = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    module_spec = importlib.util.spec_from_file_location(module_name, path)
    if module_spec is None or module_spec.loader is None:
        raise ValueError(f"{path} is no Python file; its name must end in .py")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module_name] = module
    # As for `python FILE`, but last: the file may import its neighbours and shadow no package.
    sys.path.append(str(path.parent))
    try:
        module_spec.loader.exec_module(module)
        return _by_name(path, getattr(module, "experiments", None))
    except Exception as error:
        del sys.modules[module_name]
        raise _in_one_line(path, error) from error
    finally:
        sys.path.remove(str(path.parent))


def _by_name(path: Path, experiments: object) -> dict[str, Experiment]:
    if not isinstance(experiments, Sequence) or not experiments:
        raise ValueError("defines no experiments; add experiments = [Experiment(...)]")
    found: dict[str, Experiment] = {}
    for experiment in experiments:
        if not isinstance(experiment, Experiment):
            raise TypeError(f"experiments holds a {type(experiment).__name__}, not an Experiment")
        if experiment.name in found:
            raise ValueError(f"defines the experiment {experiment.name} twice")
        found[experiment.name] = dataclasses.replace(experiment, file=path)
    return found


def _in_one_line(path: Path, error: Exception) -> Exception:
    """The error with its place in the file, as a class that the command line prints plainly."""
    if isinstance(error, SyntaxError):
        return ValueError(f"{path.name}, line {error.lineno}: {error.msg}")
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    place = f"{path.name}, line {frames[-1].lineno}" if frames else path.name
    kind = type(error) if isinstance(error, TypeError) else ValueError
    name = "" if isinstance(error, ValueError | TypeError) else f"{type(error).__name__}: "
    return kind(f"{place}: {name}{error}")
