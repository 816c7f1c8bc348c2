"""What the loops over time of the classical cells share.

Three things make such a loop fast where each step is small. The input's share of all gates is one
matrix product for all steps, done before the loop. The gates are activated in place in its result.
And the way back is linear: given the forward pass, the gradient at a step's gates is the gradient
at its state times factors that are known. So the factors of all steps are computed at once, what
stays in the loop is one product with the recurrent weights and a few multiplications, and the
gradients of the weights are one product over all steps at the end.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

Activation = Literal["tanh", "relu", "sigmoid", "identity"]


def check_choice(where: str, argument: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuses a word that is not among the choices.

    Raises:
        ValueError: naming the argument and the choices.
    """
    if value not in choices:
        options = ", ".join(f'"{choice}"' for choice in choices)
        raise ValueError(f"{where}: {argument} is {value!r}; use one of {options}")


def activate(activation: Activation, a: Tensor) -> Tensor:
    """The activation of a tensor."""
    return a if activation == "identity" else getattr(torch, activation)(a)


def activate_(activation: Activation, a: Tensor) -> Tensor:
    """The same in place, without gradients."""
    return a if activation == "identity" else getattr(torch, activation + "_")(a)


def slope(activation: Activation, value: Tensor) -> Tensor:
    """The activation's derivative, from its value."""
    if activation == "tanh":
        return (value * value).neg_().add_(1.0)
    if activation == "sigmoid":
        return sigmoid_slope(value)
    return (value > 0).to(value.dtype) if activation == "relu" else torch.ones_like(value)


def sigmoid_slope(value: Tensor) -> Tensor:
    """``s (1 - s)``, the logistic function's derivative from its value s."""
    return torch.addcmul(value, value, value, value=-1.0)


def project(x: Tensor, weight: Tensor, bias: Tensor, out: Tensor | None = None) -> Tensor:
    """``x W^T + b`` of all steps: ``[T, B, D], [K, D], [K]`` give ``[T, B, K]``."""
    if out is None:
        out = x.new_empty(*x.shape[:2], weight.shape[0])
    torch.addmm(bias, x.flatten(0, 1), weight.t(), out=out.view(-1, weight.shape[0]))
    return out


def weight_gradient(gates: Tensor, inputs: Tensor) -> Tensor:
    """``sum_t g_t^T x_t`` as one product: ``[T, B, K], [T, B, D]`` give ``[K, D]``."""
    return gates.flatten(0, 1).t() @ inputs.flatten(0, 1)


def input_gradients(
    gates: Tensor, x: Tensor, weight: Tensor, needs_x: bool
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Of :func:`project`: the gradients of x (if asked for), weight and bias."""
    grad_x = gates @ weight if needs_x else None
    return grad_x, weight_gradient(gates, x), gates.sum((0, 1))


def time_buffer(first: Tensor, num_steps: int) -> Tensor:
    """A buffer ``[T + 1, B, D]`` that begins with ``first`` ``[B, D]``."""
    buffer = first.new_empty(num_steps + 1, *first.shape)
    buffer[0] = first
    return buffer


def back_in_time(
    parts: Sequence[tuple[Tensor, ...]],
) -> Iterator[tuple[int, tuple[Tensor, ...]]]:
    """Goes from the last step to the first: t, and what each of the parts has at t."""
    return zip(reversed(range(len(parts[0]))), zip(*map(reversed, parts), strict=True), strict=True)


def freeze_(new: Tensor, old: Tensor, inside: Tensor) -> None:
    """Puts ``old`` back in the rows that are padding at this step."""
    torch.where(inside, new, old, out=new)
