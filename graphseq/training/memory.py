"""How much memory a run takes at most."""

import sys
from contextlib import suppress
from pathlib import Path

import torch

_PROCESS = Path("/proc/self")


def reset_peak_memory(device: torch.device) -> None:
    """Lets :func:`peak_memory_mb` count from here.

    On the CPU this takes a Linux that lets a process reset its own mark. Where it does not, and on
    other systems, the peak remains that of the process since it started.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):  # another system, or a sandbox that forbids it
        (_PROCESS / "clear_refs").write_text("5")  # man 5 proc: the peak becomes what there is now


def peak_memory_mb(device: torch.device) -> float:
    """Peak memory in MiB since :func:`reset_peak_memory`.

    Allocated by torch on a GPU; resident of the whole process on the CPU, so with the interpreter,
    its libraries, and whatever the process held already. nan where the system does not tell.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    with suppress(OSError, StopIteration, ValueError):
        lines = (_PROCESS / "status").read_text().splitlines()
        mark = next(line for line in lines if line.startswith("VmHWM:"))  # "VmHWM:   2196 kB"
        return int(mark.split()[1]) / 2**10
    if sys.platform == "win32":
        return float("nan")
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
