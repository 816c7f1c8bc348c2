"""The step sizes that discretised state space models start from."""

import math

import torch
from torch import Tensor


def draw_step_sizes(size: int, low: float = 1e-3, high: float = 1e-1) -> Tensor:
    """``size`` step sizes, log-uniform between ``low`` and ``high``."""
    return torch.empty(size).uniform_(math.log(low), math.log(high)).exp_()


def inverse_softplus(y: Tensor) -> Tensor:
    """The x with ``softplus(x) = y``, for y > 0."""
    return y + torch.log(-torch.expm1(-y))
