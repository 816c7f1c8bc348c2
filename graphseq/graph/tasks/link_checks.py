"""What link prediction asks of its options, its model and its data before it trains."""

import inspect
import math
import warnings
from collections.abc import Mapping
from typing import Any

from torch import nn

from graphseq.graph.data import LinkData


def check_options(
    negatives: str, pretrain_epochs: int, sizes: Mapping[str, int | None], first: Mapping[str, Any]
) -> None:
    """Refuses options out of their range, and those that mean nothing without pre-training.

    Args:
        negatives: what they are.
        pretrain_epochs: epochs of pre-training.
        sizes: whole numbers from 1 by name; None where not given.
        first: what only pre-training uses, by name; None or False where not given.

    Raises:
        ValueError: naming the first one.
    """
    if negatives not in ("non_edges", "destinations"):
        raise ValueError(
            f'LinkPrediction: negatives is {negatives!r}; use "non_edges" or "destinations"'
        )
    if pretrain_epochs < 0:
        raise ValueError(f"LinkPrediction: pretrain_epochs is {pretrain_epochs}; pass 0 or more")
    for name, size in {**sizes, **first}.items():
        if type(size) is int and size < 1:
            raise ValueError(f"LinkPrediction: {name} is {size}; pass 1 or more")
    for name, value in first.items():
        if not pretrain_epochs and value is not None and value is not False:
            raise ValueError(
                f"LinkPrediction: {name} is {value}, but pretrain_epochs is 0 and nothing is "
                f"pre-trained; pass pretrain_epochs, or leave {name} out"
            )


def check_rates(lr: float, encoder_lr: float, pretrain_lr: float) -> None:
    """Refuses learning rates that are negative or not finite.

    Raises:
        ValueError: naming the first one.
    """
    rates = {"lr": lr, "encoder_lr": encoder_lr, "pretrain_lr": pretrain_lr}
    for name, rate in rates.items():
        if not 0 <= rate < math.inf:
            raise ValueError(f"LinkPrediction: {name} is {rate}; pass a finite number, 0 or more")


def check_model(model: nn.Module, pretrains: bool, freezes: bool, removes: bool) -> None:
    """Refuses a model that cannot do what it is asked for.

    Args:
        model: the model.
        pretrains: trains without completion first.
        freezes: goes on with the predictor alone.
        removes: hides target links.

    Raises:
        TypeError: naming what the model lacks and the option that needs it.
    """
    if pretrains:
        _check_forward(model, "depth", "pretrain_epochs")
    if freezes:
        _check_parts(model)
    if freezes and not removes:
        _check_forward(model, "states", "freeze_encoder without remove_targets")


def _check_forward(model: nn.Module, argument: str, option: str) -> None:
    parameters = inspect.signature(model.forward).parameters
    if argument not in parameters and all(p.kind != p.VAR_KEYWORD for p in parameters.values()):
        raise TypeError(
            f"LinkPrediction: {option} needs a model whose forward takes {argument}=, which "
            f"{type(model).__name__}'s does not; leave {option.split()[0]} out"
        )


def _check_parts(model: nn.Module) -> None:
    """What is frozen and what is trained are modules, and together they are the whole model."""
    inside = ("encoder.", "predictor.")
    beside = [name for name, _ in model.named_parameters() if not name.startswith(inside)]
    parts = all(isinstance(getattr(model, part[:-1], None), nn.Module) for part in inside)
    if beside or not parts:
        found = f"the parameter {beside[0]}" if beside else "not both"
        raise TypeError(
            f"LinkPrediction: freeze_encoder needs a model made of a module encoder and a module "
            f"predictor, but {type(model).__name__} has {found}; leave freeze_encoder out"
        )


def warn_of_copies(data: LinkData) -> None:
    """Warns of training links that are listed more than once though nothing says why."""
    if data.multigraph or not data.removal.num_repeated:
        return
    warnings.warn(
        f"{data.name}: {data.removal.num_repeated} training links are listed more than once, "
        "perhaps in both directions; a batch that holds one copy leaves the other one visible. "
        "Keep one direction of each link, or pass strict_removal=True",
        stacklevel=3,
    )
