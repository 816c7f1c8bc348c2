"""Watches whether what one layer computed is gone before another one computes."""

import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks


class Saved:
    """What autograd saves, in a box that a weak reference can point to."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


@contextmanager
def watched(model: nn.Module, width: int) -> Iterator[Callable[[], int]]:
    """Fails if a layer starts while activations of another one are alive.

    These are tensors that autograd saved for a backward pass, and tensors ``[rows, width]`` that
    are part of a graph, whoever holds them. Yields how often one layer came after another.
    """
    saved: list[tuple[int, weakref.ref[Saved]]] = []
    last, changes = [-1], [0]
    graph = [-1]  # the layer that last computed with gradients

    def pack(tensor: Tensor) -> Saved:
        box = Saved(tensor)
        saved.append((last[0], weakref.ref(box)))
        return box

    def before(number: int) -> Callable[..., None]:
        def check(module: nn.Module, arguments: Any) -> None:
            if last[0] != number:
                changes[0] += last[0] >= 0
                left = [box() for layer, box in saved if layer != number]
                assert not any(box is not None for box in left), f"saved by layer {last[0]}"
                if graph[0] not in (-1, number):
                    assert not in_graphs(width), f"held from layer {graph[0]}"
                    graph[0] = -1
            last[0] = number
            if torch.is_grad_enabled():
                graph[0] = number

        return check

    layers: Any = model.layers
    hooks = [layer.register_forward_pre_hook(before(n)) for n, layer in enumerate(layers)]
    gc.collect()
    gc.freeze()  # what was there before is nobody's activation, and need not be looked at
    try:
        with saved_tensors_hooks(pack, lambda box: box.tensor):
            yield lambda: changes[0]
    finally:
        gc.unfreeze()
        for hook in hooks:
            hook.remove()


def in_graphs(width: int) -> list[tuple[int, ...]]:
    """Shapes of living tensors ``[..., width]`` that autograd made."""
    return [
        tuple(found.shape)
        for found in gc.get_objects()
        if issubclass(type(found), Tensor) and found.dim() > 1 and found.size(-1) == width
        if found.grad_fn is not None
    ]
