"""How every benchmark times: agree first, then interleave, then take medians.

Machines are noisy, so two candidates are never timed one after the other: each round runs every
candidate once, and the ratio of the medians over all rounds is what a row reports.
"""

import gc
import math
import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import torch
from torch import Tensor

Row = dict[str, Any]
Candidate = Callable[[], object]


def interleaved(candidates: Mapping[str, Candidate], seconds: float = 2.0) -> dict[str, float]:
    """Times each candidate in turn, round by round.

    Args:
        candidates: name -> function without arguments. Each is called twice to warm up.
        seconds: total time to spend after the warm-up; at least three rounds are made.

    Returns:
        name -> median milliseconds per call.
    """
    for function in candidates.values():
        function()
        function()
    times: dict[str, list[float]] = {name: [] for name in candidates}
    gc.collect()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(next(iter(times.values()))) < 3:
        for name, function in candidates.items():
            start = time.perf_counter()
            function()
            times[name].append((time.perf_counter() - start) * 1e3)
    return {name: median(values) for name, values in times.items()}


def max_error(result: object, expected: object) -> float:
    """The largest relative difference between two tensors or two sequences of tensors.

    The difference is divided by the largest magnitude of the expected tensor (or 1e-30). It is
    infinite where either side holds NaN or infinity: never NaN, which every ``max`` would drop.
    """
    if isinstance(result, Tensor) and isinstance(expected, Tensor):
        if result.shape != expected.shape:
            raise ValueError(
                f"max_error: shapes differ, {tuple(result.shape)} and {tuple(expected.shape)}; "
                "a speed is only reported for the same result"
            )
        if result.numel() == 0:
            return 0.0
        scale = expected.abs().max().clamp(min=1e-30)
        error = float((result.to(expected.dtype) - expected).abs().max() / scale)
        return math.inf if math.isnan(error) else error
    pairs = zip(result, expected, strict=True)  # type: ignore[call-overload]
    return max(max_error(a, b) for a, b in pairs)


def compare(
    op: str,
    case: str,
    ours: Candidate,
    references: Mapping[str, Candidate],
    *,
    error: float,
    tolerance: float,
    seconds: float = 2.0,
) -> list[Row]:
    """One row per reference, or no speed at all where the results disagree.

    Args:
        op: what is timed.
        case: on which data.
        ours: the candidate of this package.
        references: name -> candidate; by convention ``paper`` is the published formulation and
            ``strong`` the best library code.
        error: the measured disagreement with the slow twin, see :func:`max_error`.
        tolerance: above this error the benchmark refuses to report.
        seconds: time budget for all candidates together.

    Raises:
        ValueError: if ``error`` exceeds ``tolerance`` (a wrong result has no speed).
    """
    refuse_disagreement(op, case, error, tolerance)
    times = interleaved({"ours": ours, **references}, seconds)
    return [
        {
            "op": op,
            "case": case,
            "ours_ms": times["ours"],
            "reference": name,
            "reference_ms": times[name],
            "ratio": times[name] / times["ours"],
            "max_error": error,
        }
        for name in references
    ]


def refuse_disagreement(op: str, case: str, error: float, tolerance: float) -> None:
    """Stops a benchmark whose result is wrong; see :func:`compare`.

    Raises:
        ValueError: if ``error`` exceeds ``tolerance`` (a wrong result has no speed).
    """
    if not error <= tolerance:
        raise ValueError(
            f"bench {op} {case}: error {error:.1e} exceeds {tolerance:.1e}; "
            "no speed is reported until the op agrees with its reference"
        )


def lone_row(op: str, case: str, ours_ms: float | None, error: float | None, **more: Any) -> Row:
    """A row of what is compared with nothing; ``more`` are further columns."""
    nothing = {"reference": None, "reference_ms": None, "ratio": None}
    return {"op": op, "case": case, "ours_ms": ours_ms, **nothing, "max_error": error, **more}


def gradients(output: Tensor, inputs: list[Tensor], seed: int = 0) -> list[Tensor]:
    """The output and its gradients under one fixed random cotangent, for agreement checks."""
    generator = torch.Generator().manual_seed(seed)
    cotangent = torch.randn(output.shape, generator=generator, dtype=torch.float64)
    grads = torch.autograd.grad(output, inputs, cotangent.to(output))
    return [output.detach(), *grads]
