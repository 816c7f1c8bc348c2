"""The modules that a stage trains, each with its own optimizer and its own wrapper.

Each unit is set up by itself. Wrapping the whole model once and stepping layer by layer leaves
data-parallel ranks with different weights, silently: gradients of a bucket are averaged when the
*whole* bucket is ready, which is after the first layers have stepped.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from graphseq.training.losses import LossMeter
from graphseq.training.stage import Stage
from graphseq.training.task import Loss, Task

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Unit:
    """One module, its optimizer, and where in the task the module sits."""

    def __init__(self, task: Task, path: str, optimizer: Optimizer) -> None:
        parent, _, self.name = path.rpartition(".")
        self.parent = task.get_submodule(parent)
        self.module = task.get_submodule(path)
        self.optimizer = optimizer
        self.parameters = [p for p in self.module.parameters() if p.requires_grad]
        self.wrapped: Any = None
        self.stepper: Any = None
        self.accumulating = False

    def place(self, module: nn.Module) -> None:
        """Let ``module`` stand where the unit's module belongs."""
        self.parent._modules[self.name] = module  # setattr means the same, at ten times the cost


class Units:
    """Everything that a stage trains.

    Args:
        fabric: Sets units up and runs their backward passes.
        task: Owner of the modules.
        stage: The stage.
        optimizers: Unit path -> optimizer, checked by :func:`check_units`.
    """

    def __init__(
        self, fabric: "Fabric", task: Task, stage: Stage, optimizers: dict[str, Optimizer]
    ) -> None:
        self.fabric = fabric
        self.by_path = {path: Unit(task, path, opt) for path, opt in optimizers.items()}
        self.precision = fabric.strategy.precision
        # A scaler meets infinite gradients on purpose and skips their step by itself.
        self.scaled = bool(self.precision.state_dict())
        self.max_norm = stage.max_norm

        self.trained: set[Tensor] = {p for u in self.by_path.values() for p in u.parameters}

    def parameters(self) -> dict[str, list[nn.Parameter]]:
        """Unit path -> the parameters that it trains."""
        return {path: unit.parameters for path, unit in self.by_path.items()}

    def buffers(self) -> list[Tensor]:
        """All buffers of all units."""
        return [b for unit in self.by_path.values() for b in unit.module.buffers()]

    @contextmanager
    def set_up(self, compile: bool) -> Iterator[None]:
        """Wrap each unit by itself for the block."""
        try:
            for unit in self.by_path.values():
                if compile:
                    unit.module.compile()
                unit.wrapped, unit.stepper = self.fabric.setup(unit.module, unit.optimizer)
                unit.place(unit.wrapped)
            yield
        finally:
            for unit in self.by_path.values():
                unit.place(unit.module)
                unit.module._compiled_call_impl = None  # what Module.compile() has set

    @contextmanager
    def bare(self) -> Iterator[None]:
        """Put the plain modules in place for the block: evaluation needs no gradient hooks."""
        for unit in self.by_path.values():
            unit.place(unit.module)
        try:
            yield
        finally:
            for unit in self.by_path.values():
                unit.place(unit.wrapped)

    def step(self, loss: Loss, meter: LossMeter) -> None:
        """zero_grad, backward, clip, step: the whole of training."""
        unit = self.by_path.get(loss.unit)
        if unit is None:
            raise ValueError(
                f"Task.losses: a loss names the unit {loss.unit!r}, but the optimizers of this "
                f"stage are for {sorted(self.by_path)}"
            )
        meter.add(loss.unit, loss.value, loss.step)
        if not unit.accumulating:
            unit.optimizer.zero_grad()
        self.fabric.backward(loss.value, model=unit.wrapped)
        unit.accumulating = not loss.step
        if loss.step:
            if self.max_norm is not None:
                self._clip(loss.unit, unit.optimizer, self.max_norm, meter)
            unit.stepper.step()

    def _clip(
        self, path: str, optimizer: Optimizer, limits: float | tuple[float, ...], meter: LossMeter
    ) -> None:
        self.precision.unscale_gradients(optimizer)
        groups = [group["params"] for group in optimizer.param_groups]
        if not isinstance(limits, tuple):
            groups, limits = [[p for group in groups for p in group]], (limits,)
        for parameters, limit in zip(groups, limits, strict=True):
            norm = clip_grad_norm_(parameters, limit)
            if not self.scaled:
                meter.check_norm(path, norm)

    def state_dict(self) -> dict[str, Any]:
        """Optimizers, the scaler, and gradients of units between two backward passes."""
        return {
            "optimizers": {p: unit.optimizer.state_dict() for p, unit in self.by_path.items()},
            "scaler": self.precision.state_dict(),
            "gradients": {
                path: [p.grad for p in unit.parameters]
                for path, unit in self.by_path.items()
                if unit.accumulating
            },
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
        for path, saved in state["optimizers"].items():
            self.by_path[path].optimizer.load_state_dict(saved)
        self.precision.load_state_dict(state["scaler"])
        for path, gradients in state["gradients"].items():
            unit = self.by_path[path]
            unit.accumulating = True
            for parameter, gradient in zip(unit.parameters, gradients, strict=True):
                parameter.grad = None if gradient is None else gradient.to(parameter.device)


def check_units(task: Task, stage: Stage, optimizers: dict[str, Optimizer]) -> set[Tensor]:
    """The parameters that ``optimizers`` train, once the units are found to be in order.

    Raises:
        ValueError: If a unit does not exist, contains or shares parameters with another, or its
            optimizer does not hold exactly its trainable parameters.
    """
    where = f"{type(task).__name__}.optimizers (stage {stage.name!r})"
    names = {p: name for name, p in task.named_parameters()}
    owner: dict[Tensor, str] = {}
    for path, optimizer in optimizers.items():
        module = _find(task, path, where)
        for parameter in module.parameters():
            if parameter in owner:
                raise ValueError(
                    f"{where}: units {owner[parameter]!r} and {path!r} both hold the parameter "
                    f"{names[parameter]!r}; units may not contain or share each other's parameters"
                )
        owner.update(dict.fromkeys(module.parameters(), path))
        held = {p for group in optimizer.param_groups for p in group["params"]}
        wanted = {p for p in module.parameters() if p.requires_grad}
        if wanted - held:
            raise ValueError(f"{where}: {missing_text(wanted - held, names)}")
        if foreign := held - set(module.parameters()):
            found = names.get(next(iter(foreign)), "one that the task does not have")
            raise ValueError(
                f"{where}: the optimizer of unit {path!r} holds a parameter from elsewhere "
                f"({found}); give it the unit's own parameters"
            )
        _check_norms(where, path, stage, optimizer)
    return {p for p in owner if p.requires_grad}


def missing_text(parameters: Collection[Tensor], names: Mapping[Any, str]) -> str:
    """One line about trainable parameters that nothing trains."""
    listed = sorted(names[p] for p in parameters)
    more = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
    return (
        f"no optimizer holds {', '.join(listed[:3])}{more}; add them to one, freeze them "
        f"(requires_grad_(False)), or list them in the model's unused_parameters()"
    )


def _find(task: Task, path: str, where: str) -> nn.Module:
    try:
        module = task.get_submodule(path)
    except AttributeError:
        module = task
    if module is task:
        raise ValueError(f"{where}: {path!r} is no submodule of the task; name one, like 'model'")
    places = [name for name, m in task.named_modules(remove_duplicate=False) if m is module]
    if len(places) > 1:
        raise ValueError(
            f"{where}: unit {path!r} has several names in the task ({', '.join(places)}); keep one"
        )
    return module


def _check_norms(where: str, path: str, stage: Stage, optimizer: Optimizer) -> None:
    norms, groups = stage.max_norm, len(optimizer.param_groups)
    if isinstance(norms, tuple) and len(norms) != groups:
        raise ValueError(
            f"{where}: max_norm has {len(norms)} entries, but the optimizer of unit {path!r} has "
            f"{groups} parameter groups; give one per group, or one float"
        )


def unused_of(task: Task) -> list[nn.Parameter]:
    """The parameters that the task lists as unused.

    Raises:
        ValueError: If there is no parameter of that name.
    """
    parameters = dict(task.named_parameters())
    for name in task.unused_parameters():
        if name not in parameters:
            raise ValueError(
                f"{type(task).__name__}.unused_parameters: {name!r} is no parameter of the task; "
                f"the model lists its parameters by their names in the model"
            )
    return [parameters[name] for name in task.unused_parameters()]


@contextmanager
def frozen(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """No gradients for ``parameters`` inside the block."""
    changed = [p for p in parameters if p.requires_grad]
    for parameter in changed:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in changed:
            parameter.requires_grad_(True)
