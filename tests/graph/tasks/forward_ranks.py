"""Run by torchrun: trains every learner of ForwardGNN on several ranks. Usage: ... FOLDER."""

import os
import sys
from pathlib import Path
from typing import Any

import torch
from forward_cases import CASES, history, make

from graphseq import fit
from graphseq.graph.models.forward_gnn import forward_forward


def train(kind: str, name: str) -> dict[str, Any]:
    """Weights, metrics and history after a few steps of each stage in float64."""
    made = make(kind, name, epochs=2)
    result = fit(made, precision="64-true", progress=False)
    return {
        "weights": dict(made.model.state_dict()),
        "metrics": result.metrics,
        "history": history(result),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    forward_forward._OUTPUT_NUMBERS = 80  # outputs of 5 rows may come two at a time, of 6 may not
    answers = {f"{kind} {name}": train(kind, name) for kind, name in CASES}
    torch.save(answers, Path(sys.argv[1]) / f"rank{os.environ['RANK']}.pt")
