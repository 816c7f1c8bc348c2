"""Weights as safetensors: plain tensors by name, nothing that can run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from graphseq.files import atomic_write
from graphseq.training.task import Task

EXTRA = "_extra_state"


def write_weights(path: Path, state: Mapping[str, Any]) -> None:
    """Writes a state dict, whole or not at all.

    Raises:
        TypeError: an entry is no tensor.
        OSError: the file cannot be written.
    """
    from safetensors.torch import save

    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise TypeError(
                f"{path.name}: {name} is a {type(value).__name__}, which safetensors cannot hold; "
                "keep it in registered buffers"
            )
    # safetensors refuses tensors that share memory; tied weights are written once for each name.
    plain = {k: v.detach().to("cpu", copy=True).contiguous() for k, v in state.items()}
    content = save(plain)
    atomic_write(path, lambda file: file.write(content))


def read_weights(path: Path) -> dict[str, Tensor]:
    """Reads what :func:`write_weights` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    if not path.is_file():
        raise FileNotFoundError(f"there are no weights at {path}")
    try:
        return load(path.read_bytes())
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged or no safetensors file ({error})") from None


def fill(module: nn.Module, state: Mapping[str, Tensor], source: Path) -> None:
    """Puts weights into a module.

    Raises:
        ValueError: names or shapes are not those of the module.
    """
    try:
        missing, unexpected = module.load_state_dict(dict(state), strict=False)
    except RuntimeError as error:  # other shapes
        reason = " ".join(str(error).split())
        raise ValueError(f"{source} does not fit {type(module).__name__}: {reason}") from None
    missing = [name for name in missing if not name.endswith(EXTRA)]
    if missing or unexpected:
        raise ValueError(
            f"{source} does not fit {type(module).__name__}: "
            f"missing {missing or 'nothing'}, unexpected {unexpected or 'nothing'}"
        )


def write_best(folder: Path, task: Task) -> None:
    """Writes the weights of a trained task.

    ``best.safetensors`` holds the model's, by their names in the model; ``task.safetensors``, where
    there is anything, what the task itself learnt. What a module hands over as ``get_extra_state``
    is needed to go on training, not to predict, and stays in the checkpoint.

    Raises:
        OSError: the folder cannot be written.
    """
    write_weights(folder / "best.safetensors", _tensors(task.model))
    own = {k: v for k, v in _tensors(task).items() if not k.startswith("model.")}
    if own:
        write_weights(folder / "task.safetensors", own)


def read_best(folder: Path, task: Task) -> None:
    """Puts into a task what :func:`write_best` wrote.

    Raises:
        FileNotFoundError: there are no weights.
        ValueError: the weights are damaged or those of another model.
    """
    state = read_weights(folder / "best.safetensors")
    fill(task.model, state, folder / "best.safetensors")
    if any(not name.startswith("model.") for name in _tensors(task)):
        own = read_weights(folder / "task.safetensors")
        model = {f"model.{name}": value for name, value in task.model.state_dict().items()}
        fill(task, {**model, **own}, folder / "task.safetensors")


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {k: v for k, v in module.state_dict().items() if not k.endswith(EXTRA)}
