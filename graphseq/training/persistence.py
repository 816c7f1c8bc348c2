"""``save(model, folder)`` and ``load(folder)``: a model without its experiment.

``model.safetensors`` holds the weights in their own dtypes, ``model.json`` the class, the
constructor arguments, and the checksum of the weights that belong to them. The arguments are read
from the model itself: every argument of the constructor must be an attribute of the same name, as
PyTorch's and PyG's layers keep theirs. An argument may be a module class (a model's mixer) or a
:class:`functools.partial` of one, written as its class and arguments. Loading makes only classes
that graphseq defines or that the caller hands over; the file's words are compared with theirs,
never imported.
"""

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from graphseq.files import atomic_write_json, sha256_of
from graphseq.training.settings import is_plain
from graphseq.training.weights import fill, read_weights, write_weights


def save(
    model: nn.Module, folder: Path | str, *, arguments: Mapping[str, Any] | None = None
) -> None:
    """Writes a model as safetensors and JSON.

    The class is built once more from the arguments, so that what is written is known to load.

    Args:
        model: any module.
        folder: made if missing; an earlier model in it is replaced. If the process is killed
            between the two files, loading says so.
        arguments: the constructor's arguments, where they are not attributes of the model.

    Raises:
        TypeError: an argument is neither plain data nor a partial of a module class.
        ValueError: an argument is not an attribute, or the arguments make another model.
        OSError: the folder cannot be written.
    """
    folder, kind = Path(folder), type(model)
    arguments = _arguments(model) if arguments is None else dict(arguments)
    written = {name: _written(f"{kind.__name__}.{name}", v) for name, v in arguments.items()}
    state = model.state_dict()
    if _shapes(_construct(kind, arguments, "save").state_dict()) != _shapes(state):
        raise ValueError(
            f"save: {kind.__name__}(**{arguments}) has other weights than the model; "
            "pass arguments={...} as the constructor got them"
        )
    weights = folder / "model.safetensors"
    write_weights(weights, state)
    # Last, and with the checksum: a kill in between must not leave new weights under an old card.
    content = {"class": _path(kind), "arguments": written, "sha256": sha256_of(weights)}
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
        ValueError: a file is damaged, the two files are not of the same save, or the class is
            neither graphseq's nor among ``classes``.
    """
    card, weights = Path(folder) / "model.json", Path(folder) / "model.safetensors"
    kind, arguments, checksum = _read_card(card, classes)
    state = read_weights(weights)
    if sha256_of(weights) != checksum:
        raise ValueError(
            f"load: {weights} is not what {card} was written for: it is damaged, or saving was "
            "interrupted; save the model again"
        )
    model = _construct(kind, arguments, f"load: {card}")
    _give_dtypes(model, state)
    fill(model, state, weights)
    return model.to(device).eval()


def _read_card(
    path: Path, classes: Sequence[type[nn.Module]]
) -> tuple[type[nn.Module], dict[str, Any], str]:
    if not path.is_file():
        raise FileNotFoundError(f"load: there is no {path}; save(model, folder) writes it")
    try:
        card = json.loads(path.read_text())
        name, arguments, checksum = str(card["class"]), dict(card["arguments"]), card["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"load: {path} is damaged ({error!r})") from None
    read = {key: _read_argument(path, value, classes) for key, value in arguments.items()}
    return _allowed(path, name, classes), read, checksum


def _allowed(path: Path, name: str, classes: Sequence[type[nn.Module]]) -> type[nn.Module]:
    """The class that a file names, if it may be made."""
    # A script's own class may live in another module next time, __main__ for one.
    own = {kind.__qualname__: kind for kind in classes}.get(name.partition(":")[2])
    kind = own or {_path(kind): kind for kind in _public_modules(nn.Module)}.get(name)
    if kind is None:
        raise ValueError(
            f"load: {path} asks for {name}, which is no public class of graphseq; "
            "if it is yours, pass load(folder, classes=[...])"
        )
    return kind


def _written(name: str, value: Any) -> Any:
    """An argument as JSON holds it."""
    if is_plain(value):
        return value
    value = partial(value) if isinstance(value, type) else value
    kind = value.func if isinstance(value, partial) else None
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)) or value.args:
        raise TypeError(
            f"save: {name} is a {type(value).__name__}, which JSON cannot hold; "
            "pass arguments={...} with plain values"
        )
    inner = {key: _written(f"{name}.{key}", child) for key, child in value.keywords.items()}
    return {"partial": _path(kind), "arguments": inner}


def _read_argument(path: Path, value: Any, classes: Sequence[type[nn.Module]]) -> Any:
    if not (isinstance(value, dict) and value.keys() == {"partial", "arguments"}):
        return value
    kind = _allowed(path, str(value["partial"]), classes)
    inner = dict(value["arguments"])
    return partial(kind, **{k: _read_argument(path, v, classes) for k, v in inner.items()})


def _give_dtypes(model: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Lets weights have the dtypes of what is coming, which copying would round to theirs.

    In place, as ``model.double()`` does it, so that tied weights remain tied.
    """
    for name, tensor in model.state_dict(keep_vars=True).items():
        if name in state and isinstance(tensor, torch.Tensor):
            tensor.data = tensor.data.to(state[name].dtype)


def _public_modules(root: type[nn.Module]) -> Iterator[type[nn.Module]]:
    """graphseq's own modules among those that are imported."""
    for kind in root.__subclasses__():
        words = f"{kind.__module__}.{kind.__qualname__}".split(".")
        if words[0] == "graphseq" and not any(word.startswith("_") for word in words):
            yield kind
        yield from _public_modules(kind)


def _arguments(model: nn.Module) -> dict[str, Any]:
    """The constructor's arguments, from attributes or properties of the same names."""
    found: dict[str, Any] = {}
    for name in inspect.signature(type(model)).parameters:
        if name not in vars(model) and not isinstance(getattr(type(model), name, None), property):
            raise ValueError(
                f"save: {type(model).__name__} does not keep its argument {name}; "
                f"set self.{name} in the constructor or pass save(..., arguments={{...}})"
            )
        found[name] = getattr(model, name)
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
