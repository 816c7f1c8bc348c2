"""What a task holds that training changes, by name."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from graphseq.training.task import Task

State = dict[str, dict[str, Any]]


class TaskState:
    """Parameters, persistent buffers and extra states of a task and all its modules.

    Made before units are wrapped, it goes on reading and writing the modules themselves, so that
    names are the same whether or not a wrapper sits in between. A buffer may change its shape
    during training, and be ``None`` at times.
    """

    def __init__(self, task: Task) -> None:
        self._modules = [
            (f"{name}." if name else "", module) for name, module in task.named_modules()
        ]

    def parameters(self) -> dict[str, Tensor]:
        """Name -> parameter, the very tensors."""
        return {
            prefix + name: parameter
            for prefix, module in self._modules
            for name, parameter in module._parameters.items()
            if parameter is not None
        }

    def buffers(self) -> dict[str, Tensor]:
        """Name -> persistent buffer, the very tensors."""
        return {
            prefix + name: buffer
            for prefix, module in self._modules
            for name, buffer in module._buffers.items()
            if buffer is not None and name not in module._non_persistent_buffers_set
        }

    def extra(self) -> dict[str, Any]:
        """Module prefix -> what its ``get_extra_state`` returns, where a class defines one."""
        return {
            prefix: module.get_extra_state()
            for prefix, module in self._modules
            if type(module).get_extra_state is not nn.Module.get_extra_state
        }

    def snapshot(self, trained: set[Tensor]) -> State:
        """A copy of the ``trained`` parameters, all buffers and all extra states."""
        parameters = {k: v for k, v in self.parameters().items() if v in trained}
        return {
            "parameters": {name: p.detach().clone() for name, p in parameters.items()},
            "buffers": {name: b.detach().clone() for name, b in self.buffers().items()},
            "extra": copy.deepcopy(self.extra()),
        }

    @torch.no_grad()
    def load(self, state: State) -> None:
        """Restore parameters (those that ``state`` has), all buffers and all extra states."""
        for name, parameter in self.parameters().items():
            if name in state["parameters"]:
                parameter.copy_(state["parameters"][name])
        device = next((p.device for p in self.parameters().values()), None)
        for prefix, module in self._modules:
            for name, buffer in module._buffers.items():
                if name not in module._non_persistent_buffers_set:
                    saved = state["buffers"].get(prefix + name)
                    module._buffers[name] = _renewed(buffer, saved, device)
            if prefix in state["extra"]:
                module.set_extra_state(copy.deepcopy(state["extra"][prefix]))

    def is_finite(self) -> bool:
        """Whether every parameter is finite."""
        return all(bool(p.isfinite().all()) for p in self.parameters().values())


def _renewed(
    buffer: Tensor | None, saved: Tensor | None, device: torch.device | None
) -> Tensor | None:
    if saved is None:
        return None
    if buffer is not None and buffer.shape == saved.shape and buffer.dtype == saved.dtype:
        return buffer.copy_(saved)
    return saved.detach().clone().to(device if buffer is None else buffer.device)
