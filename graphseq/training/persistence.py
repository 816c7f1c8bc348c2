"""``save(model, folder)`` and ``load(folder)``: a model without its experiment.

``model.safetensors`` holds the weights, ``model.json`` the class and the constructor arguments. The
arguments are read from the model itself: every argument of the constructor must be an attribute of
the same name, as PyTorch's and PyG's layers keep theirs. Loading makes only classes that graphseq
defines or that the caller hands over; the file's words are compared with theirs, never imported.
"""

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from graphseq.files import atomic_write_json
from graphseq.training.settings import is_plain
from graphseq.training.weights import fill, read_weights, write_weights


def save(
    model: nn.Module, folder: Path | str, *, arguments: Mapping[str, Any] | None = None
) -> None:
    """Writes a model as safetensors and JSON.

    The class is built once more from the arguments, so that what is written is known to load.

    Args:
        model: any module.
        folder: made if missing; an earlier model in it is replaced.
        arguments: the constructor's arguments, where they are not attributes of the model.

    Raises:
        TypeError: an argument is not plain data.
        ValueError: an argument is not an attribute, or the arguments make another model.
        OSError: the folder cannot be written.
    """
    folder, kind = Path(folder), type(model)
    arguments = _arguments(model) if arguments is None else dict(arguments)
    for name, value in arguments.items():
        if not is_plain(value):
            raise TypeError(
                f"save: {kind.__name__}.{name} is a {type(value).__name__}, which JSON cannot "
                "hold; pass arguments={...} with plain values"
            )
    state = model.state_dict()
    if _shapes(_construct(kind, arguments, "save").state_dict()) != _shapes(state):
        raise ValueError(
            f"save: {kind.__name__}(**{arguments}) has other weights than the model; "
            "pass arguments={...} as the constructor got them"
        )
    write_weights(folder / "model.safetensors", state)
    content = {"class": _path(kind), "arguments": arguments}
    atomic_write_json(folder / "model.json", content)


def load(
    folder: Path | str,
    *,
    classes: Sequence[type[nn.Module]] = (),
    device: torch.device | str = "cpu",
) -> nn.Module:
    """Reads a model that :func:`save` wrote, in evaluation mode.

    Args:
        folder: the folder given to :func:`save`.
        classes: your own classes that may be made; graphseq's need not be named.
        device: where the model is to be.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged, or the class is neither graphseq's nor among ``classes``.
    """
    folder = Path(folder)
    kind, arguments = _read_card(folder / "model.json", classes)
    model = _construct(kind, arguments, f"load: {folder / 'model.json'}")
    weights = folder / "model.safetensors"
    fill(model, read_weights(weights), weights)
    return model.to(device).eval()


def _read_card(
    path: Path, classes: Sequence[type[nn.Module]]
) -> tuple[type[nn.Module], dict[str, Any]]:
    if not path.is_file():
        raise FileNotFoundError(f"load: there is no {path}; save(model, folder) writes it")
    try:
        card = json.loads(path.read_text())
        name, arguments = str(card["class"]), dict(card["arguments"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"load: {path} is damaged ({error!r})") from None
    # A script's own class may live in another module next time, __main__ for one.
    own = {kind.__qualname__: kind for kind in classes}.get(name.partition(":")[2])
    kind = own or {_path(kind): kind for kind in _public_modules(nn.Module)}.get(name)
    if kind is None:
        raise ValueError(
            f"load: {path} asks for {name}, which is no public class of graphseq; "
            "if it is yours, pass load(folder, classes=[...])"
        )
    return kind, arguments


def _public_modules(root: type[nn.Module]) -> Iterator[type[nn.Module]]:
    """graphseq's own modules among those that are imported."""
    for kind in root.__subclasses__():
        words = f"{kind.__module__}.{kind.__qualname__}".split(".")
        if words[0] == "graphseq" and not any(word.startswith("_") for word in words):
            yield kind
        yield from _public_modules(kind)


def _arguments(model: nn.Module) -> dict[str, Any]:
    """The constructor's arguments, from attributes of the same names."""
    found: dict[str, Any] = {}
    for name in inspect.signature(type(model)).parameters:
        if name not in vars(model):
            raise ValueError(
                f"save: {type(model).__name__} does not keep its argument {name}; "
                f"set self.{name} in the constructor or pass save(..., arguments={{...}})"
            )
        found[name] = vars(model)[name]
    return found


def _construct(kind: type[nn.Module], arguments: dict[str, Any], owner: str) -> nn.Module:
    try:
        # Initialisation draws numbers that the caller's own sequence must not lack.
        with torch.random.fork_rng(devices=[]):
            return kind(**arguments)
    except TypeError as error:
        raise ValueError(
            f"{owner}: {kind.__name__} does not take these arguments: {error}"
        ) from None


def _path(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _shapes(state: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v.shape if isinstance(v, torch.Tensor) else type(v) for k, v in state.items()}
