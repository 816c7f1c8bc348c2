"""Dropout whose mask is a function of (seed, position), never stored.

torch's CPU dropout draws from one sequential generator and keeps the mask for the backward pass.
Here element ``i`` is kept if ``hash(seed, i) >= p 2^32``; both passes compute the hash, in vector
registers, at the speed of reading the input. The same seed gives the same mask on every backend,
for every dtype and number of threads.

The hash: with 32-bit keys ``a, b`` from the seed and ``i = high 2^32 + low``,
``mix(mix(low ^ a) ^ (b + high))``, where ``mix`` alternates xor-shifts with odd multiplications
(the two-multiplication form whose constants C. Wellons found by search, "hash prospector", 2018).
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from graphseq.graph.ops.spmm import Backend, use_numba
from graphseq.kernels import array, kernel, prange

_MASK32 = 2**32 - 1
_MASK64 = 2**64 - 1
_BLOCK = 1 << 14
_KERNEL_DTYPES = (torch.float32, torch.float64)


def dropout(
    x: Tensor,
    p: float,
    training: bool = True,
    seed: int | None = None,
    relu: bool = False,
    *,
    backend: Backend = "auto",
) -> Tensor:
    """Zeroes each element with probability ``p`` and scales the others by ``1 / (1 - p)``.

    Args:
        x: floating, any shape; positions count in row-major order.
        p: probability in ``[0, 1]``; 1 gives zeros.
        training: False returns ``x`` (or ``relu(x)``) unchanged.
        seed: any integer; the same seed, shape and ``p`` give the same mask. None draws one from
            torch's default CPU generator, or under ``torch.compile``, which cannot draw a number
            for Python, leaves the mask to torch's own dropout.
        relu: fuses ``dropout(relu(x))`` into one pass.
        backend: "numba" or "torch"; "auto" takes numba on the CPU outside ``torch.compile``.

    Returns:
        A tensor like ``x``.

    Raises:
        ValueError: if ``p`` is not a probability.
        TypeError: if ``x`` is not floating.
    """
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout: p is {p}; pass a probability between 0 and 1")
    if not x.is_floating_point():
        raise TypeError(f"dropout: x has dtype {x.dtype}; pass floats, x.float()")
    if not training or p == 0.0:
        return torch.relu(x) if relu else x
    if seed is None and torch.compiler.is_compiling():
        return F.dropout(torch.relu(x) if relu else x, p)
    seed = draw_seed() if seed is None else seed
    if use_numba(backend, x) and x.dtype in _KERNEL_DTYPES:
        return _Dropout.apply(x, p, seed, relu)
    x = torch.relu(x) if relu else x
    return torch.where(keep_mask(x.shape, p, seed, x.device), x * scale_of(p), 0.0)


def draw_seed() -> int:
    """A seed from torch's default CPU generator, so that ``torch.manual_seed`` governs it."""
    return int(torch.empty((), dtype=torch.int64).random_())


def keep_mask(shape: torch.Size, p: float, seed: int, device: torch.device) -> Tensor:
    """The boolean mask of kept positions, in torch's int64 (whose low 32 bits are exact)."""
    index = torch.arange(shape.numel(), device=device)
    return (hash_torch(index, seed) >= threshold_of(p)).view(shape)


def hash_torch(index: Tensor, seed: int) -> Tensor:
    """The 32-bit hash of each position, int64, by the same steps as the compiled loop."""
    a, b = keys(seed)
    mixed = _mix_torch((index & _MASK32) ^ a)
    return _mix_torch(mixed ^ ((b + (index >> 32)) & _MASK32))


class _Dropout(torch.autograd.Function):
    """Saves only the seed, or for relu the output, which the next layer keeps anyway."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float, seed: int, relu: bool) -> Tensor:  # type: ignore[override]
        ctx.settings = p, seed, relu
        out = apply_mask(x.detach(), p, seed, relu)
        if relu:
            ctx.save_for_backward(out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        p, seed, relu = ctx.settings
        if relu:
            (out,) = ctx.saved_tensors
            grad, grad_x = grad.contiguous(), torch.empty_like(out)
            flat = (array(t).reshape(-1) for t in (grad, out, grad_x))
            _where_kept(*flat, array(out).dtype.type(scale_of(p)), work=out.numel())
        else:
            grad_x = apply_mask(grad, p, seed, relu=False)
        return grad_x, None, None, None


def apply_mask(
    x: Tensor, p: float, seed: int, relu: bool = False, position: Tensor | None = None
) -> Tensor:
    """The compiled pass, outside autograd, for CPU tensors of float32 or float64.

    With ``position``, element ``e`` gets the mask of position ``position[e]`` instead of ``e``.
    """
    x = x.contiguous()
    out = torch.empty_like(x)
    flat = array(x).reshape(-1), out.numpy().reshape(-1)
    numbers = mask_numbers(p, seed)
    # In float64 a float32 product would round differently.
    scale = flat[1].dtype.type(scale_of(p))
    if position is None:
        _drop(*flat, *numbers, scale, relu, work=x.numel())
    else:
        _drop_at(*flat, array(position), *numbers, scale, work=x.numel())
    return out


def scale_of(p: float) -> float:
    """What kept elements are multiplied by."""
    return 1.0 / (1.0 - p) if p < 1.0 else 0.0


def mask_numbers(p: float, seed: int) -> tuple[np.uint32, ...]:
    """What compiled loops need to know of a mask: two keys and the threshold."""
    return tuple(np.uint32(number) for number in (*keys(seed), threshold_of(p)))


def threshold_of(p: float) -> int:
    """Hashes below it are dropped; for p = 1 the scale of 0 drops the highest hash, too."""
    return min(round(p * 2**32), _MASK32)


def keys(seed: int) -> tuple[int, int]:
    """Two 32-bit keys from a seed: one step of splitmix64 (Steele, Lea and Flood, 2014)."""
    z = (seed + 0x9E3779B97F4A7C15) & _MASK64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK64
    z ^= z >> 31
    return z & _MASK32, z >> 32


def _mix_torch(h: Tensor) -> Tensor:
    h = ((h ^ (h >> 16)) * 0x7FEB352D) & _MASK32
    h = ((h ^ (h >> 15)) * 0x846CA68B) & _MASK32
    return h ^ (h >> 16)


@kernel()
def mix(h: Any) -> Any:
    """32-bit throughout, which numba only keeps if every step says so: 16 lanes in a register."""
    u = np.uint32
    h = u(u(h ^ u(h >> u(16))) * u(0x7FEB352D))
    h = u(u(h ^ u(h >> u(15))) * u(0x846CA68B))
    return u(h ^ u(h >> u(16)))


@kernel()
def hash_of(low: Any, a: Any, high: Any) -> Any:
    """The hash of a position's low half, with key ``a``; ``high`` is key ``b`` + its high half."""
    return mix(np.uint32(mix(np.uint32(low ^ a)) ^ high))


@kernel()
def relu_and_drop(row: Any, first: int, a: Any, b: Any, threshold: Any, scale: Any) -> None:
    """In place ``dropout(relu(row))``, NaN staying NaN; ``row[0]`` has position ``first``."""
    zero, width = row.dtype.type(0), row.shape[0]
    if threshold == 0:
        for j in range(width):
            row[j] = zero if row[j] <= zero else row[j]
        return
    # The high half of a position changes at most once in a row.
    turn = min(width, ((first >> 32) + 1 << 32) - first)
    for part in range(2):
        low, high = np.uint32(first), np.uint32(b + np.uint32((first >> 32) + part))
        for j in range(part * turn, turn if part == 0 else width):
            hashed = hash_of(np.uint32(low + np.uint32(j)), a, high)
            row[j] = row[j] * scale if hashed >= threshold and not row[j] <= zero else zero


@kernel(parallel=True)
def _drop(x: Any, out: Any, a: Any, b: Any, threshold: Any, scale: Any, relu: bool) -> None:
    """Block by block, because the high half of a position is the same throughout a block."""
    zero = out.dtype.type(0)
    for block in prange((x.shape[0] + _BLOCK - 1) // _BLOCK):
        begin = block * _BLOCK
        source, target = x[begin : begin + _BLOCK], out[begin : begin + _BLOCK]
        low, high = np.uint32(begin), np.uint32(b + np.uint32(begin >> 32))
        for i in range(source.shape[0]):
            h = hash_of(np.uint32(low + np.uint32(i)), a, high)
            keep = h >= threshold and not (relu and source[i] <= zero)
            target[i] = source[i] * scale if keep else zero


@kernel(parallel=True)
def _where_kept(grad: Any, kept: Any, out: Any, scale: Any) -> None:
    zero = out.dtype.type(0)
    for i in prange(out.shape[0]):
        out[i] = grad[i] * scale if kept[i] != zero else zero


@kernel(parallel=True)
def _drop_at(
    x: Any, out: Any, position: Any, a: Any, b: Any, threshold: Any, scale: Any
) -> None:  # fmt: skip
    zero = out.dtype.type(0)
    for e in prange(x.shape[0]):
        low, high = np.uint32(position[e]), np.uint32(b + np.uint32(position[e] >> 32))
        h = hash_of(low, a, high)
        out[e] = x[e] * scale if h >= threshold else zero
