"""The random generators of Python, NumPy and torch: seeded for a run, given back afterwards."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

RngState = dict[str, Any]


@contextmanager
def fork(seed: int | None = None) -> Iterator[None]:
    """Run a block on generators of its own; the caller's are restored afterwards, error or not.

    Args:
        seed: Seeds all generators at the start of the block; ``None`` goes on from the caller's.
    """
    saved = get_state()
    try:
        if seed is not None:
            seed_all(seed)
        yield
    finally:
        set_state(saved)


def seed_all(seed: int) -> None:
    """Seed Python's, NumPy's and torch's global generators."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  (the point is the legacy global generator)
    # Not torch.manual_seed: on a machine whose GPU is not in use that leaves a seed behind for
    # later, which no restoring here could take back.
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)


def get_state() -> RngState:
    """All generator states as tensors and numbers, so that a safe loader can read them back."""
    _, python, gauss = random.getstate()
    numpy = np.random.get_state(legacy=False)  # noqa: NPY002
    if numpy["bit_generator"] != "MT19937":
        kind = numpy["bit_generator"]
        raise ValueError(f"rng: NumPy's global generator is {kind}, not MT19937; cannot save it")
    return {
        "python": {"words": torch.tensor(python, dtype=torch.int64), "gauss": gauss},
        "numpy": {
            "words": torch.from_numpy(numpy["state"]["key"].astype(np.int64)),
            "position": int(numpy["state"]["pos"]),
            "has_gauss": int(numpy["has_gauss"]),
            "gauss": float(numpy["gauss"]),
        },
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
    }


def set_state(state: RngState) -> None:
    """Restore what :func:`get_state` returned; states of GPUs that are not there are dropped."""
    python, numpy = state["python"], state["numpy"]
    random.setstate((3, tuple(python["words"].tolist()), python["gauss"]))
    words = numpy["words"].numpy().astype(np.uint32)
    np.random.set_state(  # noqa: NPY002
        ("MT19937", words, numpy["position"], numpy["has_gauss"], numpy["gauss"])
    )
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_initialized():
        for index, gpu in enumerate(state["cuda"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(gpu, index)
