"""Compiled CPU loops: numba, imported and compiled only when a loop first runs.

A kernel is a plain Python function over numpy arrays::

    @kernel(parallel=True)
    def row_sums(x, out):
        for i in prange(x.shape[0]):
            out[i] = x[i].sum()

Decorating costs nothing. The first call imports numba and compiles (about a second, then kept on
disk next to the module, or in numba's user cache where that folder cannot be written).

Threads. A parallel kernel runs on as many threads as torch does (``torch.set_num_threads``) and
launches stand behind one lock, because not every threading layer of numba survives two Python
threads that launch at once. With one thread, in a forked child (OpenMP does not survive a fork),
and for work too small to share, the same loop runs serially without the lock. So data-loader
workers, forked or spawned, may call kernels freely.

Compiled loops check no bounds: callers check indices, dtypes and contiguity first.
"""

import functools
import hashlib
import os
import sys
import threading
import types
import warnings
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

# Sums may be reordered and multiply-adds fused, which vectorises reductions. Unlike numba's
# fastmath=True this keeps NaN and infinity meaningful: the training loop relies on seeing them.
_MATH_FLAGS = {"reassoc", "contract", "nsz", "arcp"}

Variant = Literal["serial", "parallel", "inline"]

# Multiply-adds below which a second thread does not pay. Threads sleep soon after each launch (see
# graphseq/__init__.py) and waking one takes 50 to 100 us: with 20,000 here instead, a Cora epoch
# takes 12 ms rather than 8, on two free cores as on a busy machine.
SERIAL_WORK = 400_000

_launch_lock = threading.Lock()
_forked = False


def _after_fork() -> None:
    """In a forked child: a fresh lock (its owner stayed behind) and no OpenMP from now on."""
    global _launch_lock, _forked
    _launch_lock = threading.Lock()
    _forked = True


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_after_fork)


def prange(*bounds: int) -> range:
    """Stands for ``numba.prange`` in a kernel's source; plain ``range`` in uncompiled Python."""
    return range(*bounds)


class Kernel:
    """A function that numba compiles at its first call; see :func:`kernel`.

    Args:
        function: the loop.
        parallel: whether the function contains ``prange`` loops.
    """

    def __init__(self, function: Callable[..., Any], parallel: bool) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.parallel = parallel
        self._compiled: dict[str, Callable[..., Any]] = {}

    def __call__(self, *args: Any, work: int = SERIAL_WORK) -> Any:
        """Runs the compiled loop.

        Args:
            args: numpy arrays and numbers, passed on as they are.
            work: rough number of multiply-adds; below ``SERIAL_WORK`` the loop runs serially.
        """
        threads = torch.get_num_threads()
        if not self.parallel or threads == 1 or _forked or work < SERIAL_WORK:
            return _run(self.compiled("serial"), args)
        loop = self.compiled("parallel")
        import numba

        with _launch_lock:
            # numba keeps the number per Python thread, so every launch sets it.
            numba.set_num_threads(min(threads, _thread_limit()))
            return _run(loop, args)

    def compiled(self, variant: Variant) -> Callable[..., Any]:
        """The numba dispatcher of one variant, made at first use."""
        loop = self._compiled.get(variant)
        if loop is None:
            loop = self._compiled[variant] = _compile(self.function, variant)
        return loop


def kernel(*, parallel: bool = False) -> Callable[[Callable[..., Any]], Kernel]:
    """Marks a function as a compiled loop, without importing numba.

    A kernel may call other kernels by their global names; they are compiled into it. Such helpers
    may slice arrays but not make new ones.
    """
    return lambda function: Kernel(function, parallel)


def _compile(function: Callable[..., Any], variant: Variant) -> Callable[..., Any]:
    """njit of a copy of ``function`` whose globals hold numba's prange and compiled helpers."""
    import numba

    names = dict(function.__globals__)
    for name in function.__code__.co_names:
        if names.get(name) is prange:
            names[name] = numba.prange
        elif isinstance(names.get(name), Kernel):
            names[name] = names[name].compiled("inline")
    copy = types.FunctionType(
        function.__code__, names, function.__name__, function.__defaults__, function.__closure__
    )
    options: dict[str, Any] = {
        "nogil": True,
        "error_model": "numpy",
        "parallel": variant == "parallel",
        # A helper that stays a call takes each array as seven arguments and counts references
        # to them, atomically, on every call: 10 to 20 ns, and a fight between threads.
        "forceinline": variant == "inline",
        "_nrt": variant != "inline",
    }
    # numba files machine code under this name and renews it when the function's own file changes;
    # what else it depends on, helpers in other files and options, goes into the name.
    state = "|".join([repr(sorted(_MATH_FLAGS)), repr(options), *_code(function)])
    digest = hashlib.sha256(state.encode()).hexdigest()[:12]
    copy.__qualname__ = f"{function.__qualname__}_{variant}_{digest}"
    copy.__module__ = function.__module__
    try:
        return numba.njit(cache=variant != "inline", fastmath=_MATH_FLAGS, **options)(copy)
    except RuntimeError:  # numba: no folder to write the cache to
        return numba.njit(fastmath=_MATH_FLAGS, **options)(copy)


def _code(function: Callable[..., Any]) -> list[str]:
    """The byte code of a function and of all kernels it calls, to tell states of them apart."""
    code = function.__code__
    parts = [code.co_code.hex(), repr(code.co_consts), repr(code.co_names)]
    for name in code.co_names:
        helper = function.__globals__.get(name)
        parts += _code(helper.function) if isinstance(helper, Kernel) else []
    return parts


def _run(loop: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """Calls a compiled loop; a cache that cannot be written (full disk) costs only the saving.

    Such an error comes after compiling and before running: loops do no input or output themselves.
    """
    try:
        return loop(*args)
    except OSError:
        return loop(*args)


@functools.cache
def _thread_limit() -> int:
    """Starts numba's threads and says how many there are."""
    import numba

    limit: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    with warnings.catch_warnings():  # numba warns of a TBB too old to use, then takes OpenMP
        warnings.simplefilter("ignore", numba.errors.NumbaWarning)
        numba.set_num_threads(limit)
    return limit


def array(tensor: Tensor) -> Any:
    """The numpy view of a CPU tensor, made contiguous first if it is not."""
    return tensor.detach().contiguous().numpy()
