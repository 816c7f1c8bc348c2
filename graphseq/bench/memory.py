"""Peak memory of one call in a fresh process, above what its loaded input holds."""

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

Setup = Callable[..., Callable[[], object]]


def peak_megabytes(setup: Setup, *args: Any) -> float:
    """Runs ``setup(*args)()`` in a new process and returns how far its resident size rose.

    Args:
        setup: a module-level function that loads the input, warms up (compiled kernels, thread
            pools) on something small, and returns the call to measure.
        *args: picklable arguments of ``setup``.

    Returns:
        Peak resident size during the call minus the resident size just before it, in MiB.

    Raises:
        OSError: where the kernel does not tell the peak (only Linux does, in ``/proc``).
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (setup, args))


def _measure(setup: Setup, args: tuple[Any, ...]) -> float:
    call = setup(*args)
    Path("/proc/self/clear_refs").write_text("5")  # sets the peak back to the current size
    before = _status("VmRSS")
    call()
    return (_status("VmHWM") - before) / 1024


def _status(key: str) -> int:
    """A line of /proc/self/status, in KiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1])
    raise OSError(f"bench: /proc/self/status has no {key}; peak memory needs Linux")
